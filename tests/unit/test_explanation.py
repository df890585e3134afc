import itertools
import math

import numpy as np
import pytest

from mlops_project.contract import DATETIME_PARTS, Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.explanation import compute_curve, explain_encoded, explain_row, list_values
from mlops_project.runtime import Predictions, encode

CONTRACT = Contract(
    (
        Feature("a", "float", minimum=0.0, maximum=10.0),
        Feature("when", "datetime", minimum=0.0, maximum=86400.0 * 30),
        Feature("word", "category", categories=("x", "y", "z")),
        Feature("b", "integer", minimum=0, maximum=5),
    ),
    "y",
    "regression",
)
ROW = {"a": 3.0, "when": "1970-01-20T00:00:00", "word": "y", "b": 4}


class Formula:
    """A runtime whose answer is a formula of the encoded columns: its Shapley values can be enumerated."""

    def __init__(self, answer, contract: Contract = CONTRACT) -> None:
        self.contract, self._answer, self.rows = contract, answer, 0

    def run(self, numbers, texts) -> Predictions:
        self.rows += len(numbers)
        return Predictions(values=self._answer(numbers, texts))

    def read_model(self) -> None:
        """It has no ONNX model, so its answers are sampled."""

    def predict(self, columns) -> Predictions:
        return self.run(*encode(columns, self.contract))


def interacting(numbers, texts):
    days = numbers[:, 1] / 86400
    return numbers[:, 0] * numbers[:, -1] + days * (texts[:, 0] == "y") + numbers[:, 2] * numbers[:, 0]


@pytest.fixture
def background(rng):
    return {
        "a": rng.random(20) * 10,
        "when": rng.integers(0, 86400 * 30, 20).astype("datetime64[s]"),
        "word": rng.choice(["x", "y", "z"], 20).astype(object),
        "b": rng.integers(0, 6, 20),
    }


def enumerate_shapley(runtime, row, background) -> np.ndarray:
    """Shapley (1953), by the definition: over all sets of the other features."""
    names = runtime.contract.names
    n = len(names)

    def value(chosen) -> float:
        columns = {name: [row[name]] * 20 if name in chosen else background[name] for name in names}
        return float(runtime.predict(columns).values.mean())

    result = np.zeros(n)
    for index, name in enumerate(names):
        others = [other for other in names if other != name]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for chosen in itertools.combinations(others, size):
                result[index] += weight * (value({*chosen, name}) - value(chosen))
    return result


def test_contributions_are_the_shapley_values(background):
    runtime = Formula(interacting)
    found = explain_row(runtime, ROW, background, 0, budget_seconds=0.5)
    exact = enumerate_shapley(runtime, ROW, background)
    assert np.abs(found.contributions - exact).max() < max(0.02, 5 * found.errors.max())
    assert np.abs(exact).min() > 0.1


@pytest.mark.parametrize("budget", [0.0, 0.05])
def test_contributions_add_up_exactly_however_short_the_time(background, budget):
    runtime = Formula(interacting)
    found = explain_row(runtime, ROW, background, 0, budget_seconds=budget)
    assert found.base + found.contributions.sum() == pytest.approx(found.answer, abs=1e-9)
    assert found.answer == pytest.approx(float(runtime.predict({name: [value] for name, value in ROW.items()}).values[0]))


def test_linear_model_is_explained_without_error(background):
    model, own = Formula(lambda numbers, _: 2 * numbers[:, 0] - numbers[:, -1]), {name: [value] for name, value in ROW.items()}
    found = explain_encoded(model, encode(own, CONTRACT), encode(background, CONTRACT), 0, rounds=3)
    expected = [2 * (3.0 - background["a"].mean()), 0.0, 0.0, -(4 - background["b"].mean())]
    np.testing.assert_allclose(found.contributions, expected, atol=1e-12)
    np.testing.assert_allclose(found.errors, 0.0, atol=1e-12)


def test_feature_that_the_model_ignores_contributes_nothing(background):
    found = explain_row(Formula(lambda numbers, _: numbers[:, 0] ** 2), ROW, background, 0, 0.02)
    np.testing.assert_allclose(found.contributions[1:], 0.0, atol=1e-9)


def test_date_is_one_feature_though_the_model_reads_its_parts(background):
    month = CONTRACT.number_columns.index(f"when.{DATETIME_PARTS[1]}")
    hour = CONTRACT.number_columns.index(f"when.{DATETIME_PARTS[3]}")
    found = explain_row(Formula(lambda numbers, _: numbers[:, month] * 3 + numbers[:, hour]), ROW, background, 0, 0.02)
    assert np.flatnonzero(np.abs(found.contributions) > 1e-9).tolist() == [1]


def test_slow_and_wide_model_gets_fewer_reference_rows():
    import time

    contract = Contract(tuple(Feature(f"c{index}", "float") for index in range(200)), "y", "regression")
    background = {name: np.arange(100.0) for name in contract.names}

    def slow(numbers, _texts):
        time.sleep(len(numbers) * 1e-5)
        return numbers.sum(axis=1)

    started = time.perf_counter()
    found = explain_row(Formula(slow, contract), dict.fromkeys(contract.names, 1.0), background, 0, 0.1)
    assert time.perf_counter() - started < 1.0
    assert 10 <= found.rows < 100


def test_row_that_does_not_fit_is_refused(background):
    with pytest.raises(ContractError, match="'a'"):
        explain_row(Formula(interacting), ROW | {"a": "three"}, background, 0)


def test_curve_holds_everything_else(background):
    values, predictions = compute_curve(Formula(interacting), ROW, "word")
    assert values == ["x", "y", "z"]
    alone = [Formula(interacting).predict({key: [item] for key, item in (ROW | {"word": word}).items()}) for word in values]
    np.testing.assert_array_equal(predictions.values, [item.values[0] for item in alone])


@pytest.mark.parametrize(
    ("feature", "current", "expected"),
    [
        (Feature("f", "boolean"), True, [False, True]),
        (Feature("f", "integer", minimum=0, maximum=3), 5, [0, 1, 2, 3, 4, 5]),
        (Feature("f", "category", categories=("x", "y")), None, ["x", "y", None]),
        (Feature("f", "category", nullable=True, categories=("x", "y")), "x", ["x", "y", None]),
        (Feature("f", "string", categories=("x", "y")), "new", ["x", "y", "new"]),
        (Feature("f", "float"), 2.0, [2.0]),
    ],
)
def test_values_to_try_are_the_features(feature, current, expected):
    assert list_values(feature, current) == expected


def test_values_of_a_number_span_the_training_range_and_the_current_value():
    values = list_values(Feature("f", "float", minimum=0.0, maximum=1.0), 3.0)
    assert (values[0], values[-1]) == (0.0, 3.0)
    assert values == sorted(set(values))


def test_values_of_a_wide_integer_are_whole():
    values = list_values(Feature("f", "integer", minimum=0, maximum=10_000), 77)
    assert all(type(value) is int for value in values)
    assert 77 in values
