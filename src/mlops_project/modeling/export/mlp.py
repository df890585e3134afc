"""Multi-layer perceptrons: matrix products and activations in float64."""

from typing import Any

from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.registry import LAST_DIGITS, estimator
from mlops_project.modeling.export.scores import Scores, arg_max, expit, label_from, two_columns

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": "Identity", "exp": "Exp"}


@estimator("sklearn.MLPClassifier", "sklearn.MLPRegressor", agreement=LAST_DIGITS)
def add_perceptron(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add the layers."""
    last = len(fitted.coefs_) - 1
    for layer, (weights, bias) in enumerate(zip(fitted.coefs_, fitted.intercepts_, strict=True)):
        x = graph.add("Add", graph.add("MatMul", x, graph.constant(weights)), graph.constant(bias))
        if layer < last:
            x = graph.add(ACTIVATIONS[fitted.activation], x)
    if fitted.out_activation_ == "softmax":
        probabilities = graph.add("Softmax", x, axis=1)
        return Scores(probabilities, arg_max(graph, probabilities), probabilities)
    x = expit(graph, x) if fitted.out_activation_ == "logistic" else graph.add(ACTIVATIONS[fitted.out_activation_], x)
    if fitted.n_outputs_ > 1:
        raise ExportError("several targets cannot be exported; fit one model for each")
    if not hasattr(fitted, "classes_"):
        return Scores(x)
    return Scores(two_columns(graph, x), label_from(graph, graph.add("Greater", x, graph.constant(0.5))), x)
