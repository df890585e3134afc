"""The log's records: raw request and response bytes behind a small header. Written in one go, read with a check.

A segment is records one behind the other. Each is a header, a line of JSON about the request, and the request's and the
response's bytes as they came and went. The header (36 bytes, little-endian):

====================  =====  =========================================================================================
magic                 4      ``MLP2``
marker                8      random, the same in all records of one writer
check of the parts    4      CRC-32 of what follows the header
number                4      position of the record in its segment, from 0
lengths               3 × 4  of the line about the request, the request, the response
check of the header   4      CRC-32 of the 32 bytes before
====================  =====  =========================================================================================

Where a record is damaged, reading goes on at the next one that is whole. The marker, which no client knows, keeps a request
that looks like records from being read as some (Avro's container files do the same); the number tells how many are missing.
A record of the first version (``MLP1``: magic, check of the parts, lengths) is still read.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple

import msgspec

MAGIC, MAGIC_1 = b"MLP2", b"MLP1"
MARKER_BYTES = 8
HEADER, HEADER_1 = struct.Struct("<4s8sIIIII"), struct.Struct("<4sIIII")
CHECK = struct.Struct("<I")
HEADER_BYTES = HEADER.size + CHECK.size
MAX_PART_BYTES = 1 << 31
SCAN_BYTES = 1 << 20  # read at a time in search of the next record
# Where the marker is not known, every place that looks like a header is tried: so many bytes are read for that at most.
MAX_TRIED_BYTES = 1 << 29

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
    source, batch
        Of a label: who sent it, and with which delivery. Empty where nobody said so, and in earlier releases.
    rollout, step
        Of a prediction that took part in a roll-out, whoever answered it: which roll-out, and which of its steps.
    unit
        Digest of the key that decided who answers; empty if the request was drawn by itself.
    microseconds
        That the model took.
    failed
        Version of the challenger that was to answer and could not.
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
    source: str = ""
    batch: str = ""
    rollout: str = ""
    step: int = 0
    unit: str = ""
    microseconds: int = 0
    failed: str = ""


class Record(NamedTuple):
    """One record, read."""

    about: About
    request: bytes
    response: bytes


UNKNOWN = About("", 0)  # stands for what a whole record says in a way that this version does not know
_DECODER = msgspec.json.Decoder(About)


def pack(about: bytes, request: bytes, response: bytes, marker: bytes = bytes(MARKER_BYTES), number: int = 0) -> list[bytes]:
    """Return the pieces of a record, to be written one behind the other: header, ``about``, request, response.

    Parameters
    ----------
    about
        JSON of ``About``.
    marker, number
        Of the writer, ``MARKER_BYTES`` bytes; of the record in its segment.
    """
    check = zlib.crc32(response, zlib.crc32(request, zlib.crc32(about)))
    header = HEADER.pack(MAGIC, marker, check, number & 0xFFFFFFFF, len(about), len(request), len(response))
    return [header + CHECK.pack(zlib.crc32(header)), about, request, response]


@dataclass
class Losses:
    """What of a segment could not be read.

    Attributes
    ----------
    records
        Damaged or missing. At least so many, where the numbers of the records around them do not tell.
    bytes
        That were skipped.
    """

    records: int = 0
    bytes: int = 0


class _Entry(NamedTuple):
    """A whole record and where the next one begins; ``number`` is -1 in the first version."""

    record: Record
    end: int
    marker: bytes
    number: int


class _Header(NamedTuple):
    size: int
    marker: bytes
    check: int
    number: int
    lengths: tuple[int, int, int]

    @property
    def record_bytes(self) -> int:
        return self.size + sum(self.lengths)


class SegmentReader:
    """Iterates over the records of an open segment.

    Parameters
    ----------
    stream
        From its current position on; must be able to seek.

    Attributes
    ----------
    lost
        What could not be read so far. A record that a killed writer left unfinished at the end is none: nobody got its answer.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.lost = stream, Losses()
        self._start = stream.tell()
        self._size = stream.seek(0, os.SEEK_END)
        self._needle = MAGIC[:3]  # what the records of this segment begin with, as far as it is known
        self._next = 0
        self._to_try = MAX_TRIED_BYTES

    def __iter__(self) -> Iterator[Record]:
        position = self._start
        self._stream.seek(position)
        while True:
            entry, broken = self._read(position), 0
            if entry is None:
                found, broken, entry = self._search(position)
                if entry is None and broken == 1 and self._is_torn(position):
                    return
                self.lost.bytes += found - position
            if entry is None:
                self.lost.records += broken if position < self._size else 0
                return
            self.lost.records += max(broken, entry.number - self._next if entry.number >= 0 else 0)
            self._next = entry.number + 1
            self._needle = MAGIC + entry.marker if entry.marker else MAGIC_1
            position = entry.end
            yield entry.record

    def _read(self, position: int) -> _Entry | None:
        """Return the record that begins here, where the stream stands; None if there is no whole one."""
        header = _parse_header(self._stream.read(HEADER_BYTES))
        if header is None or position + header.record_bytes > self._size:
            return None
        if header.size != HEADER_BYTES:
            self._stream.seek(position + header.size)
        about, request, response = map(self._stream.read, header.lengths)
        if zlib.crc32(response, zlib.crc32(request, zlib.crc32(about))) != header.check:
            if len(self._needle) <= len(MAGIC):
                self._to_try -= header.record_bytes
            return None
        return _Entry(_decode(about, request, response), position + header.record_bytes, header.marker, header.number)

    def _search(self, position: int) -> tuple[int, int, _Entry | None]:
        """Return where the next whole record behind ``position`` begins, how many damaged ones come before, and itself."""
        broken, place = 1, self._find(position + 1)
        while place is not None and self._to_try > 0:
            self._stream.seek(place)
            entry = self._read(place)
            if entry is not None:
                return place, broken, entry
            broken += len(self._needle) > len(MAGIC)  # only a header with the marker is surely one
            place = self._find(place + 1)
        return self._size, broken, None

    def _find(self, position: int) -> int | None:
        """Return the next place, from ``position`` on, that looks like the begin of a record."""
        overlap = len(self._needle) - 1
        while position < self._size - overlap:
            self._stream.seek(position)
            found = self._stream.read(SCAN_BYTES + overlap).find(self._needle)
            if found >= 0:
                return position + found
            position += SCAN_BYTES
        return None

    def _is_torn(self, position: int) -> bool:
        """Whether what is left from here on is the begin of a record that was never written to its end."""
        self._stream.seek(position)
        start = self._stream.read(HEADER_BYTES)
        header = _parse_header(start)
        if header is not None:
            return position + header.record_bytes > self._size
        known = self._needle if len(self._needle) > len(MAGIC) else MAGIC
        return len(start) < HEADER_BYTES and (start.startswith(known) or known.startswith(start) or _is_begun_1(start))


def _is_begun_1(start: bytes) -> bool:
    return len(start) < HEADER_1.size and (start.startswith(MAGIC_1) or MAGIC_1.startswith(start))


def _parse_header(data: bytes) -> _Header | None:
    """Return what a header says, if it is whole."""
    if data.startswith(MAGIC) and len(data) == HEADER_BYTES:
        _, marker, check, number, *lengths = HEADER.unpack_from(data)
        is_whole = zlib.crc32(data[: HEADER.size]) == CHECK.unpack_from(data, HEADER.size)[0]
        return _Header(HEADER_BYTES, marker, check, number, tuple(lengths)) if is_whole else None
    if data.startswith(MAGIC_1) and len(data) >= HEADER_1.size:
        _, check, *lengths = HEADER_1.unpack_from(data)
        return _Header(HEADER_1.size, b"", check, -1, tuple(lengths)) if max(lengths) <= MAX_PART_BYTES else None
    return None


def _decode(about: bytes, request: bytes, response: bytes) -> Record:
    try:
        return Record(_DECODER.decode(about), request, response)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # ValueError: not UTF-8
        return Record(UNKNOWN, request, response)
