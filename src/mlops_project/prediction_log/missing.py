"""Predicted rows that are in no window, by reason: noted once per segment beside its marker, so that a kill counts none twice.

::

    <monitoring_dir>/ingested/<segment>.missing   rows of the segment itself
    <monitoring_dir>/ingested/<segment>.before    rows between the segment and the one before it
    <monitoring_dir>/ingested/<file>.dropped      rows that were deleted for ``monitoring.log_max_bytes`` before their window
    <monitoring_dir>/ingested/<file>.unreadable   rows of a file of the Parquet log that cannot be read
"""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import msgspec

from mlops_project.prediction_log.layout import MARKERS
from mlops_project.storage.directory import Directory

# late, behind: after their window was evaluated (behind: by a server whose clock is); clock: older than their model;
# torn: damaged or cut off in their segment; refused: read and not understood, or their model is not to be had; deleted: before
# they were read or evaluated; unlogged: answered, and the server could not log them; unreadable: in a damaged Parquet file.
Reason = Literal["late", "behind", "clock", "torn", "refused", "deleted", "unlogged", "unreadable"]
REASONS: tuple[Reason, ...] = get_args(Reason)
TIMES: tuple[Reason, ...] = ("late", "behind", "clock")  # these rows are in the Parquet log and count for labels and retraining
OWN, BEFORE, DROPPED, UNREADABLE = ".missing", ".before", ".dropped", ".unreadable"
ENDINGS = (OWN, BEFORE, DROPPED, UNREADABLE)
ANY_MODEL = ""  # it is not known whose rows they were

Rows = dict[str, dict[Reason, int]]  # model → reason → rows


def add_rows(total: Rows, more: Mapping[str, Mapping[Reason, int]]) -> Rows:
    """Add counts to ``total``, and return it; none that are 0."""
    for model, counts in more.items():
        for reason, rows in counts.items():
            if rows:
                own = total.setdefault(model, {})
                own[reason] = own.get(reason, 0) + rows
    return total


def write_missing(store: Directory, name: str, ending: str, rows: Rows) -> None:
    """Note which rows are missing; what was noted before of this segment under this ending is replaced.

    Raises
    ------
    OSError
        If the store cannot be written.
    """
    file = f"{MARKERS}/{name}{ending}"
    if add_rows({}, rows):
        with store.write(file) as stream:
            stream.write(msgspec.json.encode(add_rows({}, rows)))
    else:
        store.delete(file)


def read_missing(store: Directory, file: str) -> Rows:
    """Return what a note says, by its name below ``MARKERS``; nothing if it is gone or damaged: it is written anew some day."""
    try:
        return msgspec.json.decode(store.read(f"{MARKERS}/{file}"), type=dict[str, dict[Reason, int]])
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return {}


class Ledger:
    """All that is noted as missing. Reads each note once; several readers do not disturb each other.

    Parameters
    ----------
    store
        ``monitoring_dir``.
    """

    def __init__(self, store: Directory) -> None:
        self._store = store
        self._known: dict[str, Rows] = {}

    def refresh(self, touched: Iterable[str] = ()) -> None:
        """Read the notes that are new.

        Parameters
        ----------
        touched
            Segments whose notes may have changed.
        """
        again = {f"{name}{ending}" for name in touched for ending in ENDINGS}
        names = [name for name in self._store.names(MARKERS) if name.endswith(ENDINGS)]
        self._known = {
            name: self._known[name] if name in self._known.keys() - again else read_missing(self._store, name) for name in names
        }

    def total(self) -> Rows:
        """Return all that is missing."""
        total: Rows = {}
        for rows in self._known.values():
            add_rows(total, rows)
        return total
