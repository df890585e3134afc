"""Support vector machines: kernels with the support vectors, libsvm's votes of pairs of classes."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from mlops_project.modeling.export.graph import DOUBLE, Graph
from mlops_project.modeling.export.kernels import add_kernel, dense
from mlops_project.modeling.export.registry import LAST_DIGITS, estimator
from mlops_project.modeling.export.scalers import clip
from mlops_project.modeling.export.scores import Scores, arg_max, expit, from_decision

SMALLEST_SHARE = 1e-7  # of a pair of classes


@estimator("sklearn.SVR", "sklearn.NuSVR", agreement=LAST_DIGITS)
def add_regressor(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add the kernels' weighted sum."""
    kernel = _add_kernel(graph, x, fitted)
    product = graph.add("MatMul", kernel, graph.constant(dense(fitted.dual_coef_).T))
    return Scores(graph.add("Add", product, graph.constant(fitted.intercept_)))


@estimator("sklearn.SVC", "sklearn.NuSVC", agreement=LAST_DIGITS)
def add_classifier(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add the decisions of each pair of classes, and the votes."""
    kernel = _add_kernel(graph, x, fitted)
    n_classes = len(fitted.classes_)
    if n_classes > 2:
        return _add_votes(graph, kernel, fitted, n_classes)
    product = graph.add("MatMul", kernel, graph.constant(dense(fitted.dual_coef_).T))
    raw = graph.add("Add", product, graph.constant(fitted.intercept_))
    return _with_probabilities(graph, from_decision(graph, raw, 2), graph.add("Neg", raw), fitted)  # libsvm's own sign


def _with_probabilities(graph: Graph, scores: Scores, pairs: str, fitted: Any) -> Scores:
    """Add libsvm's probabilities, whose largest is not always what ``predict`` answers.

    Platt's for each pair of classes, ``(n_rows, n_pairs)``, then the iteration of Wu, Lin and Weng (2004, second method) which
    libsvm stops early.
    """
    if fitted.probability is not True:  # "deprecated" is its default from 1.9 on
        return scores
    graph.rounds = True  # a last digit decides whether a row takes one more step
    n_classes = len(fitted.classes_)
    scaled = graph.add("Add", graph.add("Mul", pairs, graph.constant(fitted._probA)), graph.constant(fitted._probB))
    shares = clip(graph, expit(graph, graph.add("Neg", scaled)), SMALLEST_SHARE, 1 - SMALLEST_SHARE)
    places = {pair: place for place, pair in enumerate(combinations(range(n_classes), 2))}
    wins = np.zeros((2, len(places), n_classes * n_classes))
    for (first, second), place in places.items():
        wins[0, place, first * n_classes + second] = wins[1, place, second * n_classes + first] = 1
    others = graph.add("Sub", graph.constant(1.0), shares)
    table = graph.add(
        "Add", graph.add("MatMul", shares, graph.constant(wins[0])), graph.add("MatMul", others, graph.constant(wins[1]))
    )
    matrix = _add_quadratic_form(graph, table, n_classes)
    uniform = graph.full(table, np.full(n_classes, 1 / n_classes))
    probabilities, _ = graph.repeat(
        max(100, n_classes), [uniform, matrix], lambda values: _add_step(graph, values[0], values[1], n_classes)
    )
    return replace(scores, probabilities=probabilities)


def _add_quadratic_form(graph: Graph, table: str, n_classes: int) -> str:
    """Return the matrix Q of each row, flat; ``table`` holds r, how sure each class is against each other one, likewise."""
    flat = np.arange(n_classes * n_classes).reshape(n_classes, n_classes)
    product = graph.add("Neg", graph.add("Mul", table, graph.columns(table, flat.T.ravel().tolist())))
    squares = graph.add("Mul", table, table)
    own = np.zeros((n_classes * n_classes, n_classes * n_classes))
    for place in range(n_classes):
        own[flat[:, place], flat[place, place]] = 1  # the sum of the squares of r[j, t]
    return graph.add("Add", product, graph.add("MatMul", squares, graph.constant(own)))


def _add_step(graph: Graph, shares: str, matrix: str, n_classes: int) -> tuple[str, list[str]]:
    """Change one probability after the other, in the rows whose error is still large."""
    one = graph.constant(1.0)
    rows = [list(range(start, start + n_classes)) for start in range(0, n_classes * n_classes, n_classes)]
    forms = [graph.columns(matrix, row) for row in rows]
    along = graph.add("Concat", *(graph.column_sum(graph.add("Mul", form, shares)) for form in forms), axis=1)
    total = graph.column_sum(graph.add("Mul", shares, along))
    error = graph.add("Abs", graph.add("Sub", along, total))
    worst = graph.add("ReduceMax", error, graph.constant([1], np.int64), keepdims=1)
    goes_on = graph.add("GreaterOrEqual", worst, graph.constant(0.005 / n_classes))
    moved = shares
    for place, form in enumerate(forms):
        diagonal = graph.columns(form, [place])
        here = graph.columns(along, [place])
        change = graph.add("Div", graph.add("Sub", total, here), diagonal)
        grown = graph.add("Add", one, change)
        moved = graph.add("Add", moved, graph.add("Mul", change, graph.constant(np.eye(n_classes)[[place]])))
        moved = graph.add("Div", moved, grown)
        more = graph.add("Add", graph.add("Mul", change, diagonal), graph.add("Mul", graph.constant(2.0), here))
        total = graph.add("Add", total, graph.add("Mul", change, more))
        total = graph.add("Div", graph.add("Div", total, grown), grown)
        along = graph.add("Div", graph.add("Add", along, graph.add("Mul", change, form)), grown)
    some = graph.add("ReduceMax", graph.cast(goes_on, DOUBLE), keepdims=0)
    return some, [graph.add("Where", goes_on, moved, shares), matrix]


def _add_votes(graph: Graph, kernel: str, fitted: Any, n_classes: int) -> Scores:
    """Let each pair of classes vote; confidences break ties in the decision, the lower class in the label."""
    pairs = list(combinations(range(n_classes), 2))
    ends = np.cumsum(fitted.n_support_)
    coefficients = dense(fitted.dual_coef_)
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
    label = arg_max(graph, decision if fitted.break_ties else votes)
    scores = Scores(None, label, raw if fitted.decision_function_shape == "ovo" else decision)
    return _with_probabilities(graph, scores, raw, fitted)


def _add_kernel(graph: Graph, x: str, fitted: Any) -> str:
    """Return the kernel of each row with each support vector, ``(n_rows, n_vectors)``."""
    return add_kernel(
        graph, x, fitted.support_vectors_, fitted.kernel, gamma=fitted._gamma, coef0=fitted.coef0, degree=fitted.degree
    )
