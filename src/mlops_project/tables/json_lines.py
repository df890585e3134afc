"""Tables as JSON lines: an object per line, with the columns' names as keys."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

import msgspec
import pandas as pd

from mlops_project.errors import DataError
from mlops_project.tables.cells import build_frame


def read_json_lines(stream: BinaryIO, file: str, head: int | None = None) -> pd.DataFrame:
    """Read a file of JSON lines, or its first ``head`` lines; a key that a line lacks is a missing value.

    Raises
    ------
    DataError
        If a line is no object; names it.
    """
    columns = next(split_json_lines(islice(stream, head), file, None))
    return build_frame([*columns], [*columns.values()])


def split_json_lines(lines: Iterator[bytes], file: str, n_rows: int | None) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of every ``n_rows`` rows; None for all at once.

    Raises
    ------
    DataError
        If a line is no object, or there is none; names it.
    """
    columns: dict[str, list[Any]] = {}
    decoder, rows, is_empty = msgspec.json.Decoder(), 0, True
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix(b"\xef\xbb\xbf")
        if not text:
            continue
        values = _decode(decoder, text, number, file)
        columns |= {name: [None] * rows for name in values if name not in columns}
        for name, column in columns.items():
            column.append(values.get(name))
        rows, is_empty = rows + 1, False
        if rows == n_rows:
            yield columns
            columns, rows = {name: [] for name in columns}, 0
    if is_empty:
        raise DataError(f"{file}: the file is empty; copy or export it again")
    if rows:
        yield columns


def _decode(decoder: msgspec.json.Decoder[Any], text: bytes, number: int, file: str) -> dict[str, Any]:
    try:
        values = decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = "; is it one JSON document over several lines?" if number == 1 and text in (b"[", b"{") else ""
        raise DataError(f"{file}: line {number} is not valid JSON: {error}{hint}") from error
    if not isinstance(values, dict):
        raise DataError(
            f'{file}: line {number} holds {type(values).__name__} values; expected an object per line: {{"column": value}}'
        )
    return values
