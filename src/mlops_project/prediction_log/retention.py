"""How long the Parquet log is kept."""

from datetime import UTC, datetime, timedelta

from mlops_project.prediction_log.layout import LABELS, LOG, MARKERS
from mlops_project.prediction_log.overdue import Overdue
from mlops_project.storage.directory import Directory


def delete_dates(store: Directory, older_than: datetime, overdue: Overdue | None = None) -> int:
    """Delete the rows and labels of the dates before that of ``older_than``, and their segments' markers.

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
        folders = [LABELS, *(f"{LOG}/{name}" for name in store.names(LOG))]
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
