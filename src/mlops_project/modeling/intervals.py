"""How far metrics may be off, by bootstrap of the rows."""

from typing import NamedTuple

import numpy as np

from mlops_project.contract import Task
from mlops_project.modeling.edges import PERFECT, widen_at_edge
from mlops_project.modeling.metrics import LOSSES, Scored, bootstrap, find_metric, interval, standard_errors
from mlops_project.runtime import Floats


class Uncertainty(NamedTuple):
    """How far metrics may be off, by bootstrap.

    Attributes
    ----------
    intervals
        Metric → (low, high), within the metric's range; those that some resample defines. At the edge of its range, where
        all resamples agree, Clopper and Pearson's bound, see ``edges.py``.
    errors
        Metric → standard error; those that at least two resamples define.
    """

    intervals: dict[str, tuple[float, float]]
    errors: dict[str, float]


def bootstrap_metrics(
    scored: Scored, values: dict[str, float], task: Task, *, rounds: int, confidence: float, seed: int
) -> Uncertainty:
    """Return interval and standard error of each metric in ``values``; none with 0 rounds."""
    if not rounds or not values:
        return Uncertainty({}, {})
    metrics = [find_metric(name, task) for name in values]
    drawn, factor = bootstrap((scored,), metrics, rounds, np.random.default_rng(seed))
    intervals, errors = {}, dict(zip(values, (standard_errors(drawn[0]) * factor).tolist(), strict=True))
    for (name, value), resamples in zip(values.items(), drawn[0], strict=True):
        if np.isfinite(resamples).any():
            low, high = interval(resamples, value, factor, confidence=confidence)
            if high - low <= PERFECT and task != "regression":
                counts, cost, n_rows = _count_rows(scored), max(scored.costs or (1.0,)), round(scored.count_equal())
                low, high = widen_at_edge(name, value, *counts, n_rows, confidence=confidence, cost=cost)
            intervals[name] = (low if name == "r2" else max(low, 0.0), high if name in LOSSES else min(high, 1.0))
    return Uncertainty(intervals, {name: error for name, error in errors.items() if np.isfinite(error)})


def _count_rows(scored: Scored) -> tuple[Floats, Floats]:
    """Return how many rows each judged class has, and how many are predicted to be it: float64 ``(n_judged,)``."""
    actual, predicted = (
        np.bincount(np.asarray(rows, np.int64), minlength=scored.n_classes)[scored.judged_classes]
        for rows in (scored.truth, scored.indices)
    )
    share = scored.count_equal() / max(len(scored.truth), 1)  # of rows of unequal weight, so many tell as much
    return np.asarray(actual, np.float64) * share, np.asarray(predicted, np.float64) * share
