"""Isolation forests: how few splits set a row apart, as a score and as a label."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.registry import LINK, estimator
from mlops_project.modeling.export.scores import Scores, label_from
from mlops_project.modeling.export.sklearn_trees import read_tree, through_float32
from mlops_project.modeling.export.trees import Tree, add_ensemble


@estimator("sklearn.IsolationForest", agreement=LINK)
def refuse_bare(_graph: Graph, _x: str, _fitted: Any) -> Scores:
    """Refuse it without labels: an answer that is no class and no number has no place in a contract."""
    raise ExportError("hand the pipeline over with mlops.export, with the labels -1 (outlier) and 1: it wraps the forest")


@estimator("mlops_project.OutlierScores", agreement=LINK)
def add_outlier_scores(graph: Graph, x: str, fitted: Any) -> Scores:
    """Add the score ``2 ** (-mean depth / expected depth)``, and the label by the depth where scikit-learn's turns."""
    forest = fitted.estimator_
    expected = _expected_depth(forest)
    if not expected:
        raise ExportError("it was fitted on samples of one row, which says nothing; raise max_samples")
    depth = add_ensemble(graph, through_float32(graph, x), _list_trees(forest), 1)
    share = graph.add("Neg", graph.add("Div", depth, graph.constant(expected)))
    score = graph.add("Pow", graph.constant(2.0), share)
    both = graph.add("Concat", score, graph.add("Sub", graph.constant(1.0), score), axis=1)
    inside = graph.add("Greater", depth, graph.constant(_find_border(forest, expected)))
    return Scores(both, label_from(graph, inside), graph.columns(both, [1]))


def _expected_depth(forest: Any) -> float:
    """Return the divisor of scikit-learn's ``score_samples``."""
    from sklearn.ensemble._iforest import _average_path_length

    return float((len(forest.estimators_) * _average_path_length([forest._max_samples]))[0])


def _list_trees(forest: Any) -> Iterator[Tree]:
    """Yield the trees; a leaf adds its depth and what its rows would need on average to be set apart."""
    parts = zip(
        forest.estimators_,
        forest.estimators_features_,
        forest._decision_path_lengths,
        forest._average_path_length_per_tree,
        strict=True,
    )
    for member, chosen, depths, more in parts:
        tree = read_tree(member.tree_, np.asarray(depths + more - 1.0, np.float64), 0)
        yield Tree(**{**vars(tree), "feature": np.asarray(chosen, np.int64)[tree.feature]})


def _find_border(forest: Any, expected: float) -> float:
    """Return the largest sum of depths that scikit-learn calls an outlier, to the last bit; below 0 if none is."""

    def is_outlier(depth: float) -> bool:
        depths = np.full(2, depth)  # as an array: NumPy's powers of single numbers may differ
        return bool((-(2 ** -np.divide(depths, np.full(2, expected))) - forest.offset_ < 0)[0])

    low, high = 0.0, expected * 1024  # 2 ** -1024 is 0
    if not is_outlier(low):
        return -1.0
    while (middle := low + (high - low) / 2) not in (low, high):
        low, high = (middle, high) if is_outlier(middle) else (low, middle)
    return low
