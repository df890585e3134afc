"""Support vector machines: kernels with the support vectors, libsvm's votes of pairs of classes."""

from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import DOUBLE, Graph
from mlops_project.modeling.export.registry import LAST_DIGITS, estimator
from mlops_project.modeling.export.scores import Scores, arg_max, from_decision


@estimator("sklearn.SVR", "sklearn.NuSVR", agreement=LAST_DIGITS)
def add_regressor(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add the kernels' weighted sum."""
    kernel = _add_kernel(graph, x, fitted)
    product = graph.add("MatMul", kernel, graph.constant(_dense(fitted.dual_coef_).T))
    return Scores(graph.add("Add", product, graph.constant(fitted.intercept_)))


@estimator("sklearn.SVC", "sklearn.NuSVC", agreement=LAST_DIGITS)
def add_classifier(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add the decisions of each pair of classes, and the votes."""
    if fitted.decision_function_shape != "ovr":
        raise ExportError("decision_function_shape='ovo' cannot be exported exactly; leave it out ('ovr')")
    if fitted.probability is True:  # "deprecated" is its default from 1.9 on
        raise ExportError(
            "probability=True cannot be exported exactly (its iterations stop early, and its largest probability is not what "
            "predict answers); leave it out, and wrap the estimator in CalibratedClassifierCV"
        )
    kernel = _add_kernel(graph, x, fitted)
    n_classes = len(fitted.classes_)
    if n_classes == 2:
        product = graph.add("MatMul", kernel, graph.constant(_dense(fitted.dual_coef_).T))
        raw = graph.add("Add", product, graph.constant(fitted.intercept_))
        return from_decision(graph, raw, 2)
    return _add_votes(graph, kernel, fitted, n_classes)


def _add_votes(graph: Graph, kernel: str, fitted: Any, n_classes: int) -> Scores:
    """Let each pair of classes vote; confidences break ties in the decision, the lower class in the label."""
    pairs = [(first, second) for first in range(n_classes) for second in range(first + 1, n_classes)]
    ends = np.cumsum(fitted.n_support_)
    coefficients = _dense(fitted.dual_coef_)
    weights = np.zeros((coefficients.shape[1], len(pairs)))
    for place, (first, second) in enumerate(pairs):
        of_first = slice(ends[first] - fitted.n_support_[first], ends[first])
        of_second = slice(ends[second] - fitted.n_support_[second], ends[second])
        weights[of_first, place] = coefficients[second - 1, of_first]
        weights[of_second, place] = coefficients[first, of_second]
    product = graph.add("MatMul", kernel, graph.constant(weights))
    raw = graph.add("Add", product, graph.constant(fitted.intercept_))
    for_first = graph.cast(graph.add("Greater", raw, graph.constant(0.0)), DOUBLE)
    for_second = graph.add("Sub", graph.constant(1.0), for_first)
    wins = np.zeros((2, len(pairs), n_classes))
    for place, (first, second) in enumerate(pairs):
        wins[0, place, first] = wins[1, place, second] = 1
    votes = graph.add(
        "Add",
        graph.add("MatMul", for_first, graph.constant(wins[0])),
        graph.add("MatMul", for_second, graph.constant(wins[1])),
    )
    trust = graph.add("MatMul", raw, graph.constant(wins[0] - wins[1]))
    scale = graph.add("Mul", graph.constant(3.0), graph.add("Add", graph.add("Abs", trust), graph.constant(1.0)))
    decision = graph.add("Add", votes, graph.add("Div", trust, scale))
    return Scores(None, arg_max(graph, decision if fitted.break_ties else votes), decision)


def _dense(values: Any) -> Any:
    return values.toarray() if hasattr(values, "toarray") else np.asarray(values)


def _add_kernel(graph: Graph, x: str, fitted: Any) -> str:
    """Return the kernel of each row with each support vector, ``(n_rows, n_vectors)``."""
    vectors = _dense(fitted.support_vectors_)
    gamma = float(fitted._gamma)
    graph.needs_columns(2 * len(vectors))
    product = graph.add("MatMul", x, graph.constant(vectors.T))
    if fitted.kernel == "linear":
        return product
    if fitted.kernel == "rbf":
        own = graph.column_sum(graph.add("Mul", x, x))
        others = graph.constant(np.einsum("ij,ij->i", vectors, vectors)[None])
        doubled = graph.add("Mul", graph.constant(2.0), product)
        distance = graph.add("Max", graph.add("Sub", graph.add("Add", own, others), doubled), graph.constant(0.0))
        return graph.add("Exp", graph.add("Mul", graph.constant(-gamma), distance))
    inner = graph.add("Add", graph.add("Mul", graph.constant(gamma), product), graph.constant(float(fitted.coef0)))
    if fitted.kernel == "poly":
        return graph.add("Pow", inner, graph.constant(float(fitted.degree)))
    if fitted.kernel == "sigmoid":
        return graph.add("Tanh", inner)
    raise ExportError(f"kernel={fitted.kernel!r} cannot be exported; use linear, poly, rbf or sigmoid")
