"""The log's Parquet files, read row group by row group: what a window needs of them, in bounded memory.

The footers hold each row group's times, version and role, so most row groups are read whole or not at all. A row has a
position (number of its row group, number of the row in it), by which rows found in the key columns are fetched later.
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import ParquetFile

from mlops_project.errors import DataError
from mlops_project.prediction_log.layout import (
    DAY_US,
    ID,
    KEY_SCHEMA,
    LABEL_SCHEMA,
    LABELS,
    LOG,
    ROLE,
    TIME,
    VERSION,
    find_day,
    find_models,
    find_version,
    model_folder,
)
from mlops_project.storage.directory import Directory

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FOREVER = 253_402_300_800_000_000  # microseconds to the year 10000
SHADOW = "shadow"  # answers of a challenger that no client got; they are not counted as traffic
# Most rows that are joined with their labels, or sorted, at a time.
SLICE_ROWS = 250_000
ROW_BITS = 32  # of a position, for the row in its row group

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)
Positions = npt.NDArray[np.int64]

logger = logging.getLogger(__name__)


class UnreadablePartError(DataError):
    """A file of the Parquet log cannot be read; ``file`` and ``reason`` say which and why."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file} of the Parquet log cannot be read: {reason}")
        self.file, self.reason = file, reason


@dataclass(frozen=True)
class Window:
    """Which predictions: of a model, from ``start`` to before ``end``.

    Attributes
    ----------
    model
        Name.
    start, end
        Without a zone they count as UTC.
    version
        None for all.
    """

    model: str
    start: datetime
    end: datetime
    version: str | None = None


class Span(NamedTuple):
    """From ``start`` to before ``end``, microseconds since 1970."""

    start: int
    end: int


class RowGroup(NamedTuple):
    """One row group.

    Attributes
    ----------
    file, group
        Where it is.
    rows
        How many.
    first, last
        Smallest and largest time, in microseconds since 1970; of labels, smallest and largest id.
    version, role
        None if there are several.
    """

    file: str
    group: int
    rows: int
    first: Any
    last: Any
    version: str | None = None
    role: str | None = None

    def is_inside(self, span: Span, version: str | None) -> bool:
        """Whether every row counts."""
        sure = self.version is not None and version in (None, self.version) and self.role not in (None, SHADOW)
        return sure and span.start <= self.first and self.last < span.end

    def may_hold(self, span: Span, version: str | None) -> bool:
        """Whether any row may count."""
        other = version is not None and self.version not in (None, version)
        return not other and self.role != SHADOW and self.first < span.end and self.last >= span.start


def to_span(window: Window) -> Span:
    """Return a window's times."""
    return Span(to_microseconds(window.start), to_microseconds(window.end))


def to_microseconds(at: datetime) -> int:
    """Return microseconds since 1970."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND


def to_datetime(microseconds: int) -> datetime:
    """Return the moment, in UTC."""
    return EPOCH + timedelta(microseconds=int(microseconds))


class Files:
    """The Parquet files of one store. Remembers their footers' statistics: files never change.

    Every method that reads a file raises ``UnreadablePartError`` if the file cannot be read.

    Attributes
    ----------
    left_out
        File → why it is not read.
    """

    def __init__(self, store: Directory) -> None:
        self.store = store
        self.left_out: dict[str, str] = {}
        self._known: dict[str, list[RowGroup]] = {}

    def models(self) -> list[str]:
        """Return the models that have a log."""
        return find_models(self.store.names(LOG))

    def list_versions(self, model: str) -> set[str]:
        """Return the versions that have files."""
        folder = model_folder(model)
        names = [name for day in self.store.names(folder) for name in self.store.names(f"{folder}/{day}", ".parquet")]
        return {find_version(name) for name in names}

    def days(self, model: str, span: Span) -> list[tuple[str, Span]]:
        """Return the dates that have rows in a span, oldest first, each with its part of the span."""
        days = []
        for name in self.store.names(model_folder(model)):
            start = find_day(name)
            if start is None:
                continue
            part = Span(max(start, span.start), min(start + DAY_US, span.end))
            if part.start < part.end:
                days.append((name, part))
        return days

    def row_groups(self, model: str, day: str, span: Span, version: str | None) -> list[RowGroup]:
        """Return the row groups of a date that may hold rows of a span, by file.

        Parameters
        ----------
        model
            The model's name.
        day
            Name of the date's folder, as ``days`` returns it.
        span
            In microseconds since 1970.
        version
            None for all.
        """
        return [row_group for row_group in self._list(f"{model_folder(model)}/{day}") if row_group.may_hold(span, version)]

    def label_row_groups(self, day: str) -> list[RowGroup]:
        """Return the row groups of a date's labels."""
        return self._list(f"{LABELS}/{day}")

    def _list(self, folder: str) -> list[RowGroup]:
        found = []
        for name in self.store.names(folder, ".parquet"):
            file = f"{folder}/{name}"
            if file in self.left_out:
                continue
            if file not in self._known:
                with _reading(file), self.open(file) as parquet:
                    self._known[file] = list(_describe(file, parquet))
            found += self._known[file]
        return found

    def count_file(self, file: str, span: Span) -> int:
        """Return how many rows of a file are in a span, without shadows; 0 if it cannot be read."""
        rows = 0
        with contextlib.suppress(UnreadablePartError):
            with _reading(file), self.open(file) as parquet:
                row_groups = list(_describe(file, parquet))
            wanted = [row_group for row_group in row_groups if row_group.may_hold(span, None)]
            for _, _, batch in self.read(wanted, [TIME, VERSION, ROLE]):
                rows += batch.filter(find_rows(batch, span, None)).num_rows
        return rows

    def forget(self) -> None:
        """Forget the footers' statistics: the files are read anew."""
        self._known.clear()

    def leave_out(self, error: UnreadablePartError) -> None:
        """Do not read a file any more, until ``recheck`` finds it whole."""
        logger.warning("%s; it is left out", error)
        self.left_out[error.file] = error.reason
        self._known.pop(error.file, None)

    def recheck(self) -> None:
        """Read every left out file through; those that are whole, or gone, are not left out any more."""
        for file in [*self.left_out]:
            with contextlib.suppress(UnreadablePartError):
                if self.store.exists(file):
                    self._read_through(file)
                del self.left_out[file]

    def _read_through(self, file: str) -> None:
        with _reading(file), self.open(file) as parquet:
            list(_describe(file, parquet))
            for _ in parquet.iter_batches():
                pass

    def open(self, file: str) -> ParquetFile:
        """Open a Parquet file; the caller closes it."""
        options = {"page_checksum_verification": True}
        if self.store.is_local:
            return ParquetFile(self.store.path(file), pre_buffer=False, **options)
        return ParquetFile(self.store.open(file), pre_buffer=True, **options)

    def read(
        self, row_groups: Iterable[RowGroup], columns: Sequence[str] | None, batch_rows: int = SLICE_ROWS
    ) -> Iterator[tuple[int, int, pa.RecordBatch]]:
        """Read row groups in their order, in batches.

        Parameters
        ----------
        row_groups
            Of any files; a file is opened once if its row groups follow one another.
        columns
            Which; those that a file does not have are missing in its batches. None for all.
        batch_rows
            Most rows of a batch.

        Yields
        ------
        number, row, batch
            Place of the row group in ``row_groups``, of the batch's first row in the row group, and the batch.
        """
        for number, (row_group, parquet) in enumerate(self._open_each(row_groups)):
            row = 0
            batches = parquet.iter_batches(batch_rows, [row_group.group], columns)
            while (batch := _next_batch(row_group.file, batches)) is not None:
                yield number, row, batch
                row += batch.num_rows

    def fetch(self, row_groups: Sequence[RowGroup], positions: Positions, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Yield the rows at some positions, as a table per row group.

        Parameters
        ----------
        row_groups
            Those that the positions count from.
        positions
            int64 ``(n,)``, ascending: place in ``row_groups`` shifted left by ``ROW_BITS``, plus the row in the row group.
        columns
            Which, in this order; null where a file does not have one. None for all.
        """
        numbers, rows = positions >> ROW_BITS, positions & ((1 << ROW_BITS) - 1)
        wanted, starts = np.unique(numbers, return_index=True)
        parts = np.split(rows, starts[1:])
        for (row_group, parquet), part in zip(self._open_each(row_groups[item] for item in wanted), parts, strict=False):
            with _reading(row_group.file):
                table = parquet.read_row_group(row_group.group, columns)
            yield select(table if len(part) == table.num_rows else table.take(pa.array(part)), columns)

    def _open_each(self, row_groups: Iterable[RowGroup]) -> Iterator[tuple[RowGroup, ParquetFile]]:
        """Yield the row groups with their files, each opened once if its row groups follow one another."""
        parquet, file = None, None
        try:
            for row_group in row_groups:
                if row_group.file != file:
                    if parquet is not None:
                        parquet.close(force=True)
                    with _reading(row_group.file):
                        parquet, file = self.open(row_group.file), row_group.file
                yield row_group, parquet
        finally:
            if parquet is not None:
                parquet.close(force=True)


@contextlib.contextmanager
def _reading(file: str) -> Iterator[None]:
    """Turn what reading a file may raise into ``UnreadablePartError``."""
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadablePartError(file, "it is gone") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        raise UnreadablePartError(file, " ".join(str(error).split())[:300] or type(error).__name__) from error


def _next_batch(file: str, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    with _reading(file):
        return next(batches, None)


def _describe(file: str, parquet: ParquetFile) -> Iterator[RowGroup]:
    is_log = file.startswith(f"{LOG}/")
    _check_schema(parquet.schema_arrow, KEY_SCHEMA if is_log else LABEL_SCHEMA)
    metadata = parquet.metadata
    names = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        if not row_group.num_rows:
            continue
        key, *others = [row_group.column(names.index(name)).statistics for name in ((TIME, VERSION, ROLE) if is_log else (ID,))]
        if key is None or not key.has_min_max:
            raise ValueError("it lacks the statistics that every file of this log has")
        first, last = (key.min_raw, key.max_raw) if is_log else (key.min, key.max)
        constants = [item.min if item and item.min == item.max else None for item in others]
        yield RowGroup(file, group, row_group.num_rows, first, last, *constants)


def _check_schema(found: pa.Schema, expected: pa.Schema) -> None:
    for item in expected:
        if item.name not in found.names or found.field(item.name).type != item.type:
            raise ValueError(f"it is no file of this log: expected a column {item.name} of type {item.type}")


def find_rows(batch: pa.RecordBatch, span: Span, version: str | None) -> pa.BooleanArray:
    """Return which rows of a batch are in a span, of a version and not a shadow's.

    Parameters
    ----------
    batch
        With ``mlops.time``, ``mlops.version`` and ``mlops.role``.
    span
        In microseconds since 1970.
    version
        None for all.
    """
    times = batch.column(TIME).cast(pa.int64())
    wanted = pc.and_(pc.greater_equal(times, span.start), pc.less(times, span.end))
    wanted = pc.and_(wanted, pc.not_equal(batch.column(ROLE), SHADOW))
    return wanted if version is None else pc.and_(wanted, pc.equal(batch.column(VERSION), version))


def select(rows: Rows, columns: Sequence[str] | None) -> Rows:
    """Return these columns of a batch or table, in this order; null where there is none."""
    if columns is None:
        return rows
    names = rows.schema.names
    arrays = [rows.column(name) if name in names else pa.nulls(rows.num_rows, pa.float64()) for name in columns]
    return type(rows).from_arrays(arrays, names=list(columns))


def slice_day(row_groups: Sequence[RowGroup], span: Span, rows: int = SLICE_ROWS) -> list[Span]:
    """Cut a date's span so that each part has few enough rows to be held in memory.

    Parameters
    ----------
    row_groups
        All of the date that may hold rows of the span.
    span
        In microseconds since 1970.
    rows
        About the most rows of a part; more if a single row group has more.
    """
    borders, n_rows = [span.start], 0
    for row_group in sorted(row_groups, key=lambda item: item.first):
        if n_rows + row_group.rows > rows and row_group.first > borders[-1]:
            borders.append(row_group.first)
            n_rows = 0
        n_rows += row_group.rows
    return [Span(*borders) for borders in zip(borders, [*borders[1:], span.end], strict=True)]
