"""uvicorn's HTTP protocol with what it lacks: limits on connections and slow clients, and a drain that drops no request."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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
        self._limit = config.app_settings.max_connections
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

    def on_message_complete(self) -> None:
        """Stop the clock."""
        super().on_message_complete()
        self.since = None

    def close_if_slow(self, now: float, seconds: float) -> bool:
        """Close the connection if a request has been coming in, or a response going out, for too long."""
        if self.transport is None or self.transport.is_closing():
            return False
        if self.since is not None and now - self.since > seconds:
            if self.cycle is None or not self.cycle.response_started:
                self.transport.write(SLOW)
            self.transport.close()
            return True
        if self.flow.write_paused:  # the client does not read: count from when this was first seen
            self._blocked = getattr(self, "_blocked", now)
            if now - self._blocked > seconds:
                self.transport.abort()
                return True
        elif hasattr(self, "_blocked"):
            del self._blocked
        return False

    def shutdown(self) -> None:
        """Answer what comes within a moment with ``Connection: close``; then close."""
        self.config.loaded_app.draining = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        self.loop.call_later(DRAIN_IDLE_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        busy = (self.cycle is not None and not self.cycle.response_complete) or self.since is not None
        if not busy or self.cycle is None:
            self.transport.close()
