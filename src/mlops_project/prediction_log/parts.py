"""One segment → its files in the Parquet log: rows by model and date, labels by date."""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from mlops_project.bundle import Bundle
from mlops_project.errors import BundleError
from mlops_project.prediction_log.ids import read_time_ms
from mlops_project.prediction_log.layout import (
    DRAW_SCHEMA,
    ID,
    INSTANT,
    LABEL_SCHEMA,
    WITNESS_SCHEMA,
    draws_file,
    labels_file,
    rows_file,
)
from mlops_project.prediction_log.missing import Reason, Rows, add_rows
from mlops_project.prediction_log.records import About, Losses, Record, SegmentReader
from mlops_project.prediction_log.scorer import Scored, Scorer
from mlops_project.prediction_log.typed import build_batch
from mlops_project.sections import ServingConfig
from mlops_project.storage.directory import Directory

Find = Callable[[str, str], Bundle | None]  # (model, version) → the bundle that served


class Bounds(NamedTuple):
    """Which times a version's rows may have.

    Attributes
    ----------
    oldest
        No row can be older: the version was made later.
    begin
        Where its next window begins at the earliest: older rows come too late.
    """

    oldest: datetime
    begin: datetime


Begin = Callable[[str, str], Bounds | None]  # (model, version) → None if nothing is known of it

CHUNK_ROWS = 8192  # read and scored together
ROW_GROUP_ROWS = 1 << 16
LABEL_GROUP_ROWS = 1 << 14  # small, because labels are looked up by time
DAY_MS = 86_400_000
LARGEST_ROW = 2**31 - 1
END_MS = 253_402_300_800_000  # of the year 9999: later times are those of no clock
AHEAD_MS = 60_000  # a row from later than this after now was stamped by a clock that was wrong

logger = logging.getLogger(__name__)


class UnreadableSegmentError(Exception):
    """A segment's file cannot be read."""


class Scorers:
    """Scorers by model and version, each loaded once; None where the bundle cannot be had."""

    def __init__(self, find: Find, serving: ServingConfig) -> None:
        self._find, self._serving = find, serving
        self._loaded: dict[tuple[str, str], Scorer | None] = {}

    def get(self, model: str, version: str) -> Scorer | None:
        """Return a version's scorer."""
        if (model, version) not in self._loaded:
            self._loaded[model, version] = self._load(model, version)
        return self._loaded[model, version]

    def _load(self, model: str, version: str) -> Scorer | None:
        try:
            bundle = self._find(model, version)
            return None if bundle is None else Scorer(bundle, self._serving)
        except BundleError as error:
            logger.warning("version %s of model %s cannot be had: %s", version, model, error)
            return None


@dataclass
class SegmentParts:
    """One segment on its way into the Parquet log; its files appear when ``stack`` is closed."""

    name: str
    store: Directory
    scorers: Scorers
    stack: ExitStack
    begin: Begin
    newly: set[str] | None  # <model>/<version> whose rows are new, in a segment that is read again
    is_behind: bool = False  # the clock of whoever wrote it
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    missing: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    answered: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    in_no_window: Rows = field(default_factory=dict)
    waiting_rows: Rows = field(default_factory=dict)
    lost: Losses = field(default_factory=Losses)

    def __post_init__(self) -> None:
        self._outputs: dict[str, _Output] = {}
        self._pending: dict[tuple[str, str], list[Record]] = defaultdict(list)
        self._rows: dict[tuple[str, str], int] = defaultdict(int)
        self._labels: dict[int, list[tuple[str, int, str, int, str, str]]] = defaultdict(list)
        self._draws: dict[int, list[tuple[str, int, str, str, int, str, int, str]]] = defaultdict(list)

    def read(self, stream: BinaryIO) -> None:
        """Read every record."""
        pending, rows = self._pending, self._rows
        segment = SegmentReader(stream)
        for record in _read_all(segment):
            about = record.about
            if not (0 <= _time_ms(about) < END_MS and 0 <= about.time_ns < END_MS * 1_000_000):
                self.counts["undecodable"] += 1
                self._count_missing("refused", [about])
                continue
            if about.kind == "label":
                self._add_label(about, record.request)
                continue
            if about.rollout and about.role != "shadow":
                self._add_draw(about)
            key = (about.model, about.version)
            pending[key].append(record)
            rows[key] += max(1, about.rows)
            if rows[key] >= CHUNK_ROWS:
                self._flush(key)
        for key in list(pending):
            self._flush(key)
        for day in list(self._draws):
            self._write_draws(day)
        self.lost = segment.lost

    def _flush(self, key: tuple[str, str]) -> None:
        records, self._rows[key] = self._pending.pop(key), 0
        scorer = self.scorers.get(*key) if key != ("", "") else None
        scored = scorer.score(records) if scorer else None
        abouts = [record.about for record in records]
        if scorer is None and key != ("", ""):
            self.missing["/".join(key)] += len(records)
            add_rows(self.waiting_rows, {key[0]: {"refused": _count_rows(abouts)}})
        else:
            understood = {id(about) for about in scored.abouts} if scored else set()
            left_out = [about for about in abouts if id(about) not in understood]
            self.counts["undecodable"] += len(left_out)
            self._count_missing("refused", left_out)
        if scorer is None or scored is None:
            return
        self.counts["rows"] += sum(scored.counts)
        times = np.array([_time_ms(about) for about in scored.abouts], np.int64)
        batch = build_batch(scored, times, scorer.contract)
        self._count_times(key, times, scored)
        days = np.repeat(times // DAY_MS, scored.counts)
        for day in np.unique(days):
            path = rows_file(key[0], int(day), self.name, key[1])
            whole = len(batch) and bool((days == day).all())
            self._write(path, batch if whole else batch.filter(pa.array(days == day)), ROW_GROUP_ROWS)

    def _count_times(self, key: tuple[str, str], times: npt.NDArray[np.int64], scored: Scored) -> None:
        """Count rows that come too late for a window, or are from a time that is still to come."""
        rows = np.where([about.role == "shadow" for about in scored.abouts], 0, scored.counts)
        self.answered[key] += int(rows.sum())
        if self.newly is not None and "/".join(key) not in self.newly:
            return
        bounds = self.begin(*key)
        if bounds:
            impossible = int(rows[times < bounds.oldest.timestamp() * 1000].sum())
            late = int(rows[times < bounds.begin.timestamp() * 1000].sum())
            self.counts["late"] += late
            reason: Reason = "behind" if self.is_behind else "late"
            add_rows(self.in_no_window, {key[0]: {"clock": impossible, reason: late - impossible}})
        self.counts["ahead"] += int(rows[times > time.time() * 1000 + AHEAD_MS].sum())

    def _count_missing(self, reason: Reason, abouts: Sequence[About]) -> None:
        for about in abouts:
            add_rows(self.in_no_window, {about.model: {reason: _count_rows([about])}})

    def _write(self, path: str, batch: pa.RecordBatch, group_rows: int) -> None:
        if path not in self._outputs:
            self._outputs[path] = self.stack.enter_context(_open_output(self.store, path, batch.schema, group_rows))
        self._outputs[path].add(batch)

    def _add_draw(self, about: About) -> None:
        time_ms = _time_ms(about)
        if not 0 <= about.step < LARGEST_ROW or not 0 <= about.microseconds < END_MS:
            return
        draws = self._draws[time_ms // DAY_MS]
        said = (about.version, about.rollout, about.step, about.unit, about.microseconds, about.failed)
        draws.append((about.id.lower(), time_ms * 1000, *said))
        if len(draws) >= CHUNK_ROWS:
            self._write_draws(time_ms // DAY_MS)

    def _write_draws(self, day: int) -> None:
        """Write requests that took part in a roll-out; they need no model to be read."""
        columns = zip(*self._draws.pop(day), strict=True)
        arrays = [pa.array(values).cast(item.type) for values, item in zip(columns, DRAW_SCHEMA, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=DRAW_SCHEMA)
        self._write(draws_file(day, self.name), batch, ROW_GROUP_ROWS)

    def _add_label(self, about: About, label: bytes) -> None:
        base, _, row = about.id.lower().partition(".")
        try:
            text = label.decode()
            json.loads(text)
            day, position = read_time_ms(base) // DAY_MS, int(row or 0)
            if position > LARGEST_ROW:
                raise ValueError(row)
        except (ValueError, RecursionError):
            self.counts["undecodable"] += 1
            return
        self._labels[day].append((base, position, text, about.time_ns // 1000, about.source, about.batch))
        self.counts["labels"] += 1

    def write_labels(self) -> None:
        """Write the labels, sorted by id and so by the prediction's time."""
        for day, labels in self._labels.items():
            ids, rows, texts, times, *witnesses = zip(*sorted(labels), strict=True)
            columns = [pa.array(ids), pa.array(rows, pa.int32()), pa.array(texts), pa.array(times, pa.int64()).cast(INSTANT)]
            columns += [pa.array(values) for values in witnesses]
            batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema([*LABEL_SCHEMA, *WITNESS_SCHEMA]))
            for start in range(0, len(labels), LABEL_GROUP_ROWS):
                part = batch.slice(start, LABEL_GROUP_ROWS)
                self._write(labels_file(day, self.name), part, LABEL_GROUP_ROWS)


def _read_all(segment: SegmentReader) -> Iterator[Record]:
    records = iter(segment)
    while True:
        try:
            record = next(records, None)
        except OSError as error:  # a bad place on the disk
            raise UnreadableSegmentError(error.strerror or str(error)) from error
        if record is None:
            return
        yield record


def _count_rows(abouts: Sequence[About]) -> int:
    """Return how many rows somebody got."""
    return sum(max(1, about.rows) for about in abouts if about.kind == "prediction" and about.role != "shadow")


def _time_ms(about: About) -> int:
    try:
        return read_time_ms(about.id)
    except ValueError:
        return about.time_ns // 1_000_000


class _Output:
    """A Parquet file that grows by batches, in row groups of at least so many rows."""

    def __init__(self, writer: ParquetWriter, group_rows: int) -> None:
        self._writer, self._group_rows = writer, group_rows
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        self._batches.append(batch)
        self._rows += len(batch)
        if self._rows >= self._group_rows:
            self.flush()

    def flush(self) -> None:
        """Write what is left."""
        if self._rows:
            self._writer.write_table(pa.Table.from_batches(self._batches), self._rows)
        self._batches, self._rows = [], 0


@contextmanager
def _open_output(store: Directory, path: str, schema: pa.Schema, group_rows: int) -> Iterator[_Output]:
    # Numbers in dictionaries took more time and hardly less room.
    texts = [item.name for item in schema if item.type == pa.string() and item.name != ID]
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": texts, "write_page_checksum": True}
    with store.write(path) as stream, ParquetWriter(stream, schema, **options) as writer:
        output = _Output(writer, group_rows)
        yield output
        output.flush()
