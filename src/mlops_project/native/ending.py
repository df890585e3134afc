"""What a graph makes of an ensemble's sums: means and the class of the largest at once, anything else in ONNX Runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.native.columns import NotCoveredError
from mlops_project.native.onnx_file import DOUBLE, FLOAT, Model, Node, describe_matrix
from mlops_project.native.parts import open_part
from mlops_project.onnx_session import BoundSession

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Ending:
    """How answers come from sums.

    Attributes
    ----------
    divisor
        What sums are divided by; 0 if they are left as they are.
    labels
        Whether the class of the largest is asked for.
    sums, session
        Name of the sums in the session that makes the answers; without a session they are the answers.
    """

    divisor: float = 0.0
    labels: bool = False
    sums: str = ""
    session: Any = None

    def conclude(self, outputs: Sequence[str], sums: Array, labels: Array | None) -> list[Array]:
        """Return the outputs that are asked for."""
        if self.session is not None:
            return list(self.session.run(list(outputs), {self.sums: sums}))
        return [sums.astype(np.float64, copy=False)] if labels is None else [labels, sums]

    def bind(self, sums: Array, outputs: dict[str, Array]) -> Callable[[], None] | None:
        """Return what makes answers of sums that are always in the same memory; None if they are the answers."""
        if self.session is not None:
            return BoundSession(self.session, {self.sums: sums}, outputs).run
        value = outputs.get("value")
        return None if value is None or value is sums else lambda: np.copyto(value, sums)


def find_ending(model: Model, ensemble: Node, *, wide: bool) -> Ending:
    """Return how the model's outputs come from an ensemble's sums.

    Raises
    ------
    NotCoveredError
        If they need anything else as well.
    """
    (sums,) = ensemble.outputs
    short = _find_short(model, sums, wide=wide)
    if short is not None:
        return short
    values, nodes = {sums}, []
    for node in model.nodes:
        if node is not ensemble and values & set(node.inputs):
            nodes.append(node)
            values |= set(node.outputs)
    others = {name for node in nodes for name in node.inputs if name} - values - set(model.constants)
    if others or not set(model.outputs) <= values:
        raise NotCoveredError("ending")
    part = model.cut(nodes, [describe_matrix(sums, DOUBLE if wide else FLOAT)], model.outputs.values())
    return Ending(sums=sums, session=open_part(part))


def _find_short(model: Model, sums: str, *, wide: bool) -> Ending | None:
    makers = model.makers

    def behind(name: str, operation: str) -> Node | None:
        """Return the node that makes a value, past those that only rename it, if it is this operation."""
        while name in makers and makers[name].operation == "Identity":
            name = makers[name].inputs[0]
        node = makers.get(name)
        return node if node is not None and node.operation == operation and not node.domain else None

    def named(name: str) -> str:
        while name in makers and makers[name].operation == "Identity":
            name = makers[name].inputs[0]
        return name

    answer = next((name for name in ("probabilities", "value") if name in model.outputs), "")
    if not wide:
        cast = behind(answer, "Cast")
        plain = answer == "value" and cast is not None and cast.inputs[0] == sums and cast.integer("to", 0) == DOUBLE
        return Ending() if plain else None
    division = behind(answer, "Div")
    divisor = 1.0
    if division is not None and division.inputs[0] == sums:
        constant = model.constant(division.inputs[1])
        if constant is None or constant.size != 1 or constant.dtype != np.float64 or not constant.reshape(-1)[0]:
            return None
        divisor = float(constant.reshape(-1)[0])
    elif named(answer) != sums:
        return None
    if answer == "value":
        return Ending(divisor)
    largest = behind("label", "ArgMax")
    if largest is None or named(largest.inputs[0]) != named(answer):
        return None
    asked = largest.integer("axis", 0), largest.integer("keepdims", 1), largest.integer("select_last_index", 0)
    return Ending(divisor, labels=True) if asked == (1, 0, 0) else None
