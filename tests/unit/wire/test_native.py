import json

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.runtime import Predictions
from mlops_project.wire.columns import Rules
from mlops_project.wire.native import NativeProtocol

RULES = Rules(types="exact", extra="error", gaps="error", categories="known")


def test_one_object_or_a_list_of_them_are_read(numeric):
    protocol = NativeProtocol(numeric, RULES)
    np.testing.assert_array_equal(protocol.read(b'{"b": 2, "a": 1}').numbers, [[1, 2]])
    np.testing.assert_array_equal(protocol.read(b'[{"a": 1, "b": 2}, {"a": 3, "b": 4}]').numbers, [[1, 2], [3, 4]])


@pytest.mark.parametrize("body", [b"", b"5", b'"x"', b"[1]", b"[[1]]", b"[]", b'{"a": NaN, "b": 1}', b"null"])
def test_anything_else_is_refused(numeric, body):
    with pytest.raises(ContractError):
        NativeProtocol(numeric, RULES).read(body)


def test_answer_names_label_class_and_probabilities(numeric):
    predictions = Predictions(np.array([1]), np.array([[0.25, 0.75]]))
    body = json.loads(NativeProtocol(numeric, RULES).write(predictions, "m", "3", "id0"))
    answer = {"id": "id0", "label": 1, "class": "yes", "probabilities": {"no": 0.25, "yes": 0.75}}
    assert body == {"model": "m", "version": "3", "predictions": [answer]}


def test_rows_of_a_batch_have_ids_of_their_own():
    contract = Contract((Feature("a", "float"),), "y", "regression")
    body = json.loads(NativeProtocol(contract, RULES).write(Predictions(values=np.array([1.5, 2.5])), "m", "3", "id0"))
    assert body["predictions"] == [{"id": "id0.0", "value": 1.5}, {"id": "id0.1", "value": 2.5}]
