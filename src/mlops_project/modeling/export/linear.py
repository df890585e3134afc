"""Linear models: one matrix product in float64 and the link."""

from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.registry import LAST_DIGITS, estimator
from mlops_project.modeling.export.scalers import clip
from mlops_project.modeling.export.scores import (
    Scores,
    binary_from_raw,
    expit,
    from_decision,
    from_probabilities,
    label_from,
    multiclass_from_raw,
    normalise,
    two_columns,
)

REGRESSORS = (
    "ARDRegression",
    "BayesianRidge",
    "ElasticNet",
    "ElasticNetCV",
    "HuberRegressor",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "LinearRegression",
    "LinearSVR",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "PassiveAggressiveRegressor",
    "QuantileRegressor",
    "Ridge",
    "RidgeCV",
    "SGDRegressor",
    "TheilSenRegressor",
)
WITHOUT_PROBABILITIES = ("LinearSVC", "PassiveAggressiveClassifier", "Perceptron", "RidgeClassifier", "RidgeClassifierCV")


def _add_raw(graph: Graph, x: str, fitted: Any) -> str:
    weights = np.atleast_2d(np.asarray(fitted.coef_, np.float64)).T
    intercept = np.broadcast_to(np.asarray(fitted.intercept_, np.float64).reshape(-1), (weights.shape[1],))
    return graph.add("Add", graph.add("MatMul", x, graph.constant(weights)), graph.constant(intercept))


@estimator(*(f"sklearn.{name}" for name in REGRESSORS), agreement=LAST_DIGITS)
def add_linear_regressor(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add a linear regression."""
    if np.ndim(fitted.coef_) > 1 and np.shape(fitted.coef_)[0] > 1:
        raise ExportError("several targets cannot be exported; fit one model for each")
    return Scores(_add_raw(graph, x, fitted))


@estimator(
    "sklearn.LogisticRegression",
    "sklearn.LogisticRegressionCV",
    "sklearn.LinearDiscriminantAnalysis",
    agreement=LAST_DIGITS,
)
def add_logistic(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add a linear classifier with a logistic link, softmax for several classes."""
    raw = _add_raw(graph, x, fitted)
    if len(fitted.classes_) == 2:
        return binary_from_raw(graph, raw, operator="Greater")
    return multiclass_from_raw(graph, raw)


@estimator(*(f"sklearn.{name}" for name in WITHOUT_PROBABILITIES), agreement=LAST_DIGITS)
def add_linear_classifier(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add a linear classifier without probabilities."""
    return from_decision(graph, _add_raw(graph, x, fitted), len(fitted.classes_))


@estimator("sklearn.SGDClassifier", agreement=LAST_DIGITS)
def add_sgd(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add a linear classifier whose loss decides whether there are probabilities: one against all others, normalised."""
    raw = _add_raw(graph, x, fitted)
    n_classes = len(fitted.classes_)
    label = from_decision(graph, raw, n_classes).label
    if fitted.loss == "log_loss":
        shares = expit(graph, raw)
    elif fitted.loss == "modified_huber":
        one = graph.constant(1.0)
        graph.rounds = graph.rounds or n_classes > 2  # a last digit decides whether all shares are 0, which makes them equal
        shares = graph.add("Div", graph.add("Add", clip(graph, raw, -1.0, 1.0), one), graph.constant(2.0))
    else:
        return Scores(None, label, raw)
    probabilities = two_columns(graph, shares) if n_classes == 2 else normalise(graph, shares, n_classes)
    return Scores(probabilities, label, raw)


@estimator("sklearn.GammaRegressor", "sklearn.PoissonRegressor", "sklearn.TweedieRegressor", agreement=LAST_DIGITS)
def add_generalised(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add a generalised linear model with the link that it was fitted with."""
    raw = _add_raw(graph, x, fitted)
    link = type(fitted._base_loss.link).__name__
    return Scores(graph.add("Exp", raw) if link == "LogLink" else raw)


@estimator("sklearn.PLSRegression", agreement=LAST_DIGITS)
def add_partial_least_squares(graph: Graph, x: str, fitted: Any) -> Scores:
    """Subtract the means, then a linear regression."""
    if np.shape(fitted.coef_)[0] > 1:
        raise ExportError("several targets cannot be exported; fit one model for each")
    return Scores(_add_raw(graph, graph.add("Sub", x, graph.constant(fitted._x_mean)), fitted))


@estimator("sklearn.QuadraticDiscriminantAnalysis", agreement=LAST_DIGITS)
def add_quadratic(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add each class's squared distance along its own axes."""
    if getattr(fitted, "solver", "svd") != "svd":
        raise ExportError(f"solver={fitted.solver!r} cannot be exported exactly; use 'svd'")
    columns = []
    for mean, rotation, scaling, prior in zip(fitted.means_, fitted.rotations_, fitted.scalings_, fitted.priors_, strict=True):
        centred = graph.add("Sub", x, graph.constant(mean))
        along = graph.add("MatMul", centred, graph.constant(rotation * (scaling ** (-0.5))))
        distance = graph.column_sum(graph.add("Mul", along, along))
        volume = float(np.sum(np.log(scaling)))
        half = graph.add("Mul", graph.constant(-0.5), graph.add("Add", distance, graph.constant(volume)))
        columns.append(graph.add("Add", half, graph.constant(float(np.log(prior)))))
    values = graph.add("Concat", *columns, axis=1)
    if len(columns) > 2:
        return multiclass_from_raw(graph, values)
    raw = graph.add("Sub", columns[1], columns[0])
    label = label_from(graph, graph.add("Greater", raw, graph.constant(0.0)))
    probabilities = from_probabilities(graph, graph.add("Softmax", values, axis=1), 2).probabilities
    return Scores(probabilities, label, raw)
