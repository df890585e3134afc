"""CSV → blocks of rows, read as a stream: nothing is built of what lies beyond a limit."""

import csv
import io
from collections.abc import Iterator

from mlops_project.wire.limits import Limits

BLOCK_ROWS = 10_000
MAX_LINE = 1 << 22  # characters
MAX_RECORD_FIELDS = 1 << 20  # separators in a row, those in its texts counted as well


class _Lines:
    """The lines of a text, for ``csv.reader``.

    Attributes
    ----------
    separators
        Commas since the last row began; whoever takes a row sets it to 0.
    """

    def __init__(self, body: bytes, limits: Limits) -> None:
        self._stream = io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline="")
        self._limits = limits
        self._lines = 0
        self.separators = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(MAX_LINE):
            self._lines += 1
            self.separators += line.count(",")
            if len(line) >= MAX_LINE or self.separators > MAX_RECORD_FIELDS:
                raise self._limits.refuse_values("fields of one line")
            if self._lines > self._limits.max_values:
                raise self._limits.refuse_values("lines of the CSV")
            yield line


def read_blocks(body: bytes, limits: Limits) -> Iterator[list[list[str]]]:
    """Yield the first line's fields as a block of its own, then the others in blocks of at most ``BLOCK_ROWS``; no empty lines.

    Raises
    ------
    TooLargeError
        If there are more rows or fields than one request may have.
    UnicodeDecodeError, csv.Error
        If it is not UTF-8, or not CSV.
    """
    lines, n_rows, width = _Lines(body, limits), -1, 1
    block: list[list[str]] = []
    for row in csv.reader(lines, skipinitialspace=True, strict=True):
        lines.separators = 0
        if not row or row == [""]:
            continue
        n_rows += 1
        if not n_rows:
            width = len(row)
            yield [row]
            continue
        limits.check_rows(n_rows, max(width, len(row)))
        block.append(row)
        if len(block) * max(width, len(row)) >= BLOCK_ROWS * 30 or len(block) == BLOCK_ROWS:
            yield block
            block = []
    if block:
        yield block
