"""The event loop of a worker: uvloop's, whose listening sockets close without dropping a connection."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvloop


class DrainingLoop(uvloop.Loop):
    """Accepts what waits in the backlog before a server closes; the system would reset those connections.

    Requests may wait there: a client that one worker told to close its connection connects anew while the next worker has not
    heard yet that it is to end.
    """

    async def create_server(self, protocol_factory: Any, *args: Any, sock: Any = None, **options: Any) -> Any:
        """Create a server as uvloop does, for a socket that is bound already."""
        server = await super().create_server(protocol_factory, *args, sock=sock, **options)
        return server if sock is None else _DrainingServer(server, sock, protocol_factory, self)


class _DrainingServer:
    """An ``asyncio.Server`` of one listening socket."""

    def __init__(
        self, server: Any, listener: socket.socket, protocol_factory: Callable[[], Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._server, self._listener, self._protocol_factory, self._loop = server, listener, protocol_factory, loop
        self._accepted: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """Let no more connections wait, accept those that do, and close."""
        self._listener.listen(0)
        self._listener.setblocking(False)
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            opening = self._loop.connect_accepted_socket(self._protocol_factory, connection)
            self._accepted.add(self._loop.create_task(opening))
        self._server.close()

    async def wait_closed(self) -> None:
        """Return once everything is closed."""
        await asyncio.gather(*self._accepted, return_exceptions=True)
        await self._server.wait_closed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)
