"""uvicorn's HTTP protocol with checks of a request's head, limits on clients, and a shutdown that drops no request."""

import asyncio
import math
import time
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mlops_project.serving.connections import busy
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.heads import (
    MAX_HEADERS,
    VERSIONS,
    check_host,
    check_progress,
    check_size,
    explain_garbage,
    find_target,
    refuse_version,
    write_head,
)
from mlops_project.serving.proxies import strip_prefix
from mlops_project.serving.refusals import RefusedCall, begin_refusal
from mlops_project.serving.replies import Reply, build_response, new_request_id, reply_error
from mlops_project.serving.route import Route
from mlops_project.serving.routes import UNKNOWN, find_route
from mlops_project.serving.short_way import QUICK_ROUTES, QuickCall, find_quick_route

DRAIN_IDLE_SECONDS = 1.0  # a client may be sending on a connection that looks idle here
LINGER_SECONDS = 2.0  # a connection closed with unread data is reset, and its client may lose the answer it has not read yet
SLOW = RefusedError(408, "slow", "the request came too slowly")


class GuardedProtocol(HttpToolsProtocol):
    """One connection.

    Attributes
    ----------
    since
        Loop time since which a request is coming in (or, at first, the connection waits for one); None while none is.
    address
        The client's.
    """

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.since: float | None = self.loop.time()
        self._idle_since = math.inf  # loop time since which all is answered; infinite while something is not
        self._blocked_since: float | None = None
        self._refusal: RefusedError | None = None  # why nothing more is read; sent once what came before is answered
        self._in_head = self._upgrading = False
        self._n_silent = self._n_new = 0  # bytes in a row that were no body's; bytes that came last
        self.url, self.headers = b"", []
        self.address = ""
        self._max_head = config.app_settings.max_head_bytes
        self._root = config.app_settings.root_path.encode()  # a prefix that a proxy may leave on targets
        self._service, self._queue = config.loaded_app.service, config.loaded_app.queue
        self._places = self._service.watch(server_state)

    # --- what comes in ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Accept the connection. If there are too many, another one is closed for it, or it gets a place for probes only."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._places.enter(self, self.loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._places.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes that came; those after a refusal are dropped."""
        if self._refusal is not None:
            return
        if self.since is None:
            self.since = self.loop.time()
        self._n_new = len(data)
        self._n_silent += self._n_new
        try:
            self.parser.feed_data(data)
            if self.since is not None:
                check_progress(self.url if self._in_head else b"", self.headers, self._n_silent, self._max_head)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__
            self.refuse(cause if isinstance(cause, RefusedError) else explain_garbage(data, str(error)))
        except RefusedError as refusal:
            self.refuse(refusal)

    def on_message_begin(self) -> None:
        """Start the clock of a request."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self.since, self._idle_since, self._in_head = self.loop.time(), math.inf, True

    def on_headers_complete(self) -> None:
        """Check the head; send small predictions the short way, everything else the long one."""
        if self._root:
            self.url = strip_prefix(self.url, self._root)
        if self._service.admission.is_full and self._refuse_by_head():
            return
        headers, found, parser = self.headers, dict(self.headers), self.parser
        if self._n_silent + self._n_new > self._max_head or len(headers) > MAX_HEADERS:
            check_size(self.url, headers, self._max_head)
        version, method = parser.get_http_version(), parser.get_method()
        if version not in VERSIONS:
            raise refuse_version(version)
        check_host(headers, found, version)
        if parser.should_upgrade():
            if method == b"CONNECT":
                raise RefusedError(405, "http", "this server is no proxy, so it does not answer CONNECT; ask it directly")
            self._upgrading = True
            return
        if not self.url.startswith(b"/"):
            self.url = find_target(self.url)
            if self._root:
                self.url = strip_prefix(self.url, self._root)
        probing = self in self._places.reserved and self._check_probe(method)
        free = (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
        route = find_quick_route(self.url, method, found) if free else None
        if method == b"POST":
            self._queue.begin()
        if route is None:
            self._begin_scope()
            super().on_headers_complete()
        else:
            self.cycle = QuickCall(self, self._queue, route, found, parser.should_keep_alive())  # type: ignore[assignment]
        self._in_head = False
        self.headers = []  # for the trailers, which must not be added to the headers
        if probing:
            self.cycle.keep_alive = False

    def _begin_scope(self) -> None:
        """Let uvicorn make the request's scope, which only the ASGI application needs; keep what was read of the head."""
        head = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = head
        self.scope["headers"] = self.headers

    def _refuse_by_head(self) -> bool:
        """Refuse a request because of overload before its head is checked; return whether that was done.

        Not refused here: routes without a key (probes, metrics), and requests that the ASGI application has to handle.
        """
        parser = self.parser
        is_free = (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
        if not is_free or parser.get_method() != b"POST" or parser.should_upgrade() or self in self._places.reserved:
            return False
        route = QUICK_ROUTES.get(self.url) or self._find_post()
        if not route.roles or len(self.headers) > MAX_HEADERS:
            return False
        call = begin_refusal(self, route, self.headers, keep_alive=parser.should_keep_alive())
        self.cycle = call  # type: ignore[assignment]
        self._queue.refuse(call)
        self._in_head = False
        self.headers = []
        return True

    def _find_post(self) -> Route:
        return find_route("POST", self.url.partition(b"?")[0].decode("latin-1"))[0]

    def _check_probe(self, method: bytes) -> bool:
        """Move to an ordinary place if one is free, and return False; else refuse all but probes, and return True."""
        if self._places.promote(self, self.loop.time()):
            return False
        path = self.url.partition(b"?")[0].decode("latin-1")
        if find_route(method.decode("latin-1"), path)[0].roles:
            raise busy()
        return True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._n_silent = 0
        call: Any = self.cycle
        if type(call) is QuickCall:
            call.body += body  # no longer than its Content-Length, which is small
        elif type(call) is not RefusedCall:
            super().on_body(body)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read the request once more without its offer of another protocol: the parser skips the body of one that has it."""
        head = write_head(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        self._upgrading = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(head + rest)

    def respond(self, call: QuickCall, reply: Reply, request_id: bytes, *, draining: bool) -> None:
        """Write the response to a request that went the short way."""
        close = draining or not call.keep_alive
        defaults = self.server_state.default_headers
        self.finish(call, build_response(reply, request_id, STATUS_LINE[reply.status], defaults, close=close), close=close)

    def finish(self, call: QuickCall | RefusedCall, response: bytes, *, close: bool) -> None:
        """Write a whole response; go on with the next request, or end the connection."""
        call.response_started = call.response_complete = True
        if call.disconnected or self.transport.is_closing():
            return
        self.transport.write(response)
        if close:
            self.transport.close()
        self.on_response_complete()

    def on_message_complete(self) -> None:
        """Stop the clock of a request: it is whole."""
        if self._upgrading:
            return
        self.since, self._n_silent = None, 0
        super().on_message_complete()
        if self.cycle.response_complete:  # it was answered before its body had come
            self._idle_since = self.loop.time()

    def on_response_complete(self) -> None:
        """Go on with the next request; after the last one, send the refusal that ended reading, if there is one."""
        if self.pipeline:
            super().on_response_complete()
        elif self._refusal is not None:
            self._send_refusal()
        else:  # as uvicorn does, but for its timer: ``close_if_slow`` closes what is idle for too long
            self.server_state.total_requests += 1
            if not self.transport.is_closing():
                self.flow.resume_reading()
            if self.since is None:
                self._idle_since = self.loop.time()

    # --- refusals ---

    @property
    def waits(self) -> bool:
        """Whether the client is to send the rest of a request, or its first."""
        return self.since is not None and self._refusal is None

    @property
    def waiting_since(self) -> float:
        """Loop time since which the client is to send something; infinite while a request is at work."""
        return self._idle_since if self.since is None else self.since

    def idle_seconds(self, now: float) -> float:
        """Return for how long the client has sent no further request; 0 while one is coming in or at work."""
        return 0.0 if self.since is not None else max(0.0, now - self.waiting_since)

    def make_room(self, refusal: RefusedError) -> None:
        """End the connection: with a refusal if a request is coming in, else without an answer."""
        if self.since is None:
            self.transport.close()
        else:
            self.refuse(refusal)

    def refuse(self, refusal: RefusedError) -> None:
        """Read no more; answer the request that is coming in with a refusal, after the answers to the requests before it."""
        self._refusal = refusal
        own = None if self._in_head or self.since is None else self.cycle  # the request that is coming in, if it was begun
        self.since = None
        if own is None:
            if self.cycle is None or self.cycle.response_complete:
                self._send_refusal()
        elif self.pipeline and self.pipeline[0][0] is own:
            self.pipeline.popleft()
        else:
            own.disconnected = True
            own.message_event.set()
            self._send_refusal()

    def _send_refusal(self) -> None:
        """Write the refusal; close once the client has had time to read it."""
        if self._refusal is None or self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            request_id = new_request_id()
            reply = reply_error(self._refusal, None, request_id)
            defaults = self.server_state.default_headers
            self.transport.write(build_response(reply, request_id, STATUS_LINE[reply.status], defaults, close=True))
            self._service.count_refusal(self._refusal)
            self._service.count(UNKNOWN, reply.status, request_id, time.perf_counter(), {}, self.client)
        if not self._places.linger(self):
            self.transport.close()
            return
        if self.transport.can_write_eof():  # TLS has no half-closed connections
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Start answering; whether the request has a place is decided now, so that earlier requests keep theirs."""
        admission = self._service.admission
        cycle.scope["admitted"] = admission.has_place
        admission.n_working += cycle.scope["admitted"]
        super()._start_asgi_task(cycle, app)

    def close_if_slow(self, now: float, seconds: float) -> None:
        """Close the connection if a request has been coming in, or a response going out, for too long; or if it is unused."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.since is not None and now - self.since > seconds:
            self.refuse(SLOW)
            return
        if self.since is None and now - self._idle_since > self.timeout_keep_alive:
            self.transport.close()
        elif not self.flow.write_paused:
            self._blocked_since = None
        elif self._blocked_since is None:  # the client does not read: count from when this is first seen
            self._blocked_since = now
        elif now - self._blocked_since > seconds:
            self._service.count_refusal(SLOW)
            self.transport.abort()

    def shutdown(self) -> None:
        """Answer what comes within ``DRAIN_IDLE_SECONDS`` with ``Connection: close``; then close."""
        self._service.drain()
        self.loop.call_later(DRAIN_IDLE_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.cycle is None or (self.cycle.response_complete and self.since is None):
            self.transport.close()
