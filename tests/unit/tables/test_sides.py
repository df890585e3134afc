import numpy as np
import pandas as pd
import pytest

from mlops_project.tables.sides import compare_sides, find_constant_in_training


def test_sides_that_differ_are_named_the_most_different_first(rng):
    train = pd.DataFrame({"a": rng.normal(0, 1, 900), "b": rng.normal(0, 1, 900), "c": rng.choice(["x", "y"], 900)})
    test = pd.DataFrame({"a": rng.normal(3, 1, 300), "b": rng.normal(0, 1, 300), "c": ["y"] * 300})
    targets = pd.Series(rng.normal(size=900), name="y"), pd.Series(rng.normal(size=300), name="y")
    (found,) = compare_sides(train, test, targets)
    assert (found.code, found.columns) == ("drift-between-parts", ("a", "c"))
    assert compare_sides(train[["b"]], test[["b"]], targets) == []


def series(values):
    return pd.Series(np.asarray(values), name="y")


@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        (
            [0] * 800 + [1] * 200,
            [0] * 130 + [1] * 70,
            "20.0% of the training rows have 'y' '1', and 35.0% of the held-out ones",
        ),
        ([0] * 960 + [1] * 40, [0] * 270 + [1] * 30, "4.0% of the training rows have 'y' '1', and 10.0% of the held-out ones"),
        (["a", "b", "c"] * 300, ["a", "b"] * 100, "33.3% of the training rows have 'y' 'c', and 0.0% of the held-out ones"),
        (
            np.arange(900.0) % 100,
            np.arange(200.0) % 100 + 15,
            "'y' is 49.5 on the mean in the training rows, and 64.5 in the held-out ones",
        ),
    ],
    ids=["binary", "rare", "gone", "number"],
)
def test_target_that_changes_with_time_has_a_finding_of_its_own(before, after, seen):
    nothing = pd.DataFrame(index=range(0))
    (found,) = compare_sides(nothing, nothing.copy(), (series(before), series(after)), by_time=True)
    assert (found.code, found.columns, found.seen) == ("target-drift", ("y",), seen)


def test_target_that_stays_has_none(rng):
    nothing = pd.DataFrame(index=range(0))
    for kind in (rng.integers(0, 2, 1000), rng.normal(size=1000), rng.choice(["a", "b", "c"], 1000)):
        assert compare_sides(nothing, nothing.copy(), (series(kind[:800]), series(kind[800:])), by_time=True) == []


def test_column_that_is_constant_in_the_training_rows_alone_is_named():
    train = pd.DataFrame({"new": [0] * 90, "gone": [np.nan] * 90, "same": ["x"] * 90, "old": range(90)})
    test = pd.DataFrame({"new": [0, 1] * 10, "gone": [np.nan, 2.0] * 10, "same": ["x"] * 20, "old": [5] * 20})
    found = find_constant_in_training(train, test)
    assert (found.code, found.columns) == ("constant-in-training", ("new", "gone"))
    assert find_constant_in_training(train[["same", "old"]], test[["same", "old"]]) is None
