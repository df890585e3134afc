"""A model whose tree ensembles are evaluated by the shared object, what is around them by ONNX Runtime where need be."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlops_project.native.beginning import Beginning, Part, find_beginning
from mlops_project.native.columns import NotCoveredError
from mlops_project.native.ending import Rest, find_ending
from mlops_project.native.ensemble import Ensemble
from mlops_project.native.library import Library, load_library
from mlops_project.native.onnx_file import Model, Node, read_model

if TYPE_CHECKING:
    from mlops_project.native.images import Images

Array = npt.NDArray[Any]


def open_trees(message: memoryview, n_numbers: int, images: "Images | None" = None) -> "TreeModel | None":
    """Return a model that is evaluated by the shared object; None if that is not there, or the model is not made for it.

    Parameters
    ----------
    message
        The ONNX model.
    n_numbers
        How many columns its input ``numbers`` has.
    images
        Where processes share its ensembles, if they do.
    """
    functions = load_library()
    if functions is None:
        return None
    with contextlib.suppress(NotCoveredError, ValueError, KeyError, StopIteration):
        return TreeModel(read_model(message), functions, n_numbers, images)
    return None


class TreeModel:
    """A model with ensembles; it is asked as a session of ONNX Runtime is, and by several threads at once.

    Attributes
    ----------
    properties
        The model's metadata.
    inputs
        Names of its inputs.
    shared_bytes
        What it takes of memory that other processes may have as well.

    Raises
    ------
    NotCoveredError, ValueError, KeyError
        If the model is not made for it.
    """

    def __init__(self, model: Model, functions: Library, n_numbers: int, images: "Images | None" = None) -> None:
        if not set(model.inputs) <= {"numbers", "texts"}:
            raise NotCoveredError("inputs")
        nodes = _find_ensembles(model)
        self.properties, self.inputs = model.properties, list(model.inputs)
        found: dict[str, Beginning | Part] = {}
        for node in nodes:
            if node.inputs[0] not in found:
                found[node.inputs[0]] = find_beginning(model, node, n_numbers)
        made = frozenset(name for item in found.values() if isinstance(item, Part) for name in item.made)
        ending = find_ending(model, nodes, made)
        carried = ending.carried if isinstance(ending, Rest) else []
        beginnings = {name: item.open(n_numbers, carried) if isinstance(item, Part) else item for name, item in found.items()}
        self._beginnings = list(beginnings.values())
        examples = {name: value for item in self._beginnings for name, value in item.carried.items()}
        self._ending = ending.open(examples) if isinstance(ending, Rest) else ending
        divisor = self._ending.divisor
        self._ensembles = [
            Ensemble(node, beginnings[node.inputs[0]], functions, divisor, images, number) for number, node in enumerate(nodes)
        ]
        self.shared_bytes = sum(ensemble.shared_bytes for ensemble in self._ensembles)

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Return the outputs for some rows, as ONNX Runtime's sessions do.

        Raises
        ------
        UnicodeEncodeError
            If a text is none.
        MemoryError
            If the rows do not fit.
        """
        known = dict(feeds)
        read = {id(beginning): beginning.read(feeds, known) for beginning in self._beginnings}
        sums, labels = {}, None
        for ensemble in self._ensembles:
            rows, codes = read[id(ensemble.beginning)]
            sums[ensemble.name] = ensemble.new_sums(len(rows))
            labels = np.empty(len(rows), np.int64) if self._ending.labels else None
            ensemble.evaluate(rows, codes, sums[ensemble.name], labels)
        return self._ending.conclude(outputs, sums, labels, known)

    @property
    def can_bind(self) -> bool:
        """Whether one row can be answered in memory that is bound once."""
        return "texts" not in self._ending.inputs

    def bind(self, row: npt.NDArray[np.float64], outputs: dict[str, Array]) -> Callable[[npt.NDArray[np.object_]], None]:
        """Return what answers one row, for one thread at a time.

        Parameters
        ----------
        row
            float64 ``(1, n_numbers)``, read whenever it is called.
        outputs
            Where it writes: ``label`` and ``probabilities``, or ``value``.
        """
        answer = outputs["probabilities"] if "probabilities" in outputs else outputs["value"]
        known: dict[str, Array] = {"numbers": row}
        read = {id(beginning): beginning.bind(row, known) for beginning in self._beginnings}
        computes = [item.compute for item in read.values() if item.compute is not None]
        sums = {ensemble.name: ensemble.new_sums(1) for ensemble in self._ensembles}
        if self._ending.session is None and answer.dtype == self._ensembles[0].dtype:
            sums = {self._ensembles[0].name: answer}
        labels = outputs.get("label") if self._ending.labels else None
        calls = []
        for item in self._ensembles:
            bound = read[id(item.beginning)]
            calls.append(item.bind(bound.row, bound.codes, sums[item.name], labels))
        end = self._ending.bind(sums, known, outputs)

        def compute(texts: npt.NDArray[np.object_]) -> None:
            for begin in computes:
                begin(texts)
            for function, arguments in calls:
                if function(*arguments):
                    raise MemoryError
            if end is not None:
                end()

        return compute


def _find_ensembles(model: Model) -> list[Node]:
    """Return the ensembles that no other ensemble stands behind; those before them cut numbers into bins, or are a stack's."""
    behind: set[str] = set()
    chosen = []
    for node in reversed(model.nodes):
        if node.operation == "TreeEnsemble" and not behind & set(node.outputs):
            chosen.append(node)
        if behind & set(node.outputs) or node.operation == "TreeEnsemble":
            behind |= set(node.inputs)
    if not chosen:
        raise NotCoveredError("no ensemble")
    return chosen[::-1]
