"""How sure an answer is: sets of classes and intervals with a stated coverage, and rows that are unlike training's.

Split-conformal prediction: the held-out rows, which the model did not learn from, say how far it may be wrong. For rows that
are drawn like them the sets and intervals hold the truth as often as ``coverage`` says, whatever the model is; for others they
need not, which is why the monitor counts. ``modeling.conformal`` makes what stands here, and cites where the methods are from.
"""

import math
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]


class Sets(msgspec.Struct, frozen=True, kw_only=True):
    """Of a classification.

    Attributes
    ----------
    least
        Per class, in contract order, the least probability with which it is in the set; 0 where too few held-out rows were of
        the class to say: it is in every set then.
    rows
        Per class, how many held-out rows say so.
    """

    least: tuple[float, ...]
    rows: tuple[int, ...]


class Intervals(msgspec.Struct, frozen=True, kw_only=True):
    """Of a regression: its answers in ranges, each with offsets of its own, so that intervals are wide where errors are.

    Attributes
    ----------
    edges
        Answers that separate the ranges, ascending; a range begins with its edge.
    below, above
        Per range, what is added to the answer for the two ends; ``below`` is usually negative.
    rows
        Per range, how many held-out rows say so.
    """

    edges: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    rows: tuple[int, ...]


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Where training's rows are: the middle 98% of each number, and how far outside held-out rows lie.

    Attributes
    ----------
    columns
        Places among the contract's numeric columns; dates are none of them, because time goes on.
    low, high
        Of the middle, per column.
    most
        How many widths of the middle a row's farthest number may lie outside: 99% of the held-out rows stay within it.
    """

    columns: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    most: float


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """How it works on the held-out rows, where each tenth is judged by what the others say.

    Attributes
    ----------
    coverage, low, high
        Share of rows whose truth is covered, and its 95% interval.
    size
        Mean number of classes in a set, or mean width of an interval.
    abstained
        Share of rows that are marked as not to be trusted.

    Of a model that was retrained on a changed world, ``size`` and ``abstained`` are those of the newest labelled predictions.
    """

    coverage: float
    low: float
    high: float
    size: float
    abstained: float


class Uncertainty(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle knows of its model's uncertainty.

    Attributes
    ----------
    coverage
        That is promised, in (0, 1).
    rows
        Held-out rows behind it.
    sets, intervals
        One of the two, by the task.
    reach
        For ``is_far``.
    checked
        For people.
    """

    coverage: float
    rows: int
    sets: Sets | None = None
    intervals: Intervals | None = None
    reach: Reach
    checked: Checked

    def find_sets(self, probabilities: "Floats", indices: "npt.NDArray[np.int64]") -> "Bools":
        """Return which classes are in each row's set, bool ``(n_rows, n_classes)``; the answered one always is."""
        import numpy as np

        assert self.sets is not None
        found: Bools = probabilities >= np.array(self.sets.least)
        found[np.arange(len(indices)), indices] = True
        return found

    def find_intervals(self, values: "Floats") -> "tuple[Floats, Floats]":
        """Return the lower and the upper end of each row's interval, float64 ``(n_rows,)`` each, in the target's unit."""
        import numpy as np

        assert self.intervals is not None
        ranges = np.searchsorted(self.intervals.edges, values, side="right")
        below, above = np.array(self.intervals.below), np.array(self.intervals.above)
        return values + below[ranges], values + above[ranges]

    def is_far(self, numbers: "Floats") -> "Bools":
        """Return which rows have a number that lies farther outside than held-out rows do.

        Parameters
        ----------
        numbers
            float64 ``(n_rows, n_number_columns)``, as ``runtime.encode`` gives them; a missing one is not far.
        """
        return measure_reach(numbers, self.reach) > self.reach.most

    def is_covered(self, probabilities: "Floats | None", values: "Floats | None", truth: "npt.NDArray[Any]") -> "Bools":
        """Return of which rows the set or interval holds the truth, bool ``(n_rows,)``.

        The answered class counts by its probability alone, as the promise does.

        Parameters
        ----------
        probabilities, values
            Of a classification, ``(n_rows, n_classes)``; of a regression, ``(n_rows,)``.
        truth
            Class indices or values, ``(n_rows,)``.
        """
        import numpy as np

        if self.sets is not None:
            assert probabilities is not None
            truth = truth.astype(np.int64)
            found: Bools = probabilities[np.arange(len(truth)), truth] >= np.array(self.sets.least)[truth]
            return found
        assert values is not None
        lower, upper = self.find_intervals(values)
        inside: Bools = (truth >= lower) & (truth <= upper)
        return inside

    def find_cells(self, values: "Floats | None", truth: "npt.NDArray[Any]") -> "npt.NDArray[np.int64]":
        """Return the class, or the range of answers, whose held-out rows speak for each row, int64 ``(n_rows,)``."""
        import numpy as np

        if self.intervals is None:
            return truth.astype(np.int64)
        assert values is not None
        return np.searchsorted(self.intervals.edges, values, side="right").astype(np.int64)

    def list_ranks(self) -> list[tuple[int, int]]:
        """Return per class or range how many of how many gaps between held-out rows are covered: what the promise rests on."""
        rows = self.sets.rows if self.sets is not None else self.intervals.rows  # type: ignore[union-attr]
        tails = 1 if self.sets is not None else 2
        return [(n + 1 - tails * count_outside(n, self.coverage, tails), n + 1) for n in rows]


def count_outside(n_rows: int, coverage: float, tails: int = 1) -> int:
    """Return how many of the ordered rows may lie outside at each of so many ends; 0 if there are too few rows for any."""
    return math.floor((n_rows + 1) * (1 - coverage) / tails + 1e-9)  # 10 × (1 − 0.9) is a little less than 1


def measure_reach(numbers: "Floats", reach: Reach) -> "Floats":
    """Return how many widths of the middle each row's farthest number lies outside, float64 ``(n_rows,)``, 0 if none does."""
    import numpy as np

    if not reach.columns or not len(numbers):
        return np.zeros(len(numbers))
    low, high = np.array(reach.low), np.array(reach.high)
    values = numbers[:, list(reach.columns)]
    outside = np.fmax(low - values, values - high) / (high - low)
    found: Floats = np.nan_to_num(outside, nan=0.0).max(axis=1)
    return np.maximum(found, 0.0)
