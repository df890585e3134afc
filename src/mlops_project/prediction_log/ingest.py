"""Closed segments → Parquet, by model and date: each exactly once, restartable at any moment.

A segment's files have names that follow from its own, appear whole, and are followed by a marker. Killed before the marker, the
segment is read again, and the same files take the place of the first ones. Rows and labels are kept under the date of the
prediction, which its id tells, so a window finds both in its own dates.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mlops_project.prediction_log.gaps import Gaps
from mlops_project.prediction_log.layout import MARKERS
from mlops_project.prediction_log.markers import NOTHING, Marker, list_done, read_marker, read_waiting, write_marker
from mlops_project.prediction_log.missing import ANY_MODEL, TIMES, Rows, add_rows
from mlops_project.prediction_log.parts import Begin, Find, Scorers, SegmentParts, UnreadableSegmentError
from mlops_project.prediction_log.segments import CLOSED, DELETED, NAME, READ_FILE
from mlops_project.prediction_log.sequence import sort_segments
from mlops_project.sections import ServingConfig
from mlops_project.storage.directory import Directory

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
COUNTS = ("rows", "labels", "undecodable", "lost", "lost_bytes", "late", "ahead")
# A segment whose model is not to be had is read again after 1 minute, then 4, 16, … and after that as well as it goes.
MAX_ATTEMPTS = 6
RETRY_SECONDS, RETRY_FACTOR = 60.0, 4
MAX_WAIT_SECONDS = RETRY_SECONDS * RETRY_FACTOR ** (MAX_ATTEMPTS - 2)

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
        Whole records that say nothing that can be understood, or whose model could not be had in the end.
    lost, lost_bytes
        Records that are damaged or missing, and the bytes that were skipped.
    late, ahead
        Rows older than the next window of their version, so that they are in none; rows from more than a minute after now.
    models, versions
        Whose rows were added; (model, version) of each.
    touched
        Segments for which it was noted which rows are missing.
    waiting
        Segments that wait for a model that could not be had; what could be read of them is there.
    unreadable
        Segment → why its file cannot be read. It is tried again the next time.
    """

    segments: int = 0
    rows: int = 0
    labels: int = 0
    undecodable: int = 0
    lost: int = 0
    lost_bytes: int = 0
    late: int = 0
    ahead: int = 0
    models: frozenset[str] = frozenset()
    versions: frozenset[tuple[str, str]] = field(default=frozenset(), compare=False)
    touched: frozenset[str] = field(default=frozenset(), compare=False)
    waiting: int = 0
    unreadable: Mapping[str, str] = field(default_factory=dict)


def ingest(
    segments: str | Path,
    store: str,
    find: Find,
    serving: ServingConfig,
    *,
    begin: Begin = lambda _model, _version: None,
    is_behind: Callable[[str], bool] = lambda _name: False,
    markers_since: datetime = NEVER,
) -> Ingested:
    """Bring every closed segment that is not yet read into the Parquet log, and note in their folder which ones are.

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
    begin
        Says which rows come too late for a window.
    is_behind
        Says whether the clock of a segment's writer is behind.
    markers_since
        Markers of segments that were begun since then are kept: what is missing of a writer's first ones was deleted unread.

    Raises
    ------
    OSError
        If the store cannot be written.
    """
    source, target = Directory(segments), Directory(store)
    scorers, unreadable = Scorers(find, serving), {}
    with target.lock(MARKERS):
        done, before = list_done(target), read_waiting(target)
        results: dict[str, tuple[Marker, Marker]] = {}
        there = source.names("")
        names = _list_segments(there, CLOSED)
        gaps = Gaps(target, done, names, markers_since)
        for name in sort_segments(names):
            last = before.get(name, NOTHING)
            if name in done or 0 < last.retry_at - time.time() <= MAX_WAIT_SECONDS:  # more: the clock was set back
                continue
            try:
                marker = _ingest_segment(source, name, target, scorers, last, begin, is_behind=is_behind(name))
            except UnreadableSegmentError as error:
                unreadable[name] = str(error)
                continue
            except FileNotFoundError:  # past its retention
                continue
            gaps.note(name, marker)
            write_marker(target, name, marker)
            results[name] = last, marker
        removed = _list_segments(there, DELETED)
        _ingest_deleted(source, target, gaps, [name for name in removed if name not in done])
        gaps.settle()
        _note_read(source, list_done(target) & {*names, *removed})
    return _sum_up(results, touched=frozenset({*results, *gaps.touched, *removed}), unreadable=unreadable)


def _sum_up(results: Mapping[str, tuple[Marker, Marker]], touched: frozenset[str], unreadable: Mapping[str, str]) -> Ingested:
    """Sum up segment → (marker before, marker now)."""
    found = results.values()
    versions = frozenset(
        (model, version) for _, marker in found for model, known in (marker.answered or {}).items() for version in known
    )
    return Ingested(
        **{name: sum(getattr(now, name) - getattr(last, name) for last, now in found) for name in COUNTS},
        segments=sum(not marker.retry_at for _, marker in found),
        models=frozenset(model for model, _ in versions),
        versions=versions,
        touched=touched,
        waiting=sum(marker.retry_at > 0 for _, marker in found),
        unreadable=unreadable,
    )


def _ingest_deleted(source: Directory, target: Directory, gaps: Gaps, names: Sequence[str]) -> None:
    """Count the rows of segments that the server deleted before they were read, as its notes say."""
    for name in names:
        try:
            rows = msgspec.json.decode(source.read(name + DELETED), type=dict[str, int])
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):  # then the next segment's name tells
            continue
        missing: Rows = {model: {"deleted": count} for model, count in rows.items()}
        marker = Marker(rows=0, labels=0, undecodable=0, answered={}, in_no_window=missing)
        gaps.note(name, marker)
        write_marker(target, name, marker)


def ingest_again(file: str, segments: str | Path, store: str, find: Find, serving: ServingConfig) -> bool:
    """Write a file of the Parquet log anew from its segment; False if that is no longer there, or cannot be read either.

    Parameters
    ----------
    file
        As ``LogReader.left_out`` names it.
    """
    source, target = Directory(segments), Directory(store)
    stem = file.rpartition("/")[2].removesuffix(".parquet")
    name = next((name for name in list_closed(source) if stem == name or stem.startswith(f"{name}-v")), None)
    if name is None:
        return False
    with target.lock(MARKERS):
        try:
            marker = _ingest_segment(source, name, target, Scorers(find, serving), NOTHING, lambda *_: None)
        except (UnreadableSegmentError, FileNotFoundError):
            return False
        before = read_marker(target, name)
        if before is not None:  # which of its rows were in no window is as it was
            marker = msgspec.structs.replace(marker, in_no_window=before.in_no_window, late=before.late, ahead=before.ahead)
        write_marker(target, name, marker)
    return True


def list_closed(source: Directory) -> list[str]:
    """Return the names, without ending, of the closed segments; files with other names are none."""
    return _list_segments(source.names(""), CLOSED)


def _list_segments(files: Sequence[str], ending: str) -> list[str]:
    names = (file.removesuffix(ending) for file in files if file.endswith(ending))
    return [name for name in names if NAME.fullmatch(name)]


def _note_read(source: Directory, names: set[str]) -> None:
    """Tell the writers which of their segments are read, so that they keep the others for longer."""
    if not source.is_local:
        return
    content = "".join(f"{name}\n" for name in sorted(names)).encode()
    with contextlib.suppress(OSError):  # a folder that may only be read: then all count as unread
        if content and (not source.exists(READ_FILE) or source.read(READ_FILE) != content):
            with source.write(READ_FILE) as stream:
                stream.write(content)


def _ingest_segment(
    source: Directory, name: str, store: Directory, scorers: Scorers, last: Marker, begin: Begin, *, is_behind: bool = False
) -> Marker:
    attempt = last.attempts + 1
    with ExitStack() as stack:
        newly = None if attempt == 1 else {*last.missing}
        segment = SegmentParts(name, store, scorers, stack, begin, newly, is_behind)
        try:
            stream = stack.enter_context(source.open(name + CLOSED))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UnreadableSegmentError(error.strerror or str(error)) from error
        segment.read(stream)
        segment.write_labels()
    marker = _build_marker(segment, last, attempt)
    if marker.undecodable:
        logger.warning("segment %s: %d records could not be understood", name, marker.undecodable)
    if marker.lost:
        said = "segment %s is damaged: at least %d records (%d bytes) cannot be read; the others are"
        logger.warning(said, name, marker.lost, marker.lost_bytes)
    return marker


def _build_marker(segment: SegmentParts, last: Marker, attempt: int) -> Marker:
    found, absent = segment.counts, sum(segment.missing.values())
    waits = bool(absent) and attempt < MAX_ATTEMPTS
    answered: dict[str, dict[str, int]] = {}
    for (model, version), rows in segment.answered.items():
        answered.setdefault(model, {})[version] = rows
    missing: Rows = {
        model: {reason: rows for reason, rows in counts.items() if reason in TIMES}
        for model, counts in last.in_no_window.items()
    }
    add_rows(missing, segment.in_no_window)
    add_rows(missing, {ANY_MODEL: {"torn": segment.lost.records}})
    if not waits:
        add_rows(missing, segment.waiting_rows)
    return Marker(
        rows=found["rows"],
        labels=found["labels"],
        undecodable=found["undecodable"] + (0 if waits else absent),
        lost=segment.lost.records,
        lost_bytes=segment.lost.bytes,
        late=last.late + found["late"],
        ahead=last.ahead + found["ahead"],
        missing=tuple(sorted(segment.missing)),
        attempts=attempt,
        retry_at=time.time() + RETRY_SECONDS * RETRY_FACTOR ** (attempt - 1) if waits else 0.0,
        answered=answered,
        in_no_window=missing,
    )
