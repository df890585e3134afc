"""A request's own threshold, in the protocols that have room for one."""

import json

import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.decision import OWN_RULE, DecisionRule
from mlops_project.errors import ContractError
from mlops_project.runtime import Predictions, Runtime
from mlops_project.sections import ServingConfig
from mlops_project.wire import open_inference_pb2 as pb
from mlops_project.wire.messages import read_infer
from mlops_project.wire.protocols import build_protocols
from mlops_project.wire.rows import Encoded

JSON = "application/json"
ROWS = [{"x": 0.1}, {"x": 0.3}, {"x": 0.9}]


def ask(protocol: str, contract: Contract, threshold: object = None, *, rows=ROWS):
    """Return the rows of a request that names a threshold; of none if it is None."""
    scoring, inference, native = build_protocols(contract, ServingConfig())
    if protocol == "mlflow":
        body = {"dataframe_records": rows} | ({} if threshold is None else {"params": {"threshold": threshold, "more": 1}})
        return scoring.read(json.dumps(body).encode(), JSON)
    if protocol == "native":
        body = rows if threshold is None else {"rows": rows, "threshold": threshold}
        return native.read(json.dumps(body).encode())
    if protocol == "grpc":
        return ask_by_grpc(inference, threshold, rows)
    tensor = {"name": "x", "shape": [len(rows)], "datatype": "FP64", "data": [row["x"] for row in rows]}
    body = {"inputs": [tensor]} | ({} if threshold is None else {"parameters": {"threshold": threshold}})
    return inference.read(json.dumps(body).encode()).rows


def ask_by_grpc(inference, threshold, rows):
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[len(rows)])
    tensor.contents.fp64_contents.extend(row["x"] for row in rows)
    message = pb.ModelInferRequest(model_name="m", inputs=[tensor])
    if threshold is not None:
        kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}.get(type(threshold))
        message.parameters["threshold"].CopyFrom(pb.InferParameter(**({kind: threshold} if kind else {})))
    call = read_infer(message.SerializeToString())
    return inference.read(call.body, call.header_length).rows


def run(runtime: Runtime, rows: Encoded) -> Predictions:
    return runtime.run(*rows, rows.threshold)


PROTOCOLS = pytest.mark.parametrize("protocol", ["mlflow", "open_inference", "native", "grpc"])


@PROTOCOLS
def test_request_may_name_a_threshold(protocol, tiny_model, tiny_contract):
    decided = tiny_contract.decide(DecisionRule(0.2))
    for contract, usual in ((tiny_contract, [0, 0, 1]), (decided, [0, 1, 1])):
        runtime = Runtime(tiny_model, contract)
        assert run(runtime, ask(protocol, contract)).indices.tolist() == usual
        assert run(runtime, ask(protocol, contract, 0.05)).indices.tolist() == [1, 1, 1]
        assert run(runtime, ask(protocol, contract, 1)).indices.tolist() == [0, 0, 0]
        assert run(runtime, ask(protocol, contract, OWN_RULE)).indices.tolist() == [0, 0, 1]
        assert run(runtime, ask(protocol, contract, 0)).indices.tolist() == [1, 1, 1]


@PROTOCOLS
@pytest.mark.parametrize("threshold", ["0.5", True, -0.1, 1.1, [0.5], {}])
def test_threshold_that_is_none_is_refused(protocol, threshold, tiny_contract):
    with pytest.raises(ContractError, match=r"threshold: expected a number from 0 to 1$"):
        ask(protocol, tiny_contract, threshold)


@PROTOCOLS
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_model_without_a_positive_class_takes_none(protocol, task):
    classes = ("a", "b", "c") if task == "multiclass" else ()
    contract = Contract((Feature("x", "float"),), "y", task, classes, classes)
    assert ask(protocol, contract).threshold is None
    with pytest.raises(ContractError, match=f"its task is {task}"):
        ask(protocol, contract, 0.3)


def test_typed_request_of_rows_alone_is_one_with_an_envelope(tiny_contract):
    _, _, native = build_protocols(tiny_contract, ServingConfig())
    assert native.read(b'{"rows": {"x": 0.3}}').numbers.tolist() == [[0.3]]
    assert native.read(b'{"rows": [{"x": 0.3}]}').threshold is None
    with pytest.raises(ContractError, match="'limit' is unknown beside 'rows'"):
        native.read(b'{"rows": [{"x": 0.3}], "limit": 0.2}')


def test_column_that_is_called_rows_is_a_column():
    contract = Contract((Feature("rows", "float"), Feature("threshold", "float")), "y", "binary", ("no", "yes"), ("no", "yes"))
    _, _, native = build_protocols(contract, ServingConfig())
    read = native.read(b'{"rows": 3.0, "threshold": 7.0}')
    assert (read.numbers.tolist(), read.threshold) == ([[3.0, 7.0]], None)
    assert native.take(b'{"rows": 3.0, "threshold": 7.0}') == [(3.0, 7.0)]
    read = native.read(b'{"rows": {"rows": 3.0, "threshold": 7.0}, "threshold": 0.3}')
    assert (read.numbers.tolist(), read.threshold) == ([[3.0, 7.0]], 0.3)


def test_typed_response_names_the_threshold_where_there_is_one(tiny_model, tiny_contract):
    for contract, asked, shown in ((tiny_contract, None, None), (tiny_contract, 0.3, 0.3)):
        rows = ask("native", contract, asked)
        answers = run(Runtime(tiny_model, contract), rows)
        _, _, native = build_protocols(contract, ServingConfig())
        assert json.loads(native.write(answers, "m", "1", "id", rows)).get("threshold") == shown
    decided = tiny_contract.decide(DecisionRule(0.2))
    _, _, native = build_protocols(decided, ServingConfig())
    answers = run(Runtime(tiny_model, decided), ask("native", decided))
    assert json.loads(native.write(answers, "m", "1", "id"))["threshold"] == 0.2
    assert json.loads(native.write(answers, "m", "1", "id", ask("native", decided, 0.7)))["threshold"] == 0.7
