"""A small ONNX graph builder: names are counters, so the same model gives the same bytes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, ModelProto, TensorProto, checker, helper, numpy_helper

from mlops_project.errors import ExportError

OPSET = 18  # ai.onnx
ML_OPSET = 5  # ai.onnx.ml; the first with a TreeEnsemble in double
IR_VERSION = 9
MAX_BYTES = 2**31 - 1  # protobuf's limit
ML = "ai.onnx.ml"

DOUBLE, FLOAT, INT64, STRING = (
    int(kind) for kind in (TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING)
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
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, operator: str, *inputs: str, domain: str = "", output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the output's name; integer arrays may be attributes."""
        name = output or f"v{len(self._graph.node)}"
        node = self._graph.node.add(op_type=operator, input=inputs, output=[name], domain=domain)
        for key, value in sorted(attributes.items()):
            if isinstance(value, np.ndarray):  # helper.make_attribute makes a list of it, at 40 bytes a number
                node.attribute.add(name=key, type=AttributeProto.INTS).ints.extend(value.data)
            else:
                node.attribute.append(helper.make_attribute(key, value))
        return name

    def constant(self, values: npt.ArrayLike, dtype: Any = np.float64) -> str:
        """Add an array, once for equal ones, and return its name."""
        array = np.asarray(values, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"c{len(self._constants)}"
            self._graph.initializer.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def cast(self, value: str, to: int) -> str:
        """Cast to an ONNX element type."""
        return self.add("Cast", value, to=to)

    def columns(self, value: str, indices: list[int]) -> str:
        """Take columns of a matrix."""
        return self.add("Gather", value, self.constant(indices, np.int64), axis=1)

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
        n_bytes = self._model.ByteSize()
        if n_bytes > MAX_BYTES:
            raise ExportError(
                f"the exported model would be {n_bytes / 1e9:.1f} GB, and ONNX files end at {MAX_BYTES / 1e9:.1f} GB; "
                "train fewer or smaller trees (n_estimators, max_depth, min_samples_leaf)"
            )
        written = bytes(self._model.SerializeToString(deterministic=True))
        checker.check_model(written)  # the model itself would be written once more
        return written
