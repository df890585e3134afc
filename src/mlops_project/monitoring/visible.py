"""The smallest change of a column that would be seen: what a distance over its limit means in the column's own terms."""

import numpy as np

from mlops_project.reference.bins import FeatureProfile
from mlops_project.reference.distances import Floats, jensen_shannon

SHIFTS: Floats = np.geomspace(0.02, 10, 40)  # standard deviations
SHARES: Floats = np.linspace(0.01, 1, 100)  # of the rows


def find_visible(profile: FeatureProfile, limit: float) -> float | None:
    """Return how far the held-out rows would have to change to lie farther from themselves than a limit.

    Parameters
    ----------
    profile
        Of the held-out rows.
    limit
        Jensen–Shannon distance that must be exceeded.

    Returns
    -------
    float or None
        Numbers: a shift of all values in their standard deviations; categories: the share of rows that become another value,
        one that the model does not know. None if no such change would be seen, or there is nothing to change.
    """
    cells = profile.merge(np.array(profile.counts, np.int64), profile.missing)
    if not cells.sum():
        return None
    if profile.kind == "category":
        sizes, changed = SHARES, cells * (1 - SHARES[:, None])
        changed[:, -2] += SHARES * cells.sum()
    elif profile.deviation:
        sizes, changed = SHIFTS, _shift(profile)
    else:
        return None
    seen = jensen_shannon(cells, changed) > limit
    return float(sizes[int(seen.argmax())]) if seen.any() else None


def _shift(profile: FeatureProfile) -> Floats:
    """Return rows per cell with every value moved up by each of ``SHIFTS``, as if all rows of a bin lay at its mean."""
    counts = np.array(profile.counts, np.int64)
    means = np.array(profile.sums) / np.maximum(counts, 1)
    with np.errstate(over="ignore"):
        places = np.searchsorted(profile.edges, means + SHIFTS[:, None] * profile.deviation)
    moved = [profile.merge(np.bincount(place, counts, len(counts)).astype(np.int64), profile.missing) for place in places]
    return np.array(moved, np.float64)
