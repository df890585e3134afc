"""What a graph does before its ensemble: a short program per column where that is exact, else a session of ONNX Runtime."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.native.columns import Encoding, NotCoveredError, fold
from mlops_project.native.library import Program
from mlops_project.native.onnx_file import DOUBLE, FLOAT, Model, Node, describe_matrix
from mlops_project.native.parts import open_part

Array = npt.NDArray[Any]


class Beginning(ABC):
    """Makes what ``trees_run`` reads.

    Attributes
    ----------
    n_features, rounded
        How many columns the ensemble gets, and whether all values are of float32.
    program
        What the shared object does itself; None if rows come as the ensemble takes them. It points to ``arrays``.
    """

    n_features: int
    rounded: bool
    program: Program | None = None
    arrays: tuple[Array, ...] = ()

    @abstractmethod
    def read(self, feeds: Mapping[str, Array]) -> tuple[Array, npt.NDArray[np.int64] | None]:
        """Return rows and codes of texts."""

    def new_codes(self) -> npt.NDArray[np.int64] | None:
        """Return room for one row's codes; None without texts."""
        return None

    def encode_one(self, texts: npt.NDArray[np.object_], codes: npt.NDArray[np.int64]) -> None:
        """Write one row's codes; there are none without texts."""
        return


def find_beginning(model: Model, ensemble: Node, n_numbers: int) -> Beginning:
    """Return how the ensemble's input comes from the model's inputs.

    Raises
    ------
    NotCoveredError
        If neither way leads there.
    """
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
    inputs = [item for item in model.inputs if item in needed]
    part = model.cut(nodes[::-1], [model.inputs[item] for item in inputs], [describe_matrix(name, kind)])
    return Session(open_part(part), name, inputs, n_numbers)


class Folded(Beginning):
    """Columns as short programs."""

    def __init__(self, encoding: Encoding, n_numbers: int) -> None:
        self.n_features, self.rounded = len(encoding.matrix.columns), encoding.rounded
        self._encoding = encoding
        self.program, self.arrays = _write_program(encoding, n_numbers)

    def read(self, feeds: Mapping[str, Array]) -> tuple[Array, npt.NDArray[np.int64] | None]:
        """Return rows of numbers, and codes of texts."""
        codes = self._encoding.encode(feeds["texts"]) if self._encoding.texts else None
        numbers = feeds["numbers"] if "numbers" in feeds else np.empty((0 if codes is None else len(codes), 0))
        return np.ascontiguousarray(numbers, np.float64), codes

    def new_codes(self) -> npt.NDArray[np.int64] | None:
        """Return room for one row's codes; None without texts."""
        return np.zeros((1, len(self._encoding.texts)), np.int64) if self._encoding.texts else None

    def encode_one(self, texts: npt.NDArray[np.object_], codes: npt.NDArray[np.int64]) -> None:
        """Write one row's codes."""
        for place, text in enumerate(self._encoding.texts):
            value = texts[0, text.column]
            code = text.codes.get(value, -1)
            if code < 0:
                value.encode()
                code = text.default
            codes[0, place] = code


class Session(Beginning):
    """Columns from ONNX Runtime."""

    def __init__(self, session: Any, name: str, inputs: Sequence[str], n_numbers: int) -> None:
        self._session, self._name, self._inputs = session, name, inputs
        shapes = {value.name: value.shape for value in session.get_inputs()}
        n_texts = shapes["texts"][1] if "texts" in shapes else 0
        if not isinstance(n_texts, int):
            raise NotCoveredError("texts")
        try:
            row, _ = self.read({"numbers": np.zeros((1, n_numbers)), "texts": np.full((1, n_texts), "", object)})
        except Exception as error:  # ONNX Runtime raises classes of its own
            raise NotCoveredError("beginning") from error
        self.n_features, self.rounded = row.shape[1], row.dtype == np.float32

    def read(self, feeds: Mapping[str, Array]) -> tuple[Array, None]:
        """Return rows as the ensemble takes them."""
        (rows,) = self._session.run([self._name], {name: feeds[name] for name in self._inputs})
        return np.ascontiguousarray(rows), None


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
