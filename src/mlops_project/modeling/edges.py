"""Intervals of metrics that came out perfect, or as bad as can be: every resample then says the same, the bootstrap nothing.

The bound is Clopper and Pearson's (1934) for a share of 0 or 1 in so many trials. For an area under the ROC curve of 1 the
trials are pairs of rows that share none; for the other metrics they are the rows that decide it, which is an approximation.
"""

import numpy as np

from mlops_project.runtime import Floats

PERFECT = 1e-9  # as near to 0 or 1 counts as the edge: a log loss is not 0, because probabilities are clipped
LARGEST_LOG_LOSS = -float(np.log(np.finfo(np.float64).eps))  # that one row can cost


def widen_at_edge(
    name: str, value: float, actual: Floats, predicted: Floats, n_rows: int, *, confidence: float, cost: float = 1.0
) -> tuple[float, float]:
    """Return the interval of a metric of classification whose resamples are all equal; without width where it is at no edge.

    Parameters
    ----------
    name, value
        The metric, and what it is on these rows.
    actual, predicted
        Rows of each class that the metric is about, ``(n_classes,)``: one if there are two classes.
    cost
        The most that one wrong answer costs.
    """
    trials = _count_trials(name, actual, predicted, n_rows)
    reach = 1 - ((1 - confidence) / 2) ** (1 / trials) if trials else 1.0  # how often an event may happen that was not seen
    if value <= PERFECT:
        costs = {"log_loss": LARGEST_LOG_LOSS, "brier": 1.0 if len(actual) == 1 else 2.0, "expected_cost": cost}
        return value, value + reach * costs.get(name, 1.0)
    return (value - reach, value) if value >= 1 - PERFECT and name != "expected_cost" else (value, value)


def _count_trials(name: str, actual: Floats, predicted: Floats, n_rows: int) -> int:
    """Return how many rows decide the metric: of several classes, those of the class that has the fewest."""
    counts = {
        "precision": predicted,
        "recall": actual,
        "f1": np.minimum(actual, predicted),
        "roc_auc": np.minimum(actual, n_rows - actual),
        "pr_auc": np.minimum(actual, n_rows - actual),
    }
    seen = (actual + predicted) > 0  # a class without a row counts for none of them
    return int(counts[name][seen].min(initial=n_rows)) if name in counts else n_rows
