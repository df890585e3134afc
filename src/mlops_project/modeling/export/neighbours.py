"""Nearest neighbours: candidates by a matrix product, ranked by their exact distances; other metrics measure all rows."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import pairwise_distances

from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import AT_ONCE, DOUBLE, Graph
from mlops_project.modeling.export.registry import LAST_DIGITS, estimator
from mlops_project.modeling.export.scores import Scores, from_probabilities

Floats = npt.NDArray[np.float64]
SPARE_CANDIDATES = 16  # the product's distances differ from exact ones by last digits: so many more are ranked exactly
CHECKED_ROWS = 1000
TIED = 1e-9  # of the distance: scikit-learn takes either of two neighbours that are as near as that
NOISE = 1e-14  # of a row's square: the error of distances by a matrix product
TIES = "rows have neighbours as near as each other that say different things; use columns with finer values, or a forest"
METRICS = {"euclidean": "", "manhattan": "Add", "chebyshev": "Max"}  # and what joins the columns' distances
MOST_TIED = 0.05  # of the training rows: 1 % of iris tie, and scikit-learn's two searches differ on half of these


@estimator("sklearn.KNeighborsClassifier", agreement=LAST_DIGITS)
def add_classifier(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add up the neighbours' weights for each class."""
    n_classes = len(fitted.classes_)
    labels = np.asarray(fitted._y, np.int64).reshape(-1)
    neighbours, weights = _add_neighbours(graph, x, fitted, labels.astype(np.float64))
    votes = graph.add("Gather", graph.constant(np.eye(n_classes)[labels]), neighbours, axis=0)  # (rows, neighbours, classes)
    weighted = graph.add("Mul", votes, graph.add("Unsqueeze", weights, graph.constant([2], np.int64)))
    total = graph.add("ReduceSum", weighted, graph.constant([1], np.int64), keepdims=0)
    return from_probabilities(graph, graph.add("Div", total, graph.column_sum(total)), n_classes)


@estimator("sklearn.KNeighborsRegressor", agreement=LAST_DIGITS)
def add_regressor(graph: Graph, x: str, fitted: Any) -> Scores:
    """Average the neighbours' values."""
    values = np.asarray(fitted._y, np.float64)
    if values.ndim > 1 and values.shape[1] > 1:
        raise ExportError("several targets cannot be exported; fit one model for each")
    neighbours, weights = _add_neighbours(graph, x, fitted, values.reshape(-1))
    found = graph.add("Gather", graph.constant(values.reshape(-1)), neighbours, axis=0)
    return Scores(graph.add("Div", graph.column_sum(graph.add("Mul", found, weights)), graph.column_sum(weights)))


def _add_neighbours(graph: Graph, x: str, fitted: Any, answers: Floats) -> tuple[str, str]:
    """Return positions of the nearest training rows and their weights, both ``(n_rows, n_neighbors)``."""
    metric = fitted.effective_metric_
    if metric not in METRICS:
        raise ExportError(f"metric={metric!r} cannot be exported exactly; use one of {', '.join(METRICS)}")
    if fitted.weights not in (None, "uniform", "distance"):
        raise ExportError("weights of your own function cannot be exported; use 'uniform' or 'distance'")
    rows = fitted._fit_X.toarray() if hasattr(fitted._fit_X, "toarray") else np.asarray(fitted._fit_X, np.float64)
    k = int(fitted.n_neighbors)
    _refuse_ties(rows, answers, k, metric)
    graph.rounds = True  # which neighbour is nearer depends on last digits
    if metric == "euclidean":
        near, squares = _add_candidates(graph, x, rows, min(k + SPARE_CANDIDATES, len(rows)))
        noise = _add_noise(graph, x, fitted)
        said = graph.add("Gather", graph.constant(answers), near)
    else:
        near, squares, noise = "", _add_distances(graph, x, rows, METRICS[metric]), None
        said = graph.constant(answers[None])
    order = graph.sorted_positions(squares, k)
    neighbours = graph.add("GatherElements", near, order, axis=1) if near else order
    found = graph.add("GatherElements", squares, order, axis=1)
    if k < len(rows):
        _note_ties(graph, type(fitted).__name__, squares, graph.columns(found, [k - 1]), noise, said, k)
    if fitted.weights == "distance" and noise is not None:  # then the weights of rows that are this near are noise, too
        nearest = graph.add("LessOrEqual", graph.columns(found, [0]), noise)
        graph.note_tie(graph.cast(nearest, DOUBLE), type(fitted).__name__, TIES)
    distances = graph.add("Sqrt", found) if metric == "euclidean" else found
    return neighbours, _add_weights(graph, distances, fitted.weights)


def _add_candidates(graph: Graph, x: str, rows: Floats, n_candidates: int) -> tuple[str, str]:
    """Return the positions of the nearest rows by a matrix product, and their exact squared distances."""
    graph.needs_columns(len(rows) + n_candidates * rows.shape[1])
    near = _nearest_by_product(graph, x, rows, n_candidates)
    candidates = graph.add("Gather", graph.constant(rows), near, axis=0)  # (rows, candidates, columns)
    apart = graph.add("Sub", candidates, graph.add("Unsqueeze", x, graph.constant([1], np.int64)))
    return near, graph.add("ReduceSum", graph.add("Mul", apart, apart), graph.constant([2], np.int64), keepdims=0)


def _add_distances(graph: Graph, x: str, rows: Floats, operator: str) -> str:
    """Return the distances from all rows, ``(n_rows, n_training_rows)``: each column's added up, or the largest of them."""
    graph.needs_columns(3 * len(rows))
    total = ""
    for column in range(rows.shape[1]):
        apart = graph.add("Sub", graph.columns(x, [column]), graph.constant(rows[:, column][None]))
        apart = graph.add("Abs", apart)
        total = graph.add(operator, total, apart) if total else apart
    return total


def _add_noise(graph: Graph, x: str, fitted: Any) -> str | None:
    """Return how far off the library's squared distances are, ``(n_rows, 1)``; None where it does not use a matrix product."""
    if fitted._fit_method != "brute":
        return None
    return graph.add("Mul", graph.column_sum(graph.add("Mul", x, x)), graph.constant(NOISE))


def _note_ties(graph: Graph, step: str, squares: str, last: str, noise: str | None, answers: str, k: int) -> None:
    """Note rows whose last neighbour is as far away as the next one, if these say different things."""
    low, high = (graph.add("Mul", last, graph.constant(factor)) for factor in (1 - TIED, 1 + TIED))
    if noise is not None:
        low, high = graph.add("Sub", low, noise), graph.add("Add", high, noise)
    within = graph.add("LessOrEqual", squares, high)
    tied = graph.add("And", within, graph.add("GreaterOrEqual", squares, low))
    most = graph.add("Where", tied, answers, graph.constant(-np.inf))
    least = graph.add("Where", tied, answers, graph.constant(np.inf))
    axis = graph.constant([1], np.int64)
    differ = graph.add("Less", graph.add("ReduceMin", least, axis, keepdims=1), graph.add("ReduceMax", most, axis, keepdims=1))
    count = graph.column_sum(graph.cast(within, DOUBLE))
    tie = graph.add("And", differ, graph.add("Greater", count, graph.constant(float(k))))
    graph.note_tie(graph.cast(tie, DOUBLE), step, TIES)


def _nearest_by_product(graph: Graph, x: str, rows: Floats, n_candidates: int) -> str:
    doubled = graph.add("Mul", graph.constant(-2.0), graph.add("MatMul", x, graph.constant(rows.T)))
    squares = graph.add("Add", doubled, graph.constant(np.einsum("ij,ij->i", rows, rows)[None]))
    return graph.sorted_positions(squares, n_candidates)


def _add_weights(graph: Graph, distances: str, weights: str | None) -> str:
    one = graph.constant(1.0)
    if weights != "distance":
        return graph.add("Where", graph.add("IsNaN", distances), distances, one)
    equal = graph.cast(graph.add("Equal", distances, graph.constant(0.0)), DOUBLE)
    some = graph.add("Greater", graph.column_sum(equal), graph.constant(0.0))
    return graph.add("Where", some, equal, graph.add("Div", one, distances))


def _refuse_ties(rows: Floats, answers: Floats, k: int, metric: str) -> None:
    """Refuse a table in which many rows have two neighbours as far away as each other that say different things.

    Raises
    ------
    ExportError
        If more than ``MOST_TIED`` of them do: which of the two scikit-learn takes depends on its search (its own searches
        differ there), so its answers are chance.
    """
    some = rows[:: max(1, len(rows) // CHECKED_ROWS)]
    if len(rows) <= k:
        return
    n_parts = -(-len(some) * len(rows) // AT_ONCE)
    tied = np.concatenate([_find_ties(part, rows, answers, k, metric) for part in np.array_split(some, n_parts)])
    if tied.mean() > MOST_TIED:
        raise ExportError(
            f"{int(tied.sum())} of {len(some)} training rows have two neighbours at the same distance with different "
            "answers, and which of them counts depends on scikit-learn's search; use columns with finer values, or a forest"
        )


def _find_ties(some: Floats, rows: Floats, answers: Floats, k: int, metric: str) -> npt.NDArray[np.bool_]:
    """Return for which of some rows the k-th neighbour is as far away as the next one, and they say different things."""
    sizes = np.einsum("ij,ij->i", some, some)[:, None]
    if metric == "euclidean":
        squares = np.einsum("ij,ij->i", rows, rows)[None] - 2 * some @ rows.T + sizes
    else:
        squares = pairwise_distances(some, rows, metric=metric)
    last = np.partition(squares, k - 1, axis=1)[:, k - 1 : k]
    room = TIED * np.abs(last) + 1e-13 * sizes + np.finfo(np.float64).tiny  # the product's own rounding
    within = squares <= last + room
    border = within & (squares >= last - room)
    differ = np.where(border, answers, np.inf).min(axis=1) < np.where(border, answers, -np.inf).max(axis=1)
    return np.asarray(differ & (within.sum(axis=1) > k))
