"""The ASGI application: routes, bodies, keys, limits, request ids, metrics. What a request means the data plane knows."""

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mlops_project.errors import MLOpsError
from mlops_project.serving import metrics as names
from mlops_project.serving.admission import Admission
from mlops_project.serving.bodies import Disconnected, Receive, decompress, find_coding, read_body
from mlops_project.serving.connections import ConnectionPlaces
from mlops_project.serving.dataplane import Answer, DataPlane
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.handlers import ApiViews, Call
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.model import ServedModel
from mlops_project.serving.quick import Desk
from mlops_project.serving.refusals import OVERLOAD, Refusals
from mlops_project.serving.reload import Shelf
from mlops_project.serving.replies import Reply, check_request_id, new_request_id, reply_answer, reply_error, reply_fault
from mlops_project.serving.routes import Route, find_route
from mlops_project.serving.settings import ALL_ROLES, Role, Settings
from mlops_project.serving.tracing import build_tracer
from mlops_project.serving.wires import Question, Wire
from mlops_project.wire.limits import TooLargeError

SMALL_BODY_BYTES = 32 * 1024  # larger ones are answered in a thread, so that small ones need not wait for them
HOUSEKEEPING_SECONDS = 1.0
TRY_SECONDS = 1.0

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("mlops_project.access")

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Result = TypeVar("Result")


class App:
    """One worker's application.

    Attributes
    ----------
    draining
        Whether the server is on its way out: responses then close their connection.
    desk
        Where requests on the short way wait; its admission counts those on the long way as well.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.draining = False
        self.metrics = ServerMetrics(settings.metrics_dir)
        self.shelf = Shelf(settings, self.metrics)
        self.plane = DataPlane(settings, self.shelf, self.metrics)
        self.api = ApiViews(self.shelf, secured=bool(settings.keys))
        refusals = Refusals(self.metrics, logged=settings.serving.access_log != "none")
        self.desk = Desk(self, Admission(settings.serving.max_wait_seconds, settings.serving.max_waiting), refusals)
        self._threads = ThreadPoolExecutor(max(1, os.cpu_count() or 1), "batch")
        self._tracer = build_tracer()
        self._state: Any = None
        self._places: ConnectionPlaces | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._keys = bool(settings.keys)
        self._max_body = settings.serving.max_body_bytes
        self._shadows = settings.serving.challenger == "shadow"
        self._log_all, self._log_errors = (settings.serving.access_log == "all", settings.serving.access_log != "none")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's start and end."""
        if scope["type"] != "http":
            await self._live(receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        finally:
            self.desk.admission.n_working -= scope.get("admitted", False)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        method, headers = scope["method"], dict(scope["headers"])
        route, arguments = find_route(method, scope["path"])
        request_id = check_request_id(headers[b"x-request-id"]) if b"x-request-id" in headers else None
        try:
            if route.wire is not None:
                answer = await self._predict(route, arguments, headers, scope, receive)
                request_id = request_id or answer.id.encode()
                reply = reply_answer(answer)
            else:
                roles = self._check_key(route, headers)
                body = await self._read_body(route, headers, scope, receive) if route.method == "POST" else b""
                handled = route.handle(Call(self, arguments, body, roles))
                reply = handled if isinstance(handled, Reply) else await handled
        except Disconnected:
            return
        except MLOpsError as error:
            self.count_refusal(error)
            request_id = request_id or new_request_id()
            reply = reply_error(error, route.wire, request_id)
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
        if self.draining:
            response_headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": response_headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})
        self.count(route, reply.status, request_id, started, headers, scope.get("client"))

    async def _predict(
        self, route: Route, arguments: dict[str, str], headers: dict[bytes, bytes], scope: Scope, receive: Receive
    ) -> Answer:
        if not scope.get("admitted", True):
            raise OVERLOAD
        model = self.admit(route, headers, arguments)
        body = await self._read_body(route, headers, scope, receive)
        question = Question(route.wire or "native", body, self._hint(route.wire, headers, len(body)))
        if len(body) <= SMALL_BODY_BYTES:
            answer = self.plane.answer(model, question)
        else:
            answer = await self.in_thread(self.plane.answer, model, question)
        self.plane.record(question, answer)
        self.shadow(question, answer)
        return answer

    # --- what both ways of a request share ---

    def admit(self, route: Route, headers: dict[bytes, bytes], arguments: "dict[str, str] | None" = None) -> ServedModel:
        """Check the key and return the model that is asked for.

        Raises
        ------
        RefusedError, NoModelError, UnknownModelError
            If the key does not fit, or there is no such model.
        """
        self._check_key(route, headers)
        return self.shelf.find(arguments.get("name"), arguments.get("version")) if arguments else self.shelf.find()

    def shadow(self, question: Question, answer: Answer) -> None:
        """Let the challenger answer as well, if it is to, once the response has left."""
        challenger = self.plane.wants_shadow(answer.model) if self._shadows else None
        if challenger is None:
            return
        loop = asyncio.get_running_loop()

        def work() -> None:
            shadow = self.plane.shadow(challenger, question)
            loop.call_soon_threadsafe(self.plane.record_shadow, question, shadow, answer.id)

        self._threads.submit(work)

    def count_refusal(self, error: MLOpsError) -> None:
        """Count a request that is refused before the model sees it."""
        if isinstance(error, RefusedError | TooLargeError):
            self.metrics.add(names.REFUSED, 1.0, error.reason)

    def count(
        self, route: Route, status: int, request_id: bytes, started: float, headers: dict[bytes, bytes], client: Any
    ) -> None:
        """Count a request that was answered; log and trace it if it is to be."""
        seconds = time.perf_counter() - started
        self.metrics.count_request(route.method, route.template, status, seconds)
        if self._tracer is not None:
            self._tracer.record(route, status, request_id, seconds, headers.get(b"traceparent"))
        if self._log_all or (status >= 400 and self._log_errors):
            entry = {"request_id": request_id.decode(), "method": route.method, "path": route.template, "status": status}
            more = {"milliseconds": round(seconds * 1e3, 3), "client": client[0] if client else ""}
            access_logger.info(json.dumps(entry | more))

    def _hint(self, wire: Wire | None, headers: dict[bytes, bytes], length: int) -> Any:
        """Return what is needed to read the body."""
        if wire == "mlflow":
            content_type = headers.get(b"content-type")
            return None if content_type is None else content_type.decode("latin-1")
        if wire == "open_inference" and b"inference-header-content-length" in headers:
            from mlops_project.wire.open_inference import parse_header_length

            return parse_header_length(headers[b"inference-header-content-length"].decode("latin-1"), length)
        return None

    async def _read_body(self, route: Route, headers: dict[bytes, bytes], scope: Scope, receive: Receive) -> bytes:
        """Return a request's body, decompressed; that is done in a thread, because little can become much."""
        limit = min(self._max_body, route.max_body_bytes or self._max_body)
        body = await read_body(headers, receive, limit)
        coding = find_coding(scope["headers"]) if b"content-encoding" in headers else None
        if coding is None:
            return body
        return await self.in_thread(decompress, body, coding, limit, self.settings.serving.max_compression_ratio)

    async def in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do what takes long without holding up other requests.

        Raises
        ------
        RefusedError
            If it takes longer than a request may.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.settings.serving.request_seconds):
                # Without a name for the future: with one, an error that it holds would keep this frame, and the body, alive.
                return await loop.run_in_executor(self._threads, work, *arguments)
        except TimeoutError:
            raise RefusedError(504, "slow", "the answer took too long; send fewer rows") from None

    def _check_key(self, route: Route, headers: dict[bytes, bytes]) -> frozenset[Role]:
        """Return the roles of the caller's key; all where this server asks for none."""
        if not self._keys:
            return ALL_ROLES
        roles = self.settings.find_roles(headers.get(b"authorization", b"").decode("latin-1"))
        if not route.roles or roles & route.roles:
            return roles
        if not roles:
            raise RefusedError(401, "key", "this server asks for a key: send it as `Authorization: Bearer KEY`")
        own, asked = " and ".join(sorted(roles)), " or ".join(sorted(route.roles, reverse=True))
        raise RefusedError(403, "key", f"this key has the role {own}, and this asks for {asked}; use another key")

    # --- the server's life ---

    def drain(self) -> None:
        """Close connections with their next response."""
        self.draining = self.desk.refusals.draining = True

    def watch(self, state: Any) -> ConnectionPlaces:
        """Remember uvicorn's sets of connections and tasks; return the places of its connections."""
        if self._state is not state or self._places is None:
            self._state, self._places = state, ConnectionPlaces(self.settings.serving, state.connections)
        return self._places

    async def _live(self, receive: Receive, send: Send) -> None:
        """Load models at the start; stop what runs at the end."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.shelf.refresh()
                self._chores = [asyncio.create_task(self._keep_house()), asyncio.create_task(self._try_models())]
                await send({"type": "lifespan.startup.complete"})
            else:
                for chore in self._chores:
                    chore.cancel()
                self._threads.shutdown(wait=True, cancel_futures=True)
                self.plane.close()
                if self._tracer is not None:
                    self._tracer.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _keep_house(self) -> None:
        """Look for new models, close slow connections and old log segments, forever."""
        loop = asyncio.get_running_loop()
        next_look = 0.0
        while True:
            await asyncio.sleep(min(HOUSEKEEPING_SECONDS, self.settings.serving.poll_seconds))
            now = loop.time()
            try:
                if now >= next_look:
                    next_look = now + self.settings.serving.poll_seconds
                    await loop.run_in_executor(None, self.shelf.refresh)
                self.plane.tick(now)
                self.desk.refusals.say()
                self._watch_connections(now)
            except Exception:
                logger.exception("housekeeping failed; it goes on")

    async def _try_models(self) -> None:
        """Let every model answer its example row now and then; apart, so that loading another one holds up no probe."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TRY_SECONDS)
            try:
                await loop.run_in_executor(None, self.shelf.try_models)
            except Exception:
                logger.exception("a model could not be tried; it goes on")

    def _watch_connections(self, now: float) -> None:
        if self._state is None or self._places is None:
            return
        for connection in list(self._state.connections):
            connection.close_if_slow(now, self.settings.serving.request_seconds)
        self._places.sweep(now)
        self.note_load()

    def note_load(self) -> None:
        """Set the gauges of what is going on now."""
        self.metrics.put_time(names.CLOCK)
        if self._state is not None:
            self.metrics.put(names.IN_FLIGHT, len(self._state.tasks) + self.desk.n_waiting)
            self.metrics.put(names.CONNECTIONS, len(self._state.connections))
