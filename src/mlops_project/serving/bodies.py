"""Request bodies: read within limits and decompressed whole, or refused, before anything is built from them."""

import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

from mlops_project.serving.errors import RefusedError

Receive = Callable[[], Awaitable[dict[str, Any]]]
GZIP, DEFLATE = "gzip", "deflate"
CODINGS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": DEFLATE, "identity": None, "": None}  # RFC 9110, 8.4.1
GZIP_BITS, ZLIB_BITS, RAW_BITS = 31, 15, -15  # of zlib's window: which header it expects
STEP_BYTES = 1 << 14  # zlib copies what it leaves of its input, at every member of a gzip file
PIECE_BYTES = 1 << 18
MAX_MEMBERS = 100_000  # an empty one takes 20 bytes and several microseconds
FREE_SHARE = 4  # up to a quarter of the largest body, the ratio does not matter


class Disconnected(Exception):  # noqa: N818 - not an error
    """The client left before its request was whole."""


async def read_body(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """Return a request's body as it was sent.

    Parameters
    ----------
    headers
        Name in lower case → value.
    receive
        Of ASGI: waits for the next message.
    limit
        Most bytes.

    Raises
    ------
    RefusedError
        If it is larger than ``limit`` bytes.
    Disconnected
        If the client left.
    """
    length = headers.get(b"content-length")
    if length is not None and len(length) > 5 and int(length) > limit:  # uvicorn's parser takes only numbers
        raise _too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        buffer = BytesIO()  # returns its content without a copy
        buffer.write(body)
        while message.get("more_body"):
            message = await receive()
            buffer.write(message.get("body", b""))
            if buffer.tell() > limit:
                raise _too_large(limit)
        body = buffer.getvalue()
    if len(body) > limit:
        raise _too_large(limit)
    if message["type"] == "http.disconnect":
        raise Disconnected
    return body


def find_coding(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return how a body is compressed, from every ``Content-Encoding`` line of a request: gzip, deflate, or None if it is not.

    Raises
    ------
    RefusedError
        If the coding is unknown, or there are several.
    """
    lines = [value.decode("latin-1") for name, value in headers if name == b"content-encoding"]
    given = [coding.strip().lower() for line in lines for coding in line.split(",")]
    unknown = [coding for coding in given if coding not in CODINGS]
    if unknown:
        raise RefusedError(415, "encoding", "unknown Content-Encoding; gzip, deflate and identity are known")
    found = [CODINGS[coding] for coding in given if CODINGS[coding]]
    if len(found) > 1:
        raise RefusedError(415, "encoding", f"the body is compressed {len(found)} times; compress it once, or not at all")
    return found[0] if found else None


def decompress(body: bytes, coding: str, limit: int, ratio: float) -> bytes:
    """Return a compressed body's content: of gzip every member, of deflate the one stream, with or without zlib's header.

    Parameters
    ----------
    coding
        ``gzip`` or ``deflate``.
    limit
        Most bytes of the content.
    ratio
        How many times as large as the body the content may be, once it is more than a quarter of ``limit``.

    Raises
    ------
    RefusedError
        If it is larger, damaged or cut off, or something else follows it.
    """
    allowed = max(limit // FREE_SHARE, int(ratio * len(body)))
    content = BytesIO()
    for piece in _inflate(memoryview(body), coding):
        size = content.tell() + len(piece)
        if size > limit:
            raise _too_large(limit)
        if size > allowed:
            raise RefusedError(
                413,
                "ratio",
                f"the body grows to more than {ratio:g} times its size when decompressed; send it less compressed or in parts, "
                "or raise serving.max_compression_ratio",
            )
        content.write(piece)
    return content.getvalue()


def _inflate(body: memoryview, coding: str) -> Iterator[bytes]:
    """Yield the content in pieces of at most ``PIECE_BYTES``."""
    position, members = 0, 0
    while position < len(body) or not members:
        members += 1
        if members > MAX_MEMBERS or (coding == DEFLATE and members > 1):
            raise _damaged("has more parts than one body may have; compress it in one piece")
        decoder = zlib.decompressobj(GZIP_BITS if coding == GZIP else _find_bits(body[:2].tobytes()))
        while not decoder.eof:
            given = body[position : position + STEP_BYTES]
            try:
                piece = decoder.decompress(given, PIECE_BYTES)
            except zlib.error:
                raise _damaged("is not what its Content-Encoding says, or damaged; nothing of it was read") from None
            if not given and not piece and not decoder.eof:
                raise _damaged("is cut off; send it whole")
            left = decoder.unused_data if decoder.eof else decoder.unconsumed_tail  # at the end both may hold what follows
            position += len(given) - len(left)
            yield piece
        if coding == GZIP:
            position = _skip_zeros(body, position)


def _find_bits(start: bytes) -> int:
    """Return whether deflate has zlib's header (RFC 1950, 2.2), as it should, or none, as some clients send it."""
    has_header = len(start) == 2 and start[0] & 0x0F == 8 and int.from_bytes(start, "big") % 31 == 0
    return ZLIB_BITS if has_header else RAW_BITS


def _skip_zeros(body: memoryview, position: int) -> int:
    """Return where the padding behind a gzip member ends."""
    while position < len(body):
        step = body[position : position + STEP_BYTES].tobytes()
        rest = step.lstrip(b"\0")
        position += len(step) - len(rest)
        if rest:
            break
    return position


def _damaged(what: str) -> RefusedError:
    return RefusedError(400, "encoding", f"the compressed body {what}")


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, "size", f"the body is larger than {limit} bytes; send fewer rows at once")
