"""Counts of missing rows that must be made anew: of files that cannot be read, and where windows were taken back."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from mlops_project.monitoring.results import Evaluation
from mlops_project.prediction_log.layout import LOG, MARKERS, find_day, find_models, find_segment, find_version, model_folder
from mlops_project.prediction_log.markers import read_marker
from mlops_project.prediction_log.missing import OWN, TIMES, UNREADABLE, read_missing, write_missing
from mlops_project.prediction_log.reader import LogReader, Window
from mlops_project.prediction_log.scan import to_datetime
from mlops_project.storage.directory import Directory

DAY = timedelta(days=1)
Evaluated = Callable[[str, str], Sequence[Evaluation]]  # (model, version) → its evaluations
Begin = Callable[[str, str], datetime | None]  # (model, version) → where its next window begins at the earliest


def note_unreadable(
    store: Directory, reader: LogReader, files: Collection[str], evaluated: Evaluated, find_begin: Begin
) -> set[str]:
    """Note the rows of files of the Parquet log that cannot be read and were in no window before; each file once.

    Of a file that can be read again, those stay missing whose window was evaluated without them.

    Parameters
    ----------
    files
        As ``LogReader.left_out`` names them.
    evaluated, find_begin
        What was evaluated of a version, and from when on nothing was.

    Returns
    -------
    set of str
        What the notes are about, as ``Ledger.refresh`` takes it.
    """
    known = {*store.names(MARKERS, UNREADABLE)}
    new = _note_mended(store, reader, known, files, find_begin)
    for file in files:
        kind, *folders, name = file.split("/")
        note = f"{name.removesuffix('.parquet')}.{folders[-1]}" if folders else ""
        if kind != LOG or f"{note}{UNREADABLE}" in known:
            continue
        model, version, segment = find_models(folders)[0], find_version(name), find_segment(name)
        marker, day = read_marker(store, segment), find_day(folders[-1])
        if marker is None or marker.answered is None or day is None:
            continue
        late = sum(rows for reason, rows in marker.in_no_window.get(model, {}).items() if reason in TIMES)
        rows = marker.answered.get(model, {}).get(version, 0) - late
        before = _count_gone(reader, evaluated(model, version), to_datetime(day))
        write_missing(store, note, UNREADABLE, {model: {"unreadable": max(0, rows - before)}})
        new.add(note)
    return new


def _note_mended(
    store: Directory, reader: LogReader, notes: Iterable[str], unreadable: Collection[str], find_begin: Begin
) -> set[str]:
    changed = set[str]()
    for file in notes:
        note = file.removesuffix(UNREADABLE)
        stem, _, day = note.rpartition(".")
        for model, counts in read_missing(store, file).items():
            path, begin = f"{model_folder(model)}/{day}/{stem}.parquet", find_begin(model, find_version(stem))
            if path in unreadable or begin is None or not store.exists(path):
                continue
            rows = min(counts["unreadable"], reader.count_before(path, begin))
            if rows != counts["unreadable"]:
                write_missing(store, note, UNREADABLE, {model: {"unreadable": rows}})
                changed.add(note)
    return changed


def _count_gone(reader: LogReader, evaluations: Sequence[Evaluation], day: datetime) -> int:
    """Return how many rows of a day were in windows and cannot be read any more."""
    gone = 0
    for item in evaluations:
        start, end = datetime.fromisoformat(item.start), datetime.fromisoformat(item.end)
        if start < day + DAY and end > day:
            gone += item.rows - reader.count(Window(item.model, start, end, item.version), labelled=False).rows
    return max(0, gone)


def recount_late(store: Directory, reader: LogReader, model: str, find_begin: Begin) -> set[str]:
    """Count anew which rows of a model come too late, after windows were taken back: some of them will be in one.

    Returns
    -------
    set of str
        The segments whose notes changed.
    """
    changed = set[str]()
    for file in store.names(MARKERS, OWN):
        segment = file.removesuffix(OWN)
        noted, marker = read_missing(store, file), read_marker(store, segment)
        late = {reason: rows for reason, rows in noted.get(model, {}).items() if reason in ("late", "behind")}
        if not late or marker is None or marker.answered is None:
            continue
        rows = _count_late(reader, store, model, segment, marker.answered.get(model, {}), find_begin)
        rows -= noted[model].get("clock", 0)
        (reason, *_) = late
        noted[model] = {key: count for key, count in noted[model].items() if key not in late} | {reason: max(0, rows)}
        write_missing(store, segment, OWN, noted)
        changed.add(segment)
    return changed


def _count_late(
    reader: LogReader, store: Directory, model: str, segment: str, versions: Iterable[str], find_begin: Begin
) -> int:
    late, folder = 0, model_folder(model)
    files = [f"{folder}/{day}/{name}" for day in store.names(folder) for name in store.names(f"{folder}/{day}", ".parquet")]
    for version in versions:
        begin = find_begin(model, version)
        own = [file for file in files if find_segment(file) == segment and find_version(file) == version]
        late += sum(reader.count_before(file, begin) for file in own) if begin else 0
    return late
