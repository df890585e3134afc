"""The monitor over HTTP: health, metrics, status, reports, and Alertmanager's webhook."""

import contextlib
import hmac
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from mlops_project.errors import ContractError
from mlops_project.monitoring.service.metrics import MonitorMetrics

TOKEN_VARIABLE = "MONITOR_WEBHOOK_TOKEN"  # noqa: S105 - the name of a variable
MAX_BODY_BYTES = 1 << 20  # Alertmanager groups alerts; a thousand of them take less
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
# The report has styles of its own and nothing else.
REPORT_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonitorBackend:
    """What the service asks the monitor for. Each is called from several threads.

    Attributes
    ----------
    metrics
        The monitor's numbers.
    is_ready
        Whether what was found before the start is shown again.
    read_status
        → what ``/status`` says, apart from the evaluations: plain values or structs.
    read_report
        Model → its report; None if there is none.
    handle_alert
        Body of a notification → what was done. Raises ContractError if it is none.
    """

    metrics: MonitorMetrics
    is_ready: Callable[[], bool]
    read_status: Callable[[], dict[str, Any]]
    read_report: Callable[[str], bytes | None]
    handle_alert: Callable[[bytes], dict[str, Any]]


def build_service(backend: MonitorBackend, root_path: str = "") -> Starlette:
    """Return the ASGI application.

    Parameters
    ----------
    root_path
        Prefix that a proxy may leave on the paths; they are answered without it as well.
    """

    async def health(_: Request) -> Response:
        return _answer(200, {"status": "ok"}) if backend.is_ready() else _answer(503, {"status": "starting"})

    def metrics(_: Request) -> Response:
        return Response(backend.metrics.render(), headers={"content-type": TEXT_FORMAT})

    def status(_: Request) -> Response:
        return _answer(200, {"evaluations": backend.metrics.newest, **backend.read_status()})

    def report(request: Request) -> Response:
        model = request.path_params["model"]
        page = backend.read_report(model) if model in backend.metrics.newest else None
        if page is None:
            known = ", ".join(sorted(backend.metrics.newest)) or "none yet"
            raise HTTPException(404, f"no window of a model of this name was evaluated; models: {known}")
        return Response(page, media_type="text/html", headers=REPORT_HEADERS)

    async def alerts(request: Request) -> Response:
        _check_token(request.headers.get("authorization", ""))
        body = await _read_body(request)
        try:
            done = await run_in_threadpool(backend.handle_alert, body)
        except ContractError as error:
            raise HTTPException(400, str(error)) from error
        return _answer(202, done)

    routes = [
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/status", status),
        Route("/report/{model}", report),
        Route("/alerts", alerts, methods=["POST"]),
    ]
    prefixed = [Mount(root_path, routes=routes)] if root_path else []
    return Starlette(routes=[*routes, *prefixed], exception_handlers={HTTPException: _refuse, Exception: _fail})


def build_server(app: Any) -> Any:
    """Return uvicorn's server without its signal handlers: they would end the process with the signal's code, not with 0."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    options: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False, "lifespan": "off"}
    return Server(uvicorn.Config(app, timeout_graceful_shutdown=1, **options))


def _check_token(authorization: str) -> None:
    expected = os.environ.get(TOKEN_VARIABLE, "")
    if not expected:
        raise HTTPException(
            403, f"alerts are not taken: start the monitor with {TOKEN_VARIABLE} set, and send it as Bearer token"
        )
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), expected.encode()):
        raise HTTPException(401, "expected the header Authorization: Bearer <token>", {"www-authenticate": "Bearer"})


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"a notification may have {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _answer(status: int, content: Any) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for these alone
    answer = _answer(error.status_code, {"error": error.detail})
    answer.headers.update(error.headers or {})
    return answer


async def _fail(request: Request, error: Exception) -> Response:
    logger.error("%s failed: %s: %s", request.url.path, type(error).__name__, error)
    return _answer(500, {"error": "the monitor failed at this; its log says why"})
