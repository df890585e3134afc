"""Every estimator of the configuration has a space of its own, whose every corner the library takes."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from mlops_project.config import Config, ModelConfig
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.choice import with_model
from mlops_project.modeling.estimators import KINDS, list_params
from mlops_project.modeling.pipeline import build_pipeline
from mlops_project.sections import Estimator
from mlops_project.tables.first_models import FirstModel
from mlops_project.tuning.defaults import find_default
from mlops_project.tuning.spaces import Range, fit_starts

FIND_THEMSELVES = {"bayesian_ridge", "lasso", "linear_regression", "ridge_cv"}  # nothing of theirs is worth a search
ESTIMATORS = sorted({*get_args(Estimator)} - {"auto", "own"} - FIND_THEMSELVES)
CLASSES = ("binary", "multiclass")
CASES = [
    (name, task)
    for name in ESTIMATORS
    for task in (*(CLASSES if KINDS[name].classifier else ()), *(("regression",) if KINDS[name].regressor else ()))
]
FEW = {
    "n_estimators": 3,
    "max_iter": 3,
    "forest__n_estimators": 3,
    "booster__max_iter": 3,
}  # corners are tried for whether they are taken, not for how good they are


def contract_of(task):
    classes = {"binary": (0, 1), "multiclass": (0, 1, 2)}.get(task, ())
    return Contract((Feature("a", "float"), Feature("b", "float")), "y", task, classes, tuple(map(str, classes)))


@pytest.mark.parametrize(("estimator", "task"), CASES)
def test_space_names_parameters_that_the_estimator_has_and_starts_lie_in_it(estimator, task):
    default = find_default(estimator, task, 300, 7.3)
    assert default is not None
    assert default.space
    assert default.space.keys() <= set(list_params(estimator, contract_of(task)))
    starts = fit_starts(default.starts, default.space)
    assert 1 <= len(starts) == len(default.starts)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "task"), CASES)
def test_estimator_takes_both_ends_of_its_space(estimator, task):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"])
    target = pd.Series(rng.uniform(1, 2, 40) if task == "regression" else np.arange(40) % len(contract_of(task).classes))
    default = find_default(estimator, task, 30)
    for end in (0, -1):
        params = {
            name: (part.low, part.high)[end] if isinstance(part, Range) else part[end] for name, part in default.space.items()
        }
        params |= {name: value for name, value in FEW.items() if name in list_params(estimator, contract_of(task))}
        config = with_model(Config(model=ModelConfig()), FirstModel(estimator, params))
        assert len(build_pipeline(contract_of(task), config).fit(rows, target).predict(rows)) == 40


@pytest.mark.parametrize("n_rows", [10, 60, 100_000])
def test_leaves_and_neighbourhoods_are_no_larger_than_a_tenth_of_the_rows(n_rows):
    for estimator, name in (("random_forest", "min_samples_leaf"), ("knn", "n_neighbors"), ("lightgbm", "min_child_samples")):
        part = find_default(estimator, "binary", n_rows).space[name]
        assert part.low < part.high <= max(3, n_rows / 10)


def test_support_vectors_of_numbers_are_in_the_targets_unit():
    one, thousand = (find_default("svm", "regression", 300, spread).space for spread in (1.0, 1000.0))
    assert thousand["C"].high == 1000 * one["C"].high
    assert thousand["epsilon"].low == 1000 * one["epsilon"].low
    assert "epsilon" not in find_default("svm", "binary", 300, 1000.0).space


@pytest.mark.parametrize("estimator", sorted(FIND_THEMSELVES))
def test_estimator_without_a_parameter_worth_a_search_has_no_space(estimator):
    assert find_default(estimator, "regression", 300) is None
