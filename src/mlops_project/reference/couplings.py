"""What numbers say of each other: how large each is expected to be in a window, given the means of the others.

A season moves many columns at a time, a source that slowly goes astray moves one. So a column's mean is compared with what the
other columns lead one to expect of it, by a ridge regression of normal scores on the held-out rows. Of a window it takes only
counts per bin, and it holds nobody's row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from scipy import special

from mlops_project.reference.bins import FeatureProfile, Tally, read_numbers
from mlops_project.reference.distances import Floats

MOST_FEATURES, MAX_ROWS = 30, 20_000
LEAST_BINS = 3  # of a number that has a mean worth following
PENALTY = 0.1  # of the variance; columns that are nearly the same share their weight


class Couplings(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of the others in each column's expected score.

    Attributes
    ----------
    names
        The columns.
    weights
        ``(n_columns, n_columns)``, 0 for a column itself.
    """

    names: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


def score_bins(profile: FeatureProfile) -> Floats:
    """Return the normal score of each bin's middle rank among the held-out rows, scaled to a standard deviation of 1."""
    counts = np.array(profile.counts, np.float64)
    shares = counts / max(float(counts.sum()), 1.0)
    scores = special.ndtri(np.clip(np.cumsum(shares) - shares / 2, 1e-4, 1 - 1e-4))
    scores = scores - shares @ scores
    return np.asarray(scores / (np.sqrt(shares @ scores**2) or 1.0))


def measure_couplings(features: Sequence[FeatureProfile], columns: Mapping[str, Any]) -> Couplings | None:
    """Return how numbers go together; None with fewer than two.

    Parameters
    ----------
    features
        Counted, of the held-out rows.
    columns
        The same rows.
    """
    able = [one for one in features if one.kind == "numeric" and len(one.edges) >= LEAST_BINS - 1]
    chosen = sorted(able, key=lambda one: -one.weight)[:MOST_FEATURES]
    if len(chosen) < 2:
        return None
    step = 1 + sum(chosen[0].counts) // MAX_ROWS
    scores = np.column_stack([_score_rows(one, np.asarray(columns[one.name])[::step]) for one in chosen])
    scores -= scores.mean(axis=0)
    together = scores.T @ scores / len(scores)
    weights = np.zeros_like(together)
    for place in range(len(chosen)):
        others = np.arange(len(chosen)) != place
        penalised = together[np.ix_(others, others)] + PENALTY * np.eye(len(chosen) - 1)
        weights[place, others] = np.linalg.solve(penalised, together[others, place])
    rounded = tuple(tuple(row) for row in np.round(weights, 3).tolist())
    return Couplings(names=tuple(one.name for one in chosen), weights=rounded)


def _score_rows(profile: FeatureProfile, values: Any) -> Floats:
    """Return the score of each row, 0 where there is no value."""
    numbers = read_numbers(values, profile.name)
    present = ~np.isnan(numbers)
    scores = np.zeros(len(numbers))
    scores[present] = score_bins(profile)[profile.finder.find(numbers[present])]
    return scores


def measure_residuals(couplings: Couplings | None, tallies: Sequence[Tally]) -> dict[str, float]:
    """Return how far each column's mean is from what the others lead one to expect, in standard deviations of the reference."""
    if couplings is None:
        return {}
    counted = {tally.profile.name: tally for tally in tallies}
    rows = np.array([int(counted[name].counts.sum()) for name in couplings.names])
    means = np.array([score_bins(counted[name].profile) @ counted[name].counts for name in couplings.names])
    means = np.where(rows > 0, means / np.maximum(rows, 1), 0.0)
    rest = means - np.array(couplings.weights) @ means
    return {name: float(value) for name, value, n_rows in zip(couplings.names, rest, rows, strict=True) if n_rows}
