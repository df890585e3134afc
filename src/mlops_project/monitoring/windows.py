"""Which rows are evaluated next: windows that follow one another without gap or overlap, each once all its rows are in the log.

A prediction gets its time, and right after that it is written to a segment, whose name says when the segment was begun. So
every row before the *watermark*, the begin of the oldest segment that is not yet read (open or closed), is in the Parquet
log. A window is evaluated only if it ends before the watermark. A busy server closes a segment every
``prediction_log.segment_seconds``: a window is evaluated at most that long after its end.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from mlops_project.monitoring.next_window import NextWindow
from mlops_project.prediction_log.reader import LogReader, Window
from mlops_project.prediction_log.scan import MICROSECOND
from mlops_project.prediction_log.sequence import find_host
from mlops_project.sections import MonitoringConfig, PredictionLogConfig
from mlops_project.storage.directory import Directory
from mlops_project.storage.locks import is_locked

SEGMENT = re.compile(r"(\d{8}T\d{6})-.+\.(open|new|log)")
# How much older than its segment a prediction may be: it gets its time with its id, and is written after that.
MARGIN = timedelta(seconds=5)
# An open segment that is so much older than ``segment_seconds``, and that nobody has locked, has no writer any more and will
# not be closed: it is ignored.
GRACE = timedelta(seconds=60)
# How long windows wait for a closed segment that cannot be read, such as one whose model cannot be downloaded; for one that is
# open for so long; and for a server whose clock is behind by so much.
PATIENCE = timedelta(hours=1)
END = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Pending:
    """The segments that were not yet read at a moment.

    Attributes
    ----------
    at
        The moment, before the segments were listed.
    begun
        Segment's name without its ending → (when it was begun, whether it is closed).
    is_local
        Whether open segments are listed; an object store holds closed ones only.
    held
        Open segments that are old, and whose writer lives.
    """

    at: datetime
    begun: Mapping[str, tuple[datetime, bool]]
    is_local: bool
    held: frozenset[str] = frozenset()

    def without(self, read: "set[str] | frozenset[str]") -> "Pending":
        """Return those that are still not read."""
        left = {name: item for name, item in self.begun.items() if name not in read}
        return Pending(self.at, left, self.is_local, self.held)

    def find_watermark(self, settings: PredictionLogConfig, behind: Mapping[str, timedelta] | None = None) -> datetime:
        """Return the time up to which every row is in the Parquet log.

        Parameters
        ----------
        behind
            Host → how far its clock is behind: its next rows are waited for, if that is no more than ``PATIENCE``.
        """
        age = timedelta(seconds=settings.segment_seconds) + GRACE
        lags = {host: lag for host, lag in (behind or {}).items() if lag <= PATIENCE}
        now = self.at if self.is_local else self.at - age
        limits = [now, *(now - lag for lag in lags.values())]
        for name, (begun, closed) in self.begun.items():
            lag = lags.get(find_host(name), timedelta())
            if self.at - begun - lag < age + (PATIENCE if closed or name in self.held else timedelta()):
                limits.append(begun)
        return min(limits) - MARGIN

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest closed segment that is not read; 0 if all are."""
        return max([(self.at - begun).total_seconds() for begun, closed in self.begun.values() if closed], default=0.0)


def list_pending(segments: str, read: "set[str]") -> Pending:
    """List the segments that are not read.

    Parameters
    ----------
    segments
        ``prediction_log_dir``: absolute path or fsspec URL.
    read
        Names of those that are, without ending.
    """
    store, now = Directory(segments), datetime.now(UTC)
    begun: dict[str, tuple[datetime, bool]] = {}
    held: set[str] = set()
    for match in filter(None, map(SEGMENT.fullmatch, store.names(""))):
        name = match[0].rpartition(".")[0]
        if name not in read:
            at = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
            begun[name] = (at, match[2] == "log")
            if store.is_local and match[2] != "log" and now - at > GRACE and is_locked(Path(store.path(match[0]))):
                held.add(name)
    return Pending(now, begun, store.is_local, frozenset(held))


class Progress(NamedTuple):
    """How far a version's windows have come.

    Attributes
    ----------
    model, version
        Whose windows.
    last_end
        End of the last window; None before the first.
    begin
        The version's rows are all newer.
    """

    model: str
    version: str
    last_end: datetime | None
    begin: datetime


def find_window(reader: LogReader, progress: Progress, watermark: datetime, settings: MonitoringConfig) -> Window | None:
    """Return the next window that is due; None if there is none.

    It begins where the last one ended (or with the first row) and ends after ``every_minutes``, or ``every_rows`` if they come
    first. With fewer than ``min_rows`` rows it is longer: the smallest multiple of ``every_minutes`` that has as many.

    Parameters
    ----------
    reader
        Of the Parquet log.
    progress
        The version, and where its last window ended.
    watermark
        Time up to which every row is in the Parquet log, from ``Pending.find_watermark``.
    settings
        For ``every_minutes``, ``every_rows`` and ``min_rows``.
    """
    start, step = find_start(reader, progress, settings), timedelta(minutes=settings.every_minutes)
    if start is None or (start + step > watermark and not settings.every_rows):
        return None
    end = _find_end(reader, progress, start, settings)
    return Window(progress.model, start, end, progress.version) if end is not None and end <= watermark else None


def find_last_window(reader: LogReader, progress: Progress, watermark: datetime, settings: MonitoringConfig) -> Window | None:
    """Return the window with a version's last rows, however few, once none has come for ``every_minutes``; None before.

    It is for versions that are no longer champion: what is left of them would wait for ``min_rows`` for ever.
    """
    start = find_start(reader, progress, settings)
    if start is None:
        return None
    last = reader.count(Window(progress.model, start, END, progress.version), labelled=False).last
    if last is None or last + timedelta(minutes=settings.every_minutes) > watermark:
        return None
    return Window(progress.model, start, last + MICROSECOND, progress.version)


def _find_end(reader: LogReader, progress: Progress, start: datetime, settings: MonitoringConfig) -> datetime | None:
    """Return where a window ends, past or future; None while it has too few rows."""
    step = timedelta(minutes=settings.every_minutes)
    enough = reader.find_end(progress.model, progress.version, start, settings.min_rows)
    if enough is None:
        return None
    end = start + max(1, math.ceil((enough - start) / step)) * step
    if settings.every_rows:
        full = reader.find_end(progress.model, progress.version, start, max(settings.every_rows, settings.min_rows))
        end = min(end, full) if full else end
    return end


def describe_next(reader: LogReader, progress: Progress, settings: MonitoringConfig) -> NextWindow:
    """Return how many rows the next window has so far, how many it needs, and when it begins and ends.

    Parameters
    ----------
    reader
        Of the Parquet log.
    progress
        The version, and where its last window ended.
    settings
        For ``every_minutes``, ``every_rows`` and ``min_rows``.
    """
    start = find_start(reader, progress, settings)
    if start is None:
        return NextWindow(version=progress.version, rows=0, needed=settings.min_rows)
    rows = reader.count(Window(progress.model, start, END, progress.version), labelled=False).rows
    end = _find_end(reader, progress, start, settings)
    return NextWindow(
        version=progress.version,
        rows=rows,
        needed=settings.min_rows,
        start=start.isoformat(),
        end="" if end is None else end.isoformat(),
    )


def find_start(reader: LogReader, progress: Progress, settings: MonitoringConfig) -> datetime | None:
    """Return where the next window begins; None if there are no rows for it.

    It begins where the last one ended or, if no row follows that within ``every_minutes``, at the first row.

    Parameters
    ----------
    reader
        Of the Parquet log.
    progress
        The version, and where its last window ended.
    settings
        For ``every_minutes``.
    """
    model, version, last_end, begin = progress
    first = reader.count(Window(model, last_end or begin, END, version), labelled=False).first
    if first is None or last_end is None:
        return first
    return first if first - last_end >= timedelta(minutes=settings.every_minutes) else last_end
