"""Values are read by a column's rules in every way that rows are read."""

import time

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature, Reading
from mlops_project.wire.columns import Rules
from mlops_project.wire.reading import ColumnReading, UnreadableError
from mlops_project.wire.rows import RowReader

FEATURES = (
    Feature("clock", "float", nullable=True, reading=Reading(is_written=True, formats=("%H%M",))),
    Feature("flag", "boolean", nullable=True, reading=Reading(missing=("0", "-999"))),
    Feature("day", "datetime", nullable=True, reading=Reading(missing=("-999",))),
    Feature("code", "category", nullable=True, categories=("a",), reading=Reading(missing=("-999",))),
)


@pytest.mark.parametrize("text", ["(" + " " * 3000 + "x", "1" + " " * 3000 + "x", "-" + " " * 3000 + "$ x"])
def test_runs_of_blanks_in_a_text_take_no_time(text):
    reading = ColumnReading(Reading(is_written=True, currency="$", thousands=","), "float")
    started = time.process_time()
    with pytest.raises(UnreadableError):
        reading.read_number(text)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("names", [("clock", "flag"), ("clock", "flag", "day", "code")])  # the quick way, and the careful one
def test_rules_hold_in_the_quick_way_and_in_the_careful_one(names):
    contract = Contract(tuple(feature for feature in FEATURES if feature.name in names), "y", "regression")
    rows = [["1030", False, None, "a"], [1.0, -999, -999, -999], [None, True, "-999", 10**400]]
    read = RowReader(contract, Rules()).read_rows(list(names), [row[: len(names)] for row in rows])
    np.testing.assert_array_equal(read.numbers[:, :2], [[10.5, 0], [1, np.nan], [np.nan, 1]])
    assert np.isnan(read.numbers[:, 2:]).all()  # -999 is a mark among dates as well
    assert len(names) == 2 or read.texts.ravel().tolist() == ["a", "", str(10**400)]
