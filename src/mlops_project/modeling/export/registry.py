"""Which function writes which step of a fitted pipeline into the graph.

A step is known by its library and its class's name, not by the class: XGBoost need not be imported to export a forest, and
a class of somebody's own that is derived from a known one is not taken for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import get_tags

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.refused import REFUSED
from mlops_project.modeling.export.scores import Scores

START = "pipeline"  # every place begins with it


@dataclass(frozen=True)
class Entry:
    """How one class is exported.

    Attributes
    ----------
    emit
        Adds the step to the graph.
    agreement
        How near its answers come to the library's: ``BITS``, or how far apart they may be.
    """

    emit: Callable[..., Any]
    agreement: str


# These hand their input on, or compute with infinities.
TAKE_INFINITY = {
    "lightgbm.LGBMClassifier",
    "lightgbm.LGBMRegressor",
    "sklearn.ColumnTransformer",
    "sklearn.FeatureUnion",
    "sklearn.FunctionTransformer",
    "sklearn.HistGradientBoostingClassifier",
    "sklearn.HistGradientBoostingRegressor",
    "sklearn.Pipeline",
}
TRANSFORMERS: dict[str, Entry] = {}
ESTIMATORS: dict[str, Entry] = {}
BITS = "to the bit"
LAST_DIGITS = "within 1e-12"
AS_INSIDE = "as the estimator in it"
LINK = "to the bit but for exp and its sums (1e-15)"


def transformer(*names: str, agreement: str = BITS) -> Callable[[Callable[..., Columns]], Callable[..., Columns]]:
    """Register ``emit(graph, columns, step) -> Columns`` for classes, each ``library.ClassName``."""

    def register(emit: Callable[..., Columns]) -> Callable[..., Columns]:
        TRANSFORMERS.update({name: Entry(emit, agreement) for name in names})
        return emit

    return register


def numeric(*names: str, agreement: str = BITS) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Register ``emit(graph, x, step) -> matrix`` for transformers of numbers that keep the number of columns."""

    def register(emit: Callable[..., str]) -> Callable[..., str]:
        def add(graph: Graph, columns: Columns, step: Any) -> Columns:
            value = emit(graph, columns.matrix(graph), step)
            return Columns.of_matrix(value, len(columns), complete=columns.complete, sparse=columns.sparse)

        TRANSFORMERS.update({name: Entry(add, agreement) for name in names})
        return emit

    return register


def projection(*names: str, agreement: str = LAST_DIGITS) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Register ``emit(graph, x, step) -> matrix`` for transformers of numbers with other columns than their input's."""

    def register(emit: Callable[..., str]) -> Callable[..., str]:
        def add(graph: Graph, columns: Columns, step: Any) -> Columns:
            refuse_missing(graph, columns)
            value = emit(graph, columns.matrix(graph), step)
            return Columns.of_matrix(value, len(step.get_feature_names_out()))

        TRANSFORMERS.update({name: Entry(add, agreement) for name in names})
        return emit

    return register


def estimator(*names: str, agreement: str = BITS) -> Callable[[Callable[..., Scores]], Callable[..., Scores]]:
    """Register ``emit(graph, x, estimator) -> Scores`` for estimators that read a matrix of numbers."""

    def register(emit: Callable[..., Scores]) -> Callable[..., Scores]:
        def add(graph: Graph, columns: Columns, fitted: Any) -> Scores:
            if not _takes_missing(columns, fitted):
                refuse_missing(graph, columns)
            refuse_infinite(graph, columns, name_of(fitted))
            return emit(graph, columns.matrix(graph), fitted)

        ESTIMATORS.update({name: Entry(add, agreement) for name in names})
        return emit

    return register


def meta_estimator(*names: str, agreement: str = BITS) -> Callable[[Callable[..., Scores]], Callable[..., Scores]]:
    """Register ``emit(graph, columns, estimator) -> Scores`` for estimators that hand their input on to others."""

    def register(emit: Callable[..., Scores]) -> Callable[..., Scores]:
        ESTIMATORS.update({name: Entry(emit, agreement) for name in names})
        return emit

    return register


def _takes_missing(columns: Columns, fitted: Any) -> bool:
    """Whether the estimator answers rows with gaps; scikit-learn's trees do not on sparse or with monotonic constraints."""
    if not get_tags(fitted).input_tags.allow_nan:
        return False
    member = next(iter(getattr(fitted, "estimators_", ())), fitted)  # of a forest
    return not hasattr(member, "tree_") or (not columns.sparse and member.monotonic_cst is None)


def refuse_missing(graph: Graph, columns: Columns) -> None:
    """Give rows with a missing number no answer."""
    if columns.kinds <= {"number"} and (value := columns.incomplete(graph)) is not None:
        graph.refuse_rows(value)


def refuse_infinite(graph: Graph, columns: Columns, name: str) -> None:
    """Give rows that overflowed in an earlier step no answer, where the library checks its input for infinities."""
    if name not in TAKE_INFINITY and (value := columns.infinite(graph)) is not None:
        graph.refuse_rows(value)


def name_of(step: Any) -> str:
    """Return ``library.ClassName``."""
    return f"{type(step).__module__.split('.')[0]}.{type(step).__name__}"


def add_transformer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add a fitted transformer and return its output.

    Raises
    ------
    ExportError
        If it, or a setting of it, cannot be exported exactly; names the step's place.
    """
    entry = TRANSFORMERS.get(name_of(step))
    try:
        if entry is None:
            raise ExportError(_explain_unknown(step, TRANSFORMERS, "transformer"))
        refuse_infinite(graph, columns, name_of(step))
        result: Columns = entry.emit(graph, columns, step)
        graph.rounds = graph.rounds or entry.agreement != BITS
        graph.rounds_anywhere = graph.rounds_anywhere or graph.rounds
    except ExportError as error:
        raise _placed(error, graph, step) from error
    return result


def add_estimator(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Add a fitted estimator.

    Raises
    ------
    ExportError
        If it, or a setting of it, cannot be exported exactly; names its place.
    """
    entry = ESTIMATORS.get(name_of(fitted))
    try:
        if entry is None:
            raise ExportError(_explain_unknown(fitted, ESTIMATORS, "estimator"))
        scores: Scores = entry.emit(graph, columns, fitted)
        if entry.agreement != AS_INSIDE and not name_of(fitted).endswith(".Pipeline"):  # else what is inside has said so
            graph.answer_rounds = entry.agreement not in (BITS, LINK)
        graph.rounds_anywhere = graph.rounds_anywhere or graph.rounds or entry.agreement not in (BITS, AS_INSIDE)
        if (scores.label is None) == (np.size(getattr(fitted, "classes_", ())) > 0):  # CatBoost's regressor has none
            wanted, other = ("classes", "numbers") if scores.label is None else ("numbers", "classes")
            objective = f"objective={getattr(fitted, 'objective', None)!r}"
            raise ExportError(f"{objective} predicts {other}, and the target holds {wanted}; leave it out")
    except ExportError as error:
        raise _placed(error, graph, fitted) from error
    return scores


def add_member(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Add an estimator whose answers another one reads: what differs in them by a last digit may turn that one's.

    Raises
    ------
    ExportError
        If it, or a setting of it, cannot be exported exactly; names its place.
    """
    scores = add_estimator(graph, columns, fitted)
    graph.rounds = graph.rounds or graph.answer_rounds
    return scores


def _placed(error: ExportError, graph: Graph, step: Any) -> ExportError:
    """Name the innermost step that refused, once."""
    text = str(error)
    if text.startswith(f"{START}.") or not graph.place:
        return error
    return ExportError(f"{graph.place}.{type(step).__name__}: {text}")


def _explain_unknown(step: Any, known: dict[str, Entry], kind: str) -> str:
    name = name_of(step)
    if name in REFUSED:
        return f"cannot be exported exactly: {REFUSED[name]}"
    bases = [base for base in type(step).__mro__[1:] if f"{base.__module__.split('.')[0]}.{base.__name__}" in known]
    if bases:
        return f"{name} is derived from {bases[0].__name__} and may compute something else; use {bases[0].__name__} itself"
    return f"there is no exact export of this {kind} ({name}); use one of docs/estimators.md"
