"""Servers whose clock is behind: how far, as the monitor sees by its own clock when their segments appear."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from mlops_project.monitoring.windows import MARGIN, Pending
from mlops_project.prediction_log.sequence import find_host

AHEAD = timedelta(seconds=60)  # segments are named by the server's clock, which may differ from the monitor's by this much
FORGOTTEN = timedelta(hours=2)  # without a new segment


class SlowClocks:
    """Remembers which servers' clocks are behind. A segment that appears between two looks was begun between them.

    Parameters
    ----------
    closing
        How old a segment may be when it first appears, where open ones are not seen.
    """

    def __init__(self, closing: timedelta) -> None:
        self._closing = closing
        self._seen: set[str] = set()
        self._last: datetime | None = None
        self._behind: dict[str, tuple[timedelta, datetime]] = {}

    def look(self, pending: Pending) -> Mapping[str, timedelta]:
        """Return host → how far its clock is behind at most; hosts whose clock is right are left out.

        Parameters
        ----------
        pending
            All segments that are there and not read.
        """
        hidden = timedelta() if pending.is_local else self._closing
        for name, (begun, _) in pending.begun.items():
            if self._last is None or name in self._seen or "-score-" in name:
                continue
            host = find_host(name)
            if self._last - begun - hidden > MARGIN:
                self._behind[host] = (pending.at - begun, pending.at)
            else:
                self._behind.pop(host, None)
        self._seen, self._last = {*pending.begun}, pending.at
        self._behind = {host: item for host, item in self._behind.items() if pending.at - item[1] < FORGOTTEN}
        return {host: lag for host, (lag, _) in self._behind.items()}
