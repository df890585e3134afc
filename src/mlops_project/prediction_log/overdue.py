"""What is deleted for its age waits a while after it first seems old: a clock that jumps ahead deletes nothing meanwhile."""

import time
from collections.abc import Callable, Iterable


class Overdue:
    """Remembers since when things are overdue, by a clock that cannot be set.

    Parameters
    ----------
    seconds
        How long something must have been overdue before it may go. A new process begins to count anew.
    clock
        Seconds since any moment, never set back.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._since: dict[str, float] = {}

    def select(self, names: Iterable[str]) -> set[str]:
        """Take what is overdue now; return what has been so, at every call, for long enough."""
        now = self._clock()
        self._since = {name: self._since.get(name, now) for name in names}
        return {name for name, since in self._since.items() if now - since >= self._seconds}
