import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlops_project.contract import Contract, Feature
from mlops_project.wire.columns import Rules
from mlops_project.wire.problems import MAX_PROBLEMS, RowsError
from mlops_project.wire.rows import RowReader

STRICT = Rules(types="exact", extra="error", gaps="error", categories="known")
LENIENT = Rules()
GOOD = {"size": 1.0, "gap": 2, "count": 3, "flag": True, "colour": "red", "note": "a", "day": "1970-01-02T03:00:00"}


def read(contract, rules=LENIENT, **changes):
    return RowReader(contract, rules).read_records([GOOD | changes])


def problems(contract, rules=LENIENT, **changes) -> dict[str | None, str]:
    with pytest.raises(RowsError) as caught:
        read(contract, rules, **changes)
    return {problem.column: problem.message for problem in caught.value.problems}


def test_good_row_becomes_the_models_two_arrays(mixed):
    rows = read(mixed)
    np.testing.assert_array_equal(rows.numbers, [[1, 2, 3, 1, 97200, 1, 4, 3]])
    assert rows.texts.tolist() == [["red", "a"]]


def test_rows_and_records_and_columns_give_the_same(mixed):
    reader = RowReader(mixed, Rules())
    records = [GOOD, GOOD | {"size": 7.5, "note": None}]
    by_record = reader.read_records(records)
    by_row = reader.read_rows(list(GOOD), [list(row.values()) for row in records])
    by_column = reader.read_columns({name: [row[name] for row in records] for name in GOOD})
    for other in (by_row, by_column):
        np.testing.assert_array_equal(other.numbers, by_record.numbers)
        assert other.texts.tolist() == by_record.texts.tolist()


@given(
    st.lists(st.lists(st.floats(-1e30, 1e30) | st.integers(-(2**50), 2**50), min_size=2, max_size=2), min_size=1, max_size=5)
)
def test_quick_way_and_careful_way_agree(rows):
    contract = Contract((Feature("a", "float"), Feature("b", "float")), "y", "regression")
    reader = RowReader(contract, Rules())
    quick = reader.read_rows(["a", "b"], rows)
    careful = reader.read_columns({"a": [row[0] for row in rows], "b": [row[1] for row in rows]})
    np.testing.assert_array_equal(quick.numbers, careful.numbers)


VALUES = (
    st.none()
    | st.floats(-1e30, 1e30)
    | st.integers(-9, 9)
    | st.booleans()
    | st.sampled_from(["", "a", "red", "2", "nan", "1", "0.0", "15.0", "1.5", "1_0", " 7 ", "1e3"])
)


@pytest.mark.parametrize("rules", [Rules(), Rules(missing="impute"), Rules(coercion="mlflow"), STRICT])
@given(rows=st.lists(st.lists(VALUES, min_size=6, max_size=6), min_size=1, max_size=4))
@example(rows=[[1.0, 1.0, 1, "0.0", "a", ""]])  # MLflow takes a text for true
@example(rows=[[None, None, 0.0, None, None, ""]])  # MLflow reads a missing boolean as false
def test_quick_way_accepts_only_what_the_careful_way_does(rules, rows):
    features = (
        Feature("f", "float", default=1.0),
        Feature("g", "float", nullable=True),
        Feature("i", "integer", default=2),
        Feature("b", "boolean", nullable=True),
        Feature("c", "category", categories=("a", "red"), default="a"),
        Feature("s", "string", nullable=True),
    )
    reader = RowReader(Contract(features, "y", "regression"), rules)
    quick = reader.read_quickly(rows)
    if quick is not None:
        careful = reader.read_columns(dict(zip(reader.names, map(list, zip(*rows, strict=True)), strict=True)))
        np.testing.assert_array_equal(quick.numbers, careful.numbers)
        assert quick.texts.tolist() == careful.texts.tolist()


@pytest.mark.parametrize("rules", [Rules(), STRICT], ids=["convertible", "exact"])
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("size", [1], "expected a number, got a list"),
        ("size", math.inf, "is not finite"),
        ("size", 1e300, "is too large"),
        ("size", 10**400, "is too large"),
        ("count", 1.5, "expected a whole number"),
        ("count", None, "a value is missing"),
        ("count", 2**60, "is too large"),
        ("flag", 2, "expected true or false"),
        ("flag", "true", "expected true or false, got text"),
        ("flag", None, "a value is missing"),
        ("colour", ["red"], "expected text, got a list"),
        ("day", "yesterday", "expected a date such as"),
        ("day", True, "expected a date such as"),
        ("day", "0001-01-01T00:00:00+14:00", "is too far away"),
    ],
)
def test_value_of_another_kind_is_reported_by_column_and_row(mixed, rules, column, value, expected):
    assert expected in problems(mixed, rules, **{column: value})[column]


@pytest.mark.parametrize(
    ("column", "value", "position", "expected"),
    [
        ("size", "1.5", 0, 1.5),
        ("size", True, 0, 1.0),
        ("size", None, 0, np.nan),
        ("count", "4", 2, 4.0),
        ("count", 4.0, 2, 4.0),
        ("flag", 0, 3, 0.0),
        ("day", 1_700_000_000_000_000_000, 4, 1.7e9),
        ("day", "1970-01-02T01:00:00+01:00", 4, 86400.0),
        ("day", "", 4, np.nan),
    ],
)
def test_what_loses_nothing_is_converted(mixed, column, value, position, expected):
    np.testing.assert_equal(read(mixed, **{column: value}).numbers[0, position], expected)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("size", "1.5", "expected a number, got text"),
        ("size", True, "expected a number, got true or false"),
        ("size", None, "a value is missing, and the model knows no missing ones here"),
        ("flag", 1, "expected true or false, got a number"),
        ("colour", 5, "expected text, got a number"),
        ("colour", "gren", "is not one of 'red', 'green'; did you mean 'green'?"),
        ("day", 5, "expected a date such as"),
    ],
)
def test_exact_types_convert_nothing(mixed, column, value, expected):
    assert expected in problems(mixed, STRICT, **{column: value})[column]


def test_unknown_category_goes_to_the_model_unless_only_known_ones_may(mixed):
    assert read(mixed, colour="violet").texts[0, 0] == "violet"
    assert "is not one of" in problems(mixed, STRICT, colour="violet")["colour"]


def test_number_in_a_text_column_is_its_text_as_in_the_pipeline(mixed):
    assert read(mixed, note=5).texts[0, 1] == "5"
    assert read(mixed, note=1.0).texts[0, 1] == "1.0"


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [("count", 1.9, 1.0), ("count", -1.9, -1.0), ("count", 1e300, -(2.0**63)), ("flag", "false", 1.0), ("flag", "", 0.0)],
)
def test_mlflows_coercion_loses_what_mlflow_loses(mixed, column, value, expected):
    numbers = read(mixed, Rules(coercion="mlflow"), **{column: value}).numbers
    assert numbers[0, 2 if column == "count" else 3] == expected


def test_every_problem_is_reported_at_once(mixed):
    found = problems(mixed, STRICT, size="x", colour="blue", extra=1)
    assert set(found) == {"size", "colour", "extra"}


def test_missing_column_is_named_with_the_one_that_was_meant(mixed):
    row = {("colr" if name == "colour" else name): value for name, value in GOOD.items()}
    with pytest.raises(RowsError, match="column 'colour': is missing; is it the one you call 'colr'"):
        RowReader(mixed, Rules()).read_records([row])


def test_many_missing_columns_are_one_problem():
    contract = Contract(tuple(Feature(f"c{index}", "float") for index in range(100)), "y", "regression")
    with pytest.raises(RowsError, match=r"99 of 100 columns are missing: 'c1', .* and 79 more") as caught:
        RowReader(contract, Rules()).read_records([{"c0": 1}])
    assert len(caught.value.problems) == 1


def test_problems_and_rows_are_bounded():
    contract = Contract(tuple(Feature(f"c{index}", "float") for index in range(100)), "y", "regression")
    with pytest.raises(RowsError) as caught:
        RowReader(contract, Rules()).read_records([{f"c{index}": "x" for index in range(100)} for _ in range(50)])
    assert len(caught.value.problems) == MAX_PROBLEMS
    assert caught.value.n_problems == 100
    assert caught.value.problems[0].rows == (1, 2, 3, 4, 5)
    assert caught.value.problems[0].count == 50
    assert "rows 1, 2, 3, 4, 5 and 45 more" in str(caught.value)


def test_messages_do_not_repeat_values(mixed):
    with pytest.raises(RowsError) as caught:
        read(mixed, STRICT, size="hunter2", colour="hunter2", day="hunter2")
    assert "hunter2" not in str(caught.value)


def test_names_of_unknown_columns_are_cut_and_made_printable(mixed):
    long = "x" * 1000 + "\n"
    (name,) = problems(mixed, STRICT, **{long: 1})
    assert len(name) == 64
    (name,) = problems(mixed, STRICT, **{"a\nb": 1})
    assert name == "a?b"


def test_absent_columns_and_gaps_are_imputed_where_asked_for(mixed):
    rows = RowReader(mixed, Rules(missing="impute")).read_records([{"size": None, "gap": None}])
    np.testing.assert_array_equal(rows.numbers[0, [0, 2, 3]], [1.5, 3.0, 1.0])
    assert np.isnan(rows.numbers[0, 1])  # the model knows gaps here
    assert rows.texts.tolist() == [["red", ""]]
    assert rows.numbers[0, 4] == 1767225600.0


def test_rows_of_different_lengths_are_an_error_except_for_mlflow(numeric):
    rows = [[1, 2], [3]]
    with pytest.raises(RowsError, match="row 2: expected a list of 2 values"):
        RowReader(numeric, Rules()).read_rows(["a", "b"], rows)
    padded = RowReader(numeric, Rules(coercion="mlflow")).read_rows(["a", "b"], rows)
    np.testing.assert_array_equal(padded.numbers, [[1, 2], [3, np.nan]])


def test_column_that_stands_there_twice_is_an_error(numeric):
    with pytest.raises(RowsError, match="column 'a': stands there twice"):
        RowReader(numeric, Rules()).read_rows(["a", "b", "a"], [[1, 2, 3]])


def test_no_row_is_an_error(numeric):
    for call in (lambda reader: reader.read_rows(["a", "b"], []), lambda reader: reader.read_columns({"a": [], "b": []})):
        with pytest.raises(RowsError, match="there is no row"):
            call(RowReader(numeric, Rules()))
