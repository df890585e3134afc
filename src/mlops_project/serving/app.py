"""The ASGI application: everything but small predictions is answered here, and the server starts and ends."""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mlops_project.errors import MLOpsError
from mlops_project.serving.answer import Answer
from mlops_project.serving.bodies import Disconnected, Receive, decompress, find_coding, read_body
from mlops_project.serving.endpoints import Call
from mlops_project.serving.refusals import OVERLOAD
from mlops_project.serving.replies import Reply, check_request_id, new_request_id, reply_answer, reply_error, reply_fault
from mlops_project.serving.route import Route
from mlops_project.serving.routes import find_route
from mlops_project.serving.service import Service
from mlops_project.serving.settings import Settings
from mlops_project.serving.short_way import RequestQueue
from mlops_project.serving.wires import Question, Wire
from mlops_project.wire.open_inference import parse_header_length

HOUSEKEEPING_SECONDS = 1.0
TRY_SECONDS = 1.0

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class App:
    """One worker's application.

    Attributes
    ----------
    service
        What it shares with the short way.
    queue
        Where requests on the short way wait.
    grpc
        The ``GrpcServer``, where that port is on and the application runs.
    """

    def __init__(self, settings: Settings) -> None:
        self.service = Service(settings)
        self.queue = RequestQueue(self.service)
        self._settings = settings.serving
        self._chores: list[asyncio.Task[None]] = []
        self.grpc: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's start and end."""
        if scope["type"] != "http":
            await self._live(receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        finally:
            self.service.admission.n_working -= scope.get("admitted", False)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        method, headers = scope["method"], dict(scope["headers"])
        route, arguments = find_route(method, scope["path"])
        request_id = check_request_id(headers[b"x-request-id"]) if b"x-request-id" in headers else None
        try:
            if route.handle is None:
                answer = await self._predict(route, arguments, headers, scope, receive)
                request_id = request_id or answer.id.encode()
                reply = reply_answer(answer)
            else:
                caller = self.service.check_key(route, headers)
                body = await self._read_body(route, headers, scope, receive) if route.method == "POST" else b""
                prefix = self.service.proxies.find_prefix(headers, scope.get("client"))
                handled = route.handle(Call(self.service, arguments, body, caller, prefix))
                reply = handled if isinstance(handled, Reply) else await handled
        except Disconnected:
            return
        except MLOpsError as error:
            self.service.count_refusal(error)
            request_id = request_id or new_request_id()
            reply = reply_error(self.service.show(error, headers), route.wire, request_id)
        except Exception:
            request_id = request_id or new_request_id()
            logger.exception("request %s failed", request_id.decode())
            reply = reply_fault(route.wire, request_id)
        request_id = request_id or new_request_id()
        response_headers = [
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", request_id),
            *reply.headers,
        ]
        if self.service.draining:
            response_headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": response_headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})
        self.service.count(route, reply.status, request_id, started, headers, scope.get("client"))

    async def _predict(
        self, route: Route, arguments: dict[str, str], headers: dict[bytes, bytes], scope: Scope, receive: Receive
    ) -> Answer:
        if not scope.get("admitted", True):
            raise OVERLOAD
        self.service.check_key(route, headers)
        model = await self.service.loads.find(arguments.get("name"), arguments.get("version"))
        body = await self._read_body(route, headers, scope, receive)
        question = Question(
            route.wire or "native",
            body,
            self._hint(route.wire, headers, len(body)),
            sticky=headers.get(self.service.sticky_header) if self.service.sticky_header else None,
            pinned="version" in arguments,
        )
        if b"idempotency-key" in headers:
            question = self.service.add_key(question, route, headers)
        return await self.service.answer(model, question, headers)

    def _hint(self, wire: Wire | None, headers: dict[bytes, bytes], length: int) -> Any:
        """Return what is needed to read the body."""
        if wire == "mlflow":
            content_type = headers.get(b"content-type")
            return None if content_type is None else content_type.decode("latin-1")
        if wire == "open_inference" and b"inference-header-content-length" in headers:
            return parse_header_length(headers[b"inference-header-content-length"].decode("latin-1"), length)
        return None

    async def _read_body(self, route: Route, headers: dict[bytes, bytes], scope: Scope, receive: Receive) -> bytes:
        """Return a request's body, decompressed; that is done in a thread, because little can become much."""
        limit = min(self._settings.max_body_bytes, route.max_body_bytes or self._settings.max_body_bytes)
        body = await read_body(headers, receive, limit)
        coding = find_coding(scope["headers"]) if b"content-encoding" in headers else None
        if coding is None:
            return body
        return await self.service.in_thread(decompress, body, coding, limit, self._settings.max_compression_ratio)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Load models at the start; stop what runs at the end."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                first = asyncio.create_task(self._load_first())
                await asyncio.wait([first], timeout=self.service.settings.proof.seconds)
                if first.done():
                    first.result()
                else:
                    logger.warning("models are still being loaded; requests for them get 503 meanwhile")
                await self._start_grpc()
                self._chores = [asyncio.create_task(self._keep_house(first)), asyncio.create_task(self._try_models()), first]
                await send({"type": "lifespan.startup.complete"})
            else:
                for chore in self._chores:
                    chore.cancel()
                if self.grpc is not None:
                    await self.grpc.stop()
                self.service.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _load_first(self) -> None:
        """Load the models that are there."""
        await asyncio.get_running_loop().run_in_executor(None, self.service.models.refresh)
        gc.freeze()  # what is here stays: libraries, and models, which are freed by their references

    async def _start_grpc(self) -> None:
        """Listen for gRPC where the settings say so; until the server begins to end."""
        at_close = getattr(asyncio.get_running_loop(), "at_close", [])  # of a DrainingLoop
        at_close.append(self.service.drain)
        if self._settings.grpc_port is not None:
            from mlops_project.serving.grpc_server import GrpcServer

            self.grpc = GrpcServer(self.service, self.queue)
            await self.grpc.start()
            at_close.append(self.grpc.begin_stop)

    async def _keep_house(self, first: "asyncio.Task[None]") -> None:
        """Look for new models once the first ones are loaded, close slow connections and old log segments, forever."""
        loop = asyncio.get_running_loop()
        next_look = 0.0
        while True:
            await asyncio.sleep(min(HOUSEKEEPING_SECONDS, self._settings.poll_seconds))
            now = loop.time()
            try:
                if now >= next_look and first.done():
                    next_look = now + self._settings.poll_seconds
                    await loop.run_in_executor(None, self.service.models.refresh)
                self.service.plane.tick(now)
                self.service.refusals.say()
                self.service.watch_connections(now)
                if self.service.tls is not None:
                    await loop.run_in_executor(None, self.service.tls.renew)
                if self.grpc is not None:
                    await self.grpc.note_health()
            except Exception:
                logger.exception("housekeeping failed; it goes on")

    async def _try_models(self) -> None:
        """Let every model answer its example row now and then; apart, so that loading another one holds up no probe."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TRY_SECONDS)
            try:
                await loop.run_in_executor(None, self.service.models.try_models)
            except Exception:
                logger.exception("a model could not be tried; it goes on")
