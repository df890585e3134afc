"""A listening socket that closes while connections wait to be accepted; on loopback."""

import asyncio
import contextlib
import socket

import uvloop

from mlops_project.serving.loop import DrainingLoop

N_CLIENTS = 20


class Echo(asyncio.Protocol):
    """Sends back what it gets, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


def close_while_they_wait(loop: uvloop.Loop) -> list[bytes | None]:
    """Connect and send while the loop is busy, then close the server; return each client's answer, None if it was reset."""

    async def run() -> list[bytes | None]:
        listener = socket.create_server(("127.0.0.1", 0))
        server = await loop.create_server(Echo, sock=listener, backlog=N_CLIENTS)
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(listener.getsockname(), timeout=5)) for _ in range(N_CLIENTS)
            ]
            for client in clients:
                client.sendall(b"hello")
            server.close()
            listener.close()
            await server.wait_closed()
            return [await asyncio.to_thread(receive, client) for client in clients]

    try:
        return loop.run_until_complete(run())
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def receive(client: socket.socket) -> bytes | None:
    try:
        return client.recv(100)
    except ConnectionResetError:
        return None


def test_connections_that_wait_are_answered():
    assert close_while_they_wait(DrainingLoop()) == [b"hello"] * N_CLIENTS


def test_without_the_care_they_are_reset():
    assert close_while_they_wait(uvloop.Loop()) == [None] * N_CLIENTS


def test_nobody_can_connect_after_it():
    loop = DrainingLoop()

    async def run() -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        server = await loop.create_server(Echo, sock=listener)
        server.close()
        listener.close()
        await server.wait_closed()
        with socket.socket() as client:
            return client.connect_ex(address)

    assert loop.run_until_complete(run()) != 0
    loop.close()
