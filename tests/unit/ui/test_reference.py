import numpy as np
import pytest

from mlops_project.contract import QUANTILE_LEVELS, Contract, Feature
from mlops_project.runtime import encode
from mlops_project.ui.reference import Reference, draw_reference, take_row, to_plain

LEVELS = len(QUANTILE_LEVELS)
CONTRACT = Contract(
    (
        Feature("x", "float", minimum=0.0, maximum=1.0, quantiles=tuple(np.linspace(0, 1, LEVELS))),
        Feature("n", "integer", minimum=0, maximum=9, quantiles=tuple(np.linspace(0, 9, LEVELS))),
        Feature("on", "boolean", minimum=0, maximum=1, quantiles=(0.0,) * 6 + (1.0,) * 5),
        Feature("word", "category", categories=("a", "b")),
        Feature("when", "datetime", minimum=0.0, maximum=1e6, quantiles=tuple(np.linspace(0, 1e6, LEVELS))),
    ),
    "y",
    "regression",
)


def test_drawn_rows_fit_the_contract_and_stay_in_its_ranges():
    reference = draw_reference(CONTRACT)
    numbers, texts = encode(reference.columns, CONTRACT)
    assert reference.drawn
    assert len(reference) == len(numbers) == len(texts)
    assert not np.isnan(numbers).any()
    assert numbers[:, 0].min() >= 0
    assert numbers[:, 0].max() <= 1
    assert set(numbers[:, 2]) == {0.0, 1.0}
    assert set(texts[:, 0]) == {"a", "b"}


def test_row_of_a_form_has_plain_values():
    row = take_row(draw_reference(CONTRACT), 0, CONTRACT)
    assert [type(row[name]) for name in CONTRACT.names] == [float, int, bool, str, str]
    encode({name: [value] for name, value in row.items()}, CONTRACT)


@pytest.mark.parametrize(
    ("value", "name"), [(np.nan, "x"), (None, "word"), (np.datetime64("NaT"), "when"), (float("nan"), "n")]
)
def test_missing_values_are_none(value, name):
    assert to_plain(value, CONTRACT.feature(name)) is None


def test_length_is_the_columns():
    assert len(Reference({"x": np.zeros(7)}, None, drawn=False)) == 7
