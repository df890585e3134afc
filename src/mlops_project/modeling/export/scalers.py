"""Scalers: the library's own subtractions and divisions, in its order."""

from typing import Any

import numpy as np

from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import DOUBLE, Graph
from mlops_project.modeling.export.registry import numeric, refuse_missing, transformer


@numeric("sklearn.StandardScaler")
def add_standard_scaler(graph: Graph, x: str, step: Any) -> str:
    """Subtract the means, divide by the deviations."""
    if step.with_mean:
        x = graph.add("Sub", x, graph.constant(step.mean_))
    return x if step.scale_ is None else graph.add("Div", x, graph.constant(step.scale_))


@numeric("sklearn.MinMaxScaler")
def add_min_max_scaler(graph: Graph, x: str, step: Any) -> str:
    """Multiply, add, and clip if asked to."""
    x = graph.add("Add", graph.add("Mul", x, graph.constant(step.scale_)), graph.constant(step.min_))
    return clip(graph, x, *step.feature_range) if step.clip else x


@numeric("sklearn.MaxAbsScaler")
def add_max_abs_scaler(graph: Graph, x: str, step: Any) -> str:
    """Divide by the largest absolute value, and clip if asked to."""
    x = graph.add("Div", x, graph.constant(step.scale_))
    return clip(graph, x, -1.0, 1.0) if getattr(step, "clip", False) else x


@numeric("sklearn.RobustScaler")
def add_robust_scaler(graph: Graph, x: str, step: Any) -> str:
    """Subtract the medians, divide by the ranges between quantiles."""
    if step.with_centering:
        x = graph.add("Sub", x, graph.constant(step.center_))
    return graph.add("Div", x, graph.constant(step.scale_)) if step.with_scaling else x


def clip(graph: Graph, x: str, low: float, high: float) -> str:
    """Keep values within bounds; a missing one stays missing."""
    low_, high_ = graph.constant(float(low)), graph.constant(float(high))
    x = graph.add("Where", graph.add("Less", x, low_), low_, x)
    return graph.add("Where", graph.add("Greater", x, high_), high_, x)


@transformer("sklearn.Normalizer", agreement="1e-15")
def add_normalizer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Divide each row by its norm; a row of zeros stays."""
    refuse_missing(graph, columns)
    x = columns.matrix(graph)
    if step.norm == "l2":
        norm = graph.add("Sqrt", graph.column_sum(graph.add("Mul", x, x)))
    elif step.norm == "l1":
        norm = graph.column_sum(graph.add("Abs", x))
    else:
        norm = graph.add("ReduceMax", graph.add("Abs", x), graph.constant([1], np.int64), keepdims=1)
    # scikit-learn takes a norm below ten units in the last place of 1 for zero
    tiny = graph.constant(10 * np.finfo(np.float64).eps)
    safe = graph.add("Where", graph.add("Less", norm, tiny), graph.constant(1.0), norm)
    return Columns.of_matrix(graph.add("Div", x, safe), len(columns), sparse=columns.sparse)


@transformer("sklearn.Binarizer")
def add_binarizer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Turn numbers above the threshold into 1, others into 0."""
    refuse_missing(graph, columns)
    above = graph.add("Greater", columns.matrix(graph), graph.constant(float(step.threshold)))
    return Columns.of_matrix(graph.cast(above, DOUBLE), len(columns), sparse=columns.sparse)
