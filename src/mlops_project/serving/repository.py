"""The Open Inference Protocol's model repository: which models there are, and loading and unloading them by name."""

import contextlib
from typing import Any

import msgspec

from mlops_project.serving.catalogue import Listed, UnknownModelError
from mlops_project.serving.endpoints import Call
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.replies import Reply, reply_json
from mlops_project.serving.service import Service

FOLLOWS = "this server loads every model at its start (serving.models.load); promote or roll back in the registry"


def index(call: Call) -> Reply:
    """List every model with its state: READY, LOADING, UNAVAILABLE; only those that are READY if the body asks for that."""
    return reply_json(list_models(call.service, ready=_asks_for_ready(call.body)))


def _asks_for_ready(body: bytes) -> bool:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        asked = msgspec.json.decode(body)
        return isinstance(asked, dict) and asked.get("ready") is True
    return False


def list_models(service: Service, *, ready: bool = False) -> list[dict[str, Any]]:
    """Return of every model name, version, state and the reason for it; only those that are READY if that is asked for."""
    if service.models.loads_on_request:
        entries = [_find_state(service, item) for item in service.models.catalogue.listed.values()]
    else:
        loaded = [*service.models.champions.values(), *service.models.challengers.values()]
        entries = [_describe(model.name, model.version, "READY") for model in loaded]
    listed = {entry["name"] for entry in entries}
    failed = [name for name in service.models.list_failed() if name not in listed]
    reason = "it could not be read; the server's log has the reason"
    entries += [_describe(name, "", "UNAVAILABLE", reason) for name in failed]
    return [entry for entry in entries if not ready or entry["state"] == "READY"]


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
    await load_model(call.service, call.arguments["name"])
    return reply_json({})


async def unload(call: Call) -> Reply:
    """Take a model out of memory; the next request loads it again."""
    await unload_model(call.service, call.arguments["name"])
    return reply_json({})


async def load_model(service: Service, name: str) -> None:
    """Load a model into this worker's memory.

    Raises
    ------
    RefusedError
        If this server loads every model at its start; or as ``ModelLoads.find``.
    MLOpsError
        As ``ModelLoads.find``.
    """
    _check_lazy(service)
    await service.loads.find(name)


async def unload_model(service: Service, name: str) -> None:
    """Take a model out of this worker's memory; the next request loads it again.

    Raises
    ------
    RefusedError
        If this server loads every model at its start.
    UnknownModelError
        If there is none of this name.
    """
    _check_lazy(service)
    listed = service.models.catalogue.find(name)
    if not listed:
        raise UnknownModelError("no model of this name is here")
    await service.loads.unload(listed[0].source.key[0])


def _check_lazy(service: Service) -> None:
    if not service.models.loads_on_request:
        raise RefusedError(501, "repository", FOLLOWS)
