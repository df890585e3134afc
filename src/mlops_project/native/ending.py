"""What a graph makes of an ensemble's sums: means and the class of the largest at once, anything else in ONNX Runtime."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
    inputs, session
        What the session reads that makes the answers; without a session the sums are the answers.
    """

    divisor: float = 0.0
    labels: bool = False
    inputs: tuple[str, ...] = ()
    session: Any = None

    def conclude(
        self, outputs: Sequence[str], sums: Mapping[str, Array], labels: Array | None, known: Mapping[str, Array]
    ) -> list[Array]:
        """Return the outputs that are asked for."""
        if self.session is not None:
            values = {**known, **sums}
            return list(self.session.run(list(outputs), {name: values[name] for name in self.inputs}))
        (answer,) = sums.values()
        return [answer.astype(np.float64, copy=False)] if labels is None else [labels, answer]

    def bind(
        self, sums: Mapping[str, Array], known: Mapping[str, Array], outputs: dict[str, Array]
    ) -> Callable[[], None] | None:
        """Return what makes answers of sums that are always in the same memory; None if they are the answers."""
        if self.session is not None:
            values = {**known, **sums}
            return BoundSession(self.session, {name: values[name] for name in self.inputs}, outputs).run
        value, (answer,) = outputs.get("value"), sums.values()
        return None if value is None or value is answer else lambda: np.copyto(value, answer)


class Rest(NamedTuple):
    """What a graph does behind its ensembles, as a part that is left to ONNX Runtime.

    Attributes
    ----------
    model, nodes
        The graph, and those of its nodes that belong to the part, in order.
    wide
        Name of each ensemble's sums → whether they are float64.
    carried
        Values that the beginnings have computed already.
    """

    model: Model
    nodes: list[Node]
    wide: dict[str, bool]
    carried: list[str]

    def open(self, carried: Mapping[str, Array]) -> Ending:
        """Return it as a session.

        Parameters
        ----------
        carried
            Name → example, of the values that the beginnings hand on.

        Raises
        ------
        NotCoveredError
            If ONNX Runtime does not take it.
        """
        needed = {name for node in self.nodes for name in node.inputs}
        inputs: dict[str, bytes | memoryview] = {name: message for name, message in self.model.inputs.items() if name in needed}
        for name in self.carried:
            inputs[name] = describe_matrix(name, DOUBLE if carried[name].dtype == np.float64 else FLOAT)
        inputs |= {name: describe_matrix(name, DOUBLE if wide else FLOAT) for name, wide in self.wide.items()}
        part = self.model.cut(self.nodes, inputs.values(), self.model.outputs.values())
        return Ending(inputs=tuple(inputs), session=open_part(part))


def find_ending(model: Model, ensembles: Sequence[Node], made: Set[str]) -> Ending | Rest:
    """Return how the model's outputs come from the ensembles' sums; as a part that is to be opened if it is not short.

    Parameters
    ----------
    made
        Values that the beginnings compute, and that need not be computed again.
    """
    wide = {node.outputs[0]: is_wide(node) for node in ensembles}
    short = _find_short(model, ensembles[0].outputs[0], wide=is_wide(ensembles[0])) if len(ensembles) == 1 else None
    if short is not None:
        return short
    nodes, needed = [], set(model.outputs)
    known = wide.keys() | made
    for node in reversed(model.nodes):
        if not known & set(node.outputs) and needed & set(node.outputs):
            nodes.append(node)
            needed |= set(node.inputs)
    return Rest(model, nodes[::-1], wide, sorted(needed & made))


def is_wide(ensemble: Node) -> bool:
    """Whether an ensemble adds float64."""
    return ensemble.tensor("leaf_weights").dtype == np.float64


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
