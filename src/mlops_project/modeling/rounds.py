"""How many rounds a booster gets: one fit says how good each number of rounds up to its own is.

The first rounds of a longer fit are those of a shorter one, so the loss of other rows is noted after every round, and the fit
ends once it has not fallen for a while. To search the number of rounds as a parameter would repeat that work in every trial.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.config import Config
from mlops_project.modeling.encoders import OriginalLabels
from mlops_project.runtime import Floats

PATIENCE = 15  # rounds without a lower loss: what comes afterwards is rarely better
NAMES = {"hist_gradient_boosting": "max_iter", "lightgbm": "n_estimators", "xgboost": "n_estimators"}

# Parameters under which all of the above holds; others may mean another loss, or rounds that change earlier ones (dart).
# fmt: off
KNOWN: dict[str, frozenset[str]] = {
    "hist_gradient_boosting": frozenset({
        "categorical_features", "class_weight", "early_stopping", "interaction_cst", "l2_regularization", "learning_rate",
        "max_bins", "max_depth", "max_features", "max_iter", "max_leaf_nodes", "min_samples_leaf", "monotonic_cst",
        "random_state", "verbose",
    }),
    "lightgbm": frozenset({
        "bagging_fraction", "bagging_freq", "colsample_bytree", "extra_trees", "feature_fraction",
        "feature_fraction_bynode", "importance_type", "lambda_l1", "lambda_l2", "learning_rate", "max_bin", "max_depth",
        "min_child_samples", "min_child_weight", "min_data_in_leaf", "min_split_gain", "min_sum_hessian_in_leaf",
        "n_estimators", "n_jobs", "num_leaves", "path_smooth", "random_state", "reg_alpha", "reg_lambda", "subsample",
        "subsample_freq", "verbose",
    }),
    "xgboost": frozenset({
        "colsample_bylevel", "colsample_bynode", "colsample_bytree", "gamma", "grow_policy", "learning_rate", "max_bin",
        "max_depth", "max_leaves", "min_child_weight", "n_estimators", "n_jobs", "random_state", "reg_alpha", "reg_lambda",
        "scale_pos_weight", "subsample", "tree_method", "verbosity",
    }),
}
# fmt: on


Labels = npt.NDArray[Any]
Rows = tuple[Floats, Labels]


class Rounds(NamedTuple):
    """Which numbers of rounds are compared.

    Attributes
    ----------
    name
        The parameter.
    low, high
        The least and the most, both included.
    """

    name: str
    low: int
    high: int


class Watched(NamedTuple):
    """How a booster did on rows that it did not learn from.

    Attributes
    ----------
    curve
        Mean log loss or squared error after 1, 2, … rounds.
    answers
        What it says of each row after the best number of rounds: probabilities ``(n_rows, n_classes)`` in the order of the
        sorted labels, or values ``(n_rows,)``.
    """

    curve: Floats
    answers: Floats


def knows_rounds(estimator: str, fixed: Mapping[str, Any], searched: Iterable[str], config: Config) -> bool:
    """Whether one fit tells how good an estimator is with fewer rounds.

    Parameters
    ----------
    fixed, searched
        Its parameters: with their values, and those that are to be found.
    """
    known = KNOWN.get(estimator, frozenset())
    if config.data.weight is not None or config.model.class_weight is not None:  # the watched loss knows neither
        return False
    return config.model.calibration == "none" and {*fixed, *searched} <= known and not fixed.get("early_stopping", False)


def watch_fit(estimator: Any, learned: Floats, target: Labels, asked: Floats, truth: Labels, rounds: Rounds) -> Watched:
    """Fit a booster, and note its loss on other rows after every round.

    Parameters
    ----------
    learned, target
        Encoded rows and their labels, which it is fitted to.
    asked, truth
        Those that it is watched on.
    """
    if isinstance(estimator, OriginalLabels):
        numbers, wanted = _number_labels(target, truth)
        return watch_fit(estimator.estimator, learned, numbers, asked, wanted, rounds)
    estimator.set_params(**{rounds.name: rounds.high})
    library = type(estimator).__module__.partition(".")[0]
    watch = {"lightgbm": _watch_lightgbm, "xgboost": _watch_xgboost}.get(library, _watch_hist)
    return watch(estimator, (learned, target), (asked, truth), rounds)


def _number_labels(target: Labels, truth: Labels) -> tuple[Labels, Labels]:
    labels, numbers = np.unique(np.asarray(target), return_inverse=True)
    return numbers, np.searchsorted(labels, np.asarray(truth))


def find_best(curve: Floats, rounds: Rounds) -> int:
    """Return after how many rounds a loss is lowest."""
    return int(curve[rounds.low - 1 :].argmin()) + rounds.low


def _watch_hist(estimator: Any, learned: Rows, asked: Rows, rounds: Rounds) -> Watched:
    estimator.set_params(early_stopping=True, scoring="loss", n_iter_no_change=max(PATIENCE, rounds.low), tol=0.0)
    estimator.fit(*learned, X_val=asked[0], y_val=asked[1])
    curve = -np.asarray(estimator.validation_score_[1:], np.float64)
    is_classifier = hasattr(estimator, "predict_proba")
    stages = estimator.staged_predict_proba if is_classifier else estimator.staged_predict
    (answers,) = deque(islice(stages(asked[0]), find_best(curve, rounds)), maxlen=1)
    return Watched(curve if is_classifier else 2 * curve, np.asarray(answers, np.float64))  # scikit-learn halves squares


def _watch_lightgbm(estimator: Any, learned: Rows, asked: Rows, rounds: Rounds) -> Watched:
    from lightgbm import early_stopping

    target, truth = learned[1], asked[1]
    if hasattr(estimator, "predict_proba"):  # it does not number the labels of ``eval_y`` itself
        target, truth = _number_labels(target, truth)
    estimator.fit(
        learned[0], target, eval_X=asked[0], eval_y=truth, callbacks=[early_stopping(max(PATIENCE, rounds.low), verbose=False)]
    )
    ((found,),) = (every.values() for every in estimator.evals_result_.values())  # log loss, or the mean square
    curve = np.asarray(found, np.float64)
    answer = getattr(estimator, "predict_proba", estimator.predict)
    return Watched(curve, np.asarray(answer(asked[0], num_iteration=find_best(curve, rounds)), np.float64))


def _watch_xgboost(estimator: Any, learned: Rows, asked: Rows, rounds: Rounds) -> Watched:
    estimator.set_params(early_stopping_rounds=max(PATIENCE, rounds.low))
    estimator.fit(*learned, eval_set=[asked], verbose=False)
    ((name, found),) = (item for every in estimator.evals_result().values() for item in every.items())
    curve = np.asarray(found, np.float64)
    answer = getattr(estimator, "predict_proba", estimator.predict)
    answers = answer(asked[0], iteration_range=(0, find_best(curve, rounds)))
    return Watched(curve**2 if name == "rmse" else curve, np.asarray(answers, np.float64))
