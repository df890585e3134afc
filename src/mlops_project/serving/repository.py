"""The Open Inference Protocol's model repository: which models there are, and loading and unloading them by name."""

from typing import Any

from mlops_project.serving.catalogue import Listed, UnknownModelError
from mlops_project.serving.endpoints import Call
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.replies import Reply, reply_json
from mlops_project.serving.service import Service

FOLLOWS = "this server loads every model at its start (serving.models.load); promote or roll back in the registry"


def index(call: Call) -> Reply:
    """List every model with its state: READY, LOADING, UNAVAILABLE."""
    service = call.service
    if service.models.loads_on_request:
        entries = [_find_state(service, item) for item in service.models.catalogue.listed.values()]
    else:
        loaded = [*service.models.champions.values(), *service.models.challengers.values()]
        entries = [_describe(model.name, model.version, "READY") for model in loaded]
    listed = {entry["name"] for entry in entries}
    failed = [name for name in service.models.list_failed() if name not in listed]
    reason = "it could not be read; the server's log has the reason"
    return reply_json(entries + [_describe(name, "", "UNAVAILABLE", reason) for name in failed])


def _find_state(service: Service, item: Listed) -> dict[str, Any]:
    models = service.models.challengers if item.source.role == "challenger" else service.models.champions
    loaded = models.get(item.name)
    if loaded is not None and loaded.version == item.version:
        return _describe(item.name, item.version, "READY", loaded.failure and "it does not answer its own example row")
    if item.source.key[0] in service.loads.loading:
        return _describe(item.name, item.version, "LOADING")
    failed = service.models.find_failure(item.source.key)
    reason = "it could not be loaded; the server's log has the reason" if failed else "the next request loads it"
    return _describe(item.name, item.version, "UNAVAILABLE", reason)


def _describe(name: str, version: str, state: str, reason: str = "") -> dict[str, Any]:
    return {"name": name, "version": version, "state": state, "reason": reason}


async def load(call: Call) -> Reply:
    """Load a model."""
    _check_lazy(call.service)
    await call.service.loads.find(call.arguments["name"])
    return reply_json({})


async def unload(call: Call) -> Reply:
    """Take a model out of memory; the next request loads it again."""
    _check_lazy(call.service)
    name = call.arguments["name"]
    listed = call.service.models.catalogue.find(name)
    if not listed:
        raise UnknownModelError("no model of this name is here")
    await call.service.loads.unload(listed[0].source.key[0])
    return reply_json({})


def _check_lazy(service: Service) -> None:
    if not service.models.loads_on_request:
        raise RefusedError(501, "repository", FOLLOWS)
