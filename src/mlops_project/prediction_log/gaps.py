"""Rows that should be between two segments of one writer, by what their names say, and are not."""

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property

from mlops_project.prediction_log.layout import MARKERS
from mlops_project.prediction_log.markers import Marker, read_marker
from mlops_project.prediction_log.missing import ANY_MODEL, BEFORE, Reason, write_missing
from mlops_project.prediction_log.sequence import Chain, Place, read_place
from mlops_project.storage.directory import Directory

UNSETTLED = ".unsettled"  # a segment between this one and the one before is still to be read


class Gaps:
    """Compares each segment that is read with its neighbours, and notes what is missing between them.

    Parameters
    ----------
    store
        ``monitoring_dir``.
    done
        Segments that were read before.
    there
        Closed segments that are there: what they hold is not missing.
    markers_since
        See ``ingest``.

    Attributes
    ----------
    touched
        Segments whose notes may have changed.
    """

    def __init__(self, store: Directory, done: Iterable[str], there: Iterable[str], markers_since: datetime) -> None:
        self._store, self._done, self._there, self._since = store, {*done}, {*there}, markers_since
        self._markers: dict[str, Marker | None] = {}
        self.touched: set[str] = set()

    @cached_property
    def _chain(self) -> Chain:
        return Chain(self._done)

    @cached_property
    def _unread(self) -> Chain:
        return Chain(self._there - self._done)

    def note(self, name: str, marker: Marker) -> None:
        """Note what is missing before and after a segment; to be called before its marker is written.

        Parameters
        ----------
        marker
            What was found in it. One that is to be read again is not compared yet.
        """
        place = read_place(name)
        if marker.retry_at or place is None:
            return
        self._markers[name] = marker
        self._chain.add([name])
        self._unread.remove(name)
        after = self._chain.find_after(place)
        for later in (name, after) if after else (name,):
            self._settle(later)

    def settle(self) -> None:
        """Compare again those segments that had to wait for one between them and the one before."""
        for file in self._store.names(MARKERS, UNSETTLED):
            self._settle(file.removesuffix(UNSETTLED), again=True)

    def _settle(self, later: str, *, again: bool = False) -> None:
        second = read_place(later)
        if second is None:
            return
        earlier = self._chain.find_before(second)
        between = self._unread.find_before(second)
        first, other = read_place(earlier) if earlier else None, read_place(between) if between else None
        mark = f"{MARKERS}/{later}{UNSETTLED}"
        if other is not None and (first is None or other.number > first.number):
            if not again:
                with self._store.write(mark):
                    pass
            return
        if first is not None and earlier is not None:
            self._compare(earlier, first, later, second)
        elif second.writer_begun > self._since.timestamp():
            self._write(later, "deleted", second.rows, second.unlogged)
        if again:
            self._store.delete(mark)

    def _compare(self, earlier: str, first: Place, later: str, second: Place) -> None:
        if earlier not in self._markers:
            self._markers[earlier] = read_marker(self._store, earlier)
        marker = self._markers[earlier]
        if marker is None or marker.accounted is None:
            return
        rows = second.rows - first.rows - marker.accounted
        # Less than nothing: what was torn were labels or shadows, which are no rows that somebody got.
        reason: Reason = "deleted" if rows > 0 and second.number > first.number + 1 else "torn"
        self._write(later, reason, rows, second.unlogged - first.unlogged)

    def _write(self, later: str, reason: Reason, rows: int, unlogged: int) -> None:
        if rows or unlogged or self._store.exists(f"{MARKERS}/{later}{BEFORE}"):
            self.touched.add(later)
            write_missing(self._store, later, BEFORE, {ANY_MODEL: {reason: rows, "unlogged": unlogged}})
