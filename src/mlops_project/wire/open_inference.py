"""The Open Inference Protocol (V2), REST: tensors in and out, as JSON or in its binary form.

https://github.com/kserve/open-inference-protocol, binary tensors: Triton's ``extension_binary_data``. One tensor per column
(``[n]`` or ``[n, 1]``, named like the column), or one matrix ``[n, n_columns]`` of all columns in the model's order.
"""

import base64
import json
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.runtime import Predictions
from mlops_project.wire.answers import Answers, LabelIndex, to_float_rows, to_floats
from mlops_project.wire.columns import Rules
from mlops_project.wire.limits import NO_LIMITS, Limits
from mlops_project.wire.problems import shorten
from mlops_project.wire.rows import Encoded, RowReader
from mlops_project.wire.thresholds import NAME, find_problem

VERSION = "2"
PLATFORM = "onnx_onnxv1"  # the protocol has a list; this is its name for ONNX files
EXTENSIONS = ("binary_tensor_data",)
# fmt: off
DTYPES: dict[str, npt.DTypeLike] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
    "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}
# fmt: on
FEATURE_DATATYPES = {"float": "FP64", "integer": "INT64", "boolean": "BOOL", "category": "BYTES", "string": "BYTES"}
MAX_DIGITS = 20  # of a length; Python refuses to read numbers of thousands of digits
TEXT_SIZE = struct.Struct("<I")


class InferenceError(ContractError):
    """A request that the protocol refuses: status 400 with ``{"error": …}``."""


class _InputTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


class _OutputTensor(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct):
    inputs: list[_InputTensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_OutputTensor] | None = None


class _Response(msgspec.Struct):
    outputs: list[_InputTensor]


_DECODER = msgspec.json.Decoder(_Request)
_RESPONSES = msgspec.json.Decoder(_Response)


class InferenceRequest(NamedTuple):
    """A request, read: its rows, its id (None without), and the wanted outputs, each name with whether it is binary."""

    rows: Encoded
    id: str | None
    outputs: tuple[tuple[str, bool], ...]


class InferenceProtocol:
    """Reads and writes ``/v2/models/<name>/infer`` bodies for one model.

    Parameters
    ----------
    contract
        The model's inputs and outputs.
    rules
        How strictly to read.
    limits
        How much one request may hold.
    """

    def __init__(self, contract: Contract, rules: Rules, limits: Limits = NO_LIMITS) -> None:
        self.contract, self.limits = contract, limits
        self.reader = RowReader(contract, rules, limits)
        self.outputs = _list_outputs(contract)
        self._classes = np.array(contract.classes, object)
        self._known = LabelIndex(contract.classes)

    def describe(self, name: str, versions: Sequence[str]) -> dict[str, Any]:
        """Return the model's metadata: a tensor per column, the outputs."""
        inputs = [{"name": feature.name, "datatype": _datatype(feature), "shape": [-1]} for feature in self.contract.features]
        return {
            "name": name,
            "versions": list(versions),
            "platform": PLATFORM,
            "inputs": inputs,
            "outputs": [{"name": key, "datatype": kind, "shape": shape} for key, (kind, shape) in self.outputs.items()],
        }

    def read(self, body: bytes, header_length: int | None = None) -> InferenceRequest:
        """Read a request.

        Parameters
        ----------
        body
            JSON, followed by the binary tensors if ``header_length`` says how long the JSON is.

        Raises
        ------
        InferenceError, RowsError
            If it breaks the protocol, or its rows do not fit the model.
        """
        self.limits.check_json(body if header_length is None else body[:header_length])
        head, tail = (body, b"") if header_length is None else (body[:header_length], memoryview(body)[header_length:])
        try:
            request = _DECODER.decode(head)
        except msgspec.ValidationError as error:
            raise InferenceError(f"not an inference request: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = f": {error}" if isinstance(error, msgspec.DecodeError) else ""
            raise InferenceError(f"the body is not valid JSON{reason}") from None
        wanted = self._find_outputs(request)
        if not request.inputs:
            raise InferenceError("inputs: expected at least one tensor")
        _check_sizes(request.inputs, self.limits)
        tensors = _read_tensors(request.inputs, tail)
        rows, asked = self._read_rows(tensors), (request.parameters or {}).get(NAME)
        if asked is not None:
            problem = find_problem(asked, self.contract)
            if problem is not None:
                raise InferenceError(f"parameters.{problem}")
            rows = rows.decide(float(asked))
        return InferenceRequest(rows, request.id, wanted)

    def _find_outputs(self, request: _Request) -> tuple[tuple[str, bool], ...]:
        binary = (request.parameters or {}).get("binary_data_output") is True
        if not request.outputs:
            return tuple((name, binary) for name in self.outputs)
        for output in request.outputs:
            if output.name not in self.outputs:
                known = ", ".join(self.outputs)
                raise InferenceError(f"no output {shorten(output.name)!r}; the model has {known}")
        if len({output.name for output in request.outputs}) < len(request.outputs):
            raise InferenceError("outputs: one stands there twice; ask for each once")
        return tuple((item.name, (item.parameters or {}).get("binary_data", binary) is True) for item in request.outputs)

    def _read_rows(self, tensors: dict[str, npt.NDArray[Any]]) -> Encoded:
        if len(tensors) == 1:
            (name, tensor), *_ = tensors.items()
            if tensor.ndim == 2 and (self.reader.find_name(name) is None or tensor.shape[1] > 1):
                return self._read_matrix(tensor)
        columns: dict[str, Sequence[Any]] = {}
        for name, tensor in tensors.items():
            if self.reader.find_name(name) is None:
                columns[name] = ()  # ignored, or the name that was meant for a missing one
                continue
            if tensor.ndim not in (1, 2) or (tensor.ndim == 2 and tensor.shape[1] != 1):
                raise InferenceError(f"input {shorten(name)!r}: expected shape [n] or [n, 1], got {list(tensor.shape)}")
            columns[name] = tensor.ravel() if tensor.dtype != object else tensor.ravel().tolist()  # type: ignore[assignment]
        return self.reader.read_columns(columns)

    def _read_matrix(self, matrix: npt.NDArray[Any]) -> Encoded:
        names = self.contract.names
        if matrix.shape[1] != len(names):
            raise InferenceError(f"expected {len(names)} columns, got a matrix of shape {list(matrix.shape)}")
        if matrix.dtype == object:
            return self.reader.read_rows(list(names), matrix.tolist())
        return self.reader.read_columns(dict(zip(names, matrix.T, strict=True)))

    def write(self, predictions: Predictions, request: InferenceRequest, name: str, version: str) -> tuple[bytes, int | None]:
        """Write a response: raw bytes, and the length of their JSON part if binary tensors follow it, else None.

        Parameters
        ----------
        predictions, request
            Of the same rows; the request says which outputs to write, and how.
        name, version
            Of the model that answered.
        """
        outputs: list[dict[str, Any]] = []
        tail: list[bytes] = []
        for key, binary in request.outputs:
            values = self._values(key, predictions)
            item: dict[str, Any] = {"name": key, "shape": list(values.shape), "datatype": self.outputs[key][0]}
            if binary:
                raw = _to_bytes(values)
                tail.append(raw)
                item["parameters"] = {"binary_data_size": len(raw)}
            else:
                item["data"] = values.ravel().tolist()
            outputs.append(item)
        response: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": outputs}
        if request.id is not None:
            response["id"] = request.id
        head = orjson.dumps(response)
        return (head + b"".join(tail), len(head)) if tail else (head, None)

    def read_answers(self, body: bytes) -> Answers | None:
        """Return what a response says, of the outputs that it has; None if it is not a response of this model."""
        try:
            _, length = json.JSONDecoder().raw_decode(body.decode("latin-1"))  # binary tensors may follow
            said = _read_tensors(_RESPONSES.decode(body[:length]).outputs, memoryview(body)[length:])
        except (ContractError, ValueError, msgspec.MsgspecError, RecursionError):
            return None
        values = {name: tensor.tolist() for name, tensor in said.items()}
        if not self.contract.is_classification:
            numbers = to_floats(values.get("value"))
            return None if numbers is None else Answers(values=numbers)
        labels, shares = values.get("label"), values.get("probabilities")
        indices = None if labels is None else self._known.find(labels) or self._known.find_texts(labels)
        probabilities = None if shares is None else to_float_rows(shares, len(self.contract.classes))
        return None if indices is None and probabilities is None else Answers(indices, probabilities)

    def _values(self, key: str, predictions: Predictions) -> npt.NDArray[Any]:
        if key == "label":
            values = self._classes[predictions.indices]
            kind = self.outputs[key][0]
            return values if kind == "BYTES" else values.astype(DTYPES[kind])
        return np.asarray(predictions.probabilities if key == "probabilities" else predictions.values)


def _list_outputs(contract: Contract) -> dict[str, tuple[str, list[int]]]:
    if not contract.is_classification:
        return {"value": ("FP64", [-1])}
    kinds = {type(label) for label in contract.classes}
    datatype = {bool: "BOOL", int: "INT64", float: "FP64"}.get(kinds.pop(), "BYTES") if len(kinds) == 1 else "BYTES"
    return {"label": (datatype, [-1]), "probabilities": ("FP64", [-1, len(contract.classes)])}


def _datatype(feature: Feature) -> str:
    if feature.type == "datetime":
        return "BYTES"
    return "FP64" if feature.nullable and not feature.is_text else FEATURE_DATATYPES[feature.type]


def _read_tensors(inputs: Sequence[_InputTensor], tail: "memoryview | bytes") -> dict[str, npt.NDArray[Any]]:
    tensors: dict[str, npt.NDArray[Any]] = {}
    position = 0
    for tensor in inputs:
        if tensor.name in tensors:
            raise InferenceError(f"input {shorten(tensor.name)!r} stands there twice")
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(tail) - position:
                raise InferenceError(f"input {shorten(tensor.name)!r}: binary_data_size does not fit the body")
            values = _from_bytes(tail[position : position + size], tensor)
            position += size
        else:
            values = _from_json(tensor)
        if (tensor.parameters or {}).get("content_type") == "base64":
            values = _decode_base64(values, tensor)
        tensors[tensor.name] = _reshape(values, tensor)
    if position != len(tail):
        raise InferenceError(f"{len(tail) - position} bytes of binary data belong to no input")
    return tensors


def _check_sizes(inputs: Sequence[_InputTensor], limits: Limits) -> None:
    """Refuse what the shapes say is too much; that the data has no more elements is checked where they are read."""
    n_values = 0
    for tensor in inputs:
        size = max(0, math.prod(tensor.shape))  # a shape that makes no sense is refused with its data
        limits.check_rows(tensor.shape[0] if tensor.shape else 0)
        n_values += size
        if n_values > limits.max_values:
            raise limits.refuse_values("elements of the tensors")


def _check_datatype(tensor: _InputTensor) -> None:
    if tensor.datatype not in DTYPES:
        known = ", ".join(DTYPES)
        raise InferenceError(f"input {shorten(tensor.name)!r}: unknown datatype; expected one of {known}")


def _reshape(values: npt.NDArray[Any], tensor: _InputTensor) -> npt.NDArray[Any]:
    if not tensor.shape or any(size < 0 for size in tensor.shape) or math.prod(tensor.shape) != values.size:
        raise InferenceError(
            f"input {shorten(tensor.name)!r}: shape {tensor.shape[:8]} does not hold the {values.size} elements of its data"
        )
    return values.reshape(tensor.shape)


def _from_json(tensor: _InputTensor) -> npt.NDArray[Any]:
    _check_datatype(tensor)
    if not isinstance(tensor.data, list):
        raise InferenceError(f"input {shorten(tensor.name)!r}: expected data, a list")
    flat = list(_flatten(tensor.data))
    kinds = set(map(type, flat))
    if not kinds <= _json_types(tensor.datatype):
        raise InferenceError(f"input {shorten(tensor.name)!r}: the data is not {tensor.datatype}")
    if tensor.datatype == "BYTES":
        values = np.empty(len(flat), object)
        values[:] = flat
        return values
    try:
        return np.array(flat, DTYPES[tensor.datatype])
    except (OverflowError, ValueError, TypeError):
        raise InferenceError(f"input {shorten(tensor.name)!r}: a value is out of range for {tensor.datatype}") from None


def _json_types(datatype: str) -> set[type]:
    if datatype == "BYTES":
        return {str, type(None)}
    if datatype == "BOOL":
        return {bool}
    return {int, float, type(None)} if datatype.startswith("FP") else {int}


def _flatten(data: list[Any]) -> Iterator[Any]:
    """Yield the elements of nested lists in order."""
    stack = [iter(data)]
    while stack:
        for item in stack[-1]:
            if type(item) is list:
                stack.append(iter(item))
                break
            yield item
        else:
            stack.pop()


def _from_bytes(raw: "memoryview | bytes", tensor: _InputTensor) -> npt.NDArray[Any]:
    _check_datatype(tensor)
    if tensor.datatype == "BYTES":
        return _split_texts(raw, tensor)
    dtype = np.dtype(DTYPES[tensor.datatype]).newbyteorder("<")
    if len(raw) % dtype.itemsize:
        raise InferenceError(f"input {shorten(tensor.name)!r}: {len(raw)} bytes are no whole number of {tensor.datatype}")
    values: npt.NDArray[Any] = np.frombuffer(raw, dtype)
    if tensor.datatype == "BOOL" and values.size and values.view(np.uint8).max() > 1:
        raise InferenceError(f"input {shorten(tensor.name)!r}: a byte of BOOL is 0 or 1")
    return values


def _decode_base64(values: npt.NDArray[Any], tensor: _InputTensor) -> npt.NDArray[Any]:
    """Return the texts that the elements hold in base64, as MLServer's parameter ``content_type`` says."""
    if tensor.datatype != "BYTES":
        raise InferenceError(f"input {shorten(tensor.name)!r}: content_type base64 is for BYTES, not {tensor.datatype}")
    try:
        texts = [None if text is None else base64.b64decode(text, validate=True).decode() for text in values.tolist()]
    except ValueError:
        raise InferenceError(f"input {shorten(tensor.name)!r}: an element is not the base64 of UTF-8 text") from None
    return np.array(texts, object)


def _split_texts(raw: "memoryview | bytes", tensor: _InputTensor) -> npt.NDArray[Any]:
    texts: list[str] = []
    position, most = 0, max(1, math.prod(tensor.shape))
    while position < len(raw):
        end = position + TEXT_SIZE.size
        size = TEXT_SIZE.unpack_from(raw, position)[0] if end <= len(raw) else len(raw)
        if end + size > len(raw):
            raise InferenceError(f"input {shorten(tensor.name)!r}: the binary texts are cut off")
        try:
            texts.append(str(raw[end : end + size], "utf-8"))
        except UnicodeDecodeError:
            raise InferenceError(f"input {shorten(tensor.name)!r}: a text is not UTF-8") from None
        position = end + size
        if len(texts) == most and position < len(raw):
            raise InferenceError(f"input {shorten(tensor.name)!r}: the data has more than the {most} texts of its shape")
    return np.array(texts, object)


def _to_bytes(values: npt.NDArray[Any]) -> bytes:
    if values.dtype != object:
        return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return pack_texts([str(value) for value in values.ravel().tolist()])


def pack_texts(texts: Sequence[str]) -> bytes:
    """Return texts as a binary tensor of ``BYTES``."""
    return b"".join(TEXT_SIZE.pack(len(raw)) + raw for raw in (text.encode() for text in texts))


def write_error(message: str) -> bytes:
    """Write an error body."""
    body: bytes = orjson.dumps({"error": message})
    return body


def parse_header_length(text: str, body_length: int) -> int:
    """Return what the header ``Inference-Header-Content-Length`` says.

    Raises
    ------
    InferenceError
        If it is no number within the body.
    """
    if not (text.isascii() and text.isdigit() and len(text) < MAX_DIGITS and int(text) <= body_length):
        raise InferenceError("Inference-Header-Content-Length: expected the length of the JSON part of the body")
    return int(text)
