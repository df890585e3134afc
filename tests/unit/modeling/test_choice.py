import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.config import Config, ModelConfig
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ConfigError
from mlops_project.modeling import choice
from mlops_project.modeling.choice import choose_model
from mlops_project.modeling.side_work import SideWork
from mlops_project.tables.first_models import FirstModel
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table

NAMES = ("x", "z")
BINARY = Contract(tuple(Feature(name, "float") for name in NAMES), "y", "binary", ("no", "yes"), ("no", "yes"))
VALUE = Contract(tuple(Feature(name, "float") for name in NAMES), "y", "regression")
SMALL = (
    FirstModel("logistic_regression", {"C": 1.0}),
    FirstModel("random_forest", {"n_estimators": 20, "min_samples_leaf": 3}),
)
NUMERIC = (FirstModel("ridge", {"alpha": 1.0}), FirstModel("random_forest", {"n_estimators": 20, "min_samples_leaf": 3}))


@pytest.fixture(autouse=True)
def few_models(monkeypatch):
    monkeypatch.setattr(choice, "list_first_models", lambda task, _: NUMERIC if task == "regression" else SMALL)


def auto(**settings) -> Config:
    config = Config(model=msgspec.structs.replace(ModelConfig(estimator="auto"), **settings))
    config.__dict__.update(file="model.yaml", root=".")
    return config


def make(target, contract=BINARY, *, n_rows=200, seed=0, groups=None, times=None):
    """Return a table and a split with all of it to learn from, as choose_model takes them."""
    rng = np.random.default_rng(seed)
    features = pd.DataFrame({name: rng.normal(size=n_rows) for name in NAMES})
    truth = pd.Series(target(features, rng), name="y")
    table = Table(features, truth, {}, contract.task, contract.classes, contract.class_names, "t", "d", groups, times)
    return table, Split(features, truth, features, truth)


def straight(features, rng):
    return np.where(features["x"] + 0.5 * rng.normal(size=len(features)) > 0, "yes", "no")


def round_(features, rng):
    return np.where(features["x"] ** 2 + features["z"] ** 2 > 1.4, "yes", "no")


def choose(table, split, contract=BINARY, **settings):
    side, steps = SideWork(), []
    config, found = choose_model(table, split, contract, auto(**settings), side, steps.append)
    return config, found, side.notes, steps


def test_straight_target_gets_the_linear_model_and_a_round_one_the_forest():
    config, found, notes, steps = choose(*make(straight))
    assert config.model.estimator == "logistic_regression"
    assert (found.metric, found.rows, found.folds) == ("log_loss", 200, 5)
    assert "log loss 0." in found.reason
    assert notes == []
    assert steps == ["trying logistic_regression (C 1)", "trying random_forest (min_samples_leaf 3)"]
    config, found, _, _ = choose(*make(round_))
    assert config.model.estimator == "random_forest"
    assert config.model.params == SMALL[1].params
    assert found.candidates[found.chosen].loss < found.candidates[0].loss
    assert (config.file, config.root) == ("model.yaml", ".")


def test_simpler_model_is_kept_where_the_difference_is_within_one_standard_error():
    noise = make(lambda features, rng: rng.choice(["no", "yes"], len(features)))
    config, _, _, _ = choose(*noise)
    assert config.model.estimator == "logistic_regression"
    loss = np.zeros(50)
    better = loss - 0.001 + 0.1 * np.random.default_rng(0).normal(size=50)
    chosen, reason, _ = choice._choose(SMALL, [loss, better - better.mean() - 0.001], BINARY, 0, tried=True)
    assert chosen == 0
    assert "within one standard error of the best (random_forest" in reason


def test_named_estimator_is_left_as_it_is():
    config = Config()
    assert choose_model(*make(straight), BINARY, config, SideWork(), print) == (config, None)


def test_regression_compares_by_rmse():
    table, split = make(lambda features, rng: 3 * features["x"] + rng.normal(size=len(features)), VALUE)
    config, found, _, _ = choose(table, split, VALUE)
    assert (config.model.estimator, found.metric) == ("ridge", "rmse")
    assert found.candidates[0].loss == pytest.approx(1.0, abs=0.15)


def test_time_that_is_over_leaves_models_out_but_never_the_first():
    _, found, _, _ = choose(*make(round_), budget_seconds=1e-9)
    assert found.chosen == 0
    assert found.candidates[1].loss is None
    assert "model.budget_seconds ended before 1 more were compared" in found.reason


def test_params_go_to_the_estimators_that_have_them_and_unknown_ones_are_refused():
    config, found, _, _ = choose(*make(round_), params={"n_estimators": 10})
    assert config.model.params == {"n_estimators": 10, "min_samples_leaf": 3}
    assert found.candidates[0].params == {"C": 1.0}
    with pytest.raises(ConfigError, match=r"model.params.n_estimator: none of .* did you mean 'n_estimators'"):
        choose(*make(round_), params={"n_estimator": 10})


def test_folds_respect_groups_and_time(monkeypatch):
    asked = []
    real = choice.split_folds
    monkeypatch.setattr(choice, "split_folds", lambda *rest, **kind: asked.append(found := real(*rest, **kind)) or found)
    groups = pd.Series(np.arange(200) % 12)
    choose(*make(straight, groups=groups))
    for train, test in asked.pop():
        assert not set(groups[train]) & set(groups[test])
    table, split = make(straight, times=pd.Series(np.arange(200)[::-1]))
    choose(table, split)
    assert all(train.max() < test.min() for train, test in asked.pop())
    assert choice._follow(table.times, pd.Index([3, 250, 0, 260])).tolist() == [196, 200, 199, 200]  # later rows come last


def test_rare_class_and_few_rows_give_fewer_folds_or_none():
    rare = make(lambda features, _: np.where(features.index < 2, "yes", "no"))
    assert choose(*rare)[1].folds == 2
    single = make(lambda features, _: np.where(features.index < 1, "yes", "no"))
    config, found, _, _ = choose(*single)
    assert (found.folds, config.model.estimator) == (0, "logistic_regression")
    assert "too few rows" in found.reason


def test_model_that_cannot_be_fitted_is_named_and_the_others_are_compared(monkeypatch):
    table, split = make(straight)
    split.train_features.loc[7, "x"] = 1e300  # forests take it for missing
    config, found, notes, _ = choose(table, split)
    assert config.model.estimator == "random_forest"
    assert found.candidates[1].loss is not None
    assert notes == [
        "logistic_regression was left out, so it was not compared; "
        "column 'x' holds 1e+300 in row 8: mend them, or leave them empty"
    ]
    monkeypatch.setattr(choice, "list_first_models", lambda *_: SMALL[:1])
    assert "none could be fitted in every fold" in choose(table, split)[1].reason
