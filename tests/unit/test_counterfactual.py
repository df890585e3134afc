"""The least change that turns an answer: valid, within training's range, and no larger than it must be."""

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.counterfactual import MAX_CHANGES, Bounds, find_counterfactual
from mlops_project.runtime import Predictions, encode

SPREAD = tuple(np.linspace(0.0, 10.0, 11))
CONTRACT = Contract(
    (
        Feature("a", "float", minimum=0.0, maximum=10.0, quantiles=SPREAD),
        Feature("b", "integer", minimum=0, maximum=10, quantiles=SPREAD),
        Feature("c", "category", categories=("x", "y", "z")),
        Feature("when", "datetime", minimum=0.0, maximum=86400.0 * 100, quantiles=tuple(np.linspace(0, 86400 * 100, 11))),
    ),
    "y",
    "multiclass",
    ("low", "middle", "high"),
    ("low", "middle", "high"),
)
ROW = {"a": 1.0, "b": 1, "c": "x", "when": "1970-01-10T00:00:00"}


class Sum:
    """Answers by ``a + b``, three more where ``c`` is z, and days over 90: low under 5, high from 15 on."""

    contract = CONTRACT

    def run(self, numbers, texts) -> Predictions:
        total = numbers[:, 0] + numbers[:, 1] + 3.0 * (texts[:, 0] == "z") + 9.0 * (numbers[:, 2] > 90 * 86400)
        shares = np.exp(-np.abs(total[:, None] - [2.0, 10.0, 20.0]))
        shares /= shares.sum(axis=1, keepdims=True)
        return Predictions(np.digitize(total, [5.0, 15.0]), shares)


def answer(changes) -> int:
    row = ROW | changes
    return int(Sum().run(*encode({name: [value] for name, value in row.items()}, CONTRACT)).indices[0])


def test_least_change_of_one_column_turns_the_answer() -> None:
    found = find_counterfactual(Sum(), ROW)
    assert found is not None
    assert found.index == answer(found.changes) == 1
    ((name, value),) = found.changes.items()  # the category takes a whole step, three are too few
    assert name in ("a", "b")
    assert 4.0 <= value < 4.3


def test_several_columns_change_where_one_is_not_enough_and_none_that_is_not_needed() -> None:
    found = find_counterfactual(Sum(), ROW, wanted=2, fixed=["when"])
    assert found is not None
    assert answer(found.changes) == 2
    assert "when" not in found.changes
    assert 2 <= len(found.changes) <= MAX_CHANGES
    for name in found.changes:
        assert answer({other: value for other, value in found.changes.items() if other != name}) != 2


def test_fixed_columns_stay_and_what_cannot_be_is_said() -> None:
    assert find_counterfactual(Sum(), ROW, wanted=2, fixed=["a", "b", "c"]) is None
    assert find_counterfactual(Sum(), ROW, fixed=CONTRACT.names) is None
    found = find_counterfactual(Sum(), ROW, wanted=1, fixed=["a", "b", "c"])
    assert found is not None
    assert found.changes["when"] > "1970-03-31"


def test_class_that_is_answered_needs_no_change() -> None:
    found = find_counterfactual(Sum(), ROW, wanted=0)
    assert found is not None
    assert found.changes == {}


@pytest.mark.parametrize(
    ("bounds", "reached"),
    [(Bounds(at_least=4.0), 4.0), (Bounds(at_most=0.5), 0.5), (Bounds(6.0, 6.5), 6.25), (Bounds(at_least=17.0), 17.0)],
    ids=["more", "less", "between", "several columns"],
)
def test_number_is_brought_between_bounds_and_not_much_farther(bounds, reached) -> None:
    class Number:
        contract = Contract(CONTRACT.features, "y", "regression")

        def run(self, numbers, texts) -> Predictions:
            return Predictions(values=numbers[:, 0] + numbers[:, 1])

    found = find_counterfactual(Number(), ROW, bounds)
    assert found is not None
    row = ROW | found.changes
    assert found.value == row["a"] + row["b"]
    assert bounds.at_least <= found.value <= bounds.at_most
    assert abs(found.value - reached) <= 1.0
    assert find_counterfactual(Number(), ROW, Bounds(at_least=21.0)) is None
    assert find_counterfactual(Number(), ROW, Bounds(at_least=2.0)).changes == {}


@pytest.mark.parametrize("row", [ROW | {"a": None, "b": None}, ROW | {"a": 50.0}], ids=["gaps", "outside"])
def test_changes_stay_within_what_training_had(row) -> None:
    class Filled(Sum):
        def run(self, numbers, texts) -> Predictions:
            return super().run(np.nan_to_num(numbers), texts)

    wanted = 2 if row["a"] is None else 0
    found = find_counterfactual(Filled(), row, wanted)
    assert found is not None
    for name in ("a", "b"):
        assert 0 <= found.changes.get(name, 0) <= 10
