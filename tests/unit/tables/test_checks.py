import numpy as np
import pandas as pd
import pytest

from mlops_project.tables import checks
from mlops_project.tables.table import hash_column

N = 60


def columns(**values) -> dict[str, pd.Series]:
    return {name: pd.Series(column, name=name) for name, column in values.items()}


def unusable(**values) -> dict[str, tuple[str, str]]:
    features = columns(**values)
    found = checks.find_unusable(features, {name: hash_column(column) for name, column in features.items()})
    return {name: (finding.code, finding.seen.removeprefix(f"column {name!r} ")) for name, finding in found.items()}


def leaks(features, target, task) -> list[str]:
    return [finding.columns[0] for finding in checks.find_leaks(features, target, task)]


def test_columns_without_information_are_found_with_the_reason(rng):
    noise = rng.random(N)
    found = unusable(a=noise, empty=[np.nan] * N, same=["x"] * N, zero=[0] * N, copy=noise, other=noise + 1)
    assert found == {
        "empty": ("no-values", f"has no values in any of {N} rows"),
        "same": ("constant", f"is 'x' in all {N} rows"),
        "zero": ("constant", f"is '0' in all {N} rows"),
        "copy": ("copy-of-column", "is a copy of 'a'"),
    }


def test_column_with_one_value_and_gaps_is_kept_for_the_gaps_may_mean_something():
    assert unusable(a=[1.0, np.nan] * 30) == {}


def test_infinite_values_are_counted_with_the_first_row():
    (found,) = checks.find_infinite(columns(a=[1.0, np.inf, -np.inf], b=[1.0, 2.0, np.nan], c=["inf", "x", "y"]))
    assert (found.code, found.seen) == ("infinite-values", "column 'a' has 2 infinite values, the first in row 2")


@pytest.mark.parametrize(
    "leak",
    [
        ["no", "yes"] * 30,
        [0.0, 1.0] * 30,
        [7, 3] * 30,
        [True, False] * 30,
        [*["no", "yes"] * 28, None, None, None, None],
    ],
    ids=["same", "numbers", "other numbers", "inverse", "with gaps"],
)
def test_renamed_classes_are_a_leak(leak):
    target = pd.Series([0, 1] * 30)
    assert leaks(columns(leak=leak), target, "binary") == ["leak"]


def test_almost_the_target_and_finer_columns_are_no_leak(rng):
    target = pd.Series([0, 1] * 30)
    near = [1, 1, *([0, 1] * 29)]
    finer = [f"{label}-{index}" for index, label in enumerate(target)]
    mostly_missing = [0.0, 1.0, *[np.nan] * 58]
    assert leaks(columns(near=near, finer=finer, gaps=mostly_missing, noise=rng.random(N)), target, "binary") == []


@pytest.mark.parametrize("factor", [1.0, -2.5, 1e6])
def test_number_in_another_unit_is_a_leak_of_a_regression(rng, factor):
    target = pd.Series(rng.normal(size=N))
    leak = target * factor + 3
    gaps = leak.mask(pd.Series(range(N)) % 7 == 0)
    assert leaks({"leak": leak, "gaps": gaps, "noisy": leak + factor * rng.normal(size=N)}, target, "regression") == [
        "leak",
        "gaps",
    ]


@pytest.mark.parametrize(
    ("name", "values", "kind", "expected"),
    [
        ("year", list(range(N)), "integer", None),
        ("sorted", sorted({7 * i + i % 3 for i in range(N)}), "integer", None),
        ("gaps", sorted({2 * i + i % 2 for i in range(N)}), "integer", "numbers the rows (60 different values)"),
        ("row", list(range(N)), "integer", "numbers the rows (60 different values)"),
        ("down", list(range(N, 0, -1)), "integer", "numbers the rows (60 different values)"),
        ("customer_id", [(7 * i) % 61 for i in range(N)], "integer", "numbers the rows (60 different values)"),
        ("customerId", [(7 * i) % 61 for i in range(N)], "integer", "numbers the rows (60 different values)"),
        ("count", [(7 * i) % 61 for i in range(N)], "integer", None),
        ("humid", [(7 * i) % 61 for i in range(N)], "integer", None),
        ("id", [1, 1, *range(N - 2)], "integer", None),
        ("big", [2**60 + i % 3 for i in range(N)], "integer", "has integers over 2**53"),
        ("name", [f"n{i}" for i in range(N)], "string", "has another text in almost every row (60 in 60)"),
        ("city", [f"n{i % 20}" for i in range(N)], "category", None),
        ("value", [float(i) for i in range(N)], "float", None),
    ],
)
def test_identifiers_are_told_from_quantities(name, values, kind, expected):
    found = [finding.seen for finding in checks.find_identifiers(columns(**{name: values}), {name: kind})]
    assert [text.startswith(f"column {name!r} {expected}") for text in found] == ([] if expected is None else [True])


def test_few_rows_have_no_identifiers():
    assert checks.find_identifiers(columns(id=list(range(20))), {"id": "integer"}) == []


def test_small_classes_are_named_with_their_rows():
    assert checks.find_small_classes(pd.Series(["a"] * 9 + ["b"] * 4 + ["c"])) == ["'b' (4)", "'c' (1)"]


def test_huge_values_are_counted_with_the_first_row_and_listed():
    features = columns(a=[1.0, 1e300, -1e300, 1e30], b=[1.0, np.inf, np.nan, 2.0])
    (found,) = checks.find_huge(features)
    assert (found.code, found.seen) == ("huge-values", "column 'a' has 2 values beyond 3.4e+38, the first in row 2: 1e+300")
    assert checks.list_huge(features["a"]) == ["1e+300", "-1e+300"]


def test_column_with_one_value_but_for_a_handful_is_noted(rng):
    found = checks.find_nearly_constant(columns(a=[0.0] * 597 + [1.0] * 3, b=[0] * 580 + [1] * 20, c=rng.random(600)))
    assert [(finding.code, finding.columns, finding.severity) for finding in found] == [("nearly-constant", ("a",), "note")]


def test_column_whose_numbers_differ_in_the_last_digits_alone_is_noted(rng):
    gauge = pd.Series(273.15 * (1 + 1e-14 * rng.integers(-3, 4, 200)))
    (found,) = checks.find_nearly_constant({"gauge": gauge, "small": pd.Series(rng.normal(0, 1e-12, 200))})
    assert (found.code, found.columns) == ("nearly-constant", ("gauge",))
    assert "but for the last digits" in found.seen
