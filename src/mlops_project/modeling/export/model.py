"""A fitted pipeline → an ONNX model with the inputs and outputs that ``Runtime`` expects."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from mlops_project.contract import Contract
from mlops_project.errors import ExportError
from mlops_project.modeling.export import families  # noqa: F401  # registers every step that can be exported
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import DOUBLE, INT64, STRING, Graph
from mlops_project.modeling.export.preprocessing import add_preprocessing, is_built_here, read_preprocessing
from mlops_project.modeling.export.registry import START, add_estimator
from mlops_project.modeling.export.scores import Scores
from mlops_project.modeling.pipeline import class_order, takes_missing


def export_onnx(pipeline: Any, contract: Contract) -> bytes:
    """Write a fitted pipeline as ONNX; the same pipeline gives the same bytes.

    Parameters
    ----------
    pipeline
        Of ``build_pipeline``, or any scikit-learn estimator made of steps that the registry knows (docs/estimators.md).
    contract
        Has a feature of the same name for each column that the pipeline was fitted on.

    Raises
    ------
    ExportError
        If a part of the pipeline, or a setting of it, cannot be exported exactly; names the step, its place and the cure.
    """
    graph = Graph()
    if is_built_here(pipeline, contract):
        scores, answer = _add_built(graph, pipeline, contract)
    else:
        scores, answer = _add_any(graph, pipeline, contract)
    inputs = _inputs(graph, contract)
    if not contract.is_classification:
        graph.add("Identity", answer, output="value")
        return graph.build(inputs, {"value": (DOUBLE, 1)})
    order = class_order(pipeline.classes_, contract)
    label = scores.label or ""
    if order != sorted(order):  # the positive class is not the larger label
        rank = np.argsort(order)
        label = graph.add("Gather", graph.constant(rank, np.int64), label)
        answer = graph.columns(answer, order)
    graph.add("Identity", label, output="label")
    graph.add("Identity", answer, output="probabilities")
    outputs = {"label": (INT64, None), "probabilities": (DOUBLE, len(order))}
    return graph.build(inputs, outputs)


def _inputs(graph: Graph, contract: Contract) -> dict[str, tuple[int, int]]:
    """Return the inputs' element types and widths; those without columns are left out of the model."""
    widths = {"numbers": len(contract.number_columns), "texts": len(contract.texts), "words": graph.n_word_columns}
    return {name: (DOUBLE if name == "numbers" else STRING, width) for name, width in widths.items()}


def _add_built(graph: Graph, pipeline: Pipeline, contract: Contract) -> tuple[Scores, str]:
    """Add a pipeline of ``build_pipeline``: all numbers are imputed and scaled at once."""
    estimator = pipeline.steps[-1][1]
    steps = read_preprocessing(pipeline, contract)
    x = add_preprocessing(graph, steps, contract)
    scores = add_estimator(graph, Columns.of_matrix(x, estimator.n_features_in_), estimator)
    answer = scores.probabilities or ""
    if np.isnan(steps.fill).any() and not takes_missing(estimator):
        answer = _nan_where_missing(graph, answer)
    return scores, answer


def _add_any(graph: Graph, pipeline: Any, contract: Contract) -> tuple[Scores, str]:
    """Add a pipeline of any shape, step by step."""
    if is_classifier(pipeline) != contract.is_classification and (is_classifier(pipeline) or is_regressor(pipeline)):
        raise ExportError(
            f"the pipeline predicts {'classes' if is_classifier(pipeline) else 'numbers'}, and {contract.target!r} is "
            f"{contract.task}"
        )
    names = getattr(pipeline, "feature_names_in_", contract.names)
    if not hasattr(pipeline, "n_features_in_") and len(contract.texts) == len(contract.features) == 1:
        raise ExportError(
            f"{START}: it was fitted on a list of texts, and a model's input is a table; begin it with "
            f"ColumnTransformer([('text', TfidfVectorizer(), {contract.names[0]!r})]) and fit it on a frame"
        )
    with graph.at(START):
        scores = add_estimator(graph, Columns.of_contract(contract, [str(name) for name in names]), pipeline)
    if scores.probabilities is None:
        last = pipeline.steps[-1][1] if isinstance(pipeline, Pipeline) else pipeline
        raise ExportError(
            f"{START}: {type(last).__name__} has no probabilities, and a served classifier answers with some; wrap it in "
            f"CalibratedClassifierCV, or use voting='soft'"
        )
    return scores, graph.with_refusals(scores.probabilities)


@dataclass(frozen=True)
class Rounding:
    """Where the library's own answer depends on last digits.

    Attributes
    ----------
    anywhere
        Whether some step differs from the library's in last digits: of two equal probabilities either may be the larger.
    before_last
        Whether one before the last step does: a number next to a threshold may lie on either side of it.
    ties
        A model whose ``value`` is above 0 in rows with a tie, for a contract of regression; None if no step can have one.
    reasons
        Which steps can have one, and what to do against many of them.
    """

    anywhere: bool
    before_last: bool
    ties: bytes | None
    reasons: tuple[str, ...] = ()


def find_rounding(pipeline: Any, contract: Contract) -> Rounding:
    """Say where the library's own answer depends on last digits."""
    graph = Graph()
    (_add_built if is_built_here(pipeline, contract) else _add_any)(graph, pipeline, contract)
    tie = graph.ties()
    if tie is None:
        return Rounding(graph.rounds_anywhere, graph.rounds, None)
    graph.add("Identity", tie, output="value")
    model = graph.build(_inputs(graph, contract), {"value": (DOUBLE, 1)})
    return Rounding(graph.rounds_anywhere, graph.rounds, model, graph.tie_reasons)


def _nan_where_missing(graph: Graph, answer: str) -> str:
    """Turn the answer into NaN where a number is: the pipeline refuses such rows, and trees alone would not show it."""
    zeros = graph.add("Mul", "numbers", graph.constant(0.0))
    return graph.add("Add", answer, graph.add("ReduceSum", zeros, graph.constant([1], np.int64), keepdims=1))
