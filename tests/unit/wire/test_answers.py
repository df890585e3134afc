"""What was answered is read back exactly from what each protocol wrote."""

import json

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.runtime import Predictions
from mlops_project.wire.answers import Answers
from mlops_project.wire.columns import Rules
from mlops_project.wire.mlflow import ScoringProtocol
from mlops_project.wire.native import NativeProtocol
from mlops_project.wire.open_inference import InferenceProtocol, InferenceRequest

FEATURES = (Feature("a", "float"),)
CLASSES = {"words": ("no", "Köln", '"}'), "numbers": (0, 1, 7), "booleans": (False, True), "floats": (0.5, 2.0)}
ODD = 0.1 + 0.2


def make_contract(classes) -> Contract:
    return Contract(FEATURES, "y", "binary" if len(classes) == 2 else "multiclass", classes, tuple(map(str, classes)))


def make_predictions(classes, n_rows: int) -> Predictions:
    shares = np.random.default_rng(n_rows).dirichlet(np.ones(len(classes)), n_rows)
    return Predictions(np.arange(n_rows) % len(classes), shares)


@pytest.fixture(params=CLASSES)
def classes(request):
    return CLASSES[request.param]


@pytest.fixture
def regression() -> Contract:
    return Contract(FEATURES, "y", "regression")


@pytest.mark.parametrize("n_rows", [1, 5])
def test_labels_of_the_scoring_protocol(classes, n_rows):
    protocol, said = ScoringProtocol(make_contract(classes), Rules()), make_predictions(classes, n_rows)
    assert protocol.read_answers(protocol.write(said)) == Answers(said.indices.tolist())


def test_probabilities_of_the_scoring_protocol_whatever_is_written_today(classes):
    contract, said = make_contract(classes), make_predictions(classes, 4)
    body = ScoringProtocol(contract, Rules(), "predict_proba").write(said)
    assert ScoringProtocol(contract, Rules()).read_answers(body) == Answers(probabilities=said.probabilities.tolist())


@pytest.mark.parametrize("n_rows", [1, 5])
def test_everything_of_the_typed_protocol(classes, n_rows):
    protocol, said = NativeProtocol(make_contract(classes), Rules()), make_predictions(classes, n_rows)
    expected = Answers(said.indices.tolist(), said.probabilities.tolist())
    assert protocol.read_answers(protocol.write(said, "m", "1", "id")) == expected


@pytest.mark.parametrize("binary", [(False, False), (True, True), (False, True), (True, False)])
def test_tensors_as_json_and_binary(classes, binary):
    protocol, said = InferenceProtocol(make_contract(classes), Rules()), make_predictions(classes, 5)
    wanted = tuple(zip(("label", "probabilities"), binary, strict=True))
    body, _ = protocol.write(said, InferenceRequest(None, "ü", wanted), "m", "1")
    assert protocol.read_answers(body) == Answers(said.indices.tolist(), said.probabilities.tolist())


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", ["label", "probabilities"])
def test_only_the_tensors_that_were_asked_for(classes, name, binary):
    protocol, said = InferenceProtocol(make_contract(classes), Rules()), make_predictions(classes, 3)
    body, _ = protocol.write(said, InferenceRequest(None, None, ((name, binary),)), "m", "1")
    whole = Answers(said.indices.tolist(), said.probabilities.tolist())
    expected = whole._replace(probabilities=None) if name == "label" else whole._replace(indices=None)
    assert protocol.read_answers(body) == expected


def test_values(regression):
    said = Predictions(values=np.array([ODD, -0.0, 1e300]))
    scoring, native, tensors = (kind(regression, Rules()) for kind in (ScoringProtocol, NativeProtocol, InferenceProtocol))
    bodies = [scoring.write(said), native.write(said, "m", "1", "id")]
    for protocol, body in zip((scoring, native), bodies, strict=True):
        assert protocol.read_answers(body) == Answers(values=said.values.tolist())
    for binary in (True, False):
        body, _ = tensors.write(said, InferenceRequest(None, None, (("value", binary),)), "m", "1")
        assert tensors.read_answers(body) == Answers(values=said.values.tolist())


NO_ANSWERS = (
    b"",
    b"{",
    b"5",
    b"[]",
    b"\xff\xfe",
    b"[" * 5000,
    b'{"predictions": 5}',
    b'{"predictions": ["other"]}',
    b'{"predictions": [{}]}',
    b'{"predictions": [[0.5]]}',
    b'{"predictions": [true]}',
    b'{"predictions": [1.0]}',
    b'{"predictions": [{"label": "no", "probabilities": {"no": 1}}]}',
    b'{"outputs": 5}',
    b'{"outputs": []}',
    b'{"outputs": [{"name": "label"}]}',
    b'{"outputs": [{"name": "label", "shape": [1], "datatype": "BYTES", "data": ["other"]}]}',
)


@pytest.mark.parametrize("body", NO_ANSWERS)
def test_what_is_no_answer_of_this_model_is_none(body):
    contract = make_contract(CLASSES["words"])
    for protocol in (ScoringProtocol, NativeProtocol, InferenceProtocol):
        assert protocol(contract, Rules()).read_answers(body) is None


def test_classes_that_python_takes_for_equal_are_told_apart():
    protocol = ScoringProtocol(make_contract(("1", 1)), Rules())
    assert protocol.read_answers(json.dumps({"predictions": [1, "1"]}).encode()) == Answers([1, 0])
    assert ScoringProtocol(make_contract((0, 1)), Rules()).read_answers(b'{"predictions": [true, false]}') is None


def test_number_of_rows_is_that_of_every_part():
    assert Answers([1], [[0.5, 0.5]]).n_rows == 1
    assert Answers([1, 0], [[0.5, 0.5]]).n_rows == -1
    assert Answers().n_rows == -1
