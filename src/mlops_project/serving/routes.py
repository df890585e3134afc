"""Every path the server answers, as templates: metrics and logs name these, never what a client sent."""

from mlops_project.errors import ConfigError
from mlops_project.serving import endpoints, repository
from mlops_project.serving.explain import explain
from mlops_project.serving.route import ADMIN, LABEL, OPEN, Route

MODEL = "/v2/models/{name}"
VERSION = "/v2/models/{name}/versions/{version}"
ROUTES = (
    Route("POST", "/invocations", wire="mlflow"),
    Route("POST", "/predict", wire="native"),
    Route("POST", "/models/{name}/invocations", wire="mlflow"),
    Route("POST", "/models/{name}/predict", wire="native"),
    Route("POST", f"{MODEL}/infer", wire="open_inference"),
    Route("POST", f"{VERSION}/infer", wire="open_inference"),
    Route("GET", "/ping", endpoints.ping, roles=OPEN),
    Route("GET", "/health", endpoints.ping, roles=OPEN),
    Route("GET", "/ready", endpoints.ready, roles=OPEN),
    Route("GET", "/version", endpoints.fixed(endpoints.VERSION), roles=OPEN),
    Route("GET", "/metrics", endpoints.metrics, roles=OPEN),
    Route("GET", "/models", endpoints.models, shows_columns=True),
    Route("POST", "/explain", explain, shows_columns=True),
    Route("POST", "/models/{name}/explain", explain, shows_columns=True),
    Route("POST", "/feedback", endpoints.feedback, roles=LABEL, max_body_bytes=endpoints.MAX_FEEDBACK_BYTES),
    Route("GET", "/v2", endpoints.fixed(endpoints.V2_SERVER), roles=OPEN),
    Route("GET", "/v2/", endpoints.fixed(endpoints.V2_SERVER), roles=OPEN),
    Route("GET", "/v2/health/live", endpoints.fixed(endpoints.V2_LIVE), roles=OPEN),
    Route("GET", "/v2/health/ready", endpoints.v2_ready, roles=OPEN),
    Route("GET", MODEL, endpoints.v2_model, shows_columns=True),
    Route("GET", VERSION, endpoints.v2_model, shows_columns=True),
    Route("GET", f"{MODEL}/ready", endpoints.v2_model_ready, roles=OPEN),
    Route("GET", f"{VERSION}/ready", endpoints.v2_model_ready, roles=OPEN),
    Route("POST", "/v2/repository/index", repository.index),
    Route("POST", "/v2/repository/models/{name}/load", repository.load, roles=ADMIN),
    Route("POST", "/v2/repository/models/{name}/unload", repository.unload, roles=ADMIN),
    Route("GET", "/openapi.json", endpoints.openapi, roles=OPEN),
    Route("GET", "/docs", endpoints.fixed(endpoints.DOCS), roles=OPEN),
    Route("GET", "/docs/{file}", endpoints.docs_file, roles=OPEN),
    Route("GET", "/favicon.ico", endpoints.fixed(endpoints.FAVICON), roles=OPEN),
    Route("GET", "/", endpoints.home, roles=OPEN),
)
UNKNOWN = Route("other", "other", endpoints.fixed(endpoints.NOT_FOUND), roles=OPEN)
PLAIN = {(route.method, route.template): (route, dict[str, str]()) for route in ROUTES if "{" not in route.template}
PATTERNS = [(route, route.template.split("/")) for route in ROUTES if "{" in route.template]


def check_root_path(root_path: str) -> None:
    """Refuse a prefix that looks like a path of the server's own: a request without it could not be told from one with it.

    Raises
    ------
    ConfigError
        If it does.
    """
    first = root_path.split("/")[1] if root_path else ""
    if first and first in {route.template.split("/")[1] for route in ROUTES}:
        raise ConfigError(f"serving.root_path: {root_path} begins like the server's own path /{first}; choose another prefix")


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
        return Route("other", "other", endpoints.wrong_method(allowed), roles=OPEN), {}
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
