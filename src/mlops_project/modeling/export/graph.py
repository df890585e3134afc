"""A small ONNX graph builder: names are counters, so the same model gives the same bytes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, checker, helper, numpy_helper

from mlops_project.errors import ExportError
from mlops_project.names import show
from mlops_project.runtime import CHUNK_ROWS, ROWS_AT_ONCE, WORD_RULES
from mlops_project.words import WordRule, write_rules

OPSET = 18  # ai.onnx
TEXT_OPSET = 20  # the first with StringSplit; for models that read words
ML_OPSET = 5  # ai.onnx.ml; the first with a TreeEnsemble in double
IR_VERSION = 9
MAX_BYTES = 2**31 - 1  # protobuf's limit
ML = "ai.onnx.ml"
AT_ONCE = 2**24  # float64 numbers that a step may hold for all rows of one run: 128 MiB

DOUBLE, FLOAT, INT64, STRING, BOOL = (
    int(kind) for kind in (TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL)
)


class Graph:
    """Nodes and constants in the order in which they are added.

    They are written into the model at once: a forest's node can be half a gigabyte, and ``helper.make_model`` copies it thrice.
    """

    def __init__(self) -> None:
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        self._model = ModelProto(ir_version=IR_VERSION, opset_import=opsets, producer_name="mlops_project")
        self._graph = self._model.graph
        self._graph.name = "mlops_project"
        self._part = self._graph  # where nodes and constants go: the body of a loop while that is written
        self._prefix = ""
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._added: dict[tuple[Any, ...], str] = {}
        self.rounds = False  # whether a step before the last one differs from the library's by last digits
        self.rounds_anywhere = False  # the same, the last one included
        self.answer_rounds = False  # whether the estimator that was added last does so by itself
        self.divides = False  # whether probabilities are divided by their sum, which may be very small
        self._place: list[str] = []
        self._refusals: list[str] = []
        self._ties: list[str] = []
        self.tie_reasons: tuple[str, ...] = ()
        self._widest = 0
        self._rules: list[WordRule] = []

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Say which step is being exported: errors name its place, such as ``pipeline.features.numbers``."""
        self._place.append(show(name))
        try:
            yield
        finally:
            self._place.pop()

    @property
    def place(self) -> str:
        """Where the step that is being exported stands."""
        return ".".join(self._place)

    def refuse_rows(self, value: str) -> None:
        """Give no answer to rows of ``(n_rows, n)`` with a NaN or an infinity, as the pipeline does."""
        if value not in self._refusals:
            self._refusals.append(value)

    def note_tie(self, value: str, step: str, said: str) -> None:
        """Say in which rows the library's answer depends on its search or on last digits, and why.

        Parameters
        ----------
        value
            ``(n_rows, 1)``, 1 there, else 0.
        step, said
            Its class, and what to tell somebody who has many such rows.
        """
        self._ties.append(value)
        reason = f"{self.place}.{step}: {said}"
        self.tie_reasons += () if reason in self.tie_reasons else (reason,)

    def ties(self) -> str | None:
        """Return how many steps see a tie in each row, ``(n_rows, 1)``; None if no step can have one."""
        if not self._ties:
            return None
        return self._ties[0] if len(self._ties) == 1 else self.column_sum(self.add("Concat", *self._ties, axis=1))

    def with_refusals(self, answer: str) -> str:
        """Return the answer with NaN in the rows that are refused; the others keep every bit."""
        for value in self._refusals:
            zeros = self.add("Mul", value, self.constant(0.0))
            answer = self.add("Add", answer, self.column_sum(zeros))
        return answer

    def add(self, operator: str, *inputs: str, domain: str = "", output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output, once for equal ones, and return the output's name; integer arrays may be attributes."""
        given = tuple(sorted(attributes.items()))
        key = (operator, domain, *inputs, *given) if all(isinstance(value, int | float | str) for _, value in given) else None
        if output is None and key in self._added:
            return self._added[key]
        name = output or self._new_name()
        if output is None and key is not None:
            self._added[key] = name
        if domain and domain not in (item.domain for item in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid(domain, 1))
        node = self._part.node.add(op_type=operator, input=inputs, output=[name], domain=domain)
        for attribute, value in given:
            if isinstance(value, np.ndarray):  # helper.make_attribute makes a list of it, at 40 bytes a number
                node.attribute.add(name=attribute, type=AttributeProto.INTS).ints.extend(value.data)
            else:
                node.attribute.append(helper.make_attribute(attribute, value))
        return name

    def _new_name(self) -> str:
        return f"{self._prefix}v{len(self._part.node)}"

    def constant(self, values: npt.ArrayLike, dtype: Any = np.float64) -> str:
        """Add an array, once for equal ones, and return its name."""
        array = np.asarray(values, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"{self._prefix}c{len(self._constants)}"
            self._part.initializer.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def text(self, value: str) -> str:
        """Add one text, ``(1, 1)``, and return its name."""
        key = ("text", (1, 1), value.encode())
        if key not in self._constants:
            name = f"{self._prefix}c{len(self._constants)}"
            self._part.initializer.append(numpy_helper.from_array(np.array([[value]], dtype=object), name))
            self._constants[key] = name
        return self._constants[key]

    def split_words(self, rule: WordRule) -> str:
        """Return the words of a text column, ``(n_rows, n_words)``: the runtime finds them, the graph takes them apart."""
        if rule not in self._rules:
            self._rules.append(rule)
        words = self.vector(self.columns("words", [self._rules.index(rule)]))
        name = self._new_name()
        node = self._part.node.add(op_type="StringSplit", input=[words], output=[name, f"{name}_count"])
        node.attribute.append(helper.make_attribute("delimiter", " "))
        return name

    @property
    def n_word_columns(self) -> int:
        """How many columns of words the model reads beside numbers and texts."""
        return len(self._rules)

    def needs_columns(self, n_columns: int) -> None:
        """Say how many float64 numbers a row takes on its way: many let fewer rows be computed at once."""
        self._widest = max(self._widest, n_columns)

    def cast(self, value: str, to: int) -> str:
        """Cast to an ONNX element type."""
        return self.add("Cast", value, to=to)

    def columns(self, value: str, indices: list[int]) -> str:
        """Take columns of a matrix."""
        return self.add("Gather", value, self.constant(indices, np.int64), axis=1)

    def lookup(self, column: str, keys: npt.ArrayLike, values: npt.ArrayLike, default: float) -> str:
        """Return each number's value by an exact comparison with the keys; NaN may be one. Float64 in and out."""
        pairs = {"keys_tensor": keys, "values_tensor": values, "default_tensor": [default]}
        tensors = {name: numpy_helper.from_array(np.asarray(array, np.float64), name) for name, array in pairs.items()}
        return self.add("LabelEncoder", column, domain=ML, **tensors)

    def nan_where_infinite(self, value: str) -> str:
        """Return NaN where a number is infinite, 0 elsewhere."""
        nothing = self.constant(0.0)
        return self.add("Where", self.add("IsInf", value), self.constant(np.nan), nothing)

    def full(self, like: str, row: npt.ArrayLike) -> str:
        """Return a row of numbers once for each row of ``like``."""
        n_rows = self.add("Shape", like, start=0, end=1)
        shape = self.add("Concat", n_rows, self.constant([1], np.int64), axis=0)
        return self.add("Expand", self.constant(np.atleast_2d(np.asarray(row, np.float64))), shape)

    def column_sum(self, value: str) -> str:
        """Return each row's sum, ``(n_rows, 1)``."""
        return self.add("ReduceSum", value, self.constant([1], np.int64), keepdims=1)

    def sorted_positions(self, value: str, width: int) -> str:
        """Return the positions that sort each row of ``(n_rows, width)``, smallest first; equal ones stay in order."""
        name = self._new_name()
        values = self._part.node.add(
            op_type="TopK", input=[value, self.constant([width], np.int64)], output=[f"{name}_sorted", name]
        )
        for key, number in (("axis", 1), ("largest", 0), ("sorted", 1)):
            values.attribute.append(helper.make_attribute(key, number))
        return name

    def vector(self, value: str) -> str:
        """Turn ``(n_rows, 1)`` into ``(n_rows,)``."""
        return self.add("Squeeze", value, self.constant([1], np.int64))

    def repeat(self, most: int, start: Sequence[str], step: Callable[[Sequence[str]], tuple[str, Sequence[str]]]) -> list[str]:
        """Repeat a step until no row goes on, and return the last values.

        Parameters
        ----------
        most
            Repetitions at most.
        start
            float64 ``(n_rows, n)``, the values that the first step gets.
        step
            Adds one step: values → what is 0 if no row goes on, float64 ``()``, and as many values for the next. It stands
            by itself, and uses nothing of the graph but what it is given: the trees' own engine cuts graphs.
        """
        name, outer = self._new_name(), (self._part, self._prefix, self._constants, self._added)
        self._part, self._prefix, self._constants, self._added = GraphProto(name="step"), f"{name}_", {}, {}
        given = [f"{name}_in{place}" for place in range(len(start))]
        going, results = step(given)
        going = self.cast(going, BOOL)
        results = [self.add("Identity", value, output=self._new_name()) for value in results]
        body = self._part
        self._part, self._prefix, self._constants, self._added = outer
        body.input.append(helper.make_tensor_value_info(f"{name}_count", INT64, []))
        body.input.append(helper.make_tensor_value_info(f"{name}_go", BOOL, []))
        body.output.append(helper.make_tensor_value_info(going, BOOL, []))
        for side, values in ((body.input, given), (body.output, results)):
            side.extend(helper.make_tensor_value_info(value, DOUBLE, [None, None]) for value in values)
        outputs = [f"{name}_{place}" for place in range(len(start))]
        limits = self.constant(most, np.int64), self.constant(True, np.bool_)
        node = self._part.node.add(op_type="Loop", input=[*limits, *start], output=outputs)
        node.attribute.append(helper.make_attribute("body", body))
        return outputs

    def split_points(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the columns and thresholds ``(n_splits,)`` of all trees added so far."""
        columns, thresholds = [np.empty(0, np.int64)], [np.empty(0)]
        for node in self._graph.node:
            if node.op_type == "TreeEnsemble":
                attributes = {attribute.name: attribute for attribute in node.attribute}
                columns.append(np.asarray(attributes["nodes_featureids"].ints, np.int64))
                thresholds.append(numpy_helper.to_array(attributes["nodes_splits"].t).astype(np.float64))
        return np.concatenate(columns), np.concatenate(thresholds)

    def build(self, inputs: Mapping[str, tuple[int, int]], outputs: Mapping[str, tuple[int, int | None]]) -> bytes:
        """Close the graph and return the model; the same nodes give the same bytes.

        Parameters
        ----------
        inputs
            Name → (element type, columns); inputs without columns are left out.
        outputs
            Name → (element type, columns, or None for a vector).
        """
        taken = {name: (kind, [None, width]) for name, (kind, width) in inputs.items() if width}
        given = {name: (kind, [None] if width is None else [None, width]) for name, (kind, width) in outputs.items()}
        for side, values in ((self._graph.input, taken), (self._graph.output, given)):
            side.extend(helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in values.items())
        properties = {}
        if self._widest > AT_ONCE // CHUNK_ROWS:
            properties[ROWS_AT_ONCE] = str(max(1, AT_ONCE // self._widest))
        if self._rules:
            properties[WORD_RULES] = write_rules(self._rules)
            self._model.opset_import[0].version = TEXT_OPSET
        helper.set_model_props(self._model, properties)
        n_bytes = self._model.ByteSize()
        if n_bytes > MAX_BYTES:
            raise ExportError(
                f"the exported model would be {n_bytes / 1e9:.1f} GB, and ONNX files end at {MAX_BYTES / 1e9:.1f} GB; "
                "train fewer or smaller trees (n_estimators, max_depth, min_samples_leaf)"
            )
        written = bytes(self._model.SerializeToString(deterministic=True))
        checker.check_model(written)  # the model itself would be written once more
        return written
