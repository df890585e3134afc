"""How sure the model is, in the protocols: asked for, answered, and read back from the log."""

import json

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.runtime import Predictions
from mlops_project.sections import ServingConfig
from mlops_project.uncertainty import Checked, Intervals, Reach, Sets, Uncertainty
from mlops_project.wire import open_inference_pb2 as pb
from mlops_project.wire.messages import read_infer
from mlops_project.wire.protocols import Protocols, build_protocols

CLASSES = Contract((Feature("x", "float"),), "y", "multiclass", (7, 8, 9), ("low", "middle", "high"))
NUMBER = Contract((Feature("x", "float"),), "y", "regression")
REACH = Reach(columns=(0,), low=(0.0,), high=(1.0,), most=0.5)
CHECKED = Checked(coverage=0.9, low=0.8, high=0.95, size=1.0, abstained=0.0)
SETS = Uncertainty(coverage=0.9, rows=90, sets=Sets(least=(0.2, 0.1, 0.3), rows=(30, 30, 30)), reach=REACH, checked=CHECKED)
ENDS = Uncertainty(
    coverage=0.8,
    rows=90,
    intervals=Intervals(edges=(10.0,), below=(-1.0, -2.0), above=(1.0, 4.0), rows=(45, 45)),
    reach=REACH,
    checked=CHECKED,
)
ROWS = [{"x": 0.1}, {"x": 0.3}, {"x": 2.0}]  # the last one is far
SHARES = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.15, 0.8, 0.05]])
ANSWERS = Predictions(SHARES.argmax(axis=1), SHARES)
NUMBERS = Predictions(values=np.array([5.0, 10.0, 20.0]))
SAID = [(["low", "middle"], False), (["low", "middle", "high"], True), (["middle"], True)]


def protocols(contract: Contract, known: Uncertainty | None) -> Protocols:
    return build_protocols(contract, ServingConfig(), known=known)


def test_typed_answers_have_the_names_of_the_set_and_the_coverage() -> None:
    native = protocols(CLASSES, SETS).native
    rows = native.read(json.dumps({"rows": ROWS, "uncertainty": True}).encode())
    said = json.loads(native.write(ANSWERS, "m", "3", "k", rows))
    assert said["coverage"] == 0.9
    assert [(item["set"], item["abstain"]) for item in said["predictions"]] == SAID
    read = native.read_answers(json.dumps(said).encode())
    assert read is not None
    assert read.indices == [0, 2, 1]


def test_interval_follows_the_range_of_the_answer() -> None:
    native = protocols(NUMBER, ENDS).native
    rows = native.read(json.dumps({"rows": ROWS, "uncertainty": True}).encode())
    said = json.loads(native.write(NUMBERS, "m", "3", "k", rows))["predictions"]
    ends = [(item["lower"], item["value"], item["upper"], item["abstain"]) for item in said]
    assert ends == [(4.0, 5.0, 6.0, False), (8.0, 10.0, 14.0, False), (18.0, 20.0, 24.0, True)]


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_answers_of_mlflows_protocol_become_objects_and_are_read_back(method) -> None:
    scoring = build_protocols(CLASSES, ServingConfig(predict_method=method), known=SETS).scoring
    body = {"dataframe_records": ROWS, "params": {"uncertainty": True}}
    rows = scoring.read(json.dumps(body).encode(), "application/json")
    said = scoring.write(ANSWERS, rows)
    answers = json.loads(said)["predictions"]
    assert [item["set"] for item in answers] == [[7, 8], [7, 8, 9], [8]]
    assert [item["abstain"] for item in answers] == [False, True, True]
    assert [item["prediction"] for item in answers] == ([7, 9, 8] if method == "predict" else SHARES.tolist())
    plain = scoring.read_answers(scoring.write(ANSWERS))
    assert plain is not None
    assert scoring.read_answers(said) == plain


def ask_tensors(contract: Contract, known: Uncertainty | None, *, names=(), grpc: bool = False, **parameters: bool):
    inference = protocols(contract, known).inference
    if not grpc:
        tensor = {"name": "x", "shape": [3], "datatype": "FP64", "data": [row["x"] for row in ROWS]}
        body = {"inputs": [tensor], "parameters": parameters, "outputs": [{"name": name} for name in names]}
        request = inference.read(json.dumps(body).encode())
    else:
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[3])
        tensor.contents.fp64_contents.extend(row["x"] for row in ROWS)
        message = pb.ModelInferRequest(model_name="m", inputs=[tensor])
        for name, value in parameters.items():
            message.parameters[name].bool_param = value
        call = read_infer(message.SerializeToString())
        request = inference.read(call.body, call.header_length)
    answers = ANSWERS if contract.is_classification else NUMBERS
    head, length = inference.write(answers, request, "m", "3")
    return {item["name"]: item for item in json.loads(head[:length])["outputs"]}


@pytest.mark.parametrize("grpc", [False, True])
def test_tensors_of_the_set_come_where_a_request_asks(grpc) -> None:
    said = ask_tensors(CLASSES, SETS, grpc=grpc, uncertainty=True)
    assert [*said] == ["label", "probabilities", "set", "abstain"]
    assert (said["set"]["shape"], said["set"]["datatype"], said["abstain"]["shape"]) == ([3, 3], "BOOL", [3])
    assert [*ask_tensors(CLASSES, SETS, grpc=grpc)] == ["label", "probabilities"]
    assert [*ask_tensors(NUMBER, ENDS, grpc=grpc, uncertainty=True)] == ["value", "lower", "upper", "abstain"]


def test_outputs_are_had_by_name() -> None:
    said = ask_tensors(NUMBER, ENDS, names=["upper", "abstain"])
    assert (said["upper"]["data"], said["abstain"]["data"]) == ([6.0, 14.0, 24.0], [False, False, True])
    with pytest.raises(ContractError, match="no output 'set'; the model has value, lower, upper, abstain"):
        ask_tensors(NUMBER, ENDS, names=["set"])
    with pytest.raises(ContractError, match=r"no output 'lower'; the model has value$"):
        ask_tensors(NUMBER, None, names=["lower"])


@pytest.mark.parametrize(
    ("asked", "problem"), [(True, "this model does not say how sure it is"), ("yes", "expected true or false")]
)
def test_what_cannot_be_said_is_refused_in_every_protocol(asked, problem) -> None:
    scoring, _, native = protocols(CLASSES, None)
    with pytest.raises(ContractError, match=f"uncertainty: {problem}"):
        native.read(json.dumps({"rows": ROWS, "uncertainty": asked}).encode())
    with pytest.raises(ContractError, match=f"params.uncertainty: {problem}"):
        scoring.read(json.dumps({"dataframe_records": ROWS, "params": {"uncertainty": asked}}).encode(), "application/json")
    with pytest.raises(ContractError, match=f"parameters.uncertainty: {problem}"):
        ask_tensors(CLASSES, None, uncertainty=asked)
    assert native.read(json.dumps({"rows": ROWS, "uncertainty": False}).encode()).uncertainty is False
