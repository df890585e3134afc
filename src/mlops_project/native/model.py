"""A model whose tree ensemble is evaluated by the shared object, and what stands around it by ONNX Runtime where need be."""

import contextlib
import ctypes
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.native.beginning import find_beginning
from mlops_project.native.columns import NotCoveredError
from mlops_project.native.ending import find_ending
from mlops_project.native.library import NO_MEMORY, OK, Library, Source, load_library
from mlops_project.native.onnx_file import Model, Node, read_model

Array = npt.NDArray[Any]
FEW_ROWS = 64  # evaluated while other threads wait: that takes less time than letting them run
INTEGERS = {
    "roots": "tree_roots",
    "feature": "nodes_featureids",
    "true_node": "nodes_truenodeids",
    "false_node": "nodes_falsenodeids",
    "true_leaf": "nodes_trueleafs",
    "false_leaf": "nodes_falseleafs",
    "missing_true": "nodes_missing_value_tracks_true",
    "leaf_target": "leaf_targetids",
}
BRANCH_LEQ, BRANCH_LT = 0, 1  # of nodes_modes
AGGREGATE_SUM, POST_TRANSFORM_NONE = 1, 0


def open_trees(message: memoryview, n_numbers: int) -> "TreeModel | None":
    """Return a model that is evaluated by the shared object; None if that is not there, or the model is not made for it.

    Parameters
    ----------
    message
        The ONNX model.
    n_numbers
        How many columns its input ``numbers`` has.
    """
    functions = load_library()
    if functions is None:
        return None
    with contextlib.suppress(NotCoveredError, ValueError, KeyError, StopIteration):
        return TreeModel(read_model(message), functions, n_numbers)
    return None


class TreeModel:
    """A model with one ensemble; it is asked as a session of ONNX Runtime is, and by several threads at once.

    Attributes
    ----------
    properties
        The model's metadata.
    inputs
        Names of its inputs.

    Raises
    ------
    NotCoveredError, ValueError, KeyError
        If the model is not made for it.
    """

    def __init__(self, model: Model, functions: Library, n_numbers: int) -> None:
        if not set(model.inputs) <= {"numbers", "texts"}:
            raise NotCoveredError("inputs")
        (node,) = [node for node in model.nodes if node.operation == "TreeEnsemble"]
        self.properties, self.inputs = model.properties, list(model.inputs)
        source, arrays = _read_ensemble(node, functions)
        wide = bool(source.wide)
        self._beginning = find_beginning(model, node, n_numbers, wide=wide)
        self._ending = find_ending(model, node, wide=wide)
        self._functions, self._n_targets, self._sums = (
            functions,
            int(source.n_targets),
            np.dtype(np.float64 if wide else np.float32),
        )
        self._n_numbers = n_numbers
        if not (wide or self._beginning.rounded):
            raise NotCoveredError("single precision")
        source.n_features, source.single = self._beginning.n_features, int(self._beginning.rounded)
        self._handle = self._build(source)
        del arrays  # the shared object has copied them
        weakref.finalize(self, functions.free, self._handle)

    def _build(self, source: Source) -> int | None:
        program, handle = self._beginning.program, ctypes.c_void_p()
        pointer = None if program is None else ctypes.byref(program)
        status = self._functions.build(ctypes.byref(source), pointer, self._ending.divisor, ctypes.byref(handle))
        if status == NO_MEMORY:
            raise MemoryError
        if status != OK:
            raise NotCoveredError("ensemble")
        return handle.value

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Return the outputs for some rows, as ONNX Runtime's sessions do.

        Raises
        ------
        UnicodeEncodeError
            If a text is none.
        MemoryError
            If the rows do not fit.
        """
        rows, codes = self._beginning.read(feeds)
        n_rows = len(rows)
        sums = np.empty((n_rows, self._n_targets), self._sums)
        labels = np.empty(n_rows, np.int64) if self._ending.labels else None
        run = self._functions.run_quickly if n_rows <= FEW_ROWS else self._functions.run
        status = run(self._handle, _address(rows), _address(codes), n_rows, _address(sums), _address(labels))
        if status == NO_MEMORY:
            raise MemoryError
        if status != OK:
            raise RuntimeError(f"the trees were not evaluated: {status}")
        return self._ending.conclude(outputs, sums, labels)

    @property
    def can_bind(self) -> bool:
        """Whether one row can be answered in memory that is bound once."""
        return self._beginning.program is not None

    def bind(self, row: Array, outputs: dict[str, Array]) -> Callable[[npt.NDArray[np.object_]], None]:
        """Return what answers one row, for one thread at a time.

        Parameters
        ----------
        row
            float64 ``(1, n_numbers)``, read whenever it is called.
        outputs
            Where it writes: ``label`` and ``probabilities``, or ``value``.
        """
        answer = outputs["probabilities"] if "probabilities" in outputs else outputs["value"]
        direct = self._ending.session is None and answer.dtype == self._sums
        sums = answer if direct else np.zeros((1, self._n_targets), self._sums)
        codes = self._beginning.new_codes()
        arguments = self._handle, _address(row), _address(codes), 1, _address(sums), _address(outputs.get("label"))
        run, encode, end = self._functions.run_quickly, self._beginning.encode_one, self._ending.bind(sums, outputs)

        def compute(texts: npt.NDArray[np.object_]) -> None:
            if codes is not None:
                encode(texts, codes)
            if run(*arguments):
                raise MemoryError
            if end is not None:
                end()

        return compute


def _address(array: Array | None) -> int | None:
    return None if array is None else array.ctypes.data


def _read_ensemble(node: Node, functions: Library) -> tuple[Source, tuple[Array, ...]]:
    """Return the node's attributes, and the arrays that they point to."""
    if node.integer("aggregate_function", AGGREGATE_SUM) != AGGREGATE_SUM:
        raise NotCoveredError("aggregate_function")
    if node.integer("post_transform", POST_TRANSFORM_NONE) != POST_TRANSFORM_NONE or "membership_values" in node.attributes:
        raise NotCoveredError("post_transform")
    splits, weights = node.tensor("nodes_splits"), node.tensor("leaf_weights")
    (mode,) = np.unique(node.tensor("nodes_modes"))
    if mode not in (BRANCH_LEQ, BRANCH_LT) or splits.dtype != weights.dtype or splits.dtype.kind != "f":
        raise NotCoveredError("nodes_modes")
    arrays = {name: _read_integers(node.attributes.get(attribute), functions) for name, attribute in INTEGERS.items()}
    if not len(arrays["missing_true"]):
        arrays["missing_true"] = np.zeros(len(splits), np.int64)
    per_node = {len(values) for name, values in arrays.items() if name not in ("roots", "leaf_target")}
    if per_node != {len(splits)} or len(arrays["leaf_target"]) != len(weights):
        raise NotCoveredError("lengths")
    source = Source(
        n_nodes=len(splits), n_leaves=len(weights), n_trees=len(arrays["roots"]), n_targets=node.integer("n_targets", 1)
    )
    for name, values in {**arrays, "split": splits, "weight": weights}.items():
        setattr(source, name, values.ctypes.data)
    source.wide, source.strict = int(splits.dtype == np.float64), int(mode == BRANCH_LT)
    return source, (*arrays.values(), splits, weights)


def _read_integers(attribute: memoryview | None, functions: Library) -> npt.NDArray[np.int64]:
    if attribute is None:
        return np.empty(0, np.int64)
    message = np.frombuffer(attribute, np.uint8)
    count = functions.read_integers(message.ctypes.data, len(message), None, 0)
    if count < 0:
        raise ValueError("an attribute does not decode")
    values = np.empty(count, np.int64)
    functions.read_integers(message.ctypes.data, len(message), values.ctypes.data, count)
    return values
