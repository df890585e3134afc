"""The tracking server: MLflow's own ASGI application, and around it what Prometheus needs. ``mlflow server --app-name mlops``.

``mlops-basic-auth`` is the same around MLflow's application with users and passwords. ``/metrics`` is answered here, before
MLflow's checks of host and password: Prometheus asks by a pod's address. Everything else passes through unchanged.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlops_project.errors import MLOpsError, TrackingError
from mlops_project.process import end_with_parent
from mlops_project.tracking.changes import Change, start_recording, watch_tables
from mlops_project.tracking.server_metrics import TrackingMetrics, prepare_folder
from mlops_project.tracking.server_routes import Routes
from mlops_project.tracking.server_threads import limit_threads

METRICS_PATH = "/metrics"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
CLIENT_LEFT = 499  # nginx's number; HTTP has none for it
OPEN_PATHS = ("/mlflow/server-info", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect")
LOGIN_PATH = "/version"  # answers every user who is logged in
DRAIN_VARIABLE = "TRACKING_DRAIN_FILE"  # names a file that whoever is about to stop the server makes; see k8s/base/mlflow
SERVER_VARIABLE = "_MLFLOW_SGI_NAME"  # `mlflow server` says there which server it starts


def create_app() -> ASGIApp:
    """Return MLflow's application with metrics: the entry point ``mlops`` of the group ``mlflow.app``."""
    return _create(_load_plain)


def create_basic_auth_app() -> ASGIApp:
    """Return MLflow's application with users, passwords and metrics: the entry point ``mlops-basic-auth``."""
    return _create(_load_basic_auth)


def _create(load: Callable[[], Any]) -> ASGIApp:
    """Build the application, or end this process such that uvicorn gives up and does not start it again for ever."""
    from uvicorn.config import STARTUP_FAILURE

    try:
        return _build(load)
    except MLOpsError as error:
        logging.getLogger("uvicorn.error").error("%s", error)  # noqa: TRY400 - for people, so no traceback
        raise SystemExit(STARTUP_FAILURE) from error


def _build(load: Callable[[], Any]) -> ASGIApp:
    server = os.environ.get(SERVER_VARIABLE, "uvicorn")
    if server != "uvicorn":
        raise TrackingError(f"this application runs under uvicorn, not {server}; leave out --{server}-opts")
    end_with_parent()
    if file := os.environ.get(DRAIN_VARIABLE):
        Path(file).unlink(missing_ok=True)  # of a container before this one in the same pod
    metrics = TrackingMetrics(prepare_folder())
    from mlflow.exceptions import MlflowException

    try:
        app = load()
    except MlflowException as error:
        raise TrackingError(f"MLflow: {' '.join(error.message.split())}") from error
    from mlflow.server import app as flask_app

    watch_tables()
    return MeteredApp(app, metrics, Routes(app, flask_app))


def _load_plain() -> Any:
    from mlflow.server.fastapi_app import app

    return app


def _load_basic_auth() -> Any:
    os.environ.setdefault("MLFLOW_AUTH_CONFIG_PATH", str(Path(__file__).with_name("basic_auth.ini")))
    try:
        from mlflow.server.auth import create_app as create_mlflow_app
    except ModuleNotFoundError as error:
        raise TrackingError(f"{error.name} is not installed; users and passwords need: pip install 'mlflow[auth]'") from error
    return LoginFirst(create_mlflow_app())


class LoginFirst:
    """Asks for the password where MLflow's application with users answers without one: what the server is and holds.

    Whether a request may pass is asked of MLflow itself, by its headers on a path that every user may read: any way of
    logging in counts.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.routes = app.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith(OPEN_PATHS):
            answer: list[Message] = []
            path = f"{scope.get('root_path', '')}{os.environ.get('_MLFLOW_STATIC_PREFIX', '')}{LOGIN_PATH}"
            probe = dict(scope) | {"method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
            await self._app(probe, _receive_nothing, _keep_in(answer))
            if answer[0]["status"] != 200:
                for message in answer:
                    await send(message)
                return
        await self._app(scope, receive, send)


async def _receive_nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _keep_in(messages: list[Message]) -> Send:
    async def send(message: Message) -> None:
        messages.append(message)

    return send


def _is_draining() -> bool:
    """Whether this server is about to be stopped: kept connections end with their next answer, so none is cut then."""
    file = os.environ.get(DRAIN_VARIABLE)
    return file is not None and os.path.exists(file)  # noqa: PTH110 - asked at every request


class MeteredApp:
    """Counts what passes through an ASGI application, and answers ``/metrics``."""

    def __init__(self, app: ASGIApp, metrics: TrackingMetrics, routes: Routes) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; lifespans and websockets pass through."""
        if scope["type"] == "lifespan":
            limit_threads()
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        method, template = self._routes.resolve(scope["method"], path)
        app: ASGIApp = self._app
        if path == METRICS_PATH:
            template, app = path, self._answer_metrics
        exchange = Exchange(receive, send, partial(self._count_changes, start_recording()), is_last=_is_draining())
        self._metrics.in_flight.inc()
        try:
            await app(scope, exchange.receive, exchange.send)
        except BaseException:
            exchange.failed = True
            raise
        finally:
            self._metrics.in_flight.dec()
            self._metrics.count_request(method, template, exchange.status, time.perf_counter() - started)

    def _count_changes(self, changes: list[Change], status: int) -> None:
        if 200 <= status < 300:
            for metric, *labels in changes:
                self._metrics.count_change(metric, *labels)

    async def _answer_metrics(self, scope: Scope, _receive: Receive, send: Send) -> None:
        allowed = scope["method"] in ("GET", "HEAD")
        body = await asyncio.to_thread(self._metrics.render) if allowed else b""
        headers = [(b"content-type", CONTENT_TYPE), (b"content-length", str(len(body)).encode())]
        if not allowed:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": 200 if allowed else 405, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class Exchange:
    """Watches one request and its answer.

    Parameters
    ----------
    on_answer
        Called with the status just before the answer's first byte is handed over.
    is_last
        Whether the connection is to end with this answer.

    Attributes
    ----------
    failed
        Whether the application raised.
    """

    def __init__(self, receive: Receive, send: Send, on_answer: Callable[[int], None], *, is_last: bool = False) -> None:
        self._receive, self._send, self._on_answer, self._is_last = receive, send, on_answer, is_last
        self._status: int | None = None
        self._client_left = False
        self.failed = False

    @property
    def status(self) -> int:
        """What the answer was: 500 for an error, also one in its middle; 499 if the client left and that ended it."""
        if self._status is not None and not self.failed:
            return self._status
        return CLIENT_LEFT if self._client_left else 500

    async def receive(self) -> Message:
        """Pass on a message from the client."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._client_left = True
        return message

    async def send(self, message: Message) -> None:
        """Pass on a message to the client."""
        if message["type"] == "http.response.start":
            self._status = status = message["status"]
            self._on_answer(status)
            if self._is_last:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await self._send(message)
