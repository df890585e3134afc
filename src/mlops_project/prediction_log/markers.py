"""What was found in each segment: one small file per segment beside the Parquet log.

::

    <monitoring_dir>/ingested/<segment>.json      the whole segment is in the Parquet log
    <monitoring_dir>/ingested/<segment>.waiting   to be read again, since its model could not be loaded
    <monitoring_dir>/ingested/<segment>.damaged   how much of it could not be read
"""

import msgspec

from mlops_project.prediction_log.layout import MARKERS
from mlops_project.prediction_log.missing import OWN, TIMES, Rows, write_missing
from mlops_project.prediction_log.records import Losses
from mlops_project.storage.directory import Directory

DONE, WAITING, DAMAGED = ".json", ".waiting", ".damaged"


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a segment.

    Attributes
    ----------
    rows, labels, undecodable, lost, lost_bytes, late, ahead
        Counts, as in ``ingest.Ingested``.
    missing
        ``<model>/<version>`` of each model that could not be loaded.
    attempts, retry_at
        How often it was read, and when it is to be read again; seconds since 1970, 0 for never.
    answered
        Model → version → rows in the Parquet log that somebody got; None from earlier releases.
    in_no_window
        Rows that can be in no window: model → reason → rows.
    """

    rows: int
    labels: int
    undecodable: int
    lost: int = 0
    lost_bytes: int = 0
    late: int = 0
    ahead: int = 0
    missing: tuple[str, ...] = ()
    attempts: int = 1
    retry_at: float = 0.0
    answered: dict[str, dict[str, int]] | None = None
    in_no_window: Rows = {}

    @property
    def accounted(self) -> int | None:
        """How many of its rows it is known what became of; None from earlier releases."""
        if self.answered is None:
            return None
        missing = [item for counts in self.in_no_window.values() for item in counts.items()]
        answered = sum(rows for versions in self.answered.values() for rows in versions.values())
        return answered + sum(rows for reason, rows in missing if reason not in TIMES)


NOTHING = Marker(rows=0, labels=0, undecodable=0, attempts=0)


def list_done(store: Directory) -> set[str]:
    """Return the names, without ending, of the segments that are wholly in the Parquet log."""
    return {name.removesuffix(DONE) for name in store.names(MARKERS, DONE)}


def read_waiting(store: Directory) -> dict[str, Marker]:
    """Return the segments that are to be read again."""
    waiting = {}
    for name in store.names(MARKERS, WAITING):
        try:
            waiting[name.removesuffix(WAITING)] = msgspec.json.decode(store.read(f"{MARKERS}/{name}"), type=Marker)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):  # then the segment is read again
            continue
    return waiting


def read_damaged(store: Directory) -> dict[str, Losses]:
    """Return what was lost of each damaged segment."""
    found = {}
    for name in store.names(MARKERS, DAMAGED):
        try:
            found[name.removesuffix(DAMAGED)] = msgspec.json.decode(store.read(f"{MARKERS}/{name}"), type=Losses)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
            found[name.removesuffix(DAMAGED)] = Losses()  # that it is damaged is still known
    return found


def read_marker(store: Directory, name: str) -> Marker | None:
    """Return what was found in a segment; None if it was not read to its end, or the marker cannot be read."""
    try:
        return msgspec.json.decode(store.read(f"{MARKERS}/{name}{DONE}"), type=Marker)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def write_marker(store: Directory, name: str, marker: Marker) -> None:
    """Write what was found in a segment. It counts as read from then on, unless it is to be read again.

    Parameters
    ----------
    store
        ``monitoring_dir``.
    name
        Of the segment, without its ending.
    marker
        With a ``retry_at`` the segment is to be read again then; with ``lost`` it is listed as damaged.

    Raises
    ------
    OSError
        If the store cannot be written.
    """
    if marker.lost:
        with store.write(f"{MARKERS}/{name}{DAMAGED}") as stream:
            stream.write(msgspec.json.encode(Losses(marker.lost, marker.lost_bytes)))
    if marker.in_no_window or marker.attempts > 1:
        write_missing(store, name, OWN, marker.in_no_window)
    with store.write(f"{MARKERS}/{name}{WAITING if marker.retry_at else DONE}") as stream:
        stream.write(msgspec.json.encode(marker))
    if not marker.retry_at and marker.attempts > 1:
        store.delete(f"{MARKERS}/{name}{WAITING}")
