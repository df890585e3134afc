"""XGBoost: float32 input, thresholds and sums; NaN goes the booster's default way."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ExportError
from mlops_project.modeling.export.categories import with_codes
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import DOUBLE, FLOAT, Graph
from mlops_project.modeling.export.registry import meta_estimator, name_of, refuse_infinite
from mlops_project.modeling.export.scores import Scores, arg_max, label_from
from mlops_project.modeling.export.trees import Tree, add_ensemble, constant_tree

IDENTITY = {"reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror", "reg:squaredlogerror"}
EXPONENTIAL = {"count:poisson", "reg:gamma", "reg:tweedie"}
SIGMOID = {"binary:logistic", "reg:logistic"}
SOFTMAX = {"multi:softprob", "multi:softmax"}
NO_TREES = {
    "name": "gbtree",
    "model": {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "0"},
        "iteration_indptr": [0],
        "tree_info": [],
        "trees": [],
    },
}


KINDS = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")


@meta_estimator(*(f"xgboost.{kind}" for kind in KINDS), agreement="1.2e-7 (it computes in float32)")
def add_xgboost(graph: Graph, columns: Columns, estimator: Any) -> Scores:
    """Add a model of XGBoost with trees."""
    refuse_infinite(graph, columns, name_of(estimator))
    x = with_codes(graph, columns).matrix(graph)
    if columns.sparse:  # what a sparse matrix does not hold is missing
        x = graph.add("Where", graph.add("Equal", x, graph.constant(0.0)), graph.constant(np.nan), x)
    document = json.loads(bytes(_find_booster(estimator).save_raw("json")))
    learner = document["learner"]
    booster, objective = learner["gradient_booster"], learner["objective"]["name"]
    if not np.isnan(estimator.missing):
        raise ExportError(f"xgboost: missing={estimator.missing!r} cannot be exported exactly; leave it out (NaN is missing)")
    if booster["name"] not in ("gbtree", "dart"):
        raise ExportError(f"xgboost: booster={booster['name']!r} cannot be exported exactly; use gbtree")
    if int(learner["learner_model_param"].get("num_target", "1")) > 1:
        raise ExportError("xgboost: several targets cannot be exported; give quantile_alpha a single number")
    n_targets = max(1, int(learner["learner_model_param"]["num_class"]))
    trees = [constant_tree(float(value), target) for target, value in enumerate(_start_values(document, n_targets))]
    model = booster["gbtree"]["model"] if booster["name"] == "dart" else booster["model"]
    weights = booster.get("weight_drop") or [1.0] * len(model["trees"])
    grown = zip(model["trees"], model["tree_info"], weights, strict=True)
    trees += [_read_tree(tree, int(target), float(weight)) for tree, target, weight in grown]
    single = _truncate_categories(graph, graph.cast(x, FLOAT), trees, len(columns))
    raw = add_ensemble(graph, single, trees, n_targets, single=True, strict=True)
    return _add_link(graph, raw, objective)


def _find_booster(estimator: Any) -> Any:
    """Return the trees that answer: with early stopping, those up to the best round."""
    booster = estimator.get_booster()
    best = booster.attr("best_iteration")
    is_shorter = best is not None and estimator.booster != "gblinear" and int(best) + 1 < booster.num_boosted_rounds()
    return booster[: int(best) + 1] if is_shorter else booster


def _truncate_categories(graph: Graph, x: str, trees: list[Tree], n_columns: int) -> str:
    """Cut numbers off at the point in columns of categories, as the library does; what is below 0 is none of them."""
    chosen = sorted({int(tree.feature[node]) for tree in trees for node in tree.members})
    if not chosen:
        return x
    return graph.add("Where", graph.constant(np.isin(np.arange(n_columns), chosen)[None], np.bool_), graph.add("Floor", x), x)


def _add_link(graph: Graph, raw: str, objective: str) -> Scores:
    if objective in IDENTITY:
        return Scores(graph.cast(raw, DOUBLE))
    if objective in EXPONENTIAL:
        return Scores(graph.cast(_exp(graph, raw), DOUBLE))
    if objective in SIGMOID:
        positive = _sigmoid(graph, raw)
        if objective == "reg:logistic":
            return Scores(graph.cast(positive, DOUBLE))
        negative = graph.add("Sub", graph.constant(1.0, np.float32), positive)
        label = label_from(graph, graph.add("Greater", positive, graph.constant(0.5, np.float32)))
        probabilities = graph.cast(graph.add("Concat", negative, positive, axis=1), DOUBLE)
        return Scores(probabilities, label, graph.cast(positive, DOUBLE))
    if objective in SOFTMAX:
        probabilities = _softmax(graph, raw)
        double = graph.cast(probabilities, DOUBLE)
        return Scores(double, arg_max(graph, probabilities), double)
    raise ExportError(f"xgboost: objective={objective!r} cannot be exported exactly; use one of the standard objectives")


# A calibration's steep steps amplify the last bit of a probability, so these follow XGBoost's own float32 steps
# (src/common/math.h): expf rounds once, which the double exponential rounded to float32 reproduces.


def _exp(graph: Graph, value: str) -> str:
    return graph.cast(graph.add("Exp", graph.cast(value, DOUBLE)), FLOAT)


def _sigmoid(graph: Graph, raw: str) -> str:
    exponent = graph.add("Min", graph.add("Neg", raw), graph.constant(88.7, np.float32))
    one = graph.constant(1.0, np.float32)
    return graph.add("Div", one, graph.add("Add", _exp(graph, exponent), one))


def _softmax(graph: Graph, raw: str) -> str:
    """Exponentials relative to the largest, summed in float64, divided in float32."""
    largest = graph.add("ReduceMax", raw, graph.constant([1], np.int64), keepdims=1)
    powers = _exp(graph, graph.add("Sub", raw, largest))
    total = graph.add("ReduceSum", graph.cast(powers, DOUBLE), graph.constant([1], np.int64), keepdims=1)
    return graph.add("Div", powers, graph.cast(total, FLOAT))


def _start_values(document: dict[str, Any], n_targets: int) -> Any:
    """Return the base score as a margin, float32 ``(n_targets,)``: what the library answers without any tree.

    The file holds it on the scale of the prediction; a logarithm of our own would be off by its last bit.
    """
    import xgboost

    learner = document["learner"]
    parameters = learner["learner_model_param"] | {"boost_from_average": "0"}  # the base score is known, not to be estimated
    bare = document | {"learner": learner | {"learner_model_param": parameters, "gradient_booster": NO_TREES}}
    booster = xgboost.Booster(model_file=bytearray(json.dumps(bare).encode()))
    row = xgboost.DMatrix(np.zeros((1, int(parameters["num_feature"])), np.float32))
    return booster.predict(row, output_margin=True, validate_features=False).reshape(n_targets)


def _read_tree(tree: dict[str, Any], target: int, weight: float) -> Tree:
    if int(tree["tree_param"].get("size_leaf_vector", "1") or 1) > 1:
        raise ExportError("xgboost: multi_strategy='multi_output_tree' cannot be exported exactly; use one_output_per_tree")
    left, right = (np.asarray(tree[f"{side}_children"], np.int64) for side in ("left", "right"))
    missing_left = np.asarray(tree["default_left"]).astype(bool)
    conditions = np.asarray(tree["split_conditions"], np.float32).astype(np.float64)
    members = _read_sets(tree)
    asks = np.isin(np.arange(len(left)), list(members))  # a value in the set goes right
    return Tree(
        feature=np.where(left >= 0, np.asarray(tree["split_indices"], np.int64), 0),
        threshold=conditions,
        left=np.where(asks, right, left),
        right=np.where(asks, left, right),
        missing_left=missing_left ^ asks,
        value=conditions if weight == 1 else (conditions.astype(np.float32) * np.float32(weight)).astype(np.float64),
        target=np.full(len(left), target, np.int64),
        members=members,
    )


def _read_sets(tree: dict[str, Any]) -> dict[int, npt.NDArray[np.float64]]:
    """Return the categories of each node that asks for some."""
    values = np.asarray(tree.get("categories", ()), np.float64)
    places = zip(*(tree.get(f"categories_{name}", ()) for name in ("nodes", "segments", "sizes")), strict=True)
    return {int(node): values[start : start + size] for node, start, size in places}
