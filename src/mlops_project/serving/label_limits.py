"""How many labels each caller may send in a minute."""

import time

from mlops_project.serving.callers import Caller
from mlops_project.serving.errors import RefusedError

MINUTE = 60.0


class LabelLimits:
    """How many labels each caller may still send in this worker: a bucket that holds a minute's labels and fills up evenly.

    Parameters
    ----------
    labels_per_minute
        Of a caller whose key names no limit; 0 for no limit.
    workers
        That share a limit, each an equal part of it.
    """

    def __init__(self, labels_per_minute: float, workers: int) -> None:
        self._default, self._workers = labels_per_minute, workers
        self._left: dict[Caller, tuple[float, float]] = {}  # labels that were left, and when

    def take(self, caller: Caller, n_labels: int, now: float | None = None) -> None:
        """Count labels that a caller wants to send.

        Parameters
        ----------
        now
            ``time.monotonic()``; None for the present.

        Raises
        ------
        RefusedError
            If they are more than it may send now; none of them is counted.
        """
        limit = self._default if caller.labels_per_minute is None else caller.labels_per_minute
        if not limit:
            return
        now = time.monotonic() if now is None else now
        share = limit / self._workers
        left, before = self._left.get(caller, (share, now))
        left = min(share, left + share * (now - before) / MINUTE)
        if n_labels > left:
            raise RefusedError(
                429,
                "labels",
                f"this key may send {limit:g} labels a minute ({share:g} to each of {self._workers} workers), and {n_labels} "
                f"are more than the {left:.0f} that are left now; send fewer at a time, or later",
            )
        self._left[caller] = (left - n_labels, now)
