"""Nearest neighbours: candidates by a matrix product, ranked by their exact distances."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import DOUBLE, Graph
from mlops_project.modeling.export.registry import LAST_DIGITS, estimator
from mlops_project.modeling.export.scores import Scores, from_probabilities

Floats = npt.NDArray[np.float64]
SPARE_CANDIDATES = 16  # the product's distances differ from exact ones by last digits: so many more are ranked exactly
CHECKED_ROWS = 1000
TIED = 1e-9  # of the distance: scikit-learn takes either of two neighbours that are as near as that


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
    if metric != "euclidean":
        raise ExportError(f"metric={metric!r} cannot be exported exactly; use the Euclidean one (metric='minkowski', p=2)")
    if fitted.weights not in (None, "uniform", "distance"):
        raise ExportError("weights of your own function cannot be exported; use 'uniform' or 'distance'")
    rows = fitted._fit_X.toarray() if hasattr(fitted._fit_X, "toarray") else np.asarray(fitted._fit_X, np.float64)
    k = int(fitted.n_neighbors)
    _refuse_ties(rows, answers, k)
    graph.rounds = True  # which neighbour is nearer depends on last digits
    graph.needs_columns(len(rows) + (k + SPARE_CANDIDATES) * rows.shape[1])
    near = _nearest_by_product(graph, x, rows, min(k + SPARE_CANDIDATES, len(rows)))
    candidates = graph.add("Gather", graph.constant(rows), near, axis=0)  # (rows, candidates, columns)
    apart = graph.add("Sub", candidates, graph.add("Unsqueeze", x, graph.constant([1], np.int64)))
    squares = graph.add("ReduceSum", graph.add("Mul", apart, apart), graph.constant([2], np.int64), keepdims=0)
    order = graph.sorted_positions(squares, k)
    neighbours = graph.add("GatherElements", near, order, axis=1)
    distances = graph.add("Sqrt", graph.add("GatherElements", squares, order, axis=1))
    return neighbours, _add_weights(graph, distances, fitted.weights)


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


def _refuse_ties(rows: Floats, answers: Floats, k: int) -> None:
    """Refuse training rows with two neighbours as far away as each other that say different things.

    Raises
    ------
    ExportError
        If there are such rows: which of the two scikit-learn takes depends on its search, and no graph can follow that.
    """
    some = rows[:: max(1, len(rows) // CHECKED_ROWS)]
    squares = np.einsum("ij,ij->i", rows, rows)[None] - 2 * some @ rows.T + np.einsum("ij,ij->i", some, some)[:, None]
    order = np.argsort(squares, axis=1, kind="stable")[:, : k + 1]
    if order.shape[1] <= k:
        return
    last, next_ = order[:, k - 1], order[:, k]
    place = np.arange(len(some))
    size = np.maximum(squares[place, next_], np.finfo(np.float64).tiny)
    tied = (squares[place, next_] - squares[place, last] <= TIED * size) & (answers[last] != answers[next_])
    if tied.any():
        raise ExportError(
            f"{int(tied.sum())} of {len(some)} training rows have two neighbours at the same distance with different "
            "answers, and which of them counts depends on scikit-learn's search; use columns with finer values, or a forest"
        )
