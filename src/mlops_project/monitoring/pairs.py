"""Do features still go together as they did? Pairs of a window against those of the held-out rows, whatever each does alone."""

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from mlops_project.reference.distances import Counts, Floats
from mlops_project.reference.pairs import ROUNDS, expect, measure_distance, measure_information

DRAWS = 400
CHOSEN = (
    4.0  # p-values are multiplied by it: pairs were chosen for their strength in these very rows (measured on three tables)
)
SCREEN = 0.1  # χ² above which no draw could make it a change
CERTAIN = 1e-12  # and below which none could make it chance: where rows depend on time nearly every pair of a window is there
QUANTILE = 0.95  # of the draws: the distance that chance reaches


class PairTest(NamedTuple):
    """What a comparison of two tables found.

    Attributes
    ----------
    distance, threshold
        Jensen–Shannon distance of how the features go together, and what chance reaches.
    p_value
        How likely chance comes so far.
    """

    distance: float
    threshold: float
    p_value: float


NO_TEST = PairTest(0.0, 1.0, 1.0)


def compare_pair(reference: Counts, current: Counts, seed: int) -> PairTest:
    """Test whether two tables are of one association (no interaction of three: Bartlett 1935), their margins aside.

    χ² says when chance explains the distance. Where it may not, both tables are drawn anew from what they have in common
    (parametric bootstrap, Efron & Tibshirani 1993), and a gamma curve through the draws' mean and variance gives the tail:
    cells are sparse, and there χ² is wrong by a factor of ten.

    Parameters
    ----------
    reference, current
        Rows per cell ``(wide, high)``.
    seed
        Of the draws.
    """
    sizes = int(reference.sum()), int(current.sum())
    freedom = _count_freedom(reference + current)
    if min(sizes) == 0 or freedom == 0:
        return NO_TEST
    distance = float(measure_distance(reference, current))
    unit = (1 / sizes[0] + 1 / sizes[1]) / (8 * np.log(2))  # of one χ² in squared distance
    p_value = float(special.chdtrc(freedom, distance**2 / unit))
    if p_value > SCREEN or p_value < CERTAIN:
        return PairTest(distance, float(np.sqrt(unit * special.chdtri(freedom, 1 - QUANTILE))), p_value)
    drawn = _draw(reference, current, np.random.default_rng(seed))
    mean, variance = float((drawn**2).mean()), float((drawn**2).var())
    if variance <= 0:
        return NO_TEST
    tail = float(stats.gamma.sf(distance**2, mean**2 / variance, scale=variance / mean))
    return PairTest(distance, float(np.quantile(drawn, QUANTILE)), min(1.0, CHOSEN * tail))


def _count_freedom(table: Counts) -> int:
    wide, high = ((table.sum(axis=axis) > 0).sum() for axis in (1, 0))
    return int((wide - 1) * (high - 1)) if wide and high else 0


def _draw(reference: Counts, current: Counts, rng: np.random.Generator) -> Floats:
    """Return distances of tables that go together alike."""
    fitted = _fit(reference, current)
    first, second = (rng.multinomial(int(table.sum()), (table / table.sum()).ravel(), DRAWS) for table in fitted)
    return measure_distance(first.reshape(DRAWS, *reference.shape), second.reshape(DRAWS, *reference.shape))


def _fit(reference: Counts, current: Counts) -> Floats:
    """Return both tables as they would be on the mean, if they had one association and each its own margins."""
    observed = np.stack([reference, current]).astype(np.float64)
    fitted = np.ones_like(observed)
    for _ in range(ROUNDS):
        for axis in (0, 1, 2):
            fitted *= observed.sum(axis=axis, keepdims=True) / np.maximum(fitted.sum(axis=axis, keepdims=True), 1e-300)
    return fitted


def measure_strength(table: Counts, *, ordered: bool) -> float:
    """Return how firmly two features go together.

    Parameters
    ----------
    table
        Rows per cell.
    ordered
        Both are numbers: the rank correlation of the groups, in [-1, 1]. Else what a correlation with as much mutual
        information would be, in [0, 1] (Linfoot 1957).
    """
    if not table.sum():
        return 0.0
    if not ordered:
        excess = measure_information(table) - _count_freedom(table) / (2 * table.sum())
        return float(np.sqrt(-np.expm1(-2 * max(excess, 0.0))))
    shares = table / table.sum()
    sides = shares.sum(axis=1), shares.sum(axis=0)
    scores = [np.cumsum(side) - side / 2 - 0.5 for side in sides]
    spreads = [float(side @ score**2) for side, score in zip(sides, scores, strict=True)]
    return float(scores[0] @ shares @ scores[1] / np.sqrt(max(spreads[0] * spreads[1], 1e-300)))


def find_cell(reference: Counts, current: Counts) -> tuple[int, int, float, float]:
    """Return the cell that changed most, the share of the window's rows in it, and what was to be expected."""
    expected, shares = expect(reference, current), current / max(int(current.sum()), 1)
    place = int(np.argmax(np.abs(shares - expected) / np.sqrt(np.maximum(expected, 1e-3))))
    row, column = divmod(place, expected.shape[1])
    return row, column, float(shares[row, column]), float(expected[row, column])
