"""A Parquet body → columns as ``wire.columns`` reads them. Whatever Arrow type training reads is read here, without pandas."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from mlops_project.errors import ContractError
from mlops_project.wire.problems import check_once

MISSING_LIBRARY = (
    "Parquet bodies need pyarrow, which this server does not have; send application/json or text/csv, or install it beside the "
    "server: pip install pyarrow"
)


class UnreadableFileError(ContractError):
    """The body is no Parquet file."""


def has_parquet() -> bool:
    """Return whether Parquet bodies can be read here."""
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


def read_parquet(body: bytes, find: Callable[[str], str | None]) -> tuple[dict[str, Sequence[Any]], int]:
    """Read the columns that the model has.

    Parameters
    ----------
    find
        Returns the model's name for a column of the file; None if the model does not have it.

    Returns
    -------
    columns, n_rows
        Name in the file → values; columns that the model does not have are there without values.

    Raises
    ------
    ModuleNotFoundError
        If there is no pyarrow.
    UnreadableFileError, RowsError
        If it is not Parquet, or a column stands there twice.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(io.BytesIO(body))
        names = file.schema_arrow.names
        known = [name for name in names if find(name) is not None]
        check_once([own for own in map(find, names) if own is not None])
        table = file.read(columns=known, use_pandas_metadata=False)
        values = {name: _to_values(table.column(name)) for name in known}
    except (ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        raise UnreadableFileError("not a readable Parquet file") from error
    return {name: values.get(name, ()) for name in names}, file.metadata.num_rows


def _to_values(column: Any) -> Sequence[Any]:
    """Return an Arrow column as a NumPy array, where one holds its values exactly, or else as Python objects.

    ``to_pylist`` raises for instants that Python's ``datetime`` does not hold: years beyond 9999, unknown time zones and,
    without pandas, fractions of a microsecond.
    """
    import pyarrow as pa

    kind = column.type
    is_instant = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if is_instant or pa.types.is_floating(kind) or (pa.types.is_integer(kind) and not column.null_count):
        array: Sequence[Any] = column.to_numpy()
        return array
    if pa.types.is_time64(kind):
        column = column.cast(pa.time64("us"), safe=False)
    elif pa.types.is_duration(kind):
        column = column.cast(pa.duration("us"), safe=False)
    values: Sequence[Any] = column.to_pylist()
    return values
