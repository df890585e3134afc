"""The ceiling: a plain ASGI application on our server's uvicorn that reads each body and answers without looking at it.

``echo.py PORT SMALL LARGE``: it answers SMALL bytes, and LARGE bytes to bodies of more than 64 KiB.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

LARGE_BODY_BYTES = 64 * 1024


def reply(n_bytes: int) -> list[dict[str, Any]]:
    """Return the ASGI messages of a JSON response of this size."""
    frame = json.dumps({"predictions": ""})
    body = json.dumps({"predictions": "1" * (n_bytes - len(frame))}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    return [start, {"type": "http.response.body", "body": body}]


def build_app(small: list[dict[str, Any]], large: list[dict[str, Any]]) -> Callable[..., Awaitable[None]]:
    """Return the application."""

    async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[..., Any]) -> None:
        n_bytes = 0
        more = scope["method"] == "POST"
        while more:
            message = await receive()
            n_bytes += len(message.get("body", b""))
            more = message.get("more_body", False)
        for message in large if n_bytes > LARGE_BODY_BYTES else small:
            await send(message)

    return app


if __name__ == "__main__":
    port, small_bytes, large_bytes = map(int, sys.argv[1:])
    uvicorn.run(
        build_app(reply(small_bytes), reply(large_bytes)),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
