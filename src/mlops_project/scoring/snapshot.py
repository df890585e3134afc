"""Rows that cannot be read in pieces from where they are → Parquet files, read once.

A run that is resumed scores the same rows, in the same order.

::

    .<digest>.rows/
    ├── .lock           held while a run reads or scores
    ├── chunk-000000.parquet …   as they come, each with the types of its own values
    ├── rows-000000.parquet …    of each source, in one type per column; what is scored
    └── names.json      what people call the sources; last, so that it says that all rows are there
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
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
NAMES_FILE = "names.json"


class Pieces(NamedTuple):
    """Rows that come in pieces, once.

    Attributes
    ----------
    source
        What people call it, without credentials.
    key
        With ``source``, what tells these rows from others.
    read
        Yields the name of each source (file, database) with some of its rows.
    """

    source: str
    key: str
    read: Callable[[], Iterator[tuple[str, pa.Table]]]


class Snapshot(NamedTuple):
    """Rows that were read.

    Attributes
    ----------
    folder
        That holds ``rows-*.parquet`` alone.
    names
        What people call the source of each of these files.
    taken_at
        When they were read, ISO 8601, if an earlier run read them; else empty.
    """

    folder: Path
    names: Mapping[str, str]
    taken_at: str


def ask_database(source: str, query: str) -> Pieces:
    """Return the rows of a query; ``source`` is the database's SQLAlchemy URL."""
    address = describe_address(source)

    def read() -> Iterator[tuple[str, pa.Table]]:
        for names, rows in stream_query(source, query, [Path.cwd()], CHUNK_ROWS):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise DataError(
                    f"the query gives columns of one name: {', '.join(twice)}; name them apart: select a.id as a_id"
                )
            columns = zip(*rows, strict=True) if rows else [()] * len(names)
            yield address, build_table(dict(zip(names, columns, strict=True)))

    return Pieces(address, query, read)


@contextlib.contextmanager
def take_snapshot(pieces: Pieces, target: str, staging: Path) -> Iterator[Snapshot]:
    """Give rows; they are kept if the run is interrupted, and deleted when it ends.

    Parameters
    ----------
    target
        Where the run writes to: two runs of one source have rows of their own.
    staging
        Folder in which they wait.

    Raises
    ------
    ConfigError
        If another run reads the same rows for the same output now.
    DataError
        If they cannot be read.
    """
    digest = hashlib.sha256("\n".join((pieces.source, pieces.key, target)).encode()).hexdigest()[:DIGEST_LENGTH]
    folder = staging.absolute() / f".{digest}.rows"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as lock:
        if not try_lock(lock):
            raise ConfigError(f"{target}: another run of `mlops score` writes it now; wait for it, or name another output")
        file, taken_at = folder / NAMES_FILE, ""
        if file.exists():
            taken_at = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
        try:
            if not taken_at:
                names = _fetch(pieces, folder)
                with replacing(file) as stream:
                    stream.write(json.dumps(names).encode())
            yield Snapshot(folder, json.loads(file.read_text(encoding="utf-8")), taken_at)
        except DataError:  # other rows may do
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _fetch(pieces: Pieces, folder: Path) -> dict[str, str]:
    """Write the rows as they come, then each source's in the types that all of them fit; return the sources' names."""
    schema = pa.schema([])
    chunks: dict[str, list[Path]] = {}
    for name, table in pieces.read():
        schema = _join_types(schema, table.schema)
        file = folder / f"chunk-{sum(map(len, chunks.values())):06}.parquet"
        chunks.setdefault(name, []).append(file)
        with ParquetWriter(file, table.schema) as writer:
            writer.write_table(table)
    schema = pa.schema([pa.field(field.name, pa.string() if pa.types.is_null(field.type) else field.type) for field in schema])
    names = {}
    for place, (name, files) in enumerate(chunks.items()):
        _join(folder / f"rows-{place:06}.parquet", schema, files)
        names[f"rows-{place:06}.parquet"] = name
    return names


def _join(target: Path, schema: pa.Schema, files: Sequence[Path]) -> None:
    with replacing(target) as stream, ParquetWriter(stream, schema) as writer:
        for file in files:
            with ParquetFile(file) as chunk:
                table = chunk.read()
            columns = [
                _cast(table.column(name), kind) if name in table.column_names else pa.nulls(len(table), kind)
                for name, kind in zip(schema.names, schema.types, strict=True)
            ]
            writer.write_table(pa.table(columns, schema))
    for file in files:
        file.unlink()


def _join_types(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    known = dict(zip(one.names, one.types, strict=True))
    for name, kind in zip(other.names, other.types, strict=True):
        known[name] = _join_type(known[name], kind) if name in known else kind
    return pa.schema(list(known.items()))


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


def build_table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return columns of Python values as a table, each column in the type that holds all of its values."""
    return pa.table([_to_array(values) for values in columns.values()], names=list(columns))


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
