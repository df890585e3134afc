"""The rows of a SQL query → one Parquet file, read once: a run that is resumed scores the same rows, in the same order.

::

    .<digest>.query/
    ├── .lock           held while a run reads or scores
    ├── chunk-000000.parquet …   as they come, each with the types of its own values
    └── rows.parquet    all of them, in one type per column; what is scored
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pyarrow as pa
from pyarrow.parquet import ParquetFile, ParquetWriter

from mlops_project.errors import ConfigError, DataError
from mlops_project.scoring.work import DIGEST_LENGTH
from mlops_project.storage.files import replacing
from mlops_project.storage.locks import try_lock
from mlops_project.tables.databases import describe_address, stream_query

CHUNK_ROWS = 1 << 15
ROWS_FILE = "rows.parquet"


class Snapshot(NamedTuple):
    """What a query gave.

    Attributes
    ----------
    file
        Parquet.
    address
        Of the database, without credentials.
    taken_at
        When it was read, ISO 8601, if an earlier run read it; else empty.
    """

    file: Path
    address: str
    taken_at: str


@contextlib.contextmanager
def take_snapshot(source: str, query: str, target: str, staging: Path) -> Iterator[Snapshot]:
    """Give the rows of a query; they are kept if the run is interrupted, and deleted when it ends.

    Parameters
    ----------
    source
        SQLAlchemy URL.
    target
        Where the run writes to: two runs with one query have rows of their own.
    staging
        Folder in which they wait.

    Raises
    ------
    ConfigError
        If another run reads the same rows for the same output now.
    DataError
        If the query fails.
    """
    address = describe_address(source)
    digest = hashlib.sha256("\n".join((address, query, target)).encode()).hexdigest()[:DIGEST_LENGTH]
    folder = staging.absolute() / f".{digest}.query"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as lock:
        if not try_lock(lock):
            raise ConfigError(f"{target}: another run of `mlops score` writes it now; wait for it, or name another output")
        file, taken_at = folder / ROWS_FILE, ""
        if file.exists():
            taken_at = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
        try:
            if not taken_at:
                _join(folder, *_fetch(source, query, folder))
            yield Snapshot(file, address, taken_at)
        except DataError:  # other rows may do
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _fetch(source: str, query: str, folder: Path) -> tuple[pa.Schema, list[Path]]:
    """Write the rows as they come; return the types that all of them fit."""
    schema, files = pa.schema([]), list[Path]()
    for names, rows in stream_query(source, query, [Path.cwd()], CHUNK_ROWS):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"the query gives columns of one name: {', '.join(twice)}; name them apart: select a.id as a_id")
        columns = [_to_array(values) for values in (zip(*rows, strict=True) if rows else [()] * len(names))]
        table = pa.table(columns, names=names)
        schema = _join_types(schema, table.schema) if files else table.schema
        files.append(folder / f"chunk-{len(files):06}.parquet")
        with ParquetWriter(files[-1], table.schema) as writer:
            writer.write_table(table)
    empty = [pa.field(field.name, pa.string() if pa.types.is_null(field.type) else field.type) for field in schema]
    return pa.schema(empty), files


def _join(folder: Path, schema: pa.Schema, files: Sequence[Path]) -> None:
    with replacing(folder / ROWS_FILE) as stream, ParquetWriter(stream, schema) as writer:
        for file in files:
            with ParquetFile(file) as chunk:
                table = chunk.read()
            writer.write_table(pa.table([_cast(table.column(name), schema.field(name).type) for name in schema.names], schema))
    for file in files:
        file.unlink()


def _join_types(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    return pa.schema([(name, _join_type(one.field(name).type, other.field(name).type)) for name in one.names])


def _join_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (one, other))
    return pa.float64() if numbers else pa.string()


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type.equals(kind):
        return column
    if pa.types.is_string(kind):
        return pa.chunked_array([pa.array([_spell(value) for value in column.to_pylist()], pa.string())])
    return column.cast(kind, safe=False)


def _to_array(values: Sequence[Any]) -> pa.Array:
    """Return a column's values in the type that holds them all: of the driver's Python types, decimals are float64."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {int, float, Decimal} and kinds & {float, Decimal}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds <= {memoryview, bytearray, bytes} and kinds:
        return pa.array([None if value is None else bytes(value) for value in values], pa.binary())
    if not kinds & {dict, list, tuple, UUID} and len(kinds) <= 1:
        with contextlib.suppress(pa.ArrowException, OverflowError):  # a type that Arrow does not know, a huge whole number
            return pa.array(values)
    return pa.array([_spell(value) for value in values], pa.string())


def _spell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else str(value)
