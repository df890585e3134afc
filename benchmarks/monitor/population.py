"""A real table made into a population from which any number of independent rows can be drawn.

Windows of 100,000 rows drawn with replacement from one half of a small table would all bear that half's own sampling error
against a reference from the other half: a real difference, which large windows find. So reference, training rows and windows
are independent samples of one smoothed bootstrap of the whole table (Silverman & Young 1987): a row of the table, moved some
way towards one of its nearest neighbours in its continuous columns.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from benchmarks.monitor.tables import TARGET

CONTINUOUS = 20  # distinct values; a column with fewer is graded, and what lies between its grades does not exist
NEIGHBOURS = 5
FARTHEST = 0.5  # of the way to the neighbour


class Population:
    """A table's population.

    Parameters
    ----------
    load
        Returns the table; read when first drawn from.
    """

    def __init__(self, load: Callable[[], pd.DataFrame]) -> None:
        self._load = load

    @cached_property
    def table(self) -> pd.DataFrame:
        """The table itself."""
        return self._load().reset_index(drop=True)

    @cached_property
    def numeric(self) -> list[str]:
        """Columns of numbers."""
        return list(self.table.drop(columns=TARGET).select_dtypes("number"))

    @cached_property
    def categories(self) -> list[str]:
        """Columns of text, without the target."""
        return [name for name in self.table if name not in {*self.numeric, TARGET}]

    @cached_property
    def continuous(self) -> list[str]:
        """Columns whose numbers can be anything within a range."""
        return [name for name in self.numeric if self.table[name].nunique() > CONTINUOUS]

    @cached_property
    def deviations(self) -> "pd.Series[float]":
        """Standard deviation per column of numbers, in its unit."""
        return self.table[self.numeric].std()

    @cached_property
    def _neighbours(self) -> np.ndarray:
        """Int64 ``(n_rows, NEIGHBOURS)``: each row's nearest in standardised numbers, itself left out."""
        scaled = (self.table[self.numeric] / self.deviations).to_numpy()
        found: np.ndarray = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(scaled).kneighbors(scaled, return_distance=False)
        return found[:, 1:]

    def draw(self, n_rows: int, *seed: int) -> pd.DataFrame:
        """Draw rows independently of every other draw with another seed."""
        rng = np.random.default_rng(seed)
        rows = rng.integers(len(self.table), size=n_rows)
        drawn = self.table.take(rows).reset_index(drop=True)
        if self.continuous:
            values = self.table[self.continuous].to_numpy()
            others = self._neighbours[rows, rng.integers(NEIGHBOURS, size=n_rows)]
            way = rng.uniform(0, FARTHEST, size=(n_rows, 1))
            drawn[self.continuous] = values[rows] + way * (values[others] - values[rows])
        return drawn
