"""Classes of too few rows: refused, merged or left out; and classes beyond a hundred."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.contract import Contract
from mlops_project.errors import DataError
from mlops_project.findings import Finding
from mlops_project.prediction_log.typed import to_truth
from mlops_project.sections import DataConfig
from mlops_project.tables.rare import settle_rare_classes
from mlops_project.tables.targets import prepare_target
from mlops_project.tables.types import convert_column


def settle(labels, **data):
    typed = convert_column(pd.Series(labels, name="y"), None, 100)
    return settle_rare_classes(typed, DataConfig(**data))


FEW = ["a"] * 20 + ["b"] * 10 + ["c"] * 4 + ["d"] * 2


def test_rare_classes_stay_as_they_are_unless_asked_for():
    settled = settle(FEW)
    assert settled.finding is None
    assert settled.typed.values.tolist() == FEW
    with pytest.raises(DataError, match=r"'c' \(4\), 'd' \(2\); set data.rare_classes: merge \(one class 'other'\) or drop$"):
        prepare_target(settled.typed, None)


def test_merged_classes_become_one_and_are_named():
    settled = settle(FEW, rare_classes="merge")
    assert settled.typed.values.tolist() == FEW[:30] + ["other"] * 6
    assert settled.merged == ("c", "d")
    assert settled.kept.all()
    assert isinstance(settled.finding, Finding)
    assert settled.finding.seen == "2 classes of 'y' have fewer than 5 rows, 6 in all: 'c' (4), 'd' (2)"


def test_dropped_classes_take_their_rows_along():
    settled = settle(FEW, rare_classes="drop")
    assert settled.typed.values.tolist() == FEW[:30]
    assert settled.kept.tolist() == [True] * 30 + [False] * 6
    assert settled.merged == ()
    assert "never answers" in settled.finding.why


def test_how_many_rows_a_class_needs_can_be_said():
    assert settle(FEW, rare_classes="merge", min_class_rows=11).merged == ("b", "c", "d")
    assert settle(FEW, rare_classes="drop", min_class_rows=11).typed.values.unique().tolist() == ["a"]


@pytest.mark.parametrize("rare_classes", ["merge", "drop"])
def test_amounts_and_classes_of_enough_rows_are_left_alone(rare_classes):
    amounts = list(np.arange(40) / 7)
    for labels, task in ((amounts, "auto"), ([1, 2, 3] * 3, "regression"), (["a", "b"] * 10, "auto")):
        settled = settle(labels, rare_classes=rare_classes, task=task)
        assert settled.finding is None
        assert settled.kept.all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["other"] * 9 + FEW, "has one already; rename it"),
        ([1] * 20 + [2] * 9 + [3] * 2 + [4] * 4, "labels of 'y' are of type integer; make them texts with data.types: {y: cat"),
        (["a"] * 20 + ["b"] * 10 + ["c"] * 3, "have 3 rows together, and a class needs 5"),
    ],
)
def test_classes_that_cannot_be_merged_are_refused_with_a_cure(labels, message):
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        settle(labels, rare_classes="merge")


def test_too_many_classes_are_refused_with_the_setting_that_leaves_few_enough():
    labels = [f"c{number}" for number in range(150) for _ in range(6 + number // 2)]
    typed = convert_column(pd.Series(labels, name="y"), None, 100)
    with pytest.raises(DataError, match=r"150 classes \(at most 100\).*merge \(one class 'other'\) or drop with") as caught:
        prepare_target(typed, None)
    least = int(str(caught.value).rpartition(": ")[2])
    settled = settle(labels, rare_classes="merge", min_class_rows=least)
    assert 90 < settled.typed.values.nunique() <= 100
    assert prepare_target(settled.typed, None)[1] == "multiclass"


def test_a_target_that_names_the_rows_is_refused_as_such():
    typed = convert_column(pd.Series([f"name {row}" for row in range(300)], name="y"), None, 100)
    with pytest.raises(DataError, match=r"set another data\.target: this column names the rows"):
        prepare_target(typed, None)


def test_labels_of_a_merged_class_are_read_as_the_class_it_went_into():
    contract = Contract((), "y", "multiclass", ("a", "b", "other"), ("A", "B", "Other"), merged=("c", "d"))
    labels = ['"a"', '"c"', '"other"', '"d"', '"e"', "1", None]
    assert to_truth(labels, contract).tolist() == [0, 2, 2, 2, -1, -1, -1]
    assert contract.find_class("c") == 2
    assert contract.find_class("e") is None
    assert Contract((), "y", "binary", (0, 1), ("0", "1")).find_class(True) is None
