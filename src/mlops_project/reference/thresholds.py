"""How far apart two samples of one population come to lie by chance: the bar that a distance must clear."""

import numpy as np
import numpy.typing as npt

from mlops_project.reference.distances import jensen_shannon

WINDOW_ROWS = (30, 60, 120, 250, 500, 1000, 2500, 10_000, 100_000)
ROUNDS = 1000  # 12 ms a feature; the quantile then varies by 2 %
LEVEL = 0.95  # the test says whether it is chance; at 0.99 half a deviation was missed in 32 % of windows instead of 15 %
PRIOR_ROWS = 2.0  # shared out over the cells: one per two cells (Jeffreys) is too many for twenty, one (Perks) is too few


def compute_thresholds(cells: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[float, ...]:
    """Return the Jensen–Shannon distance that ``LEVEL`` of clean windows stay below, for each of ``WINDOW_ROWS``.

    The population is unknown: all there is of it are the reference's counts. So each round draws a population that may have
    given them (from a Dirichlet posterior, the Bayesian bootstrap of Rubin 1981), then a window from it, and compares that with
    the reference. Over a large window the reference's own sampling error is all that remains.

    Parameters
    ----------
    cells
        Reference rows per cell ``(n_cells,)``.
    """
    populations = rng.dirichlet(cells + min(0.5, PRIOR_ROWS / len(cells)), ROUNDS)
    windows = (rng.multinomial(rows, populations) for rows in WINDOW_ROWS)
    return tuple(float(np.quantile(jensen_shannon(cells, window), LEVEL)) for window in windows)


def find_threshold(thresholds: tuple[float, ...], rows: int) -> float:
    """Return the threshold at a window of ``rows``.

    The square of the distance grows with 1 / rows, nearly in a straight line; so it is interpolated.
    """
    inverse = 1 / np.array(WINDOW_ROWS[::-1], float)
    return float(np.sqrt(np.interp(1 / max(rows, 1), inverse, np.square(thresholds[::-1]))))
