"""Estimators that are made of other estimators: voting, stacking, bagging, AdaBoost, one against the rest, thresholds."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns, join
from mlops_project.modeling.export.graph import INT64, Graph
from mlops_project.modeling.export.registry import (
    AS_INSIDE,
    LAST_DIGITS,
    add_estimator,
    add_member,
    add_transformer,
    meta_estimator,
    refuse_missing,
    transformer,
)
from mlops_project.modeling.export.scores import Scores, arg_max, from_probabilities, label_from, one_hot, two_columns


@meta_estimator("mlops_project.OriginalLabels")
def add_original_labels(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Add what is wrapped."""
    return add_estimator(graph, columns, fitted.estimator_)


@meta_estimator(
    "sklearn.GridSearchCV",
    "sklearn.RandomizedSearchCV",
    "sklearn.HalvingGridSearchCV",
    "sklearn.HalvingRandomSearchCV",
    agreement=AS_INSIDE,
)
def add_search(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Add the best one that the search found."""
    with graph.at("best_estimator_"):
        return add_estimator(graph, columns, fitted.best_estimator_)


@meta_estimator("sklearn.RANSACRegressor", agreement=AS_INSIDE)
def add_consensus(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Add the estimator of the rows that agree."""
    refuse_missing(graph, columns)
    with graph.at("estimator_"):
        return add_estimator(graph, columns, fitted.estimator_)


@meta_estimator("sklearn.FrozenEstimator", agreement=AS_INSIDE)
def add_frozen(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Add what is not fitted again."""
    with graph.at("estimator"):
        return add_estimator(graph, columns, fitted.estimator)


@transformer("sklearn.FrozenEstimator")
def add_frozen_transformer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add what is not fitted again."""
    with graph.at("estimator"):
        return add_transformer(graph, columns, step.estimator)


@meta_estimator("sklearn.SelfTrainingClassifier", agreement=AS_INSIDE)
def add_self_training(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Add the last estimator that labelled rows for itself."""
    with graph.at("estimator_"):
        return add_estimator(graph, columns, fitted.estimator_)


@meta_estimator("sklearn.RFE", "sklearn.RFECV", agreement=AS_INSIDE)
def add_eliminated(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Add the estimator of the columns that are left."""
    with graph.at("estimator_"):
        return add_estimator(graph, columns.take(fitted.get_support(indices=True)), fitted.estimator_)


def _probabilities(graph: Graph, scores: Scores) -> str:
    if scores.probabilities is None:
        raise ExportError(f"{graph.place} has no probabilities; wrap it in CalibratedClassifierCV")
    return scores.probabilities


def _label(graph: Graph, scores: Scores) -> str:
    if scores.label is None:
        raise ExportError(f"{graph.place} predicts numbers, and classes are needed here")
    return scores.label


def _sum(graph: Graph, parts: list[str]) -> str:
    total = parts[0]
    for part in parts[1:]:
        total = graph.add("Add", total, part)
    return total


def _named(fitted: Any) -> list[tuple[str, Any]]:
    kept = [name for name, part in fitted.estimators if not isinstance(part, str)]
    return list(zip(kept, fitted.estimators_, strict=True))


def _members(graph: Graph, columns: Columns, fitted: Any) -> list[Scores]:
    result = []
    for name, part in _named(fitted):
        with graph.at(name):
            result.append(add_member(graph, columns, part))
    return result


def _average(graph: Graph, parts: list[str], weights: Any) -> str:
    """Return the mean in the order of the parts, as ``numpy.average`` does."""
    if weights is None:
        return graph.add("Div", _sum(graph, parts), graph.constant(float(len(parts))))
    weighted = [graph.add("Mul", part, graph.constant(float(w))) for part, w in zip(parts, weights, strict=True)]
    return graph.add("Div", _sum(graph, weighted), graph.constant(float(np.sum(np.asarray(weights, np.float64)))))


@meta_estimator("sklearn.VotingClassifier", agreement=LAST_DIGITS)
def add_voting_classifier(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Average the probabilities, or count the labels."""
    members = _members(graph, columns, fitted)
    n_classes, weights = len(fitted.classes_), fitted._weights_not_none
    if fitted.voting == "soft":
        mean = _average(graph, [_probabilities(graph, scores) for scores in members], weights)
        return from_probabilities(graph, mean, n_classes)
    votes = [one_hot(graph, _label(graph, scores), n_classes) for scores in members]
    if weights is not None:
        votes = [graph.add("Mul", vote, graph.constant(float(w))) for vote, w in zip(votes, weights, strict=True)]
    return Scores(None, arg_max(graph, _sum(graph, votes)), None)


@meta_estimator("sklearn.VotingRegressor", agreement=LAST_DIGITS)
def add_voting_regressor(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Average the values."""
    parts = [str(scores.probabilities) for scores in _members(graph, columns, fitted)]
    return Scores(_average(graph, parts, fitted._weights_not_none))


@meta_estimator("sklearn.StackingClassifier", "sklearn.StackingRegressor", agreement=LAST_DIGITS)
def add_stacking(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Let the last estimator read what the others answer, and the table itself if asked to."""
    parts = []
    kept = [name for name, part in fitted.estimators if not isinstance(part, str)]
    for name, part, method in zip(kept, fitted.estimators_, fitted.stack_method_, strict=True):
        with graph.at(name):
            parts.append(_stacked(graph, add_member(graph, columns, part), part, method))
    if fitted.passthrough:
        parts.append(columns)
    with graph.at("final_estimator_"):
        return add_estimator(graph, join(parts), fitted.final_estimator_)


def _stacked(graph: Graph, scores: Scores, part: Any, method: str) -> Columns:
    n_classes = len(part.classes_) if is_classifier(part) else 0
    if not n_classes:
        return Columns.of_matrix(str(scores.probabilities), 1)
    if method == "predict_proba":
        value = Columns.of_matrix(_probabilities(graph, scores), n_classes)
        return value.take([1]) if n_classes == 2 else value
    if method == "decision_function":
        return Columns.of_matrix(str(scores.decision), _decision_width(part, n_classes))
    values = np.asarray(part.classes_)
    if values.dtype.kind not in "biuf":
        raise ExportError(f"{graph.place} hands on labels that are texts; use stack_method='predict_proba'")
    codes = graph.add("Gather", graph.constant(values.astype(np.float64)[:, None]), _label(graph, scores), axis=0)
    return Columns.of_matrix(codes, 1)


def _decision_width(part: Any, n_classes: int) -> int:
    """Return how many columns the decision function has: SVC may have one for each pair of classes."""
    last = part.steps[-1][1] if hasattr(part, "steps") else part
    if n_classes > 2 and getattr(last, "decision_function_shape", "ovr") == "ovo":
        return n_classes * (n_classes - 1) // 2
    return 1 if n_classes == 2 else n_classes


@meta_estimator(
    "sklearn.BaggingClassifier",
    "sklearn.BaggingRegressor",
    "imblearn.BalancedBaggingClassifier",
    "imblearn.EasyEnsembleClassifier",
    agreement=LAST_DIGITS,
)
def add_bagging(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Average the estimators, each on its own columns."""
    parts, decisions = [], []
    n_classes = len(fitted.classes_) if is_classifier(fitted) else 0
    for place, (part, chosen) in enumerate(zip(fitted.estimators_, fitted.estimators_features_, strict=True)):
        with graph.at(f"estimators_[{place}]"):
            scores = add_member(graph, columns.take(chosen), part)
            parts.append(_bagged(graph, scores, part, n_classes))
            decisions.append(str(scores.decision))
    mean = _average(graph, parts, None)
    if not n_classes:
        return Scores(mean)
    found = from_probabilities(graph, mean, n_classes)
    if not hasattr(fitted, "decision_function") or any(len(part.classes_) < n_classes for part in fitted.estimators_):
        return found
    return replace(found, decision=_average(graph, decisions, None))


def _bagged(graph: Graph, scores: Scores, part: Any, n_classes: int) -> str:
    if not n_classes:
        return str(scores.probabilities)
    seen = np.asarray(part.classes_, np.int64)
    spread = np.eye(n_classes)[seen]
    if scores.probabilities is None:
        return graph.add("Gather", graph.constant(spread), _label(graph, scores), axis=0)
    if len(seen) == n_classes:
        return scores.probabilities
    return graph.add("MatMul", scores.probabilities, graph.constant(spread))


@meta_estimator("sklearn.AdaBoostClassifier", "imblearn.RUSBoostClassifier", agreement=LAST_DIGITS)
def add_boosted_classifier(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Add up the weights of the estimators that name a class."""
    refuse_missing(graph, columns)
    n_classes = len(fitted.classes_)
    positions = {label: place for place, label in enumerate(fitted.classes_.tolist())}
    parts = []
    for place, (part, weight) in enumerate(zip(fitted.estimators_, fitted.estimator_weights_, strict=False)):
        with graph.at(f"estimators_[{place}]"):
            label = _label(graph, add_member(graph, columns, part))
        table = np.full((len(part.classes_), n_classes), -1 / (n_classes - 1) * weight)
        for row, name in enumerate(part.classes_.tolist()):
            table[row, positions[name]] = weight
        parts.append(graph.add("Gather", graph.constant(table), label, axis=0))
    raw = graph.add("Div", _sum(graph, parts), graph.constant(float(fitted.estimator_weights_.sum())))
    if n_classes > 2:
        shares = graph.add("Div", raw, graph.constant(float(n_classes - 1)))
        return Scores(graph.add("Softmax", shares, axis=1), arg_max(graph, raw), raw)
    decision = graph.add("Add", graph.add("Neg", graph.columns(raw, [0])), graph.columns(raw, [1]))
    both = graph.add("Concat", graph.add("Neg", decision), decision, axis=1)
    halves = graph.add("Div", both, graph.constant(2.0))
    label = label_from(graph, graph.add("Greater", decision, graph.constant(0.0)))
    return Scores(graph.add("Softmax", halves, axis=1), label, decision)


@meta_estimator("sklearn.AdaBoostRegressor", agreement=LAST_DIGITS)
def add_boosted_regressor(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Take the weighted median of the estimators' values."""
    refuse_missing(graph, columns)
    parts = []
    for place, part in enumerate(fitted.estimators_):
        with graph.at(f"estimators_[{place}]"):
            parts.append(str(add_member(graph, columns, part).probabilities))
    values = graph.add("Concat", *parts, axis=1)
    order = graph.sorted_positions(values, len(parts))
    weights = graph.add("Gather", graph.constant(fitted.estimator_weights_[: len(parts)]), order)
    total = graph.add("CumSum", weights, graph.constant(1, np.int64))
    half = graph.add("Mul", graph.constant(0.5), graph.columns(total, [len(parts) - 1]))
    above = graph.cast(graph.add("GreaterOrEqual", total, half), INT64)
    first = graph.add("ArgMax", above, axis=1, keepdims=1)
    chosen = graph.add("GatherElements", order, first, axis=1)
    return Scores(graph.add("GatherElements", values, chosen, axis=1))


@meta_estimator("sklearn.OneVsRestClassifier", agreement=LAST_DIGITS)
def add_one_against_rest(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Compare each class's own estimator; probabilities are divided by their sum."""
    if fitted.multilabel_:
        raise ExportError("several labels for a row cannot be exported; fit one model for each")
    members, divides = [], graph.divides
    graph.divides = True
    for place, part in enumerate(fitted.estimators_):
        with graph.at(f"estimators_[{place}]"):
            members.append(add_member(graph, columns, part))
    graph.divides = divides
    decisions = [str(scores.decision) for scores in members]
    known = all(scores.probabilities is not None for scores in members)
    shares = [graph.columns(str(scores.probabilities), [1]) for scores in members] if known else []
    if len(members) == 1:
        threshold = 0.0 if hasattr(fitted.estimators_[0], "decision_function") else 0.5
        label = label_from(graph, graph.add("Greater", decisions[0], graph.constant(threshold)))
        return Scores(two_columns(graph, shares[0]) if known else None, label, decisions[0])
    decision = graph.add("Concat", *decisions, axis=1)
    label = arg_max(graph, decision)
    if not known:
        return Scores(None, label, decision)
    values = graph.add("Concat", *shares, axis=1)
    total = graph.column_sum(values)
    safe = graph.add("Where", graph.add("Equal", total, graph.constant(0.0)), graph.constant(1.0), total)
    probabilities = graph.add("Div", values, safe)
    return Scores(probabilities, label, decision if hasattr(fitted, "decision_function") else probabilities)


@meta_estimator("sklearn.OneVsOneClassifier", agreement=LAST_DIGITS)
def add_one_against_one(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Let each pair of classes vote; how sure they are decides between equal numbers of votes."""
    n_classes = len(fitted.classes_)
    used = fitted.pairwise_indices_ or [range(len(columns))] * len(fitted.estimators_)
    votes, trust = [], []
    pairs = combinations(range(n_classes), 2)
    for place, ((first, second), part, chosen) in enumerate(zip(pairs, fitted.estimators_, used, strict=True)):
        with graph.at(f"estimators_[{place}]"):
            scores = add_member(graph, columns.take(chosen), part)
        votes.append(graph.add("Gather", graph.constant(np.eye(n_classes)[[first, second]]), _label(graph, scores), axis=0))
        sign = np.eye(n_classes)[[second]] - np.eye(n_classes)[[first]]
        trust.append(graph.add("Mul", str(scores.decision), graph.constant(sign)))
    total = _sum(graph, trust)
    scale = graph.add("Mul", graph.constant(3.0), graph.add("Add", graph.add("Abs", total), graph.constant(1.0)))
    decision = graph.add("Add", _sum(graph, votes), graph.add("Div", total, scale))
    if n_classes > 2:
        return Scores(None, arg_max(graph, decision), decision)
    value = graph.columns(decision, [1])
    threshold = 0.0 if hasattr(fitted.estimators_[0], "decision_function") else 0.5
    return Scores(None, label_from(graph, graph.add("Greater", value, graph.constant(threshold))), value)


@meta_estimator("sklearn.FixedThresholdClassifier", "sklearn.TunedThresholdClassifierCV", agreement=AS_INSIDE)
def add_threshold(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Move the border between the two classes; the probabilities stay."""
    with graph.at("estimator_"):
        inner = getattr(fitted, "estimator_", fitted.estimator)
        scores = add_member(graph, columns, inner)
    methods = fitted._get_response_method()
    methods = [methods] if isinstance(methods, str) else list(methods)
    method = next(name for name in methods if hasattr(inner, name))
    threshold = getattr(fitted, "best_threshold_", getattr(fitted, "threshold", "auto"))
    if threshold == "auto":
        threshold = 0.5 if method == "predict_proba" else 0.0
    scorer = getattr(fitted, "_curve_scorer", None)
    positive = scorer._get_pos_label() if scorer is not None else fitted.pos_label
    if positive is not None and positive not in fitted.classes_:  # inside an ensemble, which has numbers for the labels
        return scores  # and never asks for its label: the library has none then
    place = 1 if positive is None else int(np.flatnonzero(fitted.classes_ == positive)[0])
    if method == "predict_proba":
        value = graph.columns(_probabilities(graph, scores), [place])
    else:
        value = str(scores.decision) if place else graph.add("Neg", str(scores.decision))
    above = label_from(graph, graph.add("GreaterOrEqual", value, graph.constant(float(threshold))))
    label = above if place else graph.add("Sub", graph.constant(1, np.int64), above)
    return Scores(scores.probabilities, label, scores.decision)


@meta_estimator("sklearn.DummyClassifier", "sklearn.DummyRegressor")
def add_dummy(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Answer the same to every row."""
    row = columns.column(graph, 0)
    if not is_classifier(fitted):
        return Scores(graph.full(row, np.asarray(fitted.constant_, np.float64).reshape(1, -1)[:, :1]))
    n_classes = len(fitted.classes_)
    if fitted.strategy == "prior":
        probabilities = np.asarray(fitted.class_prior_, np.float64)
    elif fitted.strategy == "most_frequent":
        probabilities = np.eye(n_classes)[int(np.argmax(fitted.class_prior_))]
    elif fitted.strategy == "constant":
        probabilities = np.eye(n_classes)[int(np.flatnonzero(fitted.classes_ == fitted.constant)[0])]
    else:
        raise ExportError(f"strategy={fitted.strategy!r} answers at random; use 'prior'")
    return from_probabilities(graph, graph.full(row, probabilities), n_classes)
