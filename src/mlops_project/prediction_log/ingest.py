"""Closed segments → Parquet, by model and date: each exactly once, restartable at any moment.

A segment's files have names that follow from its own, appear whole, and are followed by a marker. Killed before the marker, the
segment is read again, and the same files take the place of the first ones. Rows and labels are kept under the date of the
prediction, which its id tells, so a window finds both in its own dates.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from mlops_project.bundle import Bundle
from mlops_project.errors import BundleError
from mlops_project.prediction_log.ids import read_time_ms
from mlops_project.prediction_log.records import About, Record, is_damaged, read_stream
from mlops_project.prediction_log.scorer import Scorer
from mlops_project.prediction_log.store import Store
from mlops_project.prediction_log.typed import (
    ID,
    INSTANT,
    LABEL,
    LABEL_TIME,
    ROW,
    build_batch,
)
from mlops_project.prediction_log.writer import CLOSED
from mlops_project.sections import ServingConfig

Find = Callable[[str, str], Bundle | None]  # (model, version) → the bundle that served

LOG, LABELS, MARKERS = "log", "labels", "ingested"
DONE, WAITING = ".json", ".waiting"
CHUNK_ROWS = 8192  # read and scored together
ROW_GROUP_ROWS = 1 << 16
LABEL_GROUP_ROWS = 1 << 14  # small, because labels are looked up by time
DAY_MS = 86_400_000
LARGEST_ROW = 2**31 - 1
# A segment whose model is not to be had is read again after 1 minute, then 4, 16, … and after that as well as it goes.
MAX_ATTEMPTS = 6
RETRY_SECONDS, RETRY_FACTOR = 60.0, 4

LABEL_SCHEMA = pa.schema([(ID, pa.string()), (ROW, pa.int32()), (LABEL, pa.string()), (LABEL_TIME, INSTANT)])

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingested:
    """What was done.

    Attributes
    ----------
    segments
        Read to the end.
    rows, labels
        Added.
    undecodable
        Records that could not be read, or whose model could not be had in the end.
    models
        Whose rows were added.
    waiting
        Segments that wait for a model that could not be had; what could be read of them is there.
    """

    segments: int = 0
    rows: int = 0
    labels: int = 0
    undecodable: int = 0
    models: frozenset[str] = frozenset()
    waiting: int = 0


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a segment. A file of this says that it is done, or waits for a model.

    Attributes
    ----------
    rows, labels, undecodable
        Counts.
    missing
        ``<model>/<version>`` that could not be had.
    attempts, retry_at
        How often it was read, and when it is to be read again; seconds since 1970.
    """

    rows: int
    labels: int
    undecodable: int
    missing: tuple[str, ...] = ()
    attempts: int = 1
    retry_at: float = 0.0


NOTHING = Marker(rows=0, labels=0, undecodable=0, attempts=0)


def ingest(
    segments: str | Path,
    store: str,
    find: Find,
    serving: ServingConfig,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Ingested:
    """Bring every closed segment that is not yet read into the Parquet log.

    Parameters
    ----------
    segments
        Where the server writes them: local path or fsspec URL.
    store
        ``monitoring_dir``: local path or fsspec URL. On a local disk a second ingest waits for the first.
    find
        Gives the bundle that answered; None if it cannot be had.
    serving
        How the server read requests.
    storage_options
        For both file systems.

    Raises
    ------
    OSError
        If the store cannot be written.
    """
    source, target = Store(segments, storage_options), Store(store, storage_options)
    scorers = _Scorers(find, serving)
    with target.lock(MARKERS):
        done, before = list_done(target), _read_waiting(target)
        results: list[tuple[Marker, Marker, frozenset[str]]] = []
        for name in (file.removesuffix(CLOSED) for file in source.names("", CLOSED)):
            last = before.get(name, NOTHING)
            if name in done or last.retry_at > time.time():
                continue
            try:
                with source.open(name + CLOSED) as stream:
                    marker, models = _ingest_segment(stream, name, target, scorers, last.attempts + 1)
            except FileNotFoundError:  # past its retention
                continue
            _write_marker(target, name, marker)
            results.append((last, marker, models))
    return Ingested(
        segments=sum(not marker.retry_at for _, marker, _ in results),
        rows=sum(marker.rows - last.rows for last, marker, _ in results),
        labels=sum(marker.labels - last.labels for last, marker, _ in results),
        undecodable=sum(marker.undecodable - last.undecodable for last, marker, _ in results),
        models=frozenset().union(*(models for *_, models in results)),
        waiting=sum(marker.retry_at > 0 for _, marker, _ in results),
    )


def list_done(store: Store) -> set[str]:
    """Return the names, without ending, of the segments that are wholly in the Parquet log."""
    return {name.removesuffix(DONE) for name in store.names(MARKERS, DONE)}


def _read_waiting(store: Store) -> dict[str, Marker]:
    waiting = {}
    for name in store.names(MARKERS, WAITING):
        try:
            waiting[name.removesuffix(WAITING)] = msgspec.json.decode(store.read(f"{MARKERS}/{name}"), type=Marker)
        except (FileNotFoundError, msgspec.MsgspecError):  # then it is read once more
            continue
    return waiting


def _write_marker(store: Store, name: str, marker: Marker) -> None:
    ending = WAITING if marker.retry_at else DONE
    with store.write(f"{MARKERS}/{name}{ending}") as stream:
        stream.write(msgspec.json.encode(marker))
    if not marker.retry_at and marker.attempts > 1:
        store.delete(f"{MARKERS}/{name}{WAITING}")


class _Scorers:
    """Scorers by model and version, each loaded once; None where the bundle cannot be had."""

    def __init__(self, find: Find, serving: ServingConfig) -> None:
        self._find, self._serving = find, serving
        self._loaded: dict[tuple[str, str], Scorer | None] = {}

    def get(self, model: str, version: str) -> Scorer | None:
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


def _ingest_segment(
    stream: BinaryIO, name: str, store: Store, scorers: _Scorers, attempt: int
) -> tuple[Marker, frozenset[str]]:
    with ExitStack() as stack:
        segment = _Segment(name, store, scorers, stack)
        segment.read(stream)
        segment.write_labels()
    found = segment.counts
    lost = sum(segment.missing.values())
    waits = bool(lost) and attempt < MAX_ATTEMPTS
    marker = Marker(
        rows=found["rows"],
        labels=found["labels"],
        undecodable=found["undecodable"] + (0 if waits else lost),
        missing=tuple(sorted(segment.missing)),
        attempts=attempt,
        retry_at=time.time() + RETRY_SECONDS * RETRY_FACTOR ** (attempt - 1) if waits else 0.0,
    )
    if marker.undecodable:
        logger.warning("segment %s: %d records could not be read", name, marker.undecodable)
    return marker, frozenset(segment.models)


@dataclass
class _Segment:
    """One segment on its way into the Parquet log; its files appear when ``stack`` is closed."""

    name: str
    store: Store
    scorers: _Scorers
    stack: ExitStack
    counts: dict[str, int] = field(default_factory=lambda: {"rows": 0, "labels": 0, "undecodable": 0})
    missing: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    models: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._outputs: dict[str, _Output] = {}
        self._pending: dict[tuple[str, str], list[Record]] = defaultdict(list)
        self._rows: dict[tuple[str, str], int] = defaultdict(int)
        self._labels: dict[str, list[tuple[str, int, str, int]]] = defaultdict(list)

    def read(self, stream: BinaryIO) -> None:
        """Read every record."""
        pending, rows = self._pending, self._rows
        for record in read_stream(stream):
            about = record.about
            if about.kind == "label":
                self._add_label(about, record.request)
                continue
            key = (about.model, about.version)
            pending[key].append(record)
            rows[key] += max(1, about.rows)
            if rows[key] >= CHUNK_ROWS:
                self._flush(key)
        for key in list(pending):
            self._flush(key)
        if is_damaged(stream):
            self.counts["undecodable"] += 1
            logger.warning("segment %s is damaged: what stands behind byte %d cannot be read", self.name, stream.tell())

    def _flush(self, key: tuple[str, str]) -> None:
        records, self._rows[key] = self._pending.pop(key), 0
        scorer = self.scorers.get(*key) if key != ("", "") else None
        scored = scorer.score(records) if scorer else None
        if scorer is None and key != ("", ""):
            self.missing["/".join(key)] += len(records)
        else:
            self.counts["undecodable"] += len(records) - (len(scored.abouts) if scored else 0)
        if scorer is None or scored is None:
            return
        self.models.add(key[0])
        self.counts["rows"] += sum(scored.counts)
        times = np.array([_time_ms(about) for about in scored.abouts], np.int64)
        batch = build_batch(scored, times, scorer.contract)
        days = np.repeat(times // DAY_MS, scored.counts)
        for day in np.unique(days):
            path = f"{LOG}/model={quote(key[0], safe='')}/date={_date(day)}/{self.name}-v{quote(key[1], safe='')}.parquet"
            whole = len(batch) and bool((days == day).all())
            self._write(path, batch if whole else batch.filter(pa.array(days == day)), ROW_GROUP_ROWS)

    def _write(self, path: str, batch: pa.RecordBatch, group_rows: int) -> None:
        if path not in self._outputs:
            self._outputs[path] = self.stack.enter_context(_open_output(self.store, path, batch.schema, group_rows))
        self._outputs[path].add(batch)

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
        self._labels[_date(day)].append((base, position, text, about.time_ns // 1000))
        self.counts["labels"] += 1

    def write_labels(self) -> None:
        """Write the labels, sorted by id and so by the prediction's time."""
        for date, labels in self._labels.items():
            ids, rows, texts, times = zip(*sorted(labels), strict=True)
            columns = [pa.array(ids), pa.array(rows, pa.int32()), pa.array(texts), pa.array(times, pa.int64()).cast(INSTANT)]
            batch = pa.RecordBatch.from_arrays(columns, schema=LABEL_SCHEMA)
            for start in range(0, len(labels), LABEL_GROUP_ROWS):
                part = batch.slice(start, LABEL_GROUP_ROWS)
                self._write(f"{LABELS}/date={date}/{self.name}.parquet", part, LABEL_GROUP_ROWS)


def _time_ms(about: About) -> int:
    try:
        return read_time_ms(about.id)
    except ValueError:
        return about.time_ns // 1_000_000


def _date(day: int) -> str:
    return str(np.datetime64(int(day), "D"))


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
def _open_output(store: Store, path: str, schema: pa.Schema, group_rows: int) -> Iterator[_Output]:
    # Numbers in dictionaries took more time and hardly less room.
    texts = [item.name for item in schema if item.type == pa.string() and item.name != ID]
    with store.write(path) as stream, ParquetWriter(stream, schema, compression="zstd", use_dictionary=texts) as writer:
        output = _Output(writer, group_rows)
        yield output
        output.flush()
