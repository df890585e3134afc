"""How long the Parquet log is kept, and how large it may become."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from mlops_project.prediction_log.layout import LABELS, LOG, MARKERS, ROLLOUTS, find_models, find_version
from mlops_project.prediction_log.missing import DROPPED, write_missing
from mlops_project.prediction_log.overdue import Overdue
from mlops_project.prediction_log.scan import FOREVER, Files, Span, to_microseconds
from mlops_project.storage.directory import Directory

LEFT = 0.95  # of the largest size; more is deleted at once, so that the next file does not delete another


class Dropped(NamedTuple):
    """What the Parquet log's largest size deleted.

    Attributes
    ----------
    bytes
        Of the files that were deleted.
    left_bytes
        Size of the log now.
    unevaluated
        Rows among them that were in no window yet.
    until
        The time in the name of the newest segment among them; empty if nothing was deleted.
    """

    bytes: int
    left_bytes: int
    unevaluated: int
    until: str


def drop_oldest(files: Files, max_bytes: int, find_begin: Callable[[str, str], datetime | None]) -> Dropped:
    """Delete the oldest files of the Parquet log, by the time of their segments, if it is larger than it may be.

    Rows that were in no window yet are noted as missing first.

    Parameters
    ----------
    find_begin
        (model, version) → where its next window begins at the earliest; None if nothing is known of it.
    """
    store = files.store
    folders = [LABELS, ROLLOUTS, *(f"{LOG}/{name}" for name in store.names(LOG))]
    sizes = {
        f"{folder}/{day}/{name}": size
        for folder in folders
        for day in store.names(folder)
        for name, size in store.sizes(f"{folder}/{day}").items()
    }
    total, deleted, unevaluated, until = sum(sizes.values()), 0, 0, ""
    if total <= max_bytes:
        return Dropped(0, total, 0, "")
    for file in sorted(sizes, key=lambda file: file.rpartition("/")[2]):
        if total - deleted <= LEFT * max_bytes:
            break
        unevaluated += _note_dropped(files, file, find_begin)
        store.delete(file)
        deleted += sizes[file]
        until = file.rpartition("/")[2][:15]
    files.forget()
    return Dropped(deleted, total - deleted, unevaluated, until)


def _note_dropped(files: Files, file: str, find_begin: Callable[[str, str], datetime | None]) -> int:
    """Note how many of a file's rows are in no window yet; return their number."""
    kind, *folders, name = file.split("/")
    if kind != LOG:
        return 0
    model, version = find_models(folders)[0], find_version(name)
    begin = find_begin(model, version)
    rows = 0 if begin is None else files.count_file(file, Span(to_microseconds(begin), FOREVER))
    if rows:
        note = f"{name.removesuffix('.parquet')}.{folders[-1]}"
        write_missing(files.store, note, DROPPED, {model: {"deleted": rows}})
    return rows


def delete_dates(store: Directory, older_than: datetime, overdue: Overdue | None = None) -> int:
    """Delete the rows, labels and roll-outs of the dates before that of ``older_than``, and their segments' markers.

    Parameters
    ----------
    overdue
        Keeps what has only just become old; None to delete it at once.

    Returns
    -------
    int
        How many dates.
    """
    limit = older_than.astimezone(UTC)
    with store.lock(MARKERS):
        folders = [LABELS, ROLLOUTS, *(f"{LOG}/{name}" for name in store.names(LOG))]
        old = [
            f"{folder}/{name}"
            for folder in folders
            for name in store.names(folder)
            if name.startswith("date=") and name < f"date={limit:%Y-%m-%d}"
        ]
        # A segment's rows may be newer than its name; and read again it would do no harm.
        old += [f"{MARKERS}/{name}" for name in store.names(MARKERS) if name < f"{limit - timedelta(days=2):%Y%m%dT}"]
        ripe = set(old) if overdue is None else overdue.select(old)
        for name in ripe:
            store.delete(name)
    return len({name.rpartition("/")[2] for name in ripe if not name.startswith(f"{MARKERS}/")})
