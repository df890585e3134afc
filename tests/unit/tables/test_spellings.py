import pandas as pd
import pytest

from mlops_project.tables.spellings import join_spellings

LABELS = pd.Series(["Yes"] * 5 + ["Yes "] * 2 + ["yes"] * 3 + ["No"] + [" No"] * 4 + ["Maybe"], name="left")


def test_spellings_become_the_most_frequent_one():
    values, finding = join_spellings(LABELS, {})
    assert values.value_counts().to_dict() == {"Yes": 10, "No": 5, "Maybe": 1}
    assert finding.code == "label-spellings"
    assert "'Yes' is written 'Yes' (5), 'yes' (3), 'Yes ' (2)" in finding.seen


def test_accepted_spellings_stay_apart():
    values, finding = join_spellings(LABELS, {"label-spellings": "genes: a is not A"})
    assert values.equals(LABELS)
    assert finding is not None


@pytest.mark.parametrize("values", [["a", "b", "ab"], [1, 2, 3], [True, False, True], [1.5, 2.0, 3.0]])
def test_other_targets_are_left_alone(values):
    column = pd.Series(values)
    same, finding = join_spellings(column, {})
    assert finding is None
    assert same.equals(column)


@pytest.mark.parametrize("key", ["label-spellings:other", "other-label-spellings"])
def test_reasons_for_something_else_do_not_count(key):
    assert join_spellings(LABELS, {key: "reason"})[0].nunique() == 3
