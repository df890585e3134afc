"""What a graph does before its ensemble: a short program per column where that is exact, else a session of ONNX Runtime."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.native.columns import Encoding, NotCoveredError, fold
from mlops_project.native.library import Program
from mlops_project.native.onnx_file import DOUBLE, FLOAT, Model, Node, describe_matrix, describe_untyped
from mlops_project.native.parts import open_part
from mlops_project.onnx_session import BoundSession

Array = npt.NDArray[Any]


class BoundRow(NamedTuple):
    """One row in memory that is bound once: numbers, codes of texts, and what writes both from the model's inputs."""

    row: Array
    codes: npt.NDArray[np.int64] | None
    compute: Callable[[npt.NDArray[np.object_]], None] | None


class Beginning(ABC):
    """Makes what ``trees_run`` reads.

    Attributes
    ----------
    n_features, rounded
        How many columns the ensemble gets, and whether all values are of float32.
    program
        What the shared object does itself; None if rows come as the ensemble takes them. It points to ``arrays``.
    carried
        Name → example of one row, of values that the ending reads as well.
    """

    n_features: int
    rounded: bool
    program: Program | None = None
    arrays: tuple[Array, ...] = ()
    carried: Mapping[str, Array] = {}

    @abstractmethod
    def read(self, feeds: Mapping[str, Array], carried: dict[str, Array]) -> tuple[Array, npt.NDArray[np.int64] | None]:
        """Return rows and codes of texts; put values that the ending reads as well into ``carried``."""

    @abstractmethod
    def bind(self, row: npt.NDArray[np.float64], carried: dict[str, Array]) -> BoundRow:
        """Return how one row is read in memory that is bound once, for one thread at a time.

        Parameters
        ----------
        row
            float64 ``(1, n_numbers)``.
        carried
            Gets the arrays with the values that the ending reads as well.
        """


class Part(NamedTuple):
    """What a graph does before its ensemble, as a part that is left to ONNX Runtime.

    Attributes
    ----------
    model, nodes
        The graph, and those of its nodes that belong to the part, in order.
    name, kind
        The ensemble's input, and its type.
    """

    model: Model
    nodes: list[Node]
    name: str
    kind: int

    @property
    def made(self) -> frozenset[str]:
        """The values that it computes."""
        return frozenset(name for node in self.nodes for name in node.outputs)

    def open(self, n_numbers: int, carried: Iterable[str]) -> Beginning:
        """Return it as a session that also returns some values on its way.

        Raises
        ------
        NotCoveredError
            If ONNX Runtime does not take it.
        """
        further = [name for name in carried if name in self.made and name != self.name]
        needed = {name for node in self.nodes for name in node.inputs}
        inputs = [item for item in self.model.inputs if item in needed]
        outputs = [describe_matrix(self.name, self.kind), *map(describe_untyped, further)]
        session = open_part(self.model.cut(self.nodes, [self.model.inputs[item] for item in inputs], outputs))
        return Session(session, [self.name, *further], inputs, n_numbers)


def find_beginning(model: Model, ensemble: Node, n_numbers: int) -> Beginning | Part:
    """Return how the ensemble's input comes from the model's inputs; as a part that is to be opened if it does not fold."""
    with contextlib.suppress(NotCoveredError):
        return Folded(fold(model, ensemble.inputs[0], n_numbers), n_numbers)
    name, makers = ensemble.inputs[0], model.makers
    kind = DOUBLE if ensemble.tensor("leaf_weights").dtype == np.float64 else FLOAT
    widened = makers.get(name)
    if widened is not None and widened.operation == "Cast" and widened.integer("to", 0) == DOUBLE:
        rounded = makers.get(widened.inputs[0])
        if rounded is not None and rounded.operation == "Cast" and rounded.integer("to", 0) == FLOAT:
            name, kind = widened.inputs[0], FLOAT
    nodes, needed = [], {name}
    for node in reversed(model.nodes):
        if needed & set(node.outputs):
            nodes.append(node)
            needed |= set(node.inputs)
    return Part(model, nodes[::-1], name, kind)


class Folded(Beginning):
    """Columns as short programs."""

    def __init__(self, encoding: Encoding, n_numbers: int) -> None:
        self.n_features, self.rounded = len(encoding.matrix.columns), encoding.rounded
        self._encoding = encoding
        self.program, self.arrays = _write_program(encoding, n_numbers)

    def read(self, feeds: Mapping[str, Array], carried: dict[str, Array]) -> tuple[Array, npt.NDArray[np.int64] | None]:
        """Return rows of numbers, and codes of texts."""
        codes = self._encoding.encode(feeds["texts"]) if self._encoding.texts else None
        numbers = feeds["numbers"] if "numbers" in feeds else np.empty((0 if codes is None else len(codes), 0))
        return np.ascontiguousarray(numbers, np.float64), codes

    def bind(self, row: npt.NDArray[np.float64], carried: dict[str, Array]) -> BoundRow:
        """Return the row itself, and what writes the codes of its texts."""
        if not self._encoding.texts:
            return BoundRow(row, None, None)
        codes = np.zeros((1, len(self._encoding.texts)), np.int64)
        return BoundRow(row, codes, lambda texts: self._encode_one(texts, codes))

    def _encode_one(self, texts: npt.NDArray[np.object_], codes: npt.NDArray[np.int64]) -> None:
        for place, text in enumerate(self._encoding.texts):
            value = texts[0, text.column]
            code = text.codes.get(value, -1)
            if code < 0:
                value.encode()
                code = text.default
            codes[0, place] = code


class Session(Beginning):
    """Columns from ONNX Runtime."""

    def __init__(self, session: Any, names: Sequence[str], inputs: Sequence[str], n_numbers: int) -> None:
        self._session, self._names, self._inputs = session, names, inputs
        shapes = {value.name: value.shape for value in session.get_inputs()}
        n_texts = shapes["texts"][1] if "texts" in shapes else 0
        if not isinstance(n_texts, int):
            raise NotCoveredError("texts")
        carried: dict[str, Array] = {}
        try:
            row, _ = self.read({"numbers": np.zeros((1, n_numbers)), "texts": np.full((1, n_texts), "", object)}, carried)
        except Exception as error:  # ONNX Runtime raises classes of its own
            raise NotCoveredError("beginning") from error
        self.n_features, self.rounded, self.carried = row.shape[1], row.dtype == np.float32, carried
        if any(value.ndim != 2 or value.dtype.kind != "f" for value in carried.values()):
            raise NotCoveredError("carried")

    def read(self, feeds: Mapping[str, Array], carried: dict[str, Array]) -> tuple[Array, None]:
        """Return rows as the ensemble takes them."""
        values = self._session.run(self._names, {name: feeds[name] for name in self._inputs})
        carried.update(zip(self._names, values, strict=True))
        return np.ascontiguousarray(values[0]), None

    def bind(self, row: npt.NDArray[np.float64], carried: dict[str, Array]) -> BoundRow:
        """Return where the session writes the row; it reads numbers where they are, and texts as they come."""
        own = {name: np.zeros_like(self.carried[name]) for name in self._names}
        carried |= own
        if list(self._inputs) == ["numbers"]:
            bound = BoundSession(self._session, {"numbers": row}, own)
            return BoundRow(own[self._names[0]], None, lambda _: bound.run())

        def compute(texts: npt.NDArray[np.object_]) -> None:
            known = {"numbers": row, "texts": texts}
            values = self._session.run(self._names, {name: known[name] for name in self._inputs})
            for name, value in zip(self._names, values, strict=True):
                own[name][:] = value

        return BoundRow(own[self._names[0]], None, compute)


def _write_program(encoding: Encoding, n_numbers: int) -> tuple[Program, tuple[Array, ...]]:
    columns = encoding.matrix.columns
    steps = [step for column in columns for step in column.steps]
    n_codes = np.array([1 + max(text.default, *text.codes.values(), 0) for text in encoding.texts], np.int64)
    tables = [np.empty(0) if column.table is None else column.table[: n_codes[column.text]] for column in columns]
    arrays: dict[str, Array] = {
        "sources": np.array([column.number if column.table is None else -1 - column.text for column in columns], np.int32),
        "first_steps": np.cumsum([0, *(len(column.steps) for column in columns)], dtype=np.int64),
        "operations": np.array([operation for operation, _ in steps], np.int32),
        "constants": np.array([constant for _, constant in steps], np.float64),
        "first_values": np.cumsum([0, *(len(table) for table in tables[:-1])], dtype=np.int64),
        "tables": np.concatenate(tables),
        "n_codes": n_codes,
    }
    program = Program(
        n_numbers=n_numbers, n_texts=len(encoding.texts), n_steps=len(steps), n_table_values=sum(map(len, tables))
    )
    for name, values in arrays.items():
        setattr(program, name, values.ctypes.data)
    return program, tuple(arrays.values())
