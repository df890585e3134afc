"""Do a window's rows depend on when they came? Then they are no independent draws, and a test of single rows proves nothing.

Rows of one hour, one day or one season are alike, so a window that differs from the held-out rows may only be an hour like any
other. In a log whose rows are independent draws, consecutive slices of a window differ by chance alone, and neighbours are no
more alike than others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from scipy import special, stats

from mlops_project.reference.bins import Tally, read_numbers
from mlops_project.reference.distances import Counts, Floats
from mlops_project.reference.profile import Profiler, ReferenceProfile

SLICES = 8
MAX_ROWS = 20_000  # of a window, the first; more rows would find dependence that is too weak to matter
LEAST_EXPECTED = 5.0  # rows per slice and cell below which χ² is no longer χ² (Cochran 1954)
LEAST_SERIAL = 30  # rows for a serial correlation, which is then nearly normal
LEVEL = 0.001  # chance that independent rows are called dependent, over all features together (Bonferroni)


class OrderTest:
    """Compares consecutive slices, and neighbours, of a window's first rows.

    Parameters
    ----------
    reference
        Whose cells the rows are counted into.
    """

    def __init__(self, reference: ReferenceProfile) -> None:
        self._reference, self._rows = msgspec.structs.replace(reference, pairs=(), details=()), 0
        self._parts: list[list[Tally]] = []
        self._serial = [1.0]

    def add(self, columns: Mapping[str, Any], times: Any) -> None:
        """Take a batch of rows with their times, ``datetime64`` ``(n_rows,)``; what is over ``MAX_ROWS`` is left out."""
        rows = min(len(times), MAX_ROWS - self._rows)
        if rows < SLICES:
            return
        self._rows += rows
        order = np.argsort(np.asarray(times)[:rows], kind="stable")
        numeric = (one.name for one in self._reference.features if one.kind == "numeric")
        self._serial += [compare_neighbours(read_numbers(columns[name], name)[order]) for name in numeric]
        for part in np.array_split(order, SLICES):
            profiler = Profiler(self._reference)
            profiler.add({one.name: np.asarray(columns[one.name])[part] for one in self._reference.features})
            self._parts.append(profiler.features)

    @property
    def p_value(self) -> float:
        """How likely independent rows come to differ so much between slices; 1 without rows."""
        if not self._parts:
            return 1.0
        found = [self._compare([part[place] for part in self._parts]) for place in range(len(self._parts[0]))]
        return min(1.0, min(*found, *self._serial) * (len(found) + len(self._serial) - 1))

    @property
    def is_dependent(self) -> bool:
        """Whether the rows depend on when they came, beyond chance."""
        return self.p_value < LEVEL

    def _compare(self, tallies: Sequence[Tally]) -> float:
        if tallies[0].profile.type == "datetime":  # time goes on; only gaps are counted, and they are no sign of order
            return 1.0
        return compare_slices(np.array([tally.profile.merge(tally.counts, tally.missing) for tally in tallies]))


def compare_neighbours(values: Floats) -> float:
    """Two-sided p-value of the rank serial correlation at lag 1 (Wald & Wolfowitz 1943) of values in the order of time.

    Missing ones are left out. 1 where there are fewer than ``LEAST_SERIAL``, or all are one.
    """
    ranks = stats.rankdata(values[~np.isnan(values)])
    spread = float(ranks.var()) if len(ranks) >= LEAST_SERIAL else 0.0
    if spread == 0.0:
        return 1.0
    centred = ranks - ranks.mean()
    correlation = float((centred[1:] * centred[:-1]).mean()) / spread
    return float(2 * special.ndtr(-abs(correlation) * np.sqrt(len(ranks))))


def compare_slices(counts: Counts) -> float:
    """χ² test of homogeneity (Pearson 1900): how likely slices of one population differ so much.

    Parameters
    ----------
    counts
        Rows per slice and cell, ``(n_slices, n_cells)``. Cells that expect fewer than ``LEAST_EXPECTED`` rows are joined.
    """
    counts = counts[counts.sum(axis=1) > 0]
    totals = counts.sum(axis=0)
    if len(counts) < 2 or totals.sum() == 0:
        return 1.0
    smallest = counts.sum(axis=1).min() / totals.sum()
    common = totals * smallest >= LEAST_EXPECTED
    table = np.column_stack([counts[:, common], counts[:, ~common].sum(axis=1)])
    table = table[:, table.sum(axis=0) * smallest >= LEAST_EXPECTED]
    if table.shape[1] < 2:
        return 1.0
    table = table[table.sum(axis=1) > 0]
    expected: Floats = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return float(special.chdtrc((table.shape[0] - 1) * (table.shape[1] - 1), statistic))
