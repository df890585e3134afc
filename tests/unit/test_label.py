"""How the labels of a file are read."""

import pytest

from mlops_project.contract import Contract
from mlops_project.errors import ContractError
from mlops_project.label import _read_labels

MERGED = Contract((), "y", "multiclass", ("a", "b", "other"), ("First", "b", "The rest"), merged=("c", "Dd"))


def test_labels_are_read_by_value_by_name_and_as_the_class_that_rare_ones_went_into():
    assert _read_labels(["a", "First", "c", "Dd", "The rest"], MERGED, "y") == ["a", "a", "other", "other", "other"]
    with pytest.raises(ContractError, match="'e' is none of"):
        _read_labels(["e"], MERGED, "y")
