"""Every path the server answers, as templates: metrics and logs name these, never what a client sent."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from mlops_project.serving import handlers
from mlops_project.serving.replies import Reply
from mlops_project.serving.settings import Role
from mlops_project.serving.wires import Wire

Handler = Callable[[handlers.Call], Reply | Awaitable[Reply]]
OPEN: frozenset[Role] = frozenset()
PREDICT: frozenset[Role] = frozenset({"predict", "admin"})  # may also read what the model's columns are
LABEL: frozenset[Role] = frozenset({"label", "admin"})


class Route(NamedTuple):
    """One method and path.

    Attributes
    ----------
    method, template
        What it answers to; ``{name}`` stands for one segment.
    handle
        Who answers, unless it predicts.
    wire
        The protocol that a prediction speaks, and that errors are written in.
    roles
        A key must have one of these; none: it answers without a key, as probes and metrics do.
    max_body_bytes
        The largest body that it takes, where that is less than the server's limit.
    """

    method: str
    template: str
    handle: Handler = handlers.fixed(handlers.NOT_FOUND)
    wire: Wire | None = None
    roles: frozenset[Role] = PREDICT
    max_body_bytes: int | None = None


MODEL = "/v2/models/{name}"
VERSION = "/v2/models/{name}/versions/{version}"
ROUTES = (
    Route("POST", "/invocations", wire="mlflow"),
    Route("POST", "/predict", wire="native"),
    Route("POST", "/models/{name}/invocations", wire="mlflow"),
    Route("POST", "/models/{name}/predict", wire="native"),
    Route("POST", f"{MODEL}/infer", wire="open_inference"),
    Route("POST", f"{VERSION}/infer", wire="open_inference"),
    Route("GET", "/ping", handlers.ping, roles=OPEN),
    Route("GET", "/health", handlers.ping, roles=OPEN),
    Route("GET", "/ready", handlers.ready, roles=OPEN),
    Route("GET", "/version", handlers.fixed(handlers.VERSION), roles=OPEN),
    Route("GET", "/metrics", handlers.metrics, roles=OPEN),
    Route("GET", "/models", handlers.models),
    Route("POST", "/feedback", handlers.feedback, roles=LABEL, max_body_bytes=handlers.MAX_FEEDBACK_BYTES),
    Route("GET", "/v2", handlers.fixed(handlers.V2_SERVER), roles=OPEN),
    Route("GET", "/v2/", handlers.fixed(handlers.V2_SERVER), roles=OPEN),
    Route("GET", "/v2/health/live", handlers.fixed(handlers.V2_LIVE), roles=OPEN),
    Route("GET", "/v2/health/ready", handlers.v2_ready, roles=OPEN),
    Route("GET", MODEL, handlers.v2_model),
    Route("GET", VERSION, handlers.v2_model),
    Route("GET", f"{MODEL}/ready", handlers.v2_model_ready, roles=OPEN),
    Route("GET", f"{VERSION}/ready", handlers.v2_model_ready, roles=OPEN),
    Route("GET", "/openapi.json", handlers.openapi, roles=OPEN),
    Route("GET", "/docs", handlers.fixed(handlers.DOCS), roles=OPEN),
    Route("GET", "/docs/{file}", handlers.docs_file, roles=OPEN),
    Route("GET", "/favicon.ico", handlers.fixed(handlers.FAVICON), roles=OPEN),
    Route("GET", "/", handlers.fixed(handlers.HOME), roles=OPEN),
)
UNKNOWN = Route("other", "other", roles=OPEN)
PLAIN = {(route.method, route.template): (route, dict[str, str]()) for route in ROUTES if "{" not in route.template}
PATTERNS = [(route, route.template.split("/")) for route in ROUTES if "{" in route.template]


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the route and what stands in the template's places; HEAD is answered like GET."""
    found = PLAIN.get((method, path))
    if found is not None:
        return found
    if method == "HEAD":
        return find_route("GET", path)
    parts = path.split("/")
    for route, template in PATTERNS:
        if route.method == method and len(template) == len(parts):
            arguments = {place[1:-1]: part for place, part in zip(template, parts, strict=True) if place.startswith("{")}
            if all(place == part for place, part in zip(template, parts, strict=True) if not place.startswith("{")):
                return route, arguments
    allowed = [verb for verb in ("GET", "POST") if verb != method and _answers(verb, path, parts)]
    if allowed:
        return Route("other", "other", handlers.wrong_method(allowed), roles=OPEN), {}
    return UNKNOWN, {}


def _answers(method: str, path: str, parts: list[str]) -> bool:
    if (method, path) in PLAIN:
        return True
    return any(
        route.method == method
        and len(template) == len(parts)
        and all(place.startswith("{") or place == part for place, part in zip(template, parts, strict=True))
        for route, template in PATTERNS
    )
