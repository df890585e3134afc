"""What an estimator's part of the graph hands on, and the last steps that several families share."""

from dataclasses import dataclass

import numpy as np

from mlops_project.modeling.export.graph import INT64, Graph


@dataclass(frozen=True)
class Scores:
    """Names of values in the graph.

    Attributes
    ----------
    probabilities
        float64 ``(n_rows, n_classes)``, in the order of the estimator's ``classes_``; for regression float64 ``(n_rows, 1)``.
        None for a classifier without probabilities.
    label
        int64 ``(n_rows,)``, position in ``classes_``; None for regression.
    decision
        What scikit-learn's calibration reads: ``decision_function`` where the estimator has one, else the probabilities
        (binary: of the second class); ``(n_rows, 1)`` or ``(n_rows, n_classes)``. None for regression.
    """

    probabilities: str | None
    label: str | None = None
    decision: str | None = None


def arg_max(graph: Graph, value: str) -> str:
    """Return the first column with the largest value."""
    return graph.add("ArgMax", value, axis=1, keepdims=0)


def label_from(graph: Graph, condition: str) -> str:
    """Turn a condition ``(n_rows, 1)`` into the labels 0 and 1, ``(n_rows,)``."""
    return graph.add("Squeeze", graph.cast(condition, INT64), graph.constant([1], np.int64))


def expit(graph: Graph, value: str) -> str:
    """Return ``1 / (1 + exp(-x))`` as SciPy does. ONNX Runtime's Sigmoid is 0 below -37, too early for sums to divide by."""
    one = graph.constant(1.0)
    return graph.add("Div", one, graph.add("Add", one, graph.add("Exp", graph.add("Neg", value))))


def logistic(graph: Graph, raw: str) -> str:
    """Return the positive class's probability, by the operator where its smallest values are not divided by others."""
    return expit(graph, raw) if graph.divides else graph.add("Sigmoid", raw)


def two_columns(graph: Graph, positive: str) -> str:
    """Return ``[1 - p, p]`` for p ``(n_rows, 1)`` in float64."""
    negative = graph.add("Sub", graph.constant(1.0), positive)
    return graph.add("Concat", negative, positive, axis=1)


def binary_from_raw(graph: Graph, raw: str, *, operator: str) -> Scores:
    """Logistic link: probability sigmoid(raw), label by ``raw > 0`` (``Greater``) or ``raw >= 0`` (``GreaterOrEqual``)."""
    label = label_from(graph, graph.add(operator, raw, graph.constant(0.0)))
    return Scores(two_columns(graph, logistic(graph, raw)), label, raw)


def multiclass_from_raw(graph: Graph, raw: str) -> Scores:
    """Softmax link: label by the largest raw score."""
    return Scores(graph.add("Softmax", raw, axis=1), arg_max(graph, raw), raw)


def from_decision(graph: Graph, decision: str, n_classes: int) -> Scores:
    """Label by ``decision > 0``, or by the largest of several; no probabilities."""
    if n_classes == 2:
        return Scores(None, label_from(graph, graph.add("Greater", decision, graph.constant(0.0))), decision)
    return Scores(None, arg_max(graph, decision), decision)


def one_hot(graph: Graph, label: str, n_classes: int) -> str:
    """Turn labels ``(n_rows,)`` into float64 columns of 0 and 1, ``(n_rows, n_classes)``."""
    return graph.add("Gather", graph.constant(np.eye(n_classes)), label, axis=0)


def posterior(graph: Graph, values: str) -> str:
    """Return ``exp(values - logsumexp(values))``: naive Bayes' probabilities of joint log likelihoods."""
    largest = graph.add("ReduceMax", values, graph.constant([1], np.int64), keepdims=1)
    total = graph.add("Log", graph.column_sum(graph.add("Exp", graph.add("Sub", values, largest))))
    return graph.add("Exp", graph.add("Sub", values, graph.add("Add", total, largest)))


def from_probabilities(graph: Graph, probabilities: str, n_classes: int) -> Scores:
    """Label by the largest probability, the first one of equals."""
    decision = graph.columns(probabilities, [1]) if n_classes == 2 else probabilities
    return Scores(probabilities, arg_max(graph, probabilities), decision)


def normalise(graph: Graph, values: str, n_columns: int) -> str:
    """Divide each row by its sum; a row of zeros becomes uniform."""
    total = graph.add("ReduceSum", values, graph.constant([1], np.int64), keepdims=1)
    empty = graph.add("Equal", total, graph.constant(0.0))
    safe = graph.add("Where", empty, graph.constant(1.0), total)
    shares = graph.add("Div", values, safe)
    return graph.add("Where", empty, graph.constant(np.full((1, n_columns), 1 / n_columns)), shares)
