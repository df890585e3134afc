"""Selected columns and linear projections."""

from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.registry import LAST_DIGITS, projection, refuse_missing, transformer

SELECTORS = (
    "sklearn.GenericUnivariateSelect",
    "sklearn.RFE",
    "sklearn.RFECV",
    "sklearn.SelectFdr",
    "sklearn.SelectFpr",
    "sklearn.SelectFromModel",
    "sklearn.SelectFwe",
    "sklearn.SelectKBest",
    "sklearn.SelectPercentile",
    "sklearn.SequentialFeatureSelector",
    "sklearn.VarianceThreshold",
)


@transformer(*SELECTORS)
def add_selector(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Take the columns that the step supports."""
    from sklearn.utils import get_tags

    if not get_tags(step).input_tags.allow_nan:
        refuse_missing(graph, columns)
    return columns.take(step.get_support(indices=True))


@projection("sklearn.PCA", "sklearn.IncrementalPCA")
def add_pca(graph: Graph, x: str, step: Any) -> str:
    """Project, then subtract the projected mean: scikit-learn's order."""
    components = step.components_.T
    x = graph.add("MatMul", x, graph.constant(components))
    x = graph.add("Sub", x, graph.constant(step.mean_.reshape(1, -1) @ components))
    if step.whiten:
        scale = np.maximum(np.sqrt(step.explained_variance_), np.finfo(np.float64).eps)
        x = graph.add("Div", x, graph.constant(scale))
    return x


@projection(
    "sklearn.TruncatedSVD",
    "sklearn.GaussianRandomProjection",
    "sklearn.SparseRandomProjection",
    "sklearn.NeighborhoodComponentsAnalysis",
)
def add_components(graph: Graph, x: str, step: Any) -> str:
    """Project."""
    components = step.components_
    dense = components.toarray() if hasattr(components, "toarray") else components
    return graph.add("MatMul", x, graph.constant(dense.T))


@projection("sklearn.FastICA")
def add_ica(graph: Graph, x: str, step: Any) -> str:
    """Subtract the mean if it whitens, then project."""
    if step.whiten:
        x = graph.add("Sub", x, graph.constant(step.mean_))
    return graph.add("MatMul", x, graph.constant(step.components_.T))


@projection("sklearn.FactorAnalysis")
def add_factors(graph: Graph, x: str, step: Any) -> str:
    """Subtract the mean, then project on the factors."""
    scaled = step.components_ / step.noise_variance_
    turned = np.linalg.inv(np.eye(len(scaled)) + scaled @ step.components_.T)
    x = graph.add("MatMul", graph.add("Sub", x, graph.constant(step.mean_)), graph.constant(scaled.T))
    return graph.add("MatMul", x, graph.constant(turned))


@projection("sklearn.PLSRegression")
def add_partial_least_squares_scores(graph: Graph, x: str, step: Any) -> str:
    """Centre and scale, then turn."""
    x = graph.add("Div", graph.add("Sub", x, graph.constant(step._x_mean)), graph.constant(step._x_std))
    return graph.add("MatMul", x, graph.constant(step.x_rotations_))


@projection("sklearn.KMeans", "sklearn.MiniBatchKMeans", "sklearn.BisectingKMeans")
def add_distances(graph: Graph, x: str, step: Any) -> str:
    """Measure how far each row is from the middle of each group."""
    centres = np.asarray(step.cluster_centers_, np.float64)
    product = graph.add("MatMul", x, graph.constant(centres.T))
    squares = graph.add("Mul", graph.constant(-2.0), product)
    squares = graph.add("Add", squares, graph.column_sum(graph.add("Mul", x, x)))
    squares = graph.add("Add", squares, graph.constant(np.einsum("ij,ij->i", centres, centres)[None]))
    return graph.add("Sqrt", graph.add("Max", squares, graph.constant(0.0)))


@transformer("sklearn.FeatureAgglomeration", agreement=LAST_DIGITS)
def add_agglomeration(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Average the columns of each group."""
    refuse_missing(graph, columns)
    if step.pooling_func is not np.mean:
        raise ExportError("pooling_func of your own cannot be exported; leave it out (numpy.mean)")
    n_groups = int(step.labels_.max()) + 1
    members = np.eye(n_groups)[step.labels_]
    total = graph.add("MatMul", columns.matrix(graph), graph.constant(members))
    return Columns.of_matrix(graph.add("Div", total, graph.constant(members.sum(axis=0)[None])), n_groups)


@projection("sklearn.LinearDiscriminantAnalysis")
def add_discriminants(graph: Graph, x: str, step: Any) -> str:
    """Project on the directions that tell the classes apart."""
    if step.solver == "svd":
        x = graph.add("Sub", x, graph.constant(step.xbar_))
    return graph.add("MatMul", x, graph.constant(step.scalings_[:, : step._max_components]))


@transformer("sklearn.RBFSampler", agreement=LAST_DIGITS)
def add_rbf_sampler(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add random Fourier features."""
    refuse_missing(graph, columns)
    projected = graph.add("MatMul", columns.matrix(graph), graph.constant(step.random_weights_))
    wave = graph.add("Cos", graph.add("Add", projected, graph.constant(step.random_offset_)))
    scaled = graph.add("Mul", wave, graph.constant((2.0 / step.n_components) ** 0.5))
    return Columns.of_matrix(scaled, len(step.random_offset_))
