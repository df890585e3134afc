"""What stands before an ensemble in a graph, as one short program per column, where that is exact and simple.

A column comes from a number by a few operations on single values, or from a text by a table. IEEE 754 defines each of these
operations to the last bit, so whoever computes them gets the same.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.native import library
from mlops_project.native.onnx_file import DOUBLE, FLOAT, Model, Node

Step = tuple[int, float]  # operation, constant
ARITHMETIC = {"Sub": library.SUBTRACT, "Div": library.DIVIDE, "Mul": library.MULTIPLY, "Add": library.ADD}
COMPUTE: dict[int, Any] = {
    library.SUBTRACT: np.subtract,
    library.DIVIDE: np.divide,
    library.MULTIPLY: np.multiply,
    library.ADD: np.add,
    library.FILL: lambda values, constant: np.where(np.isnan(values), constant, values),
    library.SINGLE_PRECISION: lambda values, _: values.astype(np.float32).astype(np.float64),
}


class NotCoveredError(Exception):
    """The graph holds something that is left to ONNX Runtime."""


@dataclass(frozen=True)
class Column:
    """One column of the ensemble's input.

    Attributes
    ----------
    number, steps
        A number's column, and what is done to it, in order.
    text, table
        Otherwise the text's column, and the value for each of its codes, float64.
    """

    number: int = -1
    steps: tuple[Step, ...] = ()
    text: int = -1
    table: npt.NDArray[np.float64] | None = None

    @property
    def rounded(self) -> bool:
        """Whether every value is one of float32."""
        if self.table is None:
            return bool(self.steps) and self.steps[-1][0] == library.SINGLE_PRECISION
        return bool((self.table.astype(np.float32) == self.table)[~np.isnan(self.table)].all())

    def then(self, operation: int, constant: float) -> "Column":
        """Return the column after one more operation."""
        if self.table is None:
            return replace(self, steps=(*self.steps, (operation, constant)))
        with np.errstate(all="ignore"):
            return replace(self, table=COMPUTE[operation](self.table, constant))


@dataclass(frozen=True)
class Matrix:
    """Columns side by side; ``single`` if they are float32."""

    columns: tuple[Column, ...]
    single: bool = False


@dataclass(frozen=True)
class Text:
    """A column of texts, once it is a code for each of some."""

    column: int
    codes: dict[str, int]
    default: int


@dataclass(frozen=True)
class Encoding:
    """How an ensemble's input is made.

    Attributes
    ----------
    matrix
        Its columns.
    texts
        Those of the text columns that are used.
    """

    matrix: Matrix
    texts: tuple[Text, ...]

    @property
    def rounded(self) -> bool:
        """Whether every value is one of float32, whatever its type is."""
        return all(column.rounded for column in self.matrix.columns)

    def encode(self, texts: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Return codes ``(n_rows, n_texts)`` of str objects ``(n_rows, n)``.

        Raises
        ------
        UnicodeEncodeError
            If a text is none, as ONNX Runtime's strings are UTF-8.
        """
        codes = np.empty((len(texts), len(self.texts)), np.int64)
        for place, text in enumerate(self.texts):
            values = texts[:, text.column].tolist()
            known = text.codes.get
            found = [known(value, -1) for value in values]
            if -1 in found:
                strange = {value for value, code in zip(values, found, strict=True) if code < 0}
                for value in strange:
                    value.encode()
                found = [text.default if code < 0 else code for code in found]
            codes[:, place] = found
        return codes


def fold(model: Model, name: str, n_numbers: int) -> Encoding:
    """Follow a value back to the model's inputs.

    Parameters
    ----------
    name
        The ensemble's input.
    n_numbers
        How many columns ``numbers`` has.

    Raises
    ------
    NotCoveredError
        If there is anything on the way that is no such program.
    """
    folding = _Folding(model, n_numbers)
    matrix = folding.matrix(name)
    return Encoding(matrix, tuple(folding.texts))


class _Folding:
    def __init__(self, model: Model, n_numbers: int) -> None:
        self._model, self._makers = model, model.makers
        self._inputs = Matrix(tuple(Column(number=number) for number in range(n_numbers)))
        self._known: dict[str, Matrix] = {}
        self.texts: list[Text] = []

    def matrix(self, name: str) -> Matrix:
        """Return a value as columns."""
        if name == "numbers":
            return self._inputs
        if name not in self._known:
            node = self._makers.get(name)
            if node is None or node.domain or node.operation not in OPERATIONS:
                raise NotCoveredError(name)
            self._known[name] = OPERATIONS[node.operation](self, node)
        return self._known[name]

    def _constant(self, name: str) -> npt.NDArray[Any]:
        values = self._model.constant(name)
        if values is None:
            raise NotCoveredError(name)
        return values

    def _rename(self, node: Node) -> Matrix:
        return self.matrix(node.inputs[0])

    def _cast(self, node: Node) -> Matrix:
        matrix, kind = self.matrix(node.inputs[0]), node.integer("to", 0)
        if kind == FLOAT:
            return Matrix(tuple(column.then(library.SINGLE_PRECISION, 0.0) for column in matrix.columns), single=True)
        if kind == DOUBLE:
            return Matrix(matrix.columns)
        raise NotCoveredError("Cast")

    def _join(self, node: Node) -> Matrix:
        parts = [self.matrix(name) for name in node.inputs]
        if node.integer("axis", 0) != 1 or len({part.single for part in parts}) != 1:
            raise NotCoveredError("Concat")
        return Matrix(tuple(column for part in parts for column in part.columns), parts[0].single)

    def _gather(self, node: Node) -> Matrix:
        source, chosen = node.inputs
        if source in self._model.constants:
            return self._look_up(node)
        matrix, places = self.matrix(source), self._constant(chosen)
        if node.integer("axis", 0) != 1 or places.ndim != 1 or not ((places >= 0) & (places < len(matrix.columns))).all():
            raise NotCoveredError("Gather")
        return Matrix(tuple(matrix.columns[place] for place in places), matrix.single)

    def _look_up(self, node: Node) -> Matrix:
        """Read a table's row for each code: one-hot columns, ordinals, means of a category."""
        table, encoder = self._constant(node.inputs[0]), self._makers.get(node.inputs[1])
        if encoder is None or encoder.operation != "LabelEncoder" or node.integer("axis", 0) or table.ndim != 2:
            raise NotCoveredError("Gather")
        place = self._read_text(encoder)
        codes = [self.texts[place].default, *self.texts[place].codes.values()]
        if min(codes) < 0 or max(codes) >= len(table) or table.dtype.kind != "f":
            raise NotCoveredError("Gather")
        values = table.astype(np.float64)
        return Matrix(
            tuple(Column(text=place, table=values[:, column]) for column in range(values.shape[1])),
            single=table.dtype == np.float32,
        )

    def _read_text(self, encoder: Node) -> int:
        gather = self._makers.get(encoder.inputs[0])
        if gather is None or gather.operation != "Gather" or gather.inputs[0] != "texts" or gather.integer("axis", 0) != 1:
            raise NotCoveredError("LabelEncoder")
        place = self._constant(gather.inputs[1])
        if place.ndim or not {"keys_strings", "values_int64s"} <= set(encoder.attributes):
            raise NotCoveredError("LabelEncoder")
        keys, values = encoder.strings("keys_strings"), encoder.integers("values_int64s")
        text = Text(int(place), dict(zip(keys, values, strict=True)), encoder.integer("default_int64", -1))
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def _fill(self, node: Node) -> Matrix:
        """Fill missing values with constants."""
        asked, fill, source = node.inputs
        test = self._makers.get(asked)
        if test is None or test.operation != "IsNaN" or test.inputs[0] != source:
            raise NotCoveredError("Where")
        return self._apply(library.FILL, self.matrix(source), self._constant(fill))

    def _calculate(self, node: Node) -> Matrix:
        first, second = node.inputs
        if first in self._model.constants and node.operation in ("Mul", "Add"):
            first, second = second, first
        return self._apply(ARITHMETIC[node.operation], self.matrix(first), self._constant(second))

    def _apply(self, operation: int, matrix: Matrix, constants: npt.NDArray[Any]) -> Matrix:
        width = len(matrix.columns)
        if matrix.single or constants.dtype != np.float64 or constants.shape not in ((), (1,), (width,), (1, width)):
            raise NotCoveredError("arithmetic")
        each = np.broadcast_to(constants.reshape(-1), width)
        return Matrix(tuple(column.then(operation, float(value)) for column, value in zip(matrix.columns, each, strict=True)))


OPERATIONS = {
    "Identity": _Folding._rename,
    "Cast": _Folding._cast,
    "Concat": _Folding._join,
    "Gather": _Folding._gather,
    "Where": _Folding._fill,
    **dict.fromkeys(ARITHMETIC, _Folding._calculate),
}
