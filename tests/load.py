"""Clients that keep asking a server on this machine, over connections they keep open, and note every answer."""

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field


@dataclass
class Answers:
    """What a load saw.

    Attributes
    ----------
    statuses
        Status → how often.
    ids
        Prediction ids of the requests that were answered with 200.
    failures
        Requests that were sent whole and never answered, as text.
    refused
        Connections that were refused.
    seconds
        Duration of every request answered with 200.
    versions
        Model versions seen.
    """

    statuses: dict[int, int] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    refused: int = 0
    seconds: list[float] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)


def build_request(path: str, body: bytes, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers, body


async def keep_asking(port: int, request: bytes, stop: asyncio.Event, answers: Answers) -> None:
    """Ask again and again until told to stop; reconnect when the server closes the connection between two requests."""
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            answers.refused += 1
            await asyncio.sleep(0.02)
            continue
        with contextlib.closing(writer):
            await _ask_on(reader, writer, request, stop, answers)


async def _ask_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, stop: asyncio.Event, answers: Answers
) -> None:
    while not stop.is_set():
        started = time.perf_counter()
        try:
            writer.write(request)
            status, headers, _ = await read_response(reader)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            answers.failures.append(repr(error))
            return
        answers.statuses[status] = answers.statuses.get(status, 0) + 1
        if status == 200:
            answers.seconds.append(time.perf_counter() - started)
            answers.ids.append(headers["x-prediction-id"])
            answers.versions.add(headers["x-model-version"])
        if headers.get("connection") == "close":
            return


def read_row(bundle) -> dict:
    """Return the example row of a bundle, without loading it."""
    contract = json.loads((bundle / "metadata.json").read_text())["contract"]
    return {feature["name"]: feature["default"] for feature in contract["features"]}
