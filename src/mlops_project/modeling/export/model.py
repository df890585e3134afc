"""A fitted pipeline → an ONNX model with the inputs and outputs that ``Runtime`` expects."""

import numpy as np
from sklearn.pipeline import Pipeline

from mlops_project.contract import Contract
from mlops_project.modeling.export.estimators import add_estimator
from mlops_project.modeling.export.graph import DOUBLE, INT64, STRING, Graph
from mlops_project.modeling.export.preprocessing import add_preprocessing, read_preprocessing
from mlops_project.modeling.pipeline import class_order, takes_missing


def export_onnx(pipeline: Pipeline, contract: Contract) -> bytes:
    """Write a fitted pipeline of ``build_pipeline`` as ONNX; the same pipeline gives the same bytes.

    Raises
    ------
    ExportError
        If a part of the pipeline, or a setting of it, cannot be exported exactly.
    """
    graph = Graph()
    estimator = pipeline.steps[-1][1]
    steps = read_preprocessing(pipeline, contract)
    scores = add_estimator(graph, add_preprocessing(graph, steps, contract), estimator)
    answer = scores.probabilities
    if np.isnan(steps.fill).any() and not takes_missing(estimator):
        answer = _nan_where_missing(graph, answer)
    inputs = {"numbers": (DOUBLE, len(contract.number_columns)), "texts": (STRING, len(contract.texts))}
    if not contract.is_classification:
        graph.add("Identity", answer, output="value")
        return graph.build(inputs, {"value": (DOUBLE, 1)})
    order = class_order(estimator.classes_, contract)
    label = scores.label or ""
    if order != sorted(order):  # the positive class is not the larger label
        rank = np.argsort(order)
        label = graph.add("Gather", graph.constant(rank, np.int64), label)
        answer = graph.columns(answer, order)
    graph.add("Identity", label, output="label")
    graph.add("Identity", answer, output="probabilities")
    outputs = {"label": (INT64, None), "probabilities": (DOUBLE, len(order))}
    return graph.build(inputs, outputs)


def _nan_where_missing(graph: Graph, answer: str) -> str:
    """Turn the answer into NaN where a number is: the pipeline refuses such rows, and trees alone would not show it."""
    zeros = graph.add("Mul", "numbers", graph.constant(0.0))
    return graph.add("Add", answer, graph.add("ReduceSum", zeros, graph.constant([1], np.int64), keepdims=1))
