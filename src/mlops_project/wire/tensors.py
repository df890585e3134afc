"""Tensors of the Open Inference Protocol: JSON, binary or base64 → arrays, and arrays → bytes."""

import base64
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from mlops_project.errors import ContractError
from mlops_project.wire.limits import Limits
from mlops_project.wire.problems import shorten

# fmt: off
DTYPES: dict[str, npt.DTypeLike] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
    "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}
# fmt: on
TEXT_SIZE = struct.Struct("<I")


class InferenceError(ContractError):
    """A request that the protocol refuses: status 400 with ``{"error": …}``."""


class InputTensor(msgspec.Struct):
    """A tensor as JSON says it; its data may be binary and stand elsewhere."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


def read_tensors(inputs: Sequence[InputTensor], tail: "memoryview | bytes") -> dict[str, npt.NDArray[Any]]:
    """Return tensors by name.

    Parameters
    ----------
    tail
        The binary tensors, one behind the other.

    Raises
    ------
    InferenceError
        If one is not as the protocol says.
    """
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


def check_sizes(inputs: Sequence[InputTensor], limits: Limits) -> None:
    """Refuse what the shapes say is too much; that the data has no more elements is checked where they are read."""
    n_values = 0
    for tensor in inputs:
        size = max(0, math.prod(tensor.shape))  # a shape that makes no sense is refused with its data
        limits.check_rows(tensor.shape[0] if tensor.shape else 0)
        n_values += size
        if n_values > limits.max_values:
            raise limits.refuse_values("elements of the tensors")


def _check_datatype(tensor: InputTensor) -> None:
    if tensor.datatype not in DTYPES:
        known = ", ".join(DTYPES)
        raise InferenceError(f"input {shorten(tensor.name)!r}: unknown datatype; expected one of {known}")


def _reshape(values: npt.NDArray[Any], tensor: InputTensor) -> npt.NDArray[Any]:
    if not tensor.shape or any(size < 0 for size in tensor.shape) or math.prod(tensor.shape) != values.size:
        raise InferenceError(
            f"input {shorten(tensor.name)!r}: shape {tensor.shape[:8]} does not hold the {values.size} elements of its data"
        )
    return values.reshape(tensor.shape)


def _from_json(tensor: InputTensor) -> npt.NDArray[Any]:
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


def _from_bytes(raw: "memoryview | bytes", tensor: InputTensor) -> npt.NDArray[Any]:
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


def _decode_base64(values: npt.NDArray[Any], tensor: InputTensor) -> npt.NDArray[Any]:
    """Return the texts that the elements hold in base64, as MLServer's parameter ``content_type`` says."""
    if tensor.datatype != "BYTES":
        raise InferenceError(f"input {shorten(tensor.name)!r}: content_type base64 is for BYTES, not {tensor.datatype}")
    try:
        texts = [None if text is None else base64.b64decode(text, validate=True).decode() for text in values.tolist()]
    except ValueError:
        raise InferenceError(f"input {shorten(tensor.name)!r}: an element is not the base64 of UTF-8 text") from None
    return np.array(texts, object)


def _split_texts(raw: "memoryview | bytes", tensor: InputTensor) -> npt.NDArray[Any]:
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


def to_bytes(values: npt.NDArray[Any]) -> bytes:
    """Return an array as a binary tensor: little-endian, texts with their lengths."""
    if values.dtype != object:
        return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return pack_texts([str(value) for value in values.ravel().tolist()])


def pack_texts(texts: Sequence[str]) -> bytes:
    """Return texts as a binary tensor of ``BYTES``."""
    return b"".join(TEXT_SIZE.pack(len(raw)) + raw for raw in (text.encode() for text in texts))
