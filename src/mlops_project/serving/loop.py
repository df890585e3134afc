"""The event loop of a worker: uvloop's, whose listening sockets close without dropping a connection."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvloop

from mlops_project.serving.tls import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS


class DrainingLoop(uvloop.Loop):
    """Accepts what waits in the backlog before a server closes; the system would reset those connections.

    Requests may wait there: a client that one worker told to close its connection connects anew while the next worker has not
    heard yet that it is to end.

    Attributes
    ----------
    at_close
        Called, in this order, when a server begins to close: it is about to end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.at_close: list[Callable[[], None]] = []

    async def create_server(
        self, protocol_factory: Any, *args: Any, sock: Any = None, backlog: int = 100, **options: Any
    ) -> Any:
        """Create a server as uvloop does, for a socket that is bound already."""
        if options.get("ssl") is not None:
            options |= {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
        server = await super().create_server(protocol_factory, *args, sock=sock, backlog=backlog, **options)
        secured = {key: value for key, value in options.items() if key.startswith("ssl") and value is not None}
        return server if sock is None else _DrainingServer(server, sock, backlog, protocol_factory, self, secured)


class _DrainingServer:
    """An ``asyncio.Server`` of one listening socket."""

    def __init__(
        self,
        server: Any,
        listener: socket.socket,
        backlog: int,
        protocol_factory: Callable[[], Any],
        loop: DrainingLoop,
        secured: dict[str, Any],
    ) -> None:
        self._server, self._listener, self._backlog = server, listener, backlog
        self._protocol_factory, self._loop, self._secured = protocol_factory, loop, secured
        self._accepted: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """Accept the connections that wait, at most so many as may, and close.

        Other workers may go on with the same socket: nothing about it is changed.
        """
        for tell in self._loop.at_close:
            tell()
        self._listener.setblocking(False)
        for _ in range(self._backlog):
            try:
                connection, _address = self._listener.accept()
            except ConnectionAbortedError:  # the client gave up
                continue
            except OSError:  # nobody waits
                break
            opening = self._loop.connect_accepted_socket(self._protocol_factory, connection, **self._secured)
            self._accepted.add(self._loop.create_task(opening))
        self._server.close()

    async def wait_closed(self) -> None:
        """Return once everything is closed."""
        await asyncio.gather(*self._accepted, return_exceptions=True)
        await self._server.wait_closed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)
