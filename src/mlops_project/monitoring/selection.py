"""Whether labels come selectively: more of one class than the model leads one to expect, and few enough to explain it.

With a share ``c`` of the predictions labelled, and a class's share ``s`` among the labels, its share among all predictions lies
between ``c s`` and ``c s + 1 - c`` (Manski 1989). Where what the model leads one to expect lies within, a choice of which
predictions get a label explains the difference; beyond it, the world has changed. And a choice by the outcome leaves the ROC
AUC as it was, which compares classes whatever their shares: where that is lost, it is not the choice of labels.
"""

from typing import NamedTuple

import numpy as np

from mlops_project.modeling.metrics import Scored, compute_metric
from mlops_project.runtime import Floats

LEAST_GAP, DEVIATIONS = 0.1, 4.0  # of a class's share; and how many standard errors
LOST_AUC = 0.05  # that a choice of labels does not explain, beside two standard errors
NEARLY_ALL = 0.9  # coverage from which on the choice of labels is no matter


class Selection(NamedTuple):
    """A class that the labels hold more of, or less, than expected.

    Attributes
    ----------
    place
        Of the class.
    seen, expected
        Its share among the labels, and what the model says of the same rows.
    coverage
        Share of the predictions that have a label.
    """

    place: int
    seen: float
    expected: float
    coverage: float


def find_selection(seen: Floats, expected: Floats, rows: int, coverage: float | None) -> Selection | None:
    """Return the class that is over-represented most, if a choice of labels explains it; None if none is.

    Parameters
    ----------
    seen, expected
        Share of each class among the labels, and the mean of what the model, corrected by its held-out rows, says of the same
        rows: ``(n_classes,)``.
    rows
        How many labels.
    coverage
        Share of the predictions that have a label; None if it is not known.
    """
    if coverage is None or coverage >= NEARLY_ALL or not rows:
        return None
    gaps = seen - expected  # one class is more frequent wherever another is less so
    index = int(gaps.argmax())
    error = np.sqrt(max(expected[index] * (1 - expected[index]), 0.25 / rows) / rows)
    low, high = coverage * seen[index], coverage * seen[index] + 1 - coverage
    explains = low <= expected[index] <= high
    if gaps[index] < LEAST_GAP or gaps[index] < DEVIATIONS * error or not explains:
        return None
    return Selection(index, float(seen[index]), float(expected[index]), coverage)


def keeps_ranking(scored: Scored, usual: float) -> bool:
    """Whether the ROC AUC on labelled rows is what it was on the held-out ones, or cannot be told.

    Parameters
    ----------
    usual
        On the held-out rows.
    """
    found = compute_metric("roc_auc", scored, "binary" if scored.n_classes == 2 else "multiclass")
    fewest = max(1, int(np.bincount(np.asarray(scored.truth, np.int64), minlength=scored.n_classes).min()))
    error = np.sqrt(max(usual * (1 - usual), 0.01) / fewest)
    return bool(not np.isfinite(found) or not np.isfinite(usual) or found >= usual - LOST_AUC - 2 * error)
