"""uvicorn's HTTP protocol with what it lacks: limits on connections and slow clients, and a drain that drops no request."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mlops_project.serving.quick import QuickCall, build_response, find_quick_route
from mlops_project.serving.replies import Reply

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    b'content-length: 46\r\n\r\n{"error":"too many connections; try again soon"}'
)
SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b'content-length: 39\r\n\r\n{"error":"the request came too slowly"}'
)
DRAIN_IDLE_SECONDS = 1.0  # a client may be sending on a connection that looks idle here


class GuardedProtocol(HttpToolsProtocol):
    """One connection.

    Attributes
    ----------
    since
        Loop time since which a request is coming in (or, at first, the connection waits for one); None while none is.
    """

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.since: float | None = self.loop.time()
        self._blocked_since: float | None = None
        self._limit = config.app_settings.max_connections
        self._max_waiting = config.app_settings.max_waiting
        config.loaded_app.watch(server_state)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Take the connection, or refuse it if there are too many."""
        if len(self.connections) >= self._limit:
            self.config.loaded_app.refuse_connection()
            transport.write(BUSY)
            transport.close()
            self.transport = transport
            return
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came; nothing from a connection that was refused."""
        if self.flow is not None:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Start the clock of a request."""
        super().on_message_begin()
        self.since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Send small predictions the short way, everything else the long one."""
        free = (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
        found = find_quick_route(self.url, self.parser.get_method(), self.headers) if free else None
        if found is None:
            super().on_headers_complete()
            return
        self.cycle = QuickCall(self, self.config.loaded_app.desk, *found, self.parser.should_keep_alive())  # type: ignore[assignment]

    def respond(self, call: QuickCall, reply: Reply, request_id: bytes, *, draining: bool) -> None:
        """Write the response to a request that went the short way."""
        call.response_started = call.response_complete = True
        if call.disconnected or self.transport.is_closing():
            return
        close = draining or not call.keep_alive
        defaults = self.server_state.default_headers
        self.transport.write(build_response(reply, request_id, STATUS_LINE[reply.status], defaults, close=close))
        if close:
            self.transport.close()
        self.on_response_complete()

    def on_message_complete(self) -> None:
        """Stop the clock."""
        self.since = None
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Start answering; whether a place is free is decided as requests come in, so that the first ones keep theirs."""
        application = self.config.loaded_app
        cycle.scope["admitted"] = application.admitted < self._max_waiting
        application.admitted += cycle.scope["admitted"]
        super()._start_asgi_task(cycle, app)

    def close_if_slow(self, now: float, seconds: float) -> bool:
        """Close the connection if a request has been coming in, or a response going out, for too long."""
        if self.transport is None or self.transport.is_closing():
            return False
        if self.since is not None and now - self.since > seconds:
            if self.cycle is None or not self.cycle.response_started:
                self.transport.write(SLOW)
            self.transport.close()
            return True
        if not self.flow.write_paused:
            self._blocked_since = None
        elif self._blocked_since is None:  # the client does not read: count from when this is first seen
            self._blocked_since = now
        elif now - self._blocked_since > seconds:
            self.transport.abort()
            return True
        return False

    def shutdown(self) -> None:
        """Answer what comes within a moment with ``Connection: close``; then close."""
        self.config.loaded_app.draining = True
        self.loop.call_later(DRAIN_IDLE_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.cycle is None or (self.cycle.response_complete and self.since is None):
            self.transport.close()
