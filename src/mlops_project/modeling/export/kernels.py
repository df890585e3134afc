"""Kernels of each row with some training rows, and the steps and estimators that are sums of them."""

from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.registry import LAST_DIGITS, estimator, refuse_missing, transformer
from mlops_project.modeling.export.scores import Scores


def dense(values: Any) -> Any:
    """Return a matrix that may be sparse as an array."""
    return values.toarray() if hasattr(values, "toarray") else np.asarray(values)


def add_kernel(graph: Graph, x: str, vectors: Any, kernel: Any, *, gamma: Any, coef0: Any, degree: Any) -> str:
    """Return the kernel of each row with each vector, ``(n_rows, n_vectors)``.

    Raises
    ------
    ExportError
        If it is another kernel.
    """
    vectors = np.asarray(dense(vectors), np.float64)
    graph.needs_columns(2 * len(vectors))
    if kernel == "cosine":
        return graph.add("MatMul", _unit_rows(graph, x), graph.constant(_unit(vectors).T))
    product = graph.add("MatMul", x, graph.constant(vectors.T))
    if kernel == "linear":
        return product
    if kernel == "rbf":
        distance = graph.add("Max", squared_distances(graph, x, product, vectors), graph.constant(0.0))
        return graph.add("Exp", graph.add("Mul", graph.constant(-float(gamma)), distance))
    inner = graph.add("Add", graph.add("Mul", graph.constant(float(gamma)), product), graph.constant(float(coef0)))
    if kernel in ("poly", "polynomial"):
        return graph.add("Pow", inner, graph.constant(float(degree)))
    if kernel == "sigmoid":
        return graph.add("Tanh", inner)
    shown = repr(kernel) if isinstance(kernel, str) else "of your own"
    raise ExportError(f"kernel={shown} cannot be exported; use linear, poly, rbf or sigmoid")


def squared_distances(graph: Graph, x: str, product: str, vectors: Any) -> str:
    """Return ``x² + v² - 2 x v``, given the product."""
    own = graph.column_sum(graph.add("Mul", x, x))
    others = graph.constant(np.einsum("ij,ij->i", vectors, vectors)[None])
    return graph.add("Sub", graph.add("Add", own, others), graph.add("Mul", graph.constant(2.0), product))


def _unit(vectors: Any) -> Any:
    sizes = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return vectors / np.where(sizes == 0, 1.0, sizes)


def _unit_rows(graph: Graph, x: str) -> str:
    size = graph.add("Sqrt", graph.column_sum(graph.add("Mul", x, x)))
    safe = graph.add("Where", graph.add("Equal", size, graph.constant(0.0)), graph.constant(1.0), size)
    return graph.add("Div", x, safe)


def _read_settings(step: Any, n_columns: int) -> dict[str, Any]:
    """Return the kernel's settings, as the library completes them.

    Raises
    ------
    ExportError
        If they are others than these.
    """
    if step.kernel_params:
        raise ExportError("kernel_params cannot be exported; use gamma, degree and coef0")
    gamma = getattr(step, "gamma_", step.gamma)
    return {
        "gamma": 1.0 / n_columns if gamma is None else gamma,
        "coef0": 1 if step.coef0 is None else step.coef0,
        "degree": 3 if step.degree is None else step.degree,
    }


@transformer("sklearn.Nystroem", agreement=LAST_DIGITS)
def add_nystroem(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add kernels with some training rows, turned and scaled."""
    refuse_missing(graph, columns)
    settings = _read_settings(step, len(columns))
    kernel = add_kernel(graph, columns.matrix(graph), step.components_, step.kernel, **settings)
    value = graph.add("MatMul", kernel, graph.constant(np.asarray(step.normalization_, np.float64).T))
    return Columns.of_matrix(value, len(step.normalization_))


@transformer("sklearn.KernelPCA", agreement=LAST_DIGITS)
def add_kernel_pca(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Centre the kernels with all training rows, and project them."""
    refuse_missing(graph, columns)
    settings = _read_settings(step, len(columns))
    kernel = add_kernel(graph, columns.matrix(graph), step.X_fit_, step.kernel, **settings)
    centerer = step._centerer
    n_rows = float(len(centerer.K_fit_rows_))
    mean = graph.add("Div", graph.column_sum(kernel), graph.constant(n_rows))
    kernel = graph.add("Sub", graph.add("Sub", kernel, graph.constant(centerer.K_fit_rows_)), mean)
    kernel = graph.add("Add", kernel, graph.constant(float(centerer.K_fit_all_)))
    nonzero = step.eigenvalues_ != 0
    scaled = np.zeros(step.eigenvectors_.shape)
    scaled[:, nonzero] = step.eigenvectors_[:, nonzero] / np.sqrt(step.eigenvalues_[nonzero])
    return Columns.of_matrix(graph.add("MatMul", kernel, graph.constant(scaled)), scaled.shape[1])


@estimator("sklearn.KernelRidge", agreement=LAST_DIGITS)
def add_kernel_ridge(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add the kernels' weighted sum."""
    weights = np.asarray(fitted.dual_coef_, np.float64)
    if weights.ndim > 1 and weights.shape[1] > 1:
        raise ExportError("several targets cannot be exported; fit one model for each")
    kernel = add_kernel(graph, x, fitted.X_fit_, fitted.kernel, **_read_settings(fitted, fitted.n_features_in_))
    return Scores(graph.add("MatMul", kernel, graph.constant(weights.reshape(-1, 1))))
