"""The Open Inference Protocol (V2), REST: tensors in and out, as JSON or in its binary form.

https://github.com/kserve/open-inference-protocol, binary tensors: Triton's ``extension_binary_data``. One tensor per column
(``[n]`` or ``[n, 1]``, named like the column), or one matrix ``[n, n_columns]`` of all columns in the model's order.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.runtime import Predictions
from mlops_project.uncertainty import Uncertainty
from mlops_project.wire import sureness, thresholds
from mlops_project.wire.answers import Answers, LabelIndex, to_float_rows, to_floats
from mlops_project.wire.columns import Rules
from mlops_project.wire.limits import NO_LIMITS, Limits
from mlops_project.wire.outputs import CLASS, INDEX
from mlops_project.wire.problems import Problem, RowsError, shorten
from mlops_project.wire.rows import Encoded, RowReader
from mlops_project.wire.tensors import DTYPES, InferenceError, InputTensor, check_sizes, read_tensors, to_bytes

VERSION = "2"
PLATFORM = "onnx_onnxv1"  # the protocol has a list; this is its name for ONNX files
EXTENSIONS = ("binary_tensor_data", "model_repository")
FEATURE_DATATYPES = {"float": "FP64", "integer": "INT64", "boolean": "BOOL", "category": "BYTES", "string": "BYTES"}
MAX_DIGITS = 20  # of a length; Python refuses to read numbers of thousands of digits


class _OutputTensor(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct):
    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_OutputTensor] | None = None


class _Response(msgspec.Struct):
    outputs: list[InputTensor]


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

    def __init__(self, contract: Contract, rules: Rules, limits: Limits = NO_LIMITS, known: Uncertainty | None = None) -> None:
        self.contract, self.limits, self.uncertainty = contract, limits, known
        self.reader = RowReader(contract, rules, limits)
        self.outputs = _list_outputs(contract)
        self.more_outputs = {} if known is None else _list_more_outputs(contract)
        self.forms = {CLASS: ("BYTES", [-1]), INDEX: ("INT64", [-1])} if contract.is_classification else {}
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
        check_sizes(request.inputs, self.limits)
        tensors = read_tensors(request.inputs, tail)
        rows, asked = self._read_rows(tensors), (request.parameters or {}).get(thresholds.NAME)
        if asked is not None:
            problem = thresholds.find_problem(asked, self.contract)
            if problem is not None:
                raise InferenceError(f"parameters.{problem}")
            rows = rows.ask(float(asked), uncertainty=False)
        return InferenceRequest(rows, request.id, wanted)

    def _find_outputs(self, request: _Request) -> tuple[tuple[str, bool], ...]:
        binary = (request.parameters or {}).get("binary_data_output") is True
        asked = (request.parameters or {}).get(sureness.NAME, False)
        problem = sureness.find_problem(asked, self.uncertainty)
        if problem is not None:
            raise InferenceError(f"parameters.{problem}")
        if not request.outputs:
            return tuple((name, binary) for name in (*self.outputs, *(self.more_outputs if asked else ())))
        for output in request.outputs:
            if not any(output.name in known for known in (self.outputs, self.more_outputs, self.forms)):
                known = ", ".join([*self.outputs, *self.more_outputs, *self.forms])
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
            raise RowsError(
                [Problem(None, f"expected {len(names)} columns, got a matrix of shape {list(matrix.shape)}")], "column"
            )
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
        sure = self._measure(predictions, request)
        for key, binary in request.outputs:
            values = self._values(key, predictions, sure)
            kind = (self.outputs.get(key) or self.forms.get(key) or self.more_outputs[key])[0]
            item: dict[str, Any] = {"name": key, "shape": list(values.shape), "datatype": kind}
            if binary:
                raw = to_bytes(values)
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
            said = read_tensors(_RESPONSES.decode(body[:length]).outputs, memoryview(body)[length:])
        except (ContractError, ValueError, msgspec.MsgspecError, RecursionError):
            return None
        values = {name: tensor.tolist() for name, tensor in said.items()}
        if not self.contract.is_classification:
            numbers = to_floats(values.get("value"))
            return None if numbers is None else Answers(values=numbers)
        labels, shares = values.get("label"), values.get("probabilities")
        indices = None if labels is None else self._known.find(labels) or self._known.find_texts(labels)
        if labels is None and values.get(CLASS) is not None:
            indices = LabelIndex(self.contract.class_names).find(values[CLASS])
        elif labels is None and values.get(INDEX) is not None:
            indices = LabelIndex(range(len(self.contract.classes))).find(values[INDEX])
        probabilities = None if shares is None else to_float_rows(shares, len(self.contract.classes))
        return None if indices is None and probabilities is None else Answers(indices, probabilities)

    def _measure(self, predictions: Predictions, request: InferenceRequest) -> sureness.Sureness | None:
        if self.uncertainty is None or not any(key in self.more_outputs for key, _ in request.outputs):
            return None
        return sureness.measure(self.uncertainty, predictions, request.rows.numbers)

    def _values(self, key: str, predictions: Predictions, sure: sureness.Sureness | None) -> npt.NDArray[Any]:
        if key in self.more_outputs:
            return np.asarray(getattr(sure, "members" if key == "set" else key))
        if key == "label":
            values = self._classes[predictions.indices]
            kind = self.outputs[key][0]
            return values if kind == "BYTES" else values.astype(DTYPES[kind])
        if key == CLASS:
            return np.array(self.contract.class_names, object)[predictions.indices]
        if key == INDEX:
            return np.asarray(predictions.indices, np.int64)
        return np.asarray(predictions.probabilities if key == "probabilities" else predictions.values)


def _list_outputs(contract: Contract) -> dict[str, tuple[str, list[int]]]:
    if not contract.is_classification:
        return {"value": ("FP64", [-1])}
    kinds = {type(label) for label in contract.classes}
    datatype = {bool: "BOOL", int: "INT64", float: "FP64"}.get(kinds.pop(), "BYTES") if len(kinds) == 1 else "BYTES"
    return {"label": (datatype, [-1]), "probabilities": ("FP64", [-1, len(contract.classes)])}


def _list_more_outputs(contract: Contract) -> dict[str, tuple[str, list[int]]]:
    """Return those that are written only where a request asks for them."""
    if not contract.is_classification:
        return {"lower": ("FP64", [-1]), "upper": ("FP64", [-1]), "abstain": ("BOOL", [-1])}
    return {"set": ("BOOL", [-1, len(contract.classes)]), "abstain": ("BOOL", [-1])}


def _datatype(feature: Feature) -> str:
    if feature.type == "datetime":
        return "BYTES"
    return "FP64" if feature.nullable and not feature.is_text else FEATURE_DATATYPES[feature.type]


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
