"""The log's records: raw request and response bytes behind a small header. Written in one go, read with a check.

A segment is records one behind the other. Each is a header (magic, CRC-32 of what follows it, three lengths), a line of JSON
about the request, and the request's and the response's bytes as they came and went. A torn record at the end, of a writer that
was killed, fails its check and is left out.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import msgspec

MAGIC = b"MLP1"
HEADER = struct.Struct("<4sIIII")
MAX_PART_BYTES = 1 << 31

Kind = Literal["prediction", "label"]


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a record says of itself.

    Attributes
    ----------
    id
        Prediction id.
    time_ns
        Nanoseconds since 1970, UTC.
    kind
        ``prediction``, or ``label`` for a label that came later.
    model, version
        Who answered.
    role
        ``champion``, ``canary`` or ``shadow``.
    wire
        ``mlflow``, ``open_inference`` or ``native``: how to read the request.
    content_type
        Of the request; for ``open_inference`` the length of its JSON part, if binary tensors follow.
    rows
        Number of rows.
    """

    id: str
    time_ns: int
    kind: Kind = "prediction"
    model: str = ""
    version: str = ""
    role: str = "champion"
    wire: str = ""
    content_type: str = ""
    rows: int = 1


class Record(NamedTuple):
    """One record, read."""

    about: About
    request: bytes
    response: bytes


UNKNOWN = About("", 0)  # stands for what a whole record says in a way that this version does not know
_DECODER = msgspec.json.Decoder(About)


def pack(about: bytes, request: bytes, response: bytes) -> list[bytes]:
    """Return the pieces of a record, to be written one behind the other."""
    check = zlib.crc32(response, zlib.crc32(request, zlib.crc32(about)))
    return [HEADER.pack(MAGIC, check, len(about), len(request), len(response)), about, request, response]


def read_segment(file: Path) -> Iterator[Record]:
    """Yield a segment's records; stops at the first that is not whole."""
    with file.open("rb") as stream:
        yield from read_stream(stream)


def read_stream(stream: BinaryIO) -> Iterator[Record]:
    """Yield the records of an open segment up to the first that is not whole, and leave the stream there."""
    start = stream.tell()
    while (record := _read_record(stream)) is not None:
        yield record
        start = stream.tell()
    stream.seek(start)


def is_damaged(stream: BinaryIO) -> bool:
    """Whether what stands behind a segment's last whole record is more than a record that was cut off."""
    start, header = stream.tell(), stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return not MAGIC.startswith(header[: len(MAGIC)])
    magic, _, *lengths = HEADER.unpack(header)
    return bool(magic != MAGIC or start + HEADER.size + sum(lengths) <= stream.seek(0, os.SEEK_END))


def _read_record(stream: BinaryIO) -> Record | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    magic, check, *lengths = HEADER.unpack(header)
    if magic != MAGIC or max(lengths) > MAX_PART_BYTES:
        return None
    about, request, response = map(stream.read, lengths)
    if zlib.crc32(response, zlib.crc32(request, zlib.crc32(about))) != check:
        return None
    try:
        return Record(_DECODER.decode(about), request, response)
    except msgspec.MsgspecError:
        return Record(UNKNOWN, request, response)
