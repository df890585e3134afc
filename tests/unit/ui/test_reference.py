from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import REFERENCE_FILE
from mlops_project.contract import QUANTILE_LEVELS, Contract, Feature
from mlops_project.modeling.weights import note_weights
from mlops_project.runtime import encode
from mlops_project.ui.model.decisions import trace_thresholds
from mlops_project.ui.reference import Reference, draw_reference, read_reference, take_row, to_plain

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


def test_weights_of_the_kept_rows_count_in_what_a_threshold_comes_to(tmp_path):
    frame = pd.DataFrame({"x": [0.1, 0.4, 0.6, 0.9], "y": ["no", "yes", "no", "yes"]})
    note_weights(frame, np.array([2.0, 1.0, 4.0, 1.0]))
    frame.to_parquet(tmp_path / REFERENCE_FILE)
    contract = Contract((Feature("x", "float"),), "y", "binary", ("no", "yes"), ("no", "yes"))
    bundle = SimpleNamespace(contract=contract, path=tmp_path, metadata=SimpleNamespace(files={REFERENCE_FILE: ""}))
    reference = read_reference(bundle)
    assert reference.weights.tolist() == [1.0, 0.5, 2.0, 0.5]
    curves = trace_thresholds(frame["x"].to_numpy(), reference.truth, (1.0, 1.0), reference.weights)
    at = curves["cost"].loc[curves["cost"]["x"] == 0.4, "y"]
    assert at.tolist() == [pytest.approx((2.0 + 0.5) / 4)], "a wrong yes of weight 2 and a wrong no of 0.5"
