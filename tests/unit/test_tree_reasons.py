"""Shapley values of trees without sampling: those that the definition gives, for every kind of column."""

import itertools
import math

import numpy as np
import pytest

from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.explanation import Explainer, take_output
from mlops_project.modeling.export import export_onnx, load_exported
from mlops_project.modeling.pipeline import build_pipeline
from mlops_project.runtime import encode
from mlops_project.sections import ModelConfig
from mlops_project.tree_reasons import find_owners, open_tree_reasons
from tests.pipelines import make_table

MODELS = {
    "binary": ("binary", "random_forest", {"n_estimators": 8}),
    "not pure": ("binary", "random_forest", {"n_estimators": 8, "max_depth": 4}),
    "multiclass": ("multiclass", "random_forest", {"n_estimators": 8, "max_depth": 5}),
    "numbers": ("regression", "extra_trees", {"n_estimators": 8}),
    "boosted numbers": ("regression", "hist_gradient_boosting", {"max_iter": 8, "min_samples_leaf": 5}),
}
SAMPLED = "binary", "gradient_boosting", {"n_estimators": 4}


def build(task, estimator, params):
    frame, target, contract = make_table(task)
    config = Config(model=ModelConfig(estimator=estimator, params=params))
    pipeline = build_pipeline(contract, config).fit(frame, target)
    runtime = load_exported(export_onnx(pipeline, contract), contract)
    return runtime, encode({name: frame[name] for name in frame}, contract)


def pick(rows, start, end):
    return rows[0][start:end], rows[1][start:end]


def enumerate_shapley(runtime, row, background, output) -> np.ndarray:
    """Shapley (1953), by the definition: over all sets of features that come from the row."""
    owners, n = find_owners(runtime.contract), len(runtime.contract.names)
    values = {}
    for size in range(n + 1):
        for chosen in itertools.combinations(range(n), size):
            mixed = [np.where(np.isin(own, chosen), one, rest) for own, one, rest in zip(owners, row, background, strict=True)]
            values[frozenset(chosen)] = take_output(runtime.run(*mixed), output).mean()
    found = np.zeros(n)
    for player in range(n):
        for chosen, value in values.items():
            if player not in chosen:
                share = math.factorial(len(chosen)) * math.factorial(n - len(chosen) - 1) / math.factorial(n)
                found[player] += share * (values[chosen | {player}] - value)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_contributions_are_the_definitions(name) -> None:
    runtime, rows = build(*MODELS[name])
    background, explainer = pick(rows, 0, 20), Explainer(runtime, pick(rows, 0, 20))
    for place in (30, 50):
        row = pick(rows, place, place + 1)
        for output in {0, len(runtime.contract.classes or (0,)) - 1}:
            found = explainer.explain(row, output)
            assert found.walks == 0
            np.testing.assert_allclose(found.contributions, enumerate_shapley(runtime, row, background, output), atol=1e-12)
            assert found.base + found.contributions.sum() == pytest.approx(found.answer, abs=1e-12)
            assert found.answer == take_output(runtime.run(*row), output)[0]


def test_missing_values_and_unknown_words_are_explained_as_they_are_answered() -> None:
    runtime, rows = build(*MODELS["boosted numbers"])
    row = np.full((1, rows[0].shape[1]), np.nan), np.array([["", "never seen"]], object)
    found = Explainer(runtime, pick(rows, 0, 20)).explain(row, 0)
    np.testing.assert_allclose(found.contributions, enumerate_shapley(runtime, row, pick(rows, 0, 20), 0), atol=1e-12)


def test_probabilities_of_boosted_trees_are_sampled_and_add_up() -> None:
    runtime, rows = build(*SAMPLED)
    found = Explainer(runtime, pick(rows, 0, 20)).explain(pick(rows, 30, 31), 1, budget_seconds=0.0)
    assert found.walks > 0
    assert found.base + found.contributions.sum() == pytest.approx(found.answer, abs=1e-9)


def test_more_trees_than_can_be_prepared_are_sampled(monkeypatch) -> None:
    monkeypatch.setattr("mlops_project.tree_reasons.MAX_TESTS", 100)
    runtime, rows = build(*MODELS["binary"])
    assert Explainer(runtime, pick(rows, 0, 20)).explain(pick(rows, 30, 31), 1, budget_seconds=0.0).walks > 0


def test_larger_trees_are_compared_with_fewer_rows_and_exact(monkeypatch) -> None:
    runtime, rows = build(*MODELS["numbers"])
    whole = open_tree_reasons(runtime, pick(rows, 0, 20))
    assert whole is not None
    n_tests = len(whole._trees.exits)
    monkeypatch.setattr("mlops_project.tree_reasons.MAX_TESTS", 12 * n_tests + 1)
    found = Explainer(runtime, pick(rows, 0, 20)).explain(pick(rows, 30, 31), 0)
    assert (found.walks, found.rows) == (0, 12)
    theirs = enumerate_shapley(runtime, pick(rows, 30, 31), pick(rows, 0, 12), 0)
    np.testing.assert_allclose(found.contributions, theirs, atol=1e-12)


def test_result_of_so_many_rounds_does_not_depend_on_time() -> None:
    runtime, rows = build(*SAMPLED)
    explainer = Explainer(runtime, pick(rows, 0, 20))
    first, second = (explainer.explain(pick(rows, 30, 31), 1, budget, rounds=3) for budget in (0.0, 1.0))
    assert first.walks == second.walks == 2 * 3 * 20
    np.testing.assert_array_equal(first.contributions, second.contributions)


def test_date_is_one_player_though_the_model_reads_its_parts() -> None:
    contract = Contract((Feature("a", "float"), Feature("when", "datetime"), Feature("word", "string")), "y", "regression")
    numbers, texts = find_owners(contract)
    assert (numbers.tolist(), texts.tolist()) == ([0, 1, 1, 1, 1], [2])
