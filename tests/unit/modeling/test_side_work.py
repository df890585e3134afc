import pandas as pd

from mlops_project.errors import DataError
from mlops_project.modeling.side_work import SideWork, name_huge_columns


def fail(error):
    raise error


def test_work_that_succeeds_leaves_no_note():
    side = SideWork()
    assert side.attempt("the importance was", lambda: 3, without="so none is shown") == 3
    assert side.notes == []


def test_work_that_fails_is_none_and_the_note_says_what_is_missing_and_why():
    side = SideWork()
    assert side.attempt("the importance was", lambda: fail(ZeroDivisionError("by zero")), without="none is shown") is None
    assert side.attempt("the plots were", lambda: fail(DataError("row 3 is odd")), without="none is shown") is None
    assert side.notes == [
        "the importance was left out, none is shown; ZeroDivisionError: by zero",
        "the plots were left out, none is shown; row 3 is odd",
    ]


def test_huge_numbers_are_named_by_column_and_by_row_of_the_table():
    frame = pd.DataFrame({"a": [1.0, 2e300, -3e200], "b": ["x", "y", "z"], "c": [1, 2, 3]}, index=[5, 40, 7])
    assert name_huge_columns(frame) == "column 'a' holds 2e+300 in row 41 and 1 more"
    assert name_huge_columns(frame[["b", "c"]]) == ""
    side = SideWork()
    side.attempt("the error model was", lambda: fail(ValueError("overflow")), frame, without="no estimate")
    assert side.notes[0].endswith("column 'a' holds 2e+300 in row 41 and 1 more: mend them, or leave them empty")
