"""Naive Bayes: joint log likelihoods of the classes."""

from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import DOUBLE, INT64, Graph
from mlops_project.modeling.export.registry import LAST_DIGITS, estimator
from mlops_project.modeling.export.scores import Scores, arg_max, posterior

NOISE = 1e-12  # of a number's size: what the steps before may differ by
STEP = "numbers lie at binarize but for their last digits, after a step that rounds; set binarize between the values"


def _from_likelihoods(graph: Graph, likelihoods: str, n_classes: int) -> Scores:
    probabilities = posterior(graph, likelihoods)
    decision = graph.columns(probabilities, [1]) if n_classes == 2 else probabilities
    return Scores(probabilities, arg_max(graph, likelihoods), decision)


@estimator("sklearn.GaussianNB", agreement=LAST_DIGITS)
def add_gaussian(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add a normal distribution for each class and column, summed column by column as NumPy does."""
    classes = []
    for mean, variance, prior in zip(fitted.theta_, fitted.var_, fitted.class_prior_, strict=True):
        distance = graph.add("Sub", x, graph.constant(mean))
        shares = graph.add("Div", graph.add("Mul", distance, distance), graph.constant(variance))
        total = graph.columns(shares, [0])
        for column in range(1, len(mean)):
            total = graph.add("Add", total, graph.columns(shares, [column]))
        base = -0.5 * np.sum(np.log(2.0 * np.pi * variance))
        likelihood = graph.add("Sub", graph.constant(base), graph.add("Mul", graph.constant(0.5), total))
        classes.append(graph.add("Add", likelihood, graph.constant(np.log(prior))))
    return _from_likelihoods(graph, graph.add("Concat", *classes, axis=1), len(classes))


@estimator("sklearn.MultinomialNB", "sklearn.ComplementNB", agreement=LAST_DIGITS)
def add_multinomial(graph: Graph, x: str, fitted: Any) -> Scores:
    """Multiply counts with the columns' log probabilities."""
    likelihoods = graph.add("MatMul", x, graph.constant(fitted.feature_log_prob_.T))
    multinomial = type(fitted).__name__ == "MultinomialNB"
    if multinomial or len(fitted.classes_) == 1:
        likelihoods = graph.add("Add", likelihoods, graph.constant(fitted.class_log_prior_))
    return _from_likelihoods(graph, likelihoods, len(fitted.classes_))


@estimator("sklearn.BernoulliNB", agreement=LAST_DIGITS)
def add_bernoulli(graph: Graph, x: str, fitted: Any) -> Scores:
    """Turn numbers into 0 and 1, multiply with the columns' log odds."""
    if fitted.binarize is not None:
        if graph.rounds:  # a spline's 1e-19 is above 0, where the exported model may have 0
            apart = graph.add("Abs", graph.add("Sub", x, graph.constant(float(fitted.binarize))))
            room = graph.constant(NOISE * max(1.0, abs(float(fitted.binarize))))
            beside = graph.column_sum(graph.cast(graph.add("Less", apart, room), DOUBLE))
            graph.note_tie(beside, type(fitted).__name__, STEP)
        x = graph.cast(graph.add("Greater", x, graph.constant(float(fitted.binarize))), DOUBLE)
    absent = np.log(1 - np.exp(fitted.feature_log_prob_))
    product = graph.add("MatMul", x, graph.constant((fitted.feature_log_prob_ - absent).T))
    base = graph.constant(fitted.class_log_prior_ + absent.sum(axis=1))
    return _from_likelihoods(graph, graph.add("Add", product, base), len(fitted.classes_))


@estimator("sklearn.CategoricalNB", agreement=LAST_DIGITS)
def add_categorical(graph: Graph, x: str, fitted: Any) -> Scores:
    """Look up each category's log probability; codes are numbers from 0 on."""
    total = None
    for column, table in enumerate(fitted.feature_log_prob_):
        number = graph.columns(x, [column])
        whole = graph.vector(graph.add("Mul", graph.add("Sign", number), graph.add("Floor", graph.add("Abs", number))))
        code = graph.cast(whole, INT64)  # the library cuts numbers off at the point
        n_codes = table.shape[1]
        inside = graph.lookup(whole, np.arange(n_codes), np.zeros(n_codes), np.nan)
        graph.refuse_rows(graph.add("Unsqueeze", inside, graph.constant([1], np.int64)))
        safe = graph.add("Min", graph.add("Max", code, graph.constant(0, np.int64)), graph.constant(n_codes - 1, np.int64))
        part = graph.add("Gather", graph.constant(table.T), safe, axis=0)
        total = part if total is None else graph.add("Add", total, part)
    if total is None:
        raise ExportError("no column reaches this step")
    likelihoods = graph.add("Add", total, graph.constant(fitted.class_log_prior_))
    return _from_likelihoods(graph, likelihoods, len(fitted.classes_))
