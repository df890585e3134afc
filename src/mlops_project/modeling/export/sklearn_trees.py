"""scikit-learn's own trees: decision tree, random forest, extra trees, both gradient boostings.

All but HistGradientBoosting cast their input to float32 and compare it with float64 thresholds.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ExportError
from mlops_project.modeling.export.categories import add_ordinal
from mlops_project.modeling.export.columns import Columns, join
from mlops_project.modeling.export.graph import DOUBLE, FLOAT, Graph
from mlops_project.modeling.export.registry import LINK, meta_estimator
from mlops_project.modeling.export.registry import estimator as exports
from mlops_project.modeling.export.scores import (
    Scores,
    binary_from_raw,
    from_probabilities,
    logistic,
    multiclass_from_raw,
    two_columns,
)
from mlops_project.modeling.export.trees import Tree, add_ensemble, constant_tree

KINDS = ("Classifier", "Regressor")


def read_tree(fitted: Any, value: npt.NDArray[np.float64], target: npt.NDArray[np.int64] | int) -> Tree:
    """Read a ``tree_`` with the given leaf values and targets (one for all, or one per node)."""
    arrays = fitted.__getstate__()["nodes"]
    left = arrays["left_child"].astype(np.int64)
    return Tree(
        feature=np.where(left >= 0, arrays["feature"], 0).astype(np.int64),
        threshold=arrays["threshold"].astype(np.float64),
        left=left,
        right=arrays["right_child"].astype(np.int64),
        missing_left=arrays["missing_go_to_left"].astype(bool),
        value=value,
        target=np.broadcast_to(np.asarray(target, np.int64), left.shape),
    )


def through_float32(graph: Graph, x: str) -> str:
    """Round to float32 as scikit-learn's trees do."""
    single = graph.cast(graph.cast(x, FLOAT), DOUBLE)
    if graph.place:  # scikit-learn refuses larger numbers; the pipelines built here answer as for the largest one
        graph.refuse_rows(graph.nan_where_infinite(single))
    return single


FORESTS = ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees")


@exports(*(f"sklearn.{name}{kind}" for name in FORESTS for kind in KINDS), "imblearn.BalancedRandomForestClassifier")
def add_forest(graph: Graph, x: str, estimator: Any) -> Scores:
    """Add a decision tree, random forest or extra trees: the mean of the trees' leaf values."""
    members = getattr(estimator, "estimators_", None) or [estimator]
    fitted = [member.tree_ for member in members]
    x = through_float32(graph, x)
    if not hasattr(estimator, "classes_"):
        total = add_ensemble(graph, x, (read_tree(tree, tree.value[:, 0, 0], 0) for tree in fitted), 1)
        return Scores(_mean(graph, total, len(fitted)))
    n_classes = len(estimator.classes_)
    total = add_ensemble(graph, x, _class_trees(fitted, n_classes), n_classes)
    return from_probabilities(graph, _mean(graph, total, len(fitted)), n_classes)


def _class_trees(fitted: Sequence[Any], n_classes: int) -> Iterator[Tree]:
    """Yield the trees of a classification forest.

    A leaf adds to one output only. Where every leaf is pure, it adds 1 to its class and each tree is needed once; otherwise
    once per class. Deriving one class from the others would round differently and flip ties.
    """
    values = [tree.value[:, 0, :n_classes] for tree in fitted]
    if all(np.isin(value[tree.children_left < 0], (0.0, 1.0)).all() for tree, value in zip(fitted, values, strict=True)):
        yield from (
            read_tree(tree, np.ones(len(value)), value.argmax(axis=1)) for tree, value in zip(fitted, values, strict=True)
        )
        return
    for tree, value in zip(fitted, values, strict=True):
        yield from (read_tree(tree, value[:, index], index) for index in range(n_classes))


def _mean(graph: Graph, total: str, n_trees: int) -> str:
    return total if n_trees == 1 else graph.add("Div", total, graph.constant(float(n_trees)))


@exports(*(f"sklearn.GradientBoosting{kind}" for kind in KINDS), agreement=LINK)
def add_gradient_boosting(graph: Graph, x: str, estimator: Any) -> Scores:
    """Add ``GradientBoostingClassifier`` or ``GradientBoostingRegressor``: a start value plus shrunken trees."""
    if estimator.init not in (None, "zero") and not type(estimator.init).__name__.startswith("Dummy"):
        raise ExportError(f"init={type(estimator.init).__name__} cannot be exported exactly; leave it out")
    rate = estimator.learning_rate
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0]
    trees = [constant_tree(float(value), target) for target, value in enumerate(start)]
    for stage in estimator.estimators_:
        trees += [read_tree(member.tree_, rate * member.tree_.value[:, 0, 0], target) for target, member in enumerate(stage)]
    raw = add_ensemble(graph, through_float32(graph, x), trees, len(start))
    if not hasattr(estimator, "classes_"):
        return Scores(raw)
    if len(start) > 1:
        return multiclass_from_raw(graph, raw)
    scores = binary_from_raw(graph, raw, operator="GreaterOrEqual")
    if type(estimator._loss).__name__ == "ExponentialLoss":  # its link is sigmoid(2 raw)
        doubled = graph.add("Mul", raw, graph.constant(2.0))
        return Scores(two_columns(graph, logistic(graph, doubled)), scores.label, raw)
    return scores


@meta_estimator(*(f"sklearn.HistGradientBoosting{kind}" for kind in KINDS), agreement=LINK)
def add_hist_gradient_boosting(graph: Graph, columns: Columns, estimator: Any) -> Scores:
    """Add ``HistGradientBoostingClassifier`` or ``…Regressor``: float64 thresholds on float64 input, sets of categories."""
    x = _order_categories(graph, columns, estimator).matrix(graph)
    start = np.asarray(estimator._baseline_prediction, np.float64).reshape(-1)
    trees = [constant_tree(float(value), target) for target, value in enumerate(start)]
    known = _known_categories(estimator)
    for stage in estimator._predictors:
        trees += [_read_predictor(member, target, known) for target, member in enumerate(stage)]
    raw = add_ensemble(graph, x, trees, len(start))
    if hasattr(estimator, "classes_"):
        return multiclass_from_raw(graph, raw) if len(start) > 1 else binary_from_raw(graph, raw, operator="Greater")
    link = type(estimator._loss.link).__name__
    if link == "IdentityLink":
        return Scores(raw)
    if link == "LogLink":
        return Scores(graph.add("Exp", raw))
    raise ExportError(
        f"hist_gradient_boosting: the link {link} of loss={estimator.loss!r} cannot be exported; use another loss"
    )


def _order_categories(graph: Graph, columns: Columns, estimator: Any) -> Columns:
    """Return codes of the categories before the other columns, as the library has them inside."""
    if estimator.is_categorical_ is None:
        return columns
    chosen = np.asarray(estimator.is_categorical_, bool)
    codes = add_ordinal(graph, columns.take(np.flatnonzero(chosen)), estimator._preprocessor.named_transformers_["encoder"])
    return join([codes, columns.take(np.flatnonzero(~chosen))])


def _known_categories(estimator: Any) -> dict[int, tuple[int, npt.NDArray[np.float64]]]:
    """Return, per column of categories, how many codes it has and those that training rows had."""
    if estimator.is_categorical_ is None:
        return {}
    bits, places = estimator._bin_mapper.make_known_categories_bitsets()
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    numbers = [len(values) for values in encoder.categories_]
    return {column: (n_codes, _read_bits(bits[places[column]], n_codes)) for column, n_codes in enumerate(numbers)}


def _read_bits(words: Any, n_codes: int) -> npt.NDArray[np.float64]:
    codes = np.arange(n_codes)
    present = (np.asarray(words, np.uint32)[codes // 32] >> (codes % 32)) & 1 == 1
    return np.flatnonzero(present).astype(np.float64)


def _read_predictor(predictor: Any, target: int, known: dict[int, tuple[int, npt.NDArray[np.float64]]]) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    members = {}
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
        n_codes, seen = known[int(nodes["feature_idx"][node])]
        left = _read_bits(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]], n_codes)
        if nodes["missing_go_to_left"][node]:  # what no training row had goes where missing values go
            left = np.union1d(left, np.setdiff1d(np.arange(float(n_codes)), seen))
        members[node] = left
    return Tree(
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]).astype(np.float64),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float64),
        target=np.full(len(nodes), target, np.int64),
        members=members,
    )
