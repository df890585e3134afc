"""Units of work of one run, and how each is read: the same rows in the same batches, whatever process reads them."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import fsspec
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem
from pyarrow.parquet import ParquetFile

from mlops_project.contract import Feature
from mlops_project.errors import DataError
from mlops_project.scoring.csv_blocks import read_rows
from mlops_project.tables.locations import read_folders
from mlops_project.tables.unreadable import explain_refusal
from mlops_project.wire.parquet import to_values
from mlops_project.wire.rows import RowReader
from mlops_project.wire.words import CSV_MISSING, read_cells, read_words

BATCH_ROWS = 1 << 14
BATCH_VALUES = 1 << 22  # 32 MiB of numbers
READ_BYTES = 1 << 20  # of a column at a time


class Table(msgspec.Struct, frozen=True):
    """What all files of a run have in common.

    Attributes
    ----------
    kind
        How the files are written.
    names
        Their columns.
    kept
        Those that are in the output as well.
    folders
        Columns that the names of the files' folders give (``year=2026/month=11``).
    separator, decimal, thousands
        CSV: how the files are written.
    options
        For the fsspec file system.
    """

    kind: Literal["parquet", "csv"]
    names: tuple[str, ...]
    kept: tuple[str, ...]
    folders: tuple[str, ...] = ()
    separator: str = ","
    decimal: str = "."
    thousands: str | None = None
    options: dict[str, Any] = {}


class Unit(msgspec.Struct, frozen=True):
    """Some rows of a file, scored together into one part of the output.

    Attributes
    ----------
    index
        Position in the run.
    file
        Path in its file system.
    start, end
        Parquet: rows, counted from the first of ``groups``. CSV: characters behind the header.
    groups
        Parquet: which row groups they are in.
    text
        CSV: the rows themselves.
    """

    index: int
    file: str
    start: int
    end: int
    groups: tuple[int, ...] = ()
    text: str = ""

    @property
    def name(self) -> str:
        """What tells it from every other unit of the same input."""
        return f"{self.file}:{self.groups}:{self.start}-{self.end}"


class Batch(NamedTuple):
    """Rows as they were read.

    Attributes
    ----------
    n_rows
        That could be split into columns.
    columns
        As ``RowReader.read_columns`` takes them.
    kept
        Arrow table of the columns that the output has as well.
    positions
        int64 ``(n_rows,)``: where the rows stand in their unit.
    ragged
        Position and reason of the rows that could not be split.
    """

    n_rows: int
    columns: Mapping[str, Any]
    kept: pa.Table
    positions: npt.NDArray[np.int64]
    ragged: list[tuple[int, str]]


def read_unit(unit: Unit, table: Table, reader: RowReader) -> Iterator[Batch]:
    """Yield a unit's rows in batches.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    batches = _read_parquet(unit, table, reader) if table.kind == "parquet" else _read_csv(unit, table, reader)
    try:
        yield from (_add_folders(batch, unit.file, table, reader) for batch in batches) if table.folders else batches
    except (pa.ArrowException, csv.Error, OSError, ValueError) as error:
        raise DataError(f"{unit.file}: cannot be read: {explain_refusal(error)}") from error


def _add_folders(batch: Batch, file: str, table: Table, reader: RowReader) -> Batch:
    """Return a batch with the columns that stand in the names of its file's folders."""
    values = read_folders(file)
    features = {feature.name: feature for feature in reader.contract.features}
    columns, kept = dict(batch.columns), batch.kept
    for name in table.folders:
        feature = features.get(reader.find_name(name) or "")
        columns[name] = () if feature is None else read_cells([values[name] or ""] * batch.n_rows, feature)
        if name in table.kept:
            kept = kept.append_column(name, pa.array([values[name]] * batch.n_rows, pa.string()))
    return batch._replace(columns=columns, kept=kept.select(list(table.kept)))


def open_parquet(file: str, options: Mapping[str, Any]) -> ParquetFile:
    """Open a Parquet file, of which no more than ``READ_BYTES`` of a column are in memory at a time."""
    system, path = fsspec.core.url_to_fs(file, **options)
    if isinstance(system, LocalFileSystem):
        return ParquetFile(path, memory_map=True, pre_buffer=False)
    return ParquetFile(system.open(path, "rb"), pre_buffer=False, buffer_size=READ_BYTES)


def limit_rows(n_columns: int) -> int:
    """Return how many rows of so many columns are read and scored together."""
    return max(1, min(BATCH_ROWS, BATCH_VALUES // max(1, n_columns)))


def _read_parquet(unit: Unit, table: Table, reader: RowReader) -> Iterator[Batch]:
    own = {name: reader.find_name(name) for name in table.names}
    kept_here = [name for name in table.kept if name not in table.folders]
    read = [name for name in table.names if own[name] is not None or name in table.kept]
    features = {feature.name: feature for feature in reader.contract.features}
    done = 0  # rows of the groups
    size = limit_rows(len(read))
    with open_parquet(unit.file, table.options) as file:
        batches = file.iter_batches(size, row_groups=list(unit.groups), columns=read, use_pandas_metadata=False)
        for found in batches:
            first, done = done, done + found.num_rows
            if done <= unit.start:
                continue
            if first >= unit.end:
                return
            rows = found.slice(max(0, unit.start - first), min(done, unit.end) - max(first, unit.start))
            columns: dict[str, Any] = {name: () for name in table.names if own[name] is None}
            for name in table.names:
                if (feature := features.get(own[name] or "")) is not None:
                    columns[name] = _to_values(rows.column(name), feature)
            places = np.arange(max(first, unit.start) - unit.start, min(done, unit.end) - unit.start)
            kept = pa.Table.from_batches([rows]).select(kept_here).replace_schema_metadata(None)
            yield Batch(len(rows), columns, kept, places, [])


def _to_values(column: pa.Array, feature: Feature) -> Sequence[Any]:
    values = to_values(pa.chunked_array([column]))
    return read_words(values, feature) if isinstance(values, list) else values


def _read_csv(unit: Unit, table: Table, reader: RowReader) -> Iterator[Batch]:
    size, rows, done = limit_rows(len(table.names)), [], 0
    for row in read_rows(unit.text, table.separator):
        rows.append(row)
        if len(rows) == size:
            yield _name_fields(rows, done, table, reader)
            rows, done = [], done + size
    if rows:
        yield _name_fields(rows, done, table, reader)


def _name_fields(rows: list[list[str]], done: int, table: Table, reader: RowReader) -> Batch:
    width = len(table.names)
    wrong = [place for place, row in enumerate(rows) if len(row) != width]
    places = np.arange(done, done + len(rows))
    ragged = [(done + place, f"has {len(rows[place])} fields, the first line has {width}") for place in wrong]
    if wrong:
        places = np.delete(places, wrong)
        rows = [row for row in rows if len(row) == width]
    cells = dict(zip(table.names, zip(*rows, strict=True) if rows else [()] * width, strict=True))
    features = {feature.name: feature for feature in reader.contract.features}
    columns: dict[str, Any] = {}
    for name, texts in cells.items():
        feature = features.get(reader.find_name(name) or "")
        columns[name] = () if feature is None else _read_cells(texts, feature, table)
    kept = pa.table({name: pa.array(cells[name], pa.string()) for name in table.kept if name not in table.folders})
    return Batch(len(rows), columns, kept, places, ragged)


def _read_cells(texts: Sequence[str], feature: Feature, table: Table) -> Any:
    """Return a column's texts as the reader takes them.

    Numbers that are written as this file writes them become numbers, if they can all at once, which takes a tenth of the time;
    everything else is read by the column's own rules.
    """
    if feature.type not in ("float", "integer") or (table.decimal == "." and not _is_plain(feature)):
        return read_cells(texts, feature)
    if table.decimal != ".":
        plain = [text.replace(table.thousands or "", "").replace(table.decimal, ".") for text in texts]
        numbers = _parse_all(plain)
        return [_parse(number, text) for number, text in zip(plain, texts, strict=True)] if numbers is None else numbers
    numbers = _parse_all(texts)
    return read_cells(texts, feature) if numbers is None else numbers


def _is_plain(feature: Feature) -> bool:
    """Whether the column's rules, if it has any, read numbers as everybody writes them."""
    rule = feature.reading
    return rule is None or (rule.decimal, rule.thousands, rule.currency, rule.percent, rule.formats) == (".", "", "", False, ())


def _parse_all(texts: Sequence[str]) -> Any:
    """Return float64 numbers, NaN where a text is empty; None if one is something else."""
    trimmed = pc.utf8_trim_whitespace(pa.array(texts, pa.string()))
    try:
        return pc.if_else(pc.equal(trimmed, ""), None, trimmed).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None


def _parse(plain: str, text: str) -> float | str | None:
    """Return the number that a text is, as this file writes it; else the text, or None where it is a word for a gap."""
    try:
        return float(plain)
    except ValueError:
        return None if text.strip() in CSV_MISSING else text
