"""One ensemble: read from its node, checked and built in the shared object, and evaluated there."""

import ctypes
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlops_project.native.beginning import Beginning
from mlops_project.native.columns import NotCoveredError
from mlops_project.native.library import NO_MEMORY, OK, Library, Source, load_library
from mlops_project.native.onnx_file import Node

if TYPE_CHECKING:
    from mlops_project.native.images import Image, Images

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


class Ensemble:
    """An ensemble's sums for some rows.

    Parameters
    ----------
    beginning
        Makes its columns.
    divisor
        What sums are divided by, and then the largest is named; 0 leaves them as they are.
    images, number
        Where processes share what they have built, if they do, and which of the model's ensembles this is.

    Attributes
    ----------
    name
        Of the sums.
    n_targets, dtype
        Their width, and float64 or float32.
    shared_bytes
        What it takes of memory that other processes may have as well.

    Raises
    ------
    NotCoveredError, ValueError, KeyError
        If the shared object is not made for it.
    """

    def __init__(
        self,
        node: Node,
        beginning: Beginning,
        functions: Library,
        divisor: float,
        images: "Images | None" = None,
        number: int = 0,
    ) -> None:
        (self.name,) = node.outputs
        wide = node.tensor("leaf_weights").dtype == np.float64
        if not (wide or beginning.rounded):
            raise NotCoveredError("single precision")
        source = Source(
            n_targets=node.integer("n_targets", 1),
            n_features=beginning.n_features,
            wide=int(wide),
            single=int(beginning.rounded),
        )
        self.n_targets, self.dtype = int(source.n_targets), np.dtype(np.float64 if wide else np.float32)
        self.beginning, self._functions, self._divisor = beginning, functions, divisor
        self._handle, image = self._obtain(node, source, images, number)
        self.shared_bytes = 0 if image is None else image.n_bytes
        weakref.finalize(self, _leave, functions, self._handle, image)

    def _obtain(self, node: Node, source: Source, images: "Images | None", number: int) -> "tuple[int, Image | None]":
        """Return the ensemble, and the image that it is in, if it is in one."""
        if images is None:
            return self._build(node, source), None
        shared = self._open(source, images.open(number))
        if shared is None:
            own = self._build(node, source)
            n_bytes, write = self._functions.image_bytes(own), self._functions.write_image
            shared = self._open(source, images.keep(number, n_bytes, lambda address: write(own, address)))
            if shared is None:
                return own, None
            self._functions.free(own)
        return shared

    def _build(self, node: Node, source: Source) -> int:
        arrays = _read_ensemble(node, source, self._functions)
        handle = self._call(self._functions.build, ctypes.byref(source))
        del arrays  # the shared object has copied them
        if handle is None:
            raise NotCoveredError("ensemble")
        return handle

    def _open(self, source: Source, image: "Image | None") -> "tuple[int, Image] | None":
        """Return the ensemble of an image, and the image; None if there is none, or it is damaged."""
        if image is None:
            return None
        handle = self._call(self._functions.open_image, image.address, image.n_bytes, ctypes.byref(source))
        if handle is None:
            image.close()
        return None if handle is None else (handle, image)

    def _call(self, build: Any, *given: Any) -> int | None:
        """Return what is built; None if it is refused."""
        program, handle = self.beginning.program, ctypes.c_void_p()
        pointer = None if program is None else ctypes.byref(program)
        status = build(*given, pointer, self._divisor, ctypes.byref(handle))
        if status == NO_MEMORY:
            raise MemoryError
        return handle.value if status == OK else None

    def new_sums(self, n_rows: int) -> Array:
        """Return room for sums ``(n_rows, n_targets)``."""
        return np.empty((n_rows, self.n_targets), self.dtype)

    def evaluate(self, rows: Array, codes: Array | None, sums: Array, labels: Array | None) -> None:
        """Write the sums, and labels where there is room for them, of rows that the beginning has read.

        Raises
        ------
        MemoryError
            If the rows do not fit.
        """
        run = self._functions.run_quickly if len(rows) <= FEW_ROWS else self._functions.run
        status = run(self._handle, _address(rows), _address(codes), len(rows), _address(sums), _address(labels))
        if status == NO_MEMORY:
            raise MemoryError
        if status != OK:
            raise RuntimeError(f"the trees were not evaluated: {status}")

    def bind(self, row: Array, codes: Array | None, sums: Array, labels: Array | None) -> tuple[Any, tuple[int | None, ...]]:
        """Return the function, and its arguments, that evaluates one row in the same memory each time."""
        return self._functions.run_quickly, (
            *(self._handle, _address(row), _address(codes), 1),
            *(_address(sums), _address(labels)),
        )


def _leave(functions: Library, handle: int, image: "Image | None") -> None:
    functions.free(handle)
    if image is not None:
        image.close()


def _address(array: Array | None) -> int | None:
    return None if array is None else array.ctypes.data


def _read_ensemble(node: Node, source: Source, functions: Library) -> tuple[Array, ...]:
    """Let the source point to the node's attributes; return the arrays that hold them."""
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
    source.n_nodes, source.n_leaves, source.n_trees = len(splits), len(weights), len(arrays["roots"])
    for name, values in {**arrays, "split": splits, "weight": weights}.items():
        setattr(source, name, values.ctypes.data)
    source.strict = int(mode == BRANCH_LT)
    return *arrays.values(), splits, weights


def read_integers(node: Node, name: str) -> npt.NDArray[np.int64]:
    """Return an attribute that is a list of integers, empty if it is not there; quickly where the shared object is.

    Raises
    ------
    ValueError
        If it does not decode.
    """
    functions = load_library()
    if functions is None:
        return np.array(node.integers(name) if name in node.attributes else [], np.int64)
    return _read_integers(node.attributes.get(name), functions)


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
