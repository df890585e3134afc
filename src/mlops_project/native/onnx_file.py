"""An ONNX file, read and cut without the package ``onnx``: nodes, constants and types, in protobuf's wire format.

Numbers of fields are those of onnx.proto. What does not decode raises ``ValueError``; ONNX Runtime then says what is wrong.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FLOAT, INT64, STRING, DOUBLE = 1, 7, 8, 11  # TensorProto.DataType
DTYPES: dict[int, npt.DTypeLike] = {
    FLOAT: np.float32,
    2: np.uint8,
    6: np.int32,
    INT64: np.int64,
    9: np.bool_,
    DOUBLE: np.float64,
}
HEAD = (1, 8)  # IR version and operator sets
PLAIN = {FLOAT: (4, "<f4"), DOUBLE: (10, "<f8")}  # where a tensor's values stand if they are not raw


def read_fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield a message's fields as (number, value): int, or memoryview for whatever has a length or a fixed size."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _read_varint(message, at)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            size, at = _read_varint(message, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at + size > len(message):
            raise ValueError("a field ends behind its message")
        yield tag >> 3, message[at : at + size]
        at += size


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a number does not end")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def write_field(number: int, value: bytes | memoryview | int) -> bytes:
    """Return one field in wire format."""
    if isinstance(value, int):
        return _write_varint(number << 3 | VARINT) + _write_varint(value)
    return _write_varint(number << 3 | BYTES) + _write_varint(len(value)) + bytes(value)


def _write_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    operation, domain
        Such as ``TreeEnsemble`` of ``ai.onnx.ml``.
    inputs, outputs
        Names of values.
    attributes
        Name → its message.
    message
        The whole node.
    """

    operation: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, memoryview]
    message: memoryview

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is an integer."""
        message = self.attributes.get(name, memoryview(b""))
        return next((_signed(value) for number, value in read_fields(message) if number == 3), default)

    def integers(self, name: str) -> list[int]:
        """Return an attribute that is a short list of integers."""
        return [
            _signed(number)
            for key, value in read_fields(self.attributes[name])
            if key == 8
            for number in ([value] if isinstance(value, int) else _read_packed(value))
        ]

    def strings(self, name: str) -> list[str]:
        """Return an attribute that is a list of strings."""
        return [str(value, "utf-8") for number, value in read_fields(self.attributes[name]) if number == 9]

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """Return an attribute that is a tensor."""
        return read_tensor(next(value for number, value in read_fields(self.attributes[name]) if number == 5))[1]


def _read_packed(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = _read_varint(message, at)
        yield value


def read_tensor(message: memoryview) -> tuple[str, npt.NDArray[Any]]:
    """Return a TensorProto's name and values.

    Raises
    ------
    ValueError
        If its type is not among ``DTYPES``, its values are elsewhere, or they are not as many as its shape says.
    """
    name, kind, raw = "", 0, None
    shape: list[int] = []
    plain: dict[int, list[Any]] = {}
    for number, value in read_fields(message):
        if number == 1:
            shape += [value] if isinstance(value, int) else list(_read_packed(value))
        elif number == 2:
            kind = value
        elif number == 8:
            name = str(value, "utf-8")
        elif number == 9:
            raw = value
        else:
            plain.setdefault(number, []).append(value)
    if kind not in DTYPES or 13 in plain or 14 in plain:  # values in another file
        raise ValueError(f"tensor {name!r} cannot be read here")
    if raw is not None:
        values = np.frombuffer(raw, np.dtype(DTYPES[kind]).newbyteorder("<"))
    elif kind in PLAIN:
        place, dtype = PLAIN[kind]
        values = np.frombuffer(b"".join(bytes(part) for part in plain.get(place, [])), dtype)
    else:
        parts = plain.get(7 if kind == INT64 else 5, [])
        numbers = [_signed(item) for part in parts for item in ([part] if isinstance(part, int) else _read_packed(part))]
        values = np.array(numbers, DTYPES[kind])
    if len(values) != math.prod(shape):
        raise ValueError(f"tensor {name!r} has {len(values)} values for the shape {shape}")
    return name, np.array(values, DTYPES[kind]).reshape(shape)  # a copy, aligned


@dataclass(frozen=True)
class Model:
    """A model's graph, as far as it is read here.

    Attributes
    ----------
    nodes
        In the order of the file, in which each stands behind what it needs.
    constants
        Name → message of its tensor.
    inputs, outputs
        Name → message of its ValueInfo.
    properties
        The model's metadata.
    head
        Its IR version and operator sets, serialized.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, memoryview] = field(default_factory=dict)
    inputs: dict[str, memoryview] = field(default_factory=dict)
    outputs: dict[str, memoryview] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    head: bytes = b""

    @property
    def makers(self) -> dict[str, Node]:
        """Value → the node that makes it."""
        return {name: node for node in self.nodes for name in node.outputs}

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """Return a constant's values, None if the name is none."""
        return read_tensor(self.constants[name])[1] if name in self.constants else None

    def cut(self, nodes: Iterable[Node], inputs: Iterable[bytes | memoryview], outputs: Iterable[bytes | memoryview]) -> bytes:
        """Return a model of some of the nodes, from and to the given ValueInfo messages."""
        kept = list(nodes)
        needed = {name for node in kept for name in node.inputs}
        graph = [write_field(1, node.message) for node in kept]
        graph.append(write_field(2, b"part"))
        graph += [write_field(5, message) for name, message in self.constants.items() if name in needed]
        graph += [write_field(11, message) for message in inputs] + [write_field(12, message) for message in outputs]
        return self.head + write_field(7, b"".join(graph))


def describe_untyped(name: str) -> bytes:
    """Return a ValueInfo that leaves the type to whoever reads the model."""
    return write_field(1, name.encode())


def describe_matrix(name: str, kind: int) -> bytes:
    """Return a ValueInfo of a tensor of two dimensions."""
    dimension = write_field(1, b"")
    tensor = write_field(1, kind) + write_field(2, dimension + dimension)
    return write_field(1, name.encode()) + write_field(2, write_field(1, tensor))


def read_model(message: memoryview) -> Model:
    """Read a ModelProto.

    Raises
    ------
    ValueError
        If it is none, or holds what is not read here: functions, subgraphs or sparse constants.
    """
    model = Model(head=b"".join(write_field(number, value) for number, value in read_fields(message) if number in HEAD))
    graphs = []
    for number, value in read_fields(message):
        if number == 7:
            graphs.append(value)
        elif number == 14:
            key, text = (str(item, "utf-8") for _, item in read_fields(value))
            model.properties[key] = text
        elif number == 25:
            raise ValueError("functions are not read here")
    (graph,) = graphs
    for number, value in read_fields(graph):
        if number == 1:
            model.nodes.append(_read_node(value))
        elif number == 5:
            model.constants[_name_of(value, 8)] = value
        elif number in (11, 12):
            (model.inputs if number == 11 else model.outputs)[_name_of(value, 1)] = value
        elif number == 15:
            raise ValueError("sparse constants are not read here")
    return model


def _name_of(message: memoryview, number: int) -> str:
    return next(str(value, "utf-8") for key, value in read_fields(message) if key == number)


def _read_node(message: memoryview) -> Node:
    operation = domain = ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes = {}
    for number, value in read_fields(message):
        if number in (1, 2):
            (inputs if number == 1 else outputs).append(str(value, "utf-8"))
        elif number == 4:
            operation = str(value, "utf-8")
        elif number == 7:
            domain = str(value, "utf-8")
        elif number == 5:
            attributes[_name_of(value, 1)] = value
    return Node(operation, domain, tuple(inputs), tuple(outputs), attributes, message)
