"""The folder of the segments, as its writers keep it: names, segments whose writer died, and how long they stay.

A segment that a monitor has read goes after ``prediction_log.retention_days``. One that no monitor has read stays twice as
long, so that a monitor that stands still, or a clock that jumps ahead, loses nothing. Beyond ``prediction_log.max_bytes`` the
oldest go, read ones first.
"""

import contextlib
import re
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from mlops_project.prediction_log.overdue import Overdue
from mlops_project.prediction_log.records import SegmentReader
from mlops_project.sections import PredictionLogConfig
from mlops_project.storage.locks import try_lock

OPEN, CLOSED = ".open", ".log"
NEW = ".new"  # being made; windows wait for it as for an open one
DELETED = ".deleted"  # stands for a segment that was deleted unread: JSON, model → rows that it had
NAME = re.compile(r"(\d{8}T\d{6})-.+")  # without its ending
READ_FILE = ".ingested"  # what a monitor has read of this folder: a name without ending per line
DAY_SECONDS = 86400.0
UNREAD_FACTOR = 2.0
# An unread segment is deleted for its age only if it was too old for so long, by a clock that cannot be set.
UNREAD_PATIENCE_SECONDS = DAY_SECONDS


def close_abandoned(folder: Path) -> int:
    """Close the segments of writers that died; return how many there were."""
    found = 0
    for file in folder.glob(f"*{OPEN}"):
        with contextlib.suppress(OSError), file.open("rb") as stream:
            if try_lock(stream):  # not while the writer lives
                file.rename(file.with_suffix(CLOSED))
                found += 1
    return found


def list_read(folder: Path) -> set[str]:
    """Return the names, without ending, of the segments that a monitor has noted as read."""
    try:
        return set((folder / READ_FILE).read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return set()


class Kept(NamedTuple):
    """What ``delete_old`` left, and what it deleted.

    Attributes
    ----------
    deleted_bytes
        In all.
    deleted_unread
        Closed segments that went although no monitor had read them.
    unread_bytes
        Of closed segments that no monitor has read.
    overdue_bytes
        Of these, what is older than ``retention_days``.
    """

    deleted_bytes: int
    deleted_unread: int
    unread_bytes: int
    overdue_bytes: int


class _Segment(NamedTuple):
    file: Path
    size: int
    days: float
    read: bool


def delete_old(folder: Path, settings: PredictionLogConfig, patience: Overdue | None = None) -> Kept:
    """Delete closed segments beyond the retention time or size.

    Parameters
    ----------
    patience
        Keeps unread segments that have only just become too old; None to delete them at once.
    """
    segments, limit = _list_closed(folder), settings.retention_days
    aged = [item for item in segments if not item.read and item.days > UNREAD_FACTOR * limit]
    ripe = {item.file.name for item in aged}
    if patience is not None:
        ripe = patience.select(ripe)
    total = sum(item.size for item in segments)
    deleted: list[_Segment] = []
    for item in sorted(segments, key=lambda segment: not segment.read):  # stable: the oldest first among read, then unread ones
        is_old = item.days > limit if item.read else item.file.name in ripe
        if is_old or total > settings.max_bytes:
            with contextlib.suppress(OSError):
                rows = {} if item.read else _count_rows(item.file)
                item.file.unlink()
                deleted.append(item)
                total -= item.size
                if rows:
                    item.file.with_suffix(DELETED).write_bytes(msgspec.json.encode(rows))
    _delete_left_over(folder, limit)
    left = [item for item in segments if not item.read and item not in deleted]
    return Kept(
        sum(item.size for item in deleted),
        sum(not item.read for item in deleted),
        sum(item.size for item in left),
        sum(item.size for item in left if item.days > limit),
    )


def _count_rows(file: Path) -> dict[str, int]:
    """Return model → rows that somebody got, of a segment; nothing if it cannot be read."""
    rows: dict[str, int] = {}
    with contextlib.suppress(OSError), file.open("rb") as stream:
        for about, _, _ in SegmentReader(stream):
            if about.kind == "prediction" and about.role != "shadow":
                rows[about.model] = rows.get(about.model, 0) + about.rows
    return rows


def _delete_left_over(folder: Path, days: float) -> None:
    """Delete what processes left that died while they made a segment, and notes of deleted segments that were read."""
    read = list_read(folder)
    for file in (*folder.glob(f"*{NEW}"), *folder.glob(f"*{DELETED}")):
        with contextlib.suppress(OSError):
            if file.stem in read or time.time() - file.stat().st_mtime > UNREAD_FACTOR * days * DAY_SECONDS:
                file.unlink()


def _list_closed(folder: Path) -> list[_Segment]:
    """Return the closed segments, oldest first; files with other names are none."""
    read, now, found = list_read(folder), time.time(), []
    for file in sorted(folder.glob(f"*{CLOSED}")):
        if NAME.fullmatch(file.stem):
            with contextlib.suppress(OSError):
                stat = file.stat()
                found.append(_Segment(file, stat.st_size, (now - stat.st_mtime) / DAY_SECONDS, file.stem in read))
    return found
