"""Many clients that ask again as soon as they have an answer: how long answers take, and how many requests are refused.

``wrk`` does not tell answers from refusals, and adds to its latencies what it believes was left out. The clients run in
a process of their own: ``python -m serving.crowd PORT PATH BODY_FILE CONNECTIONS SECONDS`` prints JSON.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, request: bytes, latencies: dict[int, list[tuple[float, float]]]) -> None:
        self._request, self._latencies = request, latencies
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Note what came, and ask again; a response comes in one piece, as small ones do."""
        if not data.startswith(b"HTTP/1.1 ") or b"\r\n\r\n" not in data:
            raise SystemExit(f"not a whole response: {data[:100]!r}")
        self._latencies.setdefault(int(data[9:12]), []).append((self._asked, time.perf_counter() - self._asked))
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it as status 0: the server is to keep its connections."""
        self._latencies.setdefault(0, []).append((0.0, 0.0))


async def send_for(port: int, request: bytes, connections: int, seconds: float) -> dict[int, list[float]]:
    """Return the latencies in seconds by status, without those of the first half second, nor answers that were asked for in it.

    A thousand clients that connect at the same time wait for their first answer until the server has accepted them all.
    """
    loop = asyncio.get_running_loop()
    latencies: dict[int, list[tuple[float, float]]] = {}
    clients = [await loop.create_connection(lambda: Client(request, latencies), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.sleep(0.5)
    latencies.clear()
    begun = time.perf_counter()
    await asyncio.sleep(seconds)
    found = {
        status: [taken for asked, taken in entries if status != 200 or asked >= begun] for status, entries in latencies.items()
    }
    for transport, _ in clients:
        transport.abort()
    return found


def main(port: str, path: str, body_file: str, connections: str, seconds: str) -> None:
    """Print answered and refused per second, and the median and the 99th percentile of answers in milliseconds."""
    body = Path(body_file).read_bytes()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    latencies = uvloop.run(send_for(int(port), head.encode() + body, int(connections), float(seconds)))
    answers = sorted(latencies.pop(200, []))
    refused = len(latencies.pop(503, []))
    if latencies or not answers:
        raise SystemExit(f"neither answered nor refused: {sorted(latencies)}")
    per_second = {"answered": len(answers) / float(seconds), "refused": refused / float(seconds)}
    found = {f"p{share}_ms": 1000 * answers[int(share / 100 * len(answers))] for share in (50, 99)}
    print(json.dumps(per_second | found))


if __name__ == "__main__":
    main(*sys.argv[1:])
