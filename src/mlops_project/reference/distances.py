"""Distances between two distributions of counts over the same bins."""

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LEAST = 1e-300  # nothing divided by it stays nothing


def jensen_shannon(reference: Counts | Floats, current: Counts | Floats) -> Floats:
    """Jensen–Shannon distance in [0, 1]: the root of the divergence to base 2 (Lin 1991; Endres & Schindelin 2003).

    Parameters
    ----------
    reference, current
        Counts, or shares, ``(…, n_bins)``; leading dimensions are broadcast.
    """
    p = reference / np.maximum(reference.sum(axis=-1, keepdims=True), LEAST)
    q = current / np.maximum(current.sum(axis=-1, keepdims=True), LEAST)
    middle = (p + q) / 2
    nats = (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum(axis=-1) / 2
    distance: Floats = np.sqrt(np.clip(nats / np.log(2), 0.0, 1.0))
    return distance


def stability_index(reference: Counts, current: Counts) -> float:
    """Population stability index Σ (q - p) ln(q / p) (Siddiqi, Credit Risk Scorecards, 2006).

    Half a row is added to every bin of both sides, because an empty one would make it infinite.
    """
    used = (reference + current) > 0
    p, q = reference[used] + 0.5, current[used] + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def wasserstein(reference: Counts, reference_sums: Floats, current: Counts, current_sums: Floats) -> float:
    """First Wasserstein distance in the values' unit, as if all rows of a bin lay at the bin's mean.

    Parameters
    ----------
    reference, current
        Counts ``(n_bins,)`` over the same bins.
    reference_sums, current_sums
        Sum of the values in each bin, ``(n_bins,)``, in the values' unit.

    Returns
    -------
    float
        0 if a side has no rows.
    """
    left, right = reference > 0, current > 0
    if not left.any() or not right.any():
        return 0.0
    return float(
        stats.wasserstein_distance(
            reference_sums[left] / reference[left], current_sums[right] / current[right], reference[left], current[right]
        )
    )
