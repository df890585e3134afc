"""What answers besides predictions: probes, models, feedback, metrics, documentation."""

import asyncio
import importlib.resources
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from msgspec import to_builtins

from mlops_project import __version__
from mlops_project.errors import ContractError, suggest
from mlops_project.prediction_log.ids import UnknownPredictionError
from mlops_project.sections.card import read_card
from mlops_project.serving.callers import Caller
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.exposition import render
from mlops_project.serving.model import ServedModel
from mlops_project.serving.replies import JSON, Reply, reply_json
from mlops_project.serving.service import Service
from mlops_project.wire import open_inference
from mlops_project.wire.limits import count_values
from mlops_project.wire.mlflow import PROTOCOL_VERSION

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
SERVER_NAME = "mlops_project"
MAX_LABELS = 10_000
MAX_FEEDBACK_BYTES = 2 * 2**20  # 10,000 labels of 200 bytes; an id takes 38 to 44
MAX_FEEDBACK_VALUES = MAX_LABELS * 12  # as ``count_values`` weighs them: a label counts 11 at most
SMALL_FEEDBACK_BYTES = 16 * 1024  # up to 200 labels, 2 ms
BATCH_BYTES = 6  # of the random name of a delivery of labels
LABELS_TOGETHER = 250  # of each turn of the event loop: as many as one system call writes
DOCS_FILES = {"swagger-ui.css": b"text/css", "swagger-ui-bundle.js": b"text/javascript"}
DOCS_PAGE = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Model server</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="favicon.ico">
<link rel="stylesheet" href="docs/swagger-ui.css"></head><body><div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>
let key = "";  // with one, the description is read again: it then has the model's columns
SwaggerUIBundle({
  url: "openapi.json", dom_id: "#ui", tryItOutEnabled: true,
  requestInterceptor: request => {
    if (request.loadSpec && key) request.headers.Authorization = "Bearer " + key;
    return request;
  },
  plugins: [{statePlugins: {auth: {wrapActions: {
    authorize: (authorize, system) => given => {
      const done = authorize(given);
      key = given.key ? given.key.value : "";
      system.specActions.download("openapi.json");
      return done;
    },
  }}}}],
});
</script></body></html>
"""
ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="11" fill="none" stroke="#1f6feb" '
    b'stroke-width="5" stroke-dasharray="52 17"/><circle cx="24" cy="8" r="4" fill="#1f6feb"/></svg>'
)


CACHED = [(b"cache-control", b"max-age=86400")]
PRIVATE = [(b"vary", b"authorization")]  # what it says depends on the key


class Call(NamedTuple):
    """A request: the service, what stands in the path's places, the body, whose key the caller has, and its paths' prefix."""

    service: Service
    arguments: dict[str, str]
    body: bytes
    caller: Caller
    prefix: str = ""


NOT_FOUND = reply_json({"detail": "Not Found"}, 404)
# What is always the same. MLflow's version is the one whose protocol this is.
VERSION = Reply(200, JSON, PROTOCOL_VERSION.encode())
V2_SERVER = reply_json({"name": SERVER_NAME, "version": __version__, "extensions": list(open_inference.EXTENSIONS)})
V2_LIVE = reply_json({"live": True})
DOCS = Reply(200, b"text/html; charset=utf-8", DOCS_PAGE)
FAVICON = Reply(200, b"image/svg+xml", ICON, CACHED)


def home(call: Call) -> Reply:
    """Lead to the documentation, under the prefix that the client sees."""
    return Reply(307, JSON, b"{}", [(b"location", f"{call.prefix}/docs".encode())])


def fixed(reply: Reply) -> Callable[[Call], Reply]:
    """Return a handler that always gives this reply."""
    return lambda _: reply


def wrong_method(allowed: list[str]) -> Callable[[Call], Reply]:
    """Return a handler that names the methods which the path has."""
    return fixed(Reply(405, JSON, b'{"detail":"Method Not Allowed"}', [(b"allow", ", ".join(allowed).encode())]))


def ping(call: Call) -> Reply:
    """Answer as MLflow's server: 200 if a model is loaded, else 404; 503 while the first one still is to be."""
    if not call.service.models.champions:
        call.service.models.check_started()
    return Reply(200 if call.service.models.champions else 404, JSON, b"\n")


def ready(call: Call) -> Reply:
    """Say whether every model answered its example row lately; 503 if there is none, or the server is about to end."""
    models = call.service.models
    call.service.check_all_ready()
    said: dict[str, Any] = {"status": "ready", "models": {model.name: model.version for model in models.champions.values()}}
    if models.loads_on_request:
        said |= {"listed": len(models.catalogue.listed), "failed": models.list_failed()}
    return reply_json(said)


async def metrics(call: Call) -> Reply:
    """Answer Prometheus; in a thread, because hundreds of models have thousands of numbers."""
    call.service.note_load()
    return Reply(200, METRICS_TYPE, await call.service.in_thread(render, call.service.settings.metrics_dir))


def models(call: Call) -> Reply:
    """List the loaded models with their contracts."""
    loaded = [*call.service.models.champions.values(), *call.service.models.challengers.values()]
    return reply_json({"models": [_describe(model) for model in loaded]})


def _describe(model: ServedModel) -> dict[str, Any]:
    metadata = model.bundle.metadata
    return {
        "name": model.name,
        "version": model.version,
        "aliases": [model.role],
        "digest": model.bundle.digest,
        "estimator": metadata.estimator,
        "engine": model.runtime.engine,
        "created_at": metadata.created_at,
        "metrics": metadata.metrics,
        "coverage": None if metadata.uncertainty is None else metadata.uncertainty.coverage,
        "card": {name: text for name, text in to_builtins(read_card(metadata.config)).items() if text},
        "contract": to_builtins(model.contract),
    }


async def feedback(call: Call) -> Reply:
    """Note true labels by prediction id; the same again changes nothing. Many are checked in a thread and logged in turns."""
    many = len(call.body) > SMALL_FEEDBACK_BYTES
    labels = await call.service.in_thread(_check_labels, call) if many else _check_labels(call)
    call.service.label_limits.take(call.caller, len(labels))
    batch = secrets.token_hex(BATCH_BYTES)
    for start in range(0, len(labels), LABELS_TOGETHER):
        if start:
            await asyncio.sleep(0)  # others' requests come between
        call.service.plane.record_labels(labels[start : start + LABELS_TOGETHER], call.caller.name, batch)
    return reply_json({"accepted": len(labels)})


def _check_labels(call: Call) -> list[tuple[str, bytes]]:
    """Return prediction id and JSON of each label, if all of them are good."""
    labels = _read_labels(call.body)
    checked = [(call.service.plane.ids.check(item["id"]), item) for item in labels]
    unlogged = sum(not found.logged for found, _ in checked)
    if unlogged:
        raise UnknownPredictionError(f"{unlogged} of these predictions are not in the log: sampling left them out")
    for _, item in checked:
        _check_label(call.service, item["label"])
    return [(item["id"], orjson.dumps(item["label"])) for item in labels]


def _read_labels(body: bytes) -> list[dict[str, Any]]:
    shape = f'expected {{"id": …, "label": …}}, or a list of 1 to {MAX_LABELS} of them'
    if count_values(body, MAX_FEEDBACK_VALUES) > MAX_FEEDBACK_VALUES:  # 700,000 empty lists hold up everybody
        raise ContractError(shape)
    try:
        labels = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ContractError("the body is not valid JSON") from None
    labels = [labels] if isinstance(labels, dict) else labels
    if not isinstance(labels, list) or not labels or len(labels) > MAX_LABELS:
        raise ContractError(shape)
    for item in labels:
        if not isinstance(item, dict) or item.keys() != {"id", "label"} or not isinstance(item["id"], str):
            raise ContractError('expected {"id": …, "label": …} for each label, and nothing else')
    return labels


def _check_label(service: Service, label: Any) -> None:
    """Refuse a label that is no class of any model here; numbers go where there is a regression model."""
    contracts = service.models.list_labels()
    for contract in contracts:
        if contract.is_classification and contract.find_class(label) is not None:
            return
        if not contract.is_classification and type(label) in (int, float):
            return
    known = [orjson.dumps(label).decode() for contract in contracts for label in contract.classes]
    hint = suggest(str(label)[:64], [str(item).strip('"') for item in known])
    raise ContractError(f"the label is none of {', '.join(known[:20])}{hint}" if known else "expected a number as label")


def v2_ready(call: Call) -> Reply:
    """Open Inference Protocol: all models are ready."""
    ready(call)
    return reply_json({"ready": True})


async def v2_model(call: Call) -> Reply:
    """Open Inference Protocol: a model's metadata."""
    model = await call.service.loads.find(call.arguments["name"], call.arguments.get("version"))
    return reply_json(call.service.describe_tensors(model))


def v2_model_ready(call: Call) -> Reply:
    """Open Inference Protocol: a model answers; one that is to be loaded first does, too."""
    name = call.arguments["name"]
    call.service.check_model(name, call.arguments.get("version"))
    return reply_json({"name": name, "ready": True})


def openapi(call: Call) -> Reply:
    """Describe the API: of the loaded model to whoever may ask it, else what all models have in common."""
    whole = bool(call.caller.roles & {"predict", "admin"}) and not call.service.hides_columns(call.caller)
    return Reply(200, JSON, call.service.api.find(whole=whole, prefix=call.prefix), PRIVATE)


def docs_file(call: Call) -> Reply:
    """Send one of Swagger UI's files."""
    content_type = DOCS_FILES.get(call.arguments["file"])
    if content_type is None:
        return NOT_FOUND
    try:
        vendor = importlib.resources.files("swagger_ui_bundle") / "vendor"
    except ModuleNotFoundError:
        raise RefusedError(404, "docs", "Swagger UI is not installed: pip install swagger-ui-bundle") from None
    folder = next(item for item in vendor.iterdir() if item.name.startswith("swagger-ui"))
    return Reply(200, content_type, (folder / call.arguments["file"]).read_bytes(), CACHED)
