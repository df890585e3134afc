"""Rows answered by models that were fitted to the other rows alone."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import KFold

from mlops_project.modeling.metrics import Truth
from mlops_project.runtime import Floats

FOLDS = 5
OPTIONS: dict[str, Any] = {"max_iter": 60, "min_samples_leaf": 10, "early_stopping": False, "random_state": 0}


class CrossFitted(NamedTuple):
    """Answers to rows, each by a model that has not seen it.

    Attributes
    ----------
    wrong
        1 where the answer is not the label (of a number: is farther from it than the limit), else 0, ``(n_rows,)``.
    answers
        Class indices, ``(n_rows,)``; 0 for numbers.
    sure
        How sure the model is of its class, in [0, 1], ``(n_rows,)``; 0 for numbers.
    """

    wrong: Floats
    answers: npt.NDArray[np.intp]
    sure: Floats


def cross_fit(matrix: Floats, truth: Truth, *, n_classes: int = 0, limit: float = 0.0) -> CrossFitted:
    """Answer each row by gradient boosting on the other folds.

    Parameters
    ----------
    matrix, truth
        ``(n_rows, n_columns)`` and ``(n_rows,)``: class indices, or numbers.
    n_classes
        0 for numbers.
    limit
        Of numbers: the farthest that is not wrong.
    """
    n_rows = len(truth)
    wrong, sure, answers = np.zeros(n_rows), np.zeros(n_rows), np.zeros(n_rows, np.intp)
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(matrix):
        if not n_classes:
            fitted = HistGradientBoostingRegressor(loss="absolute_error", **OPTIONS).fit(matrix[train], truth[train])
            wrong[test] = np.abs(fitted.predict(matrix[test]) - truth[test]) > limit
        elif len(np.unique(truth[train])) > 1:
            model = HistGradientBoostingClassifier(**OPTIONS).fit(matrix[train], truth[train])
            said = model.predict_proba(matrix[test])
            answers[test], sure[test] = np.asarray(model.classes_, np.intp)[said.argmax(axis=1)], said.max(axis=1)
            wrong[test] = answers[test] != truth[test]
    return CrossFitted(wrong, answers, sure)
