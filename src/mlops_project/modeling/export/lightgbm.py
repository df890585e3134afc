"""LightGBM: float64 thresholds on float64 input; what NaN means depends on the split."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ExportError
from mlops_project.modeling.export.categories import with_codes
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import DOUBLE, INT64, Graph
from mlops_project.modeling.export.registry import LINK, meta_estimator
from mlops_project.modeling.export.scores import Scores, from_probabilities, logistic, two_columns
from mlops_project.modeling.export.trees import Tree, add_ensemble

IDENTITY = {"regression", "regression_l1", "huber", "fair", "quantile", "mape"}
EXPONENTIAL = {"poisson", "gamma", "tweedie"}
ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold: a smaller absolute value is read as 0


@meta_estimator("lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor", agreement=LINK)
def add_lightgbm(graph: Graph, columns: Columns, estimator: Any) -> Scores:
    """Add ``LGBMClassifier`` or ``LGBMRegressor``."""
    x = with_codes(graph, columns).matrix(graph)
    dump = estimator.booster_.dump_model()
    objective, *settings = str(dump["objective"]).split(" ")
    n_targets = int(dump["num_tree_per_iteration"])
    roots = [info["tree_structure"] for info in dump["tree_info"]]
    trees = [_read_tree(root, index % n_targets) for index, root in enumerate(roots)]
    asked = _truncate_categories(graph, x, trees, estimator.n_features_in_)
    if any("leaf_coeff" in leaf for root in roots for leaf in _list_leaves(root)):
        raw = _add_linear_trees(graph, asked, x, roots, trees, estimator.n_features_in_)
    else:
        raw = add_ensemble(graph, asked, trees, n_targets)
    if dump.get("average_output"):  # boosting_type='rf'
        raw = graph.add("Div", raw, graph.constant(float(len(trees) // n_targets)))
    options = dict(setting.split(":") for setting in settings if ":" in setting)
    if objective == "binary":
        scaled = graph.add("Mul", raw, graph.constant(float(options.get("sigmoid", 1))))
        return replace(from_probabilities(graph, two_columns(graph, logistic(graph, scaled)), 2), decision=raw)
    if objective == "multiclass":
        return replace(from_probabilities(graph, graph.add("Softmax", raw, axis=1), n_targets), decision=raw)
    if objective in IDENTITY and "sqrt" not in settings:
        return Scores(raw)
    if objective in EXPONENTIAL:
        return Scores(graph.add("Exp", raw))
    raise ExportError(f"lightgbm: objective {dump['objective']!r} cannot be exported exactly; use a standard objective")


def _list_leaves(root: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a tree's leaves in the order in which ``_read_tree`` meets them."""
    nodes = [root]
    for node in nodes:
        nodes += [node[side] for side in ("left_child", "right_child") if side in node]
    return [node for node in nodes if "left_child" not in node]


def _add_linear_trees(graph: Graph, asked: str, x: str, roots: list[dict[str, Any]], trees: list[Tree], n_columns: int) -> str:
    """Find each tree's leaf, then add its linear model; its constant value where a column of the model is missing."""
    graph.rounds = True  # products are added in another order
    leaves = [leaf for root in roots for leaf in _list_leaves(root)]
    weights, used = np.zeros((len(leaves), n_columns)), np.zeros((len(leaves), n_columns), bool)
    for place, leaf in enumerate(leaves):
        chosen = leaf.get("leaf_features", [])
        weights[place, chosen], used[place, chosen] = leaf.get("leaf_coeff", []), True
    numbered, first = [], 0
    for place, tree in enumerate(trees):
        numbers = np.where(tree.inner, 0.0, first + np.cumsum(~tree.inner) - 1)
        numbered.append(replace(tree, value=numbers, target=np.full(len(numbers), place, np.int64)))
        first += int((~tree.inner).sum())
    graph.needs_columns(4 * len(trees) * n_columns)
    found = graph.cast(add_ensemble(graph, asked, numbered, len(trees)), INT64)
    rows = graph.add("Unsqueeze", x, graph.constant([1], np.int64))
    asks = graph.add("Gather", graph.constant(used, np.bool_), found, axis=0)
    nothing, last = graph.constant(0.0), graph.constant([2], np.int64)
    given = graph.add("Where", graph.add("And", asks, graph.add("Not", graph.add("IsNaN", rows))), rows, nothing)
    products = graph.add("Mul", graph.add("Gather", graph.constant(weights), found, axis=0), given)
    starts = [float(leaf.get("leaf_const", leaf["leaf_value"])) for leaf in leaves]
    linear = graph.add(
        "Add", graph.add("Gather", graph.constant(starts), found), graph.add("ReduceSum", products, last, keepdims=0)
    )
    gaps = graph.cast(graph.add("And", asks, graph.add("IsNaN", rows)), DOUBLE)
    lacks = graph.add("Greater", graph.add("ReduceSum", gaps, last, keepdims=0), nothing)
    plain = graph.add("Gather", graph.constant([float(leaf["leaf_value"]) for leaf in leaves]), found)
    targets = np.array([tree.target[0] for tree in trees])
    member = np.equal(targets[:, None], np.arange(targets.max() + 1)[None]).astype(np.float64)
    return graph.add("MatMul", graph.add("Where", lacks, plain, linear), graph.constant(member))


def _truncate_categories(graph: Graph, x: str, trees: list[Tree], n_columns: int) -> str:
    """Cut numbers off at the point in columns of categories, as the library does: -0.5 and 0.9 are category 0."""
    chosen = sorted({int(tree.feature[node]) for tree in trees for node in tree.members})
    if not chosen:
        return x
    whole = graph.add("Mul", graph.add("Sign", x), graph.add("Floor", graph.add("Abs", x)))
    return graph.add("Where", graph.constant(np.isin(np.arange(n_columns), chosen)[None], np.bool_), whole, x)


def _read_tree(root: dict[str, Any], target: int) -> Tree:
    """Flatten the nested dump, parents before children."""
    nodes: list[dict[str, Any]] = [root]
    children: list[tuple[int, int]] = []
    for node in nodes:  # grows while it is walked
        if "left_child" in node:
            children.append((len(nodes), len(nodes) + 1))
            nodes += [node["left_child"], node["right_child"]]
        else:
            children.append((-1, -1))
    links = np.asarray(children, np.int64)
    splits = [_read_split(node) for node in nodes]
    return Tree(
        feature=np.array([node.get("split_feature", 0) for node in nodes], np.int64),
        threshold=np.array([threshold for threshold, _ in splits]),
        left=links[:, 0],
        right=links[:, 1],
        missing_left=np.array([missing_left for _, missing_left in splits]),
        value=np.array([float(node.get("leaf_value", 0.0)) for node in nodes]),
        target=np.full(len(nodes), target, np.int64),
        members={place: _read_set(node) for place, node in enumerate(nodes) if node.get("decision_type") == "=="},
    )


def _read_set(node: dict[str, Any]) -> npt.NDArray[np.float64]:
    return np.array([float(value) for value in str(node["threshold"]).split("||")])


def _read_split(node: dict[str, Any]) -> tuple[float, bool]:
    """Return threshold and the side of NaN, with LightGBM's zeros folded into the threshold."""
    if node.get("decision_type") != "<=":  # a leaf, or a set of categories, in which a missing value is not
        return 0.0, False
    if node["missing_type"] == "Zero":
        raise ExportError("lightgbm: zero_as_missing cannot be exported exactly; set it to false")
    threshold = float(node["threshold"])
    missing_left = bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0
    if abs(threshold) >= 1e300:  # how the dump writes infinity
        threshold = np.copysign(np.inf, threshold)
    if -ZERO <= threshold < 0:  # values from -ZERO to ZERO are 0, so they go right here …
        threshold = np.nextafter(-ZERO, -np.inf)
    elif 0 <= threshold < ZERO:  # … and left here
        threshold = ZERO
    return threshold, missing_left
