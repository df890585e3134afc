"""Linear models: logistic regression and ridge."""

from typing import Any

import numpy as np

from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.scores import Scores, binary_from_raw, multiclass_from_raw


def add_linear(graph: Graph, x: str, estimator: Any) -> Scores:
    """Add ``LogisticRegression`` or ``Ridge``: one matrix product in float64 and the link."""
    weights = np.atleast_2d(np.asarray(estimator.coef_, np.float64)).T
    intercept = np.broadcast_to(np.asarray(estimator.intercept_, np.float64).reshape(-1), (weights.shape[1],))
    raw = graph.add("Add", graph.add("MatMul", x, graph.constant(weights)), graph.constant(intercept))
    if not hasattr(estimator, "classes_"):
        return Scores(raw)
    if len(estimator.classes_) == 2:
        return binary_from_raw(graph, raw, operator="Greater")
    return multiclass_from_raw(graph, raw)
