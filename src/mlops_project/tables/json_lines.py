"""Tables as JSON lines: an object per line, with the columns' names as keys."""

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
    columns: dict[str, list[Any]] = {}
    decoder, rows = msgspec.json.Decoder(), 0
    for number, line in enumerate(islice(stream, head), 1):
        text = line.strip().removeprefix(b"\xef\xbb\xbf")
        if not text:
            continue
        try:
            values = decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            hint = "; is it one JSON document over several lines?" if number == 1 and text in (b"[", b"{") else ""
            raise DataError(f"{file}: line {number} is not valid JSON: {error}{hint}") from error
        if not isinstance(values, dict):
            raise DataError(
                f'{file}: line {number} holds {type(values).__name__} values; expected an object per line: {{"column": value}}'
            )
        columns |= {name: [None] * rows for name in values if name not in columns}
        for name, column in columns.items():
            column.append(values.get(name))
        rows += 1
    if not rows:
        raise DataError(f"{file}: the file is empty")
    return build_frame([*columns], [*columns.values()])
