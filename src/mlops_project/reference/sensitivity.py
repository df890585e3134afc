"""How far estimates without labels go astray when the mix of rows changes: tried on the held-out rows, whose labels are known.

What a score means may depend on which rows get it. A window with another mix then has another calibration, and no interval from
labels' chance alone holds that. So the held-out rows are weighted as if the mix had changed along random directions
(exponential tilting), and the estimate is compared with what the labels say; the squared error beyond chance grows with the χ²
divergence.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import Contract
from mlops_project.modeling.metrics import Scored
from mlops_project.reference.bins import CATEGORY_CELLS, NUMERIC_CELLS, Tally, read_numbers
from mlops_project.reference.distances import Counts, Floats
from mlops_project.reference.expected import NAMES, compute_expected_sets, draw_labels

MAX_ROWS, MAX_FEATURES = 2_000, 30
TILTS, LABEL_DRAWS = 16, 12
STRENGTHS = (0.5, 1.0)  # log-odds per standard deviation along a direction
ALONG = 3  # features that a direction goes through at most
PRIOR = 0.5  # rows in a cell that the reference lacks


def measure_divergence(reference: Counts | Floats, current: Counts | Floats) -> float:
    """Return the χ² divergence Σ (q - p)² / p of shares, less what chance makes of it: the variance of the density ratio.

    Parameters
    ----------
    reference, current
        Rows per cell ``(n_cells,)``.
    """
    if not reference.sum() or not current.sum():
        return 0.0
    used = (reference + current) > 0
    p, q = np.maximum(reference[used], PRIOR), current[used] / current.sum()
    p = p / p.sum()
    chance = (int(used.sum()) - 1) * (1 / float(current.sum()) + 1 / float(reference.sum()))
    return max(float(((q - p) ** 2 / p).sum()) - chance, 0.0)


class Shift:
    """How a window's mix of rows differs from the held-out rows.

    Attributes
    ----------
    divergence, moved
        Largest χ² divergence of a feature, and which.
    outside
        Largest share of rows, over the features, with a value that the held-out rows hardly have: out of the training range,
        unknown, or missing.
    column
        The feature with that share.
    """

    def __init__(self, tallies: Sequence[Tally]) -> None:
        self.divergence, self.moved, self.outside, self.column = 0.0, "", 0.0, ""
        for tally in tallies:
            profile = tally.profile
            cells = profile.merge(np.array(profile.counts, np.int64), profile.missing)
            divergence = measure_divergence(cells, profile.merge(tally.counts, tally.missing))
            if divergence > self.divergence:
                self.divergence, self.moved = divergence, profile.name
            before = _find_outside(profile.counts, profile.outside, profile.missing, profile.kind)
            now = _find_outside(tally.counts, tally.outside, tally.missing, profile.kind)
            if now - before > self.outside:
                self.outside, self.column = now - before, profile.name


def _find_outside(counts: Any, outside: int, missing: int, kind: str) -> float:
    rows = max(int(np.sum(counts)) + missing, 1)
    return (missing + (int(counts[-1]) if kind == "category" else outside)) / rows


def measure_sensitivity(
    columns: Mapping[str, Any], scored: Scored, outside: Floats, contract: Contract, rng: np.random.Generator
) -> dict[str, float]:
    """Return metric → variance of the estimate's error per unit of χ² divergence; metrics without any are left out.

    Parameters
    ----------
    columns
        Feature name → ``(n_rows,)`` of the held-out rows; without any there is nothing to try.
    scored
        Predictions and truth of the same rows.
    outside
        Calibrated probabilities ``(n_rows, n_classes)`` by calibrations that did not see the row.
    """
    rows, cells = _choose_rows(columns, len(scored.truth), contract, rng)
    if not len(cells):
        return {}
    scored, chances = scored.take(rows), outside[rows]
    drawn = draw_labels(chances, LABEL_DRAWS, rng)
    return _fit_slopes(NAMES, cells, lambda weights: _measure_excess(scored, chances, drawn, weights), rng)


def measure_value_sensitivity(
    columns: Mapping[str, Any], missed: Mapping[str, Floats], contract: Contract, rng: np.random.Generator
) -> dict[str, float]:
    """Return the same for means of the errors of values: metric → variance per unit of χ² divergence.

    Parameters
    ----------
    columns
        Feature name → ``(n_rows,)`` of the held-out rows.
    missed
        Metric → what its estimate misses of each row, by sizes that did not see the row ``(n_rows,)``.
    """
    names = tuple(missed)
    rows, cells = _choose_rows(columns, len(missed[names[0]]), contract, rng)
    if not len(cells):
        return {}
    rest = np.array([missed[name][rows] for name in names])

    def measure(weights: Floats) -> Floats:
        weighted = rest * weights
        return np.asarray(weighted.mean(axis=1) ** 2 - (weighted**2).sum(axis=1) / len(rows) ** 2)

    return _fit_slopes(names, cells, measure, rng)


def _choose_rows(
    columns: Mapping[str, Any], n_rows: int, contract: Contract, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Return some rows, and their cells ``(n_features, n_rows)``; no cells where there is too little to try."""
    rows = rng.permutation(n_rows)[:MAX_ROWS]
    known = [one.name for one in contract.features if one.type != "datetime" and one.name in columns]
    names = rng.permutation(known)[:MAX_FEATURES]
    cells = np.array([_find_cells(np.asarray(columns[name])[rows], str(name), contract) for name in names])
    return rows, cells if len(rows) >= TILTS else cells[:0]


def _fit_slopes(
    names: Sequence[str],
    cells: npt.NDArray[np.int64],
    measure: Callable[[Floats], Floats],
    rng: np.random.Generator,
) -> dict[str, float]:
    """Weigh rows along random directions; return how each metric's squared error grows with the divergence."""
    divergences, excesses = [], []
    for number in range(TILTS):
        weights = _tilt(cells, STRENGTHS[number % len(STRENGTHS)], rng)
        divergences.append(max(_diverge(one, weights) for one in cells))
        excesses.append(measure(weights))
    d, excess = np.array(divergences), np.array(excesses)
    slopes = np.nansum(excess * d[:, None], axis=0) / np.maximum((np.isfinite(excess) * d[:, None] ** 2).sum(axis=0), 1e-12)
    return {name: float(f"{slope:.6g}") for name, slope in zip(names, slopes, strict=True) if slope > 0}


def _find_cells(values: npt.NDArray[Any], name: str, contract: Contract) -> npt.NDArray[np.int64]:
    """Return each row's cell: tenths of numbers, the most frequent texts; rows without a value have one of their own."""
    if next(one for one in contract.features if one.name == name).is_text:
        codes, texts = pd.factorize(pd.Series(values, dtype=object))
        order = np.argsort(-np.bincount(codes[codes >= 0], minlength=len(texts)), kind="stable")
        places = np.empty(len(texts) + 1, np.int64)
        places[order] = np.minimum(np.arange(len(texts)), CATEGORY_CELLS - 1)
        places[-1] = CATEGORY_CELLS
        return places[codes]
    numbers = read_numbers(values, name)
    present = numbers[~np.isnan(numbers)]
    edges = np.unique(np.quantile(present, np.arange(1, NUMERIC_CELLS) / NUMERIC_CELLS)) if len(present) else np.empty(0)
    return np.where(np.isnan(numbers), NUMERIC_CELLS, np.searchsorted(edges, numbers)).astype(np.int64)


def _tilt(cells: npt.NDArray[np.int64], strength: float, rng: np.random.Generator) -> Floats:
    """Weigh rows exponentially along a random direction through a few features; the mean weight is 1."""
    along = np.zeros(cells.shape[1])
    for one in cells[rng.permutation(len(cells))[: rng.integers(1, ALONG + 1)]]:
        centred = one - one.mean()
        along += rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 1) * centred / (centred.std() or 1.0)
    along = np.clip((along - along.mean()) / (along.std() or 1.0), -3, 3)
    weights = np.exp(strength * along)
    return np.asarray(weights / weights.mean())


def _diverge(cells: npt.NDArray[np.int64], weights: Floats) -> float:
    reference = np.bincount(cells).astype(np.float64)
    p, q = reference / reference.sum(), np.bincount(cells, weights) / weights.sum()
    return float(((q - p) ** 2 / np.where(p > 0, p, 1)).sum())


def _measure_excess(scored: Scored, chances: Floats, drawn: Floats, weights: Floats) -> Floats:
    """Return each metric's squared error of the estimate under these weights, less what the labels' chance makes of it."""
    truth = np.eye(chances.shape[1])[np.asarray(scored.truth, np.int64)]
    sets = np.concatenate([chances[None], truth[None], drawn]) * weights[:, None]
    values = compute_expected_sets(scored.indices, scored.probabilities, sets)
    expected, realised, chance = values[:, 0], values[:, 1], values[:, 2:]
    return np.asarray((realised - expected) ** 2 - ((chance - expected[:, None]) ** 2).mean(axis=1))
