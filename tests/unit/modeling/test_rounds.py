"""One fit says how good a booster is with fewer rounds: exactly as good as one that is fitted with so many."""

import numpy as np
import pytest

from mlops_project.config import Config, ModelConfig
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.choice import with_model
from mlops_project.modeling.pipeline import build_pipeline
from mlops_project.modeling.rounds import NAMES, Rounds, find_best, knows_rounds, watch_fit
from mlops_project.tables.first_models import FirstModel

ROWS, MOST = 160, 40
LABELS = {"binary": ("no", "yes"), "multiclass": (0.5, 1.5, 2.5), "regression": ()}
PARAMS = {
    "hist_gradient_boosting": {"max_leaf_nodes": 4, "max_features": 0.5, "early_stopping": False},
    "lightgbm": {"num_leaves": 4, "min_child_samples": 5, "colsample_bytree": 0.5, "subsample": 0.6, "subsample_freq": 1},
    "xgboost": {"max_depth": 2, "subsample": 0.6, "colsample_bytree": 0.5},
}


def make_rows(task):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(ROWS, 3))
    values[::7, 1] = np.nan
    target = values[:, 0] * 3 + rng.normal(size=ROWS)
    if LABELS[task]:
        ranks = np.argsort(np.argsort(target))
        target = np.array(LABELS[task])[ranks * len(LABELS[task]) // ROWS]
    return values, target


def build(estimator, task, **params):
    contract = Contract((Feature("a", "float"),), "y", task, LABELS[task], tuple(map(str, LABELS[task])))
    config = with_model(Config(model=ModelConfig()), FirstModel(estimator, PARAMS[estimator] | {"learning_rate": 0.3} | params))
    return build_pipeline(contract, config).steps[-1][1]


@pytest.mark.parametrize("task", LABELS)
@pytest.mark.parametrize("estimator", NAMES)
def test_curve_is_what_shorter_fits_lose(estimator, task):
    values, target = make_rows(task)
    learned, asked = slice(0, 100), slice(100, None)
    rounds = Rounds(NAMES[estimator], 2, MOST)
    watched = watch_fit(build(estimator, task), values[learned], target[learned], values[asked], target[asked], rounds)
    best = find_best(watched.curve, rounds)
    assert 2 <= best <= len(watched.curve) <= MOST
    for count in {1, 2, best, len(watched.curve)}:
        fitted = build(estimator, task, **{NAMES[estimator]: count}).fit(values[learned], target[learned])
        if LABELS[task]:
            answers = fitted.predict_proba(values[asked])
            loss = -np.log(answers[np.arange(ROWS - 100), np.searchsorted(fitted.classes_, target[asked])]).mean()
        else:
            answers = fitted.predict(values[asked])
            loss = np.mean((answers - target[asked]) ** 2)
        assert watched.curve[count - 1] == pytest.approx(loss, rel=1e-6)
        if count == best:
            assert watched.answers == pytest.approx(answers, abs=1e-12)


def test_fit_ends_when_nothing_better_comes_and_never_before_the_least_rounds():
    values, target = make_rows("binary")
    for low, expected in ((1, range(16, 40)), (60, range(60, 100))):
        rounds = Rounds("max_iter", low, 400)
        rows = (values[:100], target[:100], values[100:], target[100:])
        watched = watch_fit(build("hist_gradient_boosting", "binary", learning_rate=0.5), *rows, rounds)
        assert len(watched.curve) in expected
        assert find_best(watched.curve, rounds) >= low


@pytest.mark.parametrize(
    ("estimator", "params", "calibration", "known"),
    [
        ("hist_gradient_boosting", {"early_stopping": False}, "none", True),
        ("hist_gradient_boosting", {"early_stopping": True}, "none", False),
        ("hist_gradient_boosting", {"loss": "absolute_error"}, "none", False),
        ("hist_gradient_boosting", {}, "isotonic", False),
        ("xgboost", {"booster": "dart"}, "none", False),
        ("lightgbm", {"num_leaves": 3}, "none", True),
        ("lightgbm", {"boosting_type": "dart"}, "none", False),
        ("random_forest", {}, "none", False),
    ],
)
def test_rounds_are_searched_like_any_parameter_where_one_fit_does_not_tell(estimator, params, calibration, known):
    config = Config(model=ModelConfig(calibration=calibration))
    assert knows_rounds(estimator, params, ["learning_rate"], config) is known
