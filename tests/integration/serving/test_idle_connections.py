"""Connections that are kept open and not used: the server closes them itself, without a timer for each request."""

import asyncio
import time

import pytest
import uvicorn

from mlops_project.config import read_config
from mlops_project.serving.connection import GuardedProtocol
from mlops_project.serving.server import ServerConfig
from mlops_project.serving.settings import build_settings

KEEP_ALIVE_SECONDS = 1
PING = b"GET /ping HTTP/1.1\r\nHost: here\r\n\r\n"
EARLY = b"POST /nothing HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n"  # answered before its body is there
SLOW = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"


async def ask(reader, writer, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return head.split(b"\r\n")[0]


async def measure_end(reader, asked: float) -> float:
    await reader.read()
    return time.monotonic() - asked


async def try_connections(port: int) -> None:
    idle, busy, slow, piped, early = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    for reader, writer in (idle, busy, slow):
        assert await ask(reader, writer, PING) == b"HTTP/1.1 200 OK"
    slow[1].write(SLOW)  # its body is still to come
    for _ in range(2):  # each is read before the other is answered
        piped[1].write(PING * 2)
    assert await ask(*early, EARLY) == b"HTTP/1.1 404 Not Found"
    early[1].write(b"{}")
    early_end = asyncio.create_task(measure_end(early[0], time.monotonic()))
    end = asyncio.create_task(measure_end(idle[0], time.monotonic()))
    for _ in range(8):
        await asyncio.sleep(KEEP_ALIVE_SECONDS / 2)
        assert await ask(*busy, PING) == b"HTTP/1.1 200 OK"
    assert KEEP_ALIVE_SECONDS <= await end < KEEP_ALIVE_SECONDS + 2.5  # it looks about once a second
    assert await asyncio.wait_for(early_end, 1) < KEEP_ALIVE_SECONDS + 2.5
    assert (await ask(*slow, b"{}")).startswith(b"HTTP/1.1 4")
    assert (await piped[0].read()).count(b"HTTP/1.1 200 OK") == 4
    for _, writer in (idle, busy, slow, piped, early):
        writer.close()


@pytest.mark.timeout(60)
def test_unused_connections_are_closed_and_used_ones_are_not(tree_bundle, tmp_path):
    file = tmp_path / "model.yaml"
    file.write_text("model: {name: tree}\n")
    config = read_config(file, root=tmp_path)
    settings = build_settings(config, metrics_dir=tmp_path / "metrics", model_dir=tree_bundle)
    options = {"lifespan": "on", "log_config": None, "proxy_headers": False, "timeout_keep_alive": KEEP_ALIVE_SECONDS}

    async def main() -> None:
        server = uvicorn.Server(ServerConfig(settings, host="127.0.0.1", port=0, http=GuardedProtocol, **options))
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            await try_connections(server.servers[0].sockets[0].getsockname()[1])
        finally:
            server.should_exit = True
            await serving

    asyncio.run(main())
