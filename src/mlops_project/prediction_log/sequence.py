"""What a segment's name says of the rows before it, so that a gap shows.

::

    <time>-<host>-<process>-<number>-w<writer>-r<rows>-u<rows>

``number`` counts a writer's segments from 1. ``r`` is how many predicted rows the writer had logged before this segment, ``u``
how many it had answered and could not log. What two segments of one writer differ by must have been in the first, or in one
between them. ``writer`` begins with the second of its start in hexadecimal. Names of earlier releases end after ``number``.
"""

import functools
import re
import secrets
import time
from collections.abc import Iterable
from typing import NamedTuple

FULL_NAME = re.compile(
    r"\d{8}T\d{6}-(?P<host>.+)-\d+-(?P<number>\d+)-w(?P<writer>[0-9a-f]{16})-r(?P<rows>\d+)-u(?P<unlogged>\d+)"
)
ORDER = re.compile(r"(\d{8}T\d{6})-(.+?)-(\d+)(?:-w[0-9a-f]{16}-r\d+-u\d+)?")


class Place(NamedTuple):
    """Where a segment stands among those of its writer.

    Attributes
    ----------
    host, writer
        Who wrote it; ``writer`` is of one process.
    number
        From 1.
    rows, unlogged
        Before this segment: predicted rows that were logged, and rows that were answered and could not be.
    """

    host: str
    writer: str
    number: int
    rows: int
    unlogged: int

    @property
    def writer_begun(self) -> int:
        """When the writer was started, by its clock; seconds since 1970."""
        return int(self.writer[:8], 16)


def draw_writer() -> str:
    """Return a name for a writer that no other has."""
    return f"{int(time.time()) & 0xFFFFFFFF:08x}{secrets.token_hex(4)}"


@functools.lru_cache(1 << 17)
def read_place(name: str) -> Place | None:
    """Return where a segment stands; None for one of an earlier release, or of `mlops score`.

    Parameters
    ----------
    name
        Without its ending.
    """
    match = FULL_NAME.fullmatch(name)
    if match is None:
        return None
    host, number, writer, rows, unlogged = match.group("host", "number", "writer", "rows", "unlogged")
    return Place(host, writer, int(number), int(rows), int(unlogged))


def find_host(name: str) -> str:
    """Return which host wrote a segment; of one of `mlops score` its own name."""
    place = read_place(name)
    if place is not None:
        return place.host
    match = re.fullmatch(r"\d{8}T\d{6}-(.+)-\d+-\d+", name)
    return match[1] if match else name


def sort_segments(names: Iterable[str]) -> list[str]:
    """Return names of segments in the order in which each writer wrote them."""

    def order(name: str) -> tuple[str, str, int]:
        match = ORDER.fullmatch(name)
        return (match[1], match[2], int(match[3])) if match else (name, "", 0)

    return sorted(names, key=order)


class Chain:
    """Segments by writer and number; those without a ``Place`` are left out."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._numbers: dict[str, dict[int, str]] = {}
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Add segments."""
        for name in names:
            place = read_place(name)
            if place is not None:
                self._numbers.setdefault(place.writer, {})[place.number] = name

    def remove(self, name: str) -> None:
        """Leave a segment out, if it is there."""
        place = read_place(name)
        if place is not None:
            self._numbers.get(place.writer, {}).pop(place.number, None)

    def find_before(self, place: Place) -> str | None:
        """Return the writer's last segment before a place; None if there is none."""
        return self._find(place, -1)

    def find_after(self, place: Place) -> str | None:
        """Return the writer's first segment after a place; None if there is none."""
        return self._find(place, 1)

    def _find(self, place: Place, step: int) -> str | None:
        numbers = self._numbers.get(place.writer, {})
        if place.number + step in numbers:  # without a gap
            return numbers[place.number + step]
        others = [number for number in numbers if (number - place.number) * step > 0]
        return numbers[min(others) if step > 0 else max(others)] if others else None
