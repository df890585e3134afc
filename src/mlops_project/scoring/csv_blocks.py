"""A CSV text as blocks that end where a row ends, whatever its quoted fields hold, so that each can be scored by itself."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TextIO

from mlops_project.errors import DataError

BLOCK_CHARACTERS = 8 << 20
MAX_ROW_CHARACTERS = 16 << 20


class CsvBlock(NamedTuple):
    """Whole rows of a CSV text; ``start`` and ``end`` count its characters, from behind the header."""

    start: int
    end: int
    text: str


def read_header(stream: TextIO, separator: str, place: int = 0) -> list[str]:
    """Return the columns' names without blanks around them, and leave the stream at the first row.

    Parameters
    ----------
    place
        Of the header among the rows, empty ones counted.

    Raises
    ------
    DataError
        If there is no header, a name stands twice, or the line is no CSV.
    """
    lines = iter(lambda: stream.readline(MAX_ROW_CHARACTERS), "")  # iterating over the stream itself would read ahead
    try:
        names = [name.strip() for name in next(itertools.islice(_parse(lines, separator), place, None), [])]
    except csv.Error as error:
        raise DataError(f"the first line is not valid CSV: {error}") from error
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"column names stand twice in the header: {', '.join(twice)}; rename them")
    if not names:
        raise DataError("the file is empty; expected a line of column names, then rows")
    return names


def split(stream: TextIO, separator: str, size: int = BLOCK_CHARACTERS) -> Iterator[CsvBlock]:
    """Yield what follows in a stream, opened with ``newline=""``, in blocks of whole rows of about ``size`` characters.

    Raises
    ------
    DataError
        If a row is longer than ``MAX_ROW_CHARACTERS``.
    """
    rest, start = "", 0
    while more := stream.read(size):
        text = rest + more
        end = _find_end(text, separator)
        if end:
            yield CsvBlock(start, start + end, text[:end])
        rest, start = text[end:], start + end
        if len(rest) > MAX_ROW_CHARACTERS:
            raise DataError(f"a row is longer than {MAX_ROW_CHARACTERS:,} characters; is a quotation mark left open?")
    if rest.strip():
        yield CsvBlock(start, start + len(rest), rest)


def read_rows(text: str, separator: str) -> Iterator[list[str]]:
    """Yield a block's rows, without empty lines.

    Raises
    ------
    csv.Error
        If it is not CSV.
    """
    return (row for row in _parse(io.StringIO(text, newline=""), separator) if row and row != [""])


def _find_end(text: str, separator: str) -> int:
    """Return where the last whole row of a text ends; 0 if it has none."""
    last = 1 + (text.rfind("\n") if "\n" in text else text.rfind("\r", 0, len(text) - 1))
    if '"' not in text:
        return last
    lines = list(io.StringIO(text[:last], newline=""))
    rows, whole = _parse(lines, separator), 0
    try:
        for _ in rows:
            whole = rows.line_num
    except csv.Error as error:
        if "unexpected end" not in str(error):  # not CSV: whoever reads the block says so
            return last
    return sum(map(len, lines[:whole]))


def _parse(lines: Iterable[str], separator: str) -> Any:
    return csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
