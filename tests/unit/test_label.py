"""How the labels of a file are read."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.contract import Contract
from mlops_project.errors import ContractError
from mlops_project.label import ID_COLUMN, _find_ids, _read_labels

MERGED = Contract((), "y", "multiclass", ("a", "b", "other"), ("First", "b", "The rest"), merged=("c", "Dd"))


def test_labels_are_read_by_value_by_name_and_as_the_class_that_rare_ones_went_into():
    assert _read_labels(["a", "First", "c", "Dd", "The rest"], MERGED, "y") == ["a", "a", "other", "other", "other"]
    with pytest.raises(ContractError, match="'e' is none of"):
        _read_labels(["e"], MERGED, "y")


@pytest.mark.parametrize("value", [np.inf, "-inf", "nan", "much"])
def test_number_that_is_none_is_refused(value):
    with pytest.raises(ContractError, match=r"column 'y', label 2: expected a finite number"):
        _read_labels([1.5, value], Contract((), "y", "regression"), "y")


def test_keys_find_their_predictions_whatever_gaps_do_to_their_type(tmp_path):
    scored = pd.DataFrame({"customer": [7.0, None, 8.0], ID_COLUMN: ["a", "b", "c"]})
    scored.to_parquet(tmp_path / "scored.parquet")
    keys = pd.Series([8, 7, None], dtype="Int64")
    found = _find_ids(keys, str(tmp_path / "scored.parquet"), "customer")
    assert found[:2].tolist() == ["c", "a"]
    assert found[2:].isna().all()  # no row's key is that it has none
