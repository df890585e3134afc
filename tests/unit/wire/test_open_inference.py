import json
import struct

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.runtime import Predictions
from mlops_project.wire.columns import Rules
from mlops_project.wire.open_inference import InferenceProtocol, parse_header_length
from mlops_project.wire.tensors import DTYPES, InferenceError

PREDICTIONS = Predictions(np.array([1]), np.array([[0.25, 0.75]]))


def tensor(name, data, datatype="FP64", shape=None, **more):
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data} | more


def read(contract, *inputs, **more):
    return InferenceProtocol(contract, Rules()).read(json.dumps({"inputs": list(inputs)} | more).encode())


def test_tensor_per_column_and_one_matrix_give_the_same_rows(numeric):
    columns = read(numeric, tensor("b", [2, 4]), tensor("a", [1, 3], shape=[2, 1]))
    matrix = read(numeric, tensor("input-0", [1, 2, 3, 4], shape=[2, 2]))
    nested = read(numeric, tensor("input-0", [[1, 2], [3, 4]], shape=[2, 2]))
    for request in (columns, matrix, nested):
        np.testing.assert_array_equal(request.rows.numbers, [[1, 2], [3, 4]])


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name not in ("BOOL", "BYTES")])
def test_every_number_datatype_is_read_as_json_and_binary(numeric, datatype):
    values = np.array([3, 7], DTYPES[datatype])
    as_json = read(numeric, tensor("a", values.tolist(), datatype), tensor("b", [0, 0]))
    np.testing.assert_array_equal(as_json.rows.numbers[:, 0], [3, 7])
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    binary = {"name": "a", "shape": [2], "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [binary, tensor("b", [0, 0])]}).encode()
    as_binary = InferenceProtocol(numeric, Rules()).read(head + raw, len(head))
    np.testing.assert_array_equal(as_binary.rows.numbers[:, 0], [3, 7])


def test_texts_and_booleans_are_read_as_json_and_binary(mixed):
    numbers = [tensor("size", [1.0]), tensor("gap", [None]), tensor("count", [3], "INT64"), tensor("flag", [True], "BOOL")]
    texts = [tensor("colour", ["grün"], "BYTES"), tensor("note", ["a"], "BYTES"), tensor("day", ["1970-01-02"], "BYTES")]
    rows = read(mixed, *numbers, *texts).rows
    assert rows.texts.tolist() == [["grün", "a"]]
    raw = struct.pack("<I", 5) + "grün".encode()
    colour = {"name": "colour", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [*numbers, colour, *texts[1:]]}).encode()
    same = InferenceProtocol(mixed, Rules()).read(head + raw, len(head)).rows
    assert same.texts.tolist() == rows.texts.tolist()
    np.testing.assert_array_equal(same.numbers, rows.numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [3]}, "shape"),
        ({"shape": [-1]}, "shape"),
        ({"shape": []}, "shape"),
        ({"datatype": "FP65"}, "unknown datatype"),
        ({"datatype": "INT64", "data": [1.5]}, "not INT64"),
        ({"datatype": "UINT8", "data": [300]}, "out of range for UINT8"),
        ({"datatype": "FP64", "data": ["x"]}, "not FP64"),
        ({"datatype": "BOOL", "data": [1]}, "not BOOL"),
        ({"data": None}, "expected data"),
        ({"datatype": "FP64", "parameters": {"content_type": "base64"}}, "content_type base64 is for BYTES, not FP64"),
        ({"datatype": "BYTES", "data": ["x"], "parameters": {"content_type": "base64"}}, "not the base64 of UTF-8 text"),
        ({"datatype": "BYTES", "data": ["/w=="], "parameters": {"content_type": "base64"}}, "not the base64 of UTF-8 text"),
        ({"parameters": {"binary_data_size": 8}}, "does not fit the body"),
        ({"parameters": {"binary_data_size": -1}}, "does not fit the body"),
    ],
)
def test_broken_tensor_is_named(numeric, change, message):
    with pytest.raises(InferenceError, match=message):
        read(numeric, tensor("a", [1.0]) | change, tensor("b", [1.0]))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        (b"{}", "not an inference request"),
        (b'{"inputs": []}', "at least one tensor"),
        (b'{"inputs": [{"name": "a"}]}', "not an inference request"),
        (b"[" * 5000, "not"),
    ],
)
def test_broken_request_is_explained(numeric, body, message):
    with pytest.raises(InferenceError, match=message):
        InferenceProtocol(numeric, Rules()).read(body)


def test_missing_column_twice_given_one_and_left_over_bytes_are_errors(numeric):
    with pytest.raises(ContractError, match="column 'b': is missing"):
        read(numeric, tensor("a", [1.0]))
    with pytest.raises(InferenceError, match="stands there twice"):
        read(numeric, tensor("a", [1.0]), tensor("a", [1.0]))
    head = json.dumps({"inputs": [tensor("a", [1.0]), tensor("b", [1.0])]}).encode()
    with pytest.raises(InferenceError, match="4 bytes of binary data belong to no input"):
        InferenceProtocol(numeric, Rules()).read(head + b"1234", len(head))


def test_tensors_that_the_model_does_not_have_are_ignored_whatever_they_hold(numeric):
    extra = [tensor("more", ["x"], "BYTES"), tensor("cube", [1, 2], "INT8", shape=[1, 2, 1])]
    rows = read(numeric, extra[0], tensor("a", [1.0]), tensor("b", [2.0]), extra[1]).rows
    np.testing.assert_array_equal(rows.numbers, [[1, 2]])
    with pytest.raises(InferenceError, match="unknown datatype"):
        read(numeric, tensor("a", [1.0]), tensor("b", [2.0]), tensor("c", [1.0], "FP65"))
    with pytest.raises(ContractError, match="column 'b': is missing; is it the one you call 'bb'"):
        read(numeric, tensor("a", [1.0]), tensor("bb", [2.0]))


def test_names_are_trimmed_and_given_once(numeric):
    np.testing.assert_array_equal(read(numeric, tensor(" a ", [1.0]), tensor("b", [2.0])).rows.numbers, [[1, 2]])
    with pytest.raises(ContractError, match="column 'a': stands there twice"):
        read(numeric, tensor(" a ", [1.0]), tensor("a", [1.0]), tensor("b", [2.0]))


def only(kind, datatype, values, feature=None) -> list:
    """Read a column of numbers in JSON and in binary; both give the same."""
    contract = Contract((feature or Feature("x", kind),), "y", "regression")
    as_json = read(contract, tensor("x", values, datatype)).rows
    raw = np.array(values, DTYPES[datatype]).tobytes()
    head = json.dumps(
        {"inputs": [tensor("x", None, datatype, [len(values)], parameters={"binary_data_size": len(raw)})]}
    ).encode()
    binary = InferenceProtocol(contract, Rules()).read(head + raw, len(head)).rows
    for one, other in zip(as_json, binary, strict=True):
        assert one.tolist() == other.tolist()
    return (as_json.texts if kind in ("string", "category") else as_json.numbers)[:, 0].tolist()


@pytest.mark.parametrize(
    ("datatype", "values", "texts"),
    [
        ("INT8", [1, -2], ["1", "-2"]),
        ("INT64", [2**60], [str(2**60)]),
        ("UINT64", [2**63], [str(2**63)]),
        ("FP16", [1.5, 3.0], ["1.5", "3"]),
        ("FP32", [1.1, 3.0, 4.0], ["1.1", "3", "4.0"]),
        ("FP64", [1.1, 3.0, 4.0], ["1.1", "3", "4.0"]),
        ("BOOL", [True, False], ["True", "False"]),
    ],
)
def test_numbers_of_every_datatype_are_texts_in_a_text_column(datatype, values, texts):
    assert only("category", datatype, values, Feature("x", "category", categories=("1", "3"))) == texts


def test_whole_numbers_are_nanoseconds_in_a_date_column_and_others_no_date():
    assert only("datetime", "INT64", [1_700_000_000_123_456_789]) == [1_700_000_000.123456]
    assert only("datetime", "UINT64", [1_700_000_000_000_000_000]) == [1.7e9]
    for datatype, value in [("INT64", 1_700_000_000_000), ("INT64", 0), ("FP64", 1.7e18), ("BOOL", True), ("UINT64", 2**63)]:
        with pytest.raises(ContractError, match="expected a date"):
            only("datetime", datatype, [value])


@pytest.mark.parametrize("value", [2**53, 2**53 + 1, -(2**53)])
@pytest.mark.parametrize("datatype", ["INT64", "FP64"])
def test_whole_number_that_shares_its_float_with_others_is_too_large(datatype, value):
    with pytest.raises(ContractError, match="too large"):
        only("integer", datatype, [value])
    assert only("float", datatype, [value]) == [float(value)]


@pytest.mark.parametrize("raw", [b"\x02", b"\xff"])
@pytest.mark.parametrize("kind", ["boolean", "float", "string"])
def test_byte_of_bool_is_0_or_1(kind, raw):
    head = json.dumps({"inputs": [tensor("x", None, "BOOL", [1], parameters={"binary_data_size": 1})]}).encode()
    with pytest.raises(InferenceError, match="a byte of BOOL is 0 or 1"):
        InferenceProtocol(Contract((Feature("x", kind),), "y", "regression"), Rules()).read(head + raw, len(head))


def test_base64_is_decoded_where_the_content_type_says_so():
    contract = Contract((Feature("x", "string"),), "y", "regression")
    for content_type, text in [("base64", "grün"), ("str", "Z3LDvG4="), (None, "Z3LDvG4=")]:
        request = tensor("x", ["Z3LDvG4=", None], "BYTES", parameters={"content_type": content_type})
        assert read(contract, request).rows.texts[:, 0].tolist() == [text, ""]
    raw = struct.pack("<I", 8) + b"Z3LDvG4="
    request = tensor("x", None, "BYTES", [1], parameters={"binary_data_size": len(raw), "content_type": "base64"})
    head = json.dumps({"inputs": [request]}).encode()
    assert InferenceProtocol(contract, Rules()).read(head + raw, len(head)).rows.texts.tolist() == [["grün"]]


@pytest.mark.parametrize("text", ["", "-1", "1.0", "٣", "9" * 5000, "6"])
def test_length_of_the_json_part_is_a_number_within_the_body(text):
    with pytest.raises(InferenceError, match="expected the length of the JSON part"):
        parse_header_length(text, 5)


def test_response_has_all_outputs_or_those_asked_for(numeric):
    protocol = InferenceProtocol(numeric, Rules())
    inputs = {"inputs": [tensor("a", [1.0]), tensor("b", [1.0])], "id": "mine"}
    body, length = protocol.write(PREDICTIONS, protocol.read(json.dumps(inputs).encode()), "m", "3")
    assert length is None
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "3",
        "id": "mine",
        "outputs": [
            {"name": "label", "shape": [1], "datatype": "INT64", "data": [1]},
            {"name": "probabilities", "shape": [1, 2], "datatype": "FP64", "data": [0.25, 0.75]},
        ],
    }
    some = inputs | {"outputs": [{"name": "probabilities"}]}
    body, _ = protocol.write(PREDICTIONS, protocol.read(json.dumps(some).encode()), "m", "3")
    assert [output["name"] for output in json.loads(body)["outputs"]] == ["probabilities"]
    with pytest.raises(InferenceError, match="no output 'x'; the model has label, probabilities"):
        protocol.read(json.dumps(inputs | {"outputs": [{"name": "x"}]}).encode())


def test_binary_outputs_follow_the_json(numeric):
    protocol = InferenceProtocol(numeric, Rules())
    request = {"inputs": [tensor("a", [1.0]), tensor("b", [1.0])], "parameters": {"binary_data_output": True}}
    body, length = protocol.write(PREDICTIONS, protocol.read(json.dumps(request).encode()), "m", "3")
    outputs = json.loads(body[:length])["outputs"]
    assert [output["parameters"]["binary_data_size"] for output in outputs] == [8, 16]
    assert np.frombuffer(body[length : length + 8], "<i8").tolist() == [1]
    assert np.frombuffer(body[length + 8 :], "<f8").tolist() == [0.25, 0.75]


def test_text_labels_are_bytes_and_regression_has_a_value():
    texts = Contract((Feature("a", "float"),), "y", "binary", ("no", "yes"), ("no", "yes"))
    protocol = InferenceProtocol(texts, Rules())
    request = {"inputs": [tensor("a", [1.0])], "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}
    body, length = protocol.write(PREDICTIONS, protocol.read(json.dumps(request).encode()), "m", "1")
    assert body[length:] == b"\x03\x00\x00\x00yes"
    values = InferenceProtocol(Contract((Feature("a", "float"),), "y", "regression"), Rules())
    request = values.read(json.dumps({"inputs": [tensor("a", [1.0])]}).encode())
    body, _ = values.write(Predictions(values=np.array([1.5])), request, "m", "1")
    assert json.loads(body)["outputs"] == [{"name": "value", "shape": [1], "datatype": "FP64", "data": [1.5]}]


def test_metadata_lists_a_tensor_per_column(mixed):
    metadata = InferenceProtocol(mixed, Rules()).describe("m", ["1"])
    assert metadata["platform"] == "onnx_onnxv1"
    assert {item["name"]: item["datatype"] for item in metadata["inputs"]} == {
        "size": "FP64", "gap": "FP64", "count": "INT64", "flag": "BOOL", "colour": "BYTES", "note": "BYTES", "day": "BYTES",
    }  # fmt: skip
    assert metadata["outputs"][1] == {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]}
