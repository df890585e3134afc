"""CatBoost: float32 input and borders, float64 leaves; NaN goes where training sent it. Read from its own JSON export."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import DOUBLE, FLOAT, Graph
from mlops_project.modeling.export.registry import LINK
from mlops_project.modeling.export.registry import estimator as exports
from mlops_project.modeling.export.scores import Scores, binary_from_raw, from_probabilities
from mlops_project.modeling.export.trees import Tree, add_ensemble, constant_tree

IDENTITY = {"RMSE", "MAE", "Quantile", "LogCosh", "Lq", "MAPE", "Huber", "Expectile"}
SIGMOID = {"Logloss", "CrossEntropy"}


@exports("catboost.CatBoostClassifier", "catboost.CatBoostRegressor", agreement=LINK)
def add_catboost(graph: Graph, x: str, estimator: Any) -> Scores:
    """Add ``CatBoostClassifier`` or ``CatBoostRegressor`` on numbers."""
    loss = str(estimator.get_all_params()["loss_function"]).split(":")[0]
    if loss not in (*IDENTITY, *SIGMOID, "MultiClass"):
        raise ExportError(f"catboost: loss_function={loss!r} cannot be exported exactly; use RMSE, Logloss or MultiClass")
    document = _read_document(estimator)
    scale, start = document["scale_and_bias"]
    columns = {
        item["feature_index"]: (item["flat_feature_index"], item["nan_value_treatment"] != "AsTrue")
        for item in document["features_info"].get("float_features", ())
    }
    trees = [constant_tree(float(value), target) for target, value in enumerate(start)]
    for tree in document.get("oblivious_trees", ()):
        trees += _read_oblivious(tree, columns, len(start), scale)
    for tree in document.get("trees", ()):
        trees += _read_nested(tree, columns, len(start), scale)
    raw = add_ensemble(graph, graph.cast(graph.cast(x, FLOAT), DOUBLE), trees, len(start))
    if loss in SIGMOID:  # calibration reads the probabilities: it has no decision function
        scores = binary_from_raw(graph, raw, operator="Greater")
        return replace(scores, decision=graph.columns(str(scores.probabilities), [1]))
    if loss == "MultiClass":
        return from_probabilities(graph, graph.add("Softmax", raw, axis=1), len(start))
    return Scores(raw)


def _read_document(estimator: Any) -> Any:
    """Return the model as the library writes it.

    Raises
    ------
    ExportError
        If it reads more than numbers.
    """
    for method, what in (("cat", "categories"), ("text", "texts"), ("embedding", "embeddings")):
        if getattr(estimator, f"_get_{method}_feature_indices")():
            raise ExportError(
                f"catboost: {what} of its own cannot be exported exactly; leave {method}_features out and encode them before, "
                "for example with TargetEncoder or OrdinalEncoder"
            )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        estimator.save_model(str(file), format="json")
        return json.loads(file.read_bytes())


Columns = dict[int, tuple[int, bool]]  # CatBoost's number of a column → its place, and whether NaN is below every border


def _read_oblivious(tree: dict[str, Any], columns: Columns, n_targets: int, scale: float) -> list[Tree]:
    """Return a tree that asks the same at every node of a level, once for each target: the last question is the root."""
    questions = [(columns[split["float_feature_index"]], split["border"]) for split in tree.get("splits") or ()][::-1]
    depth = len(questions)
    n_inner = 2**depth - 1
    node = np.arange(2**depth + n_inner)
    level = np.minimum(np.log2(node + 1).astype(np.int64), depth)
    asks = node < n_inner
    table = [*questions, ((0, False), 0.0)]
    values = np.asarray(tree["leaf_values"], np.float64).reshape(2**depth, n_targets) * scale
    shared = {
        "feature": np.array([question[0][0] for question in table], np.int64)[level],
        "threshold": np.array([question[1] for question in table])[level],
        "missing_left": np.array([question[0][1] for question in table])[level],
        "left": np.where(asks, 2 * node + 1, -1),
        "right": np.where(asks, 2 * node + 2, -1),
    }
    return [
        Tree(
            **shared,
            value=np.concatenate([np.zeros(n_inner), values[:, target]]),
            target=np.full(len(node), target, np.int64),
        )
        for target in range(n_targets)
    ]


def _read_nested(root: dict[str, Any], columns: Columns, n_targets: int, scale: float) -> list[Tree]:
    """Return a tree of any shape, once for each target."""
    nodes: list[dict[str, Any]] = [root]
    links: list[tuple[int, int]] = []
    for node in nodes:  # grows while it is walked
        if "split" in node:
            links.append((len(nodes), len(nodes) + 1))
            nodes += [node["left"], node["right"]]
        else:
            links.append((-1, -1))
    questions = [
        (columns[node["split"]["float_feature_index"]], node["split"]["border"]) if "split" in node else ((0, False), 0.0)
        for node in nodes
    ]
    values = np.array([np.broadcast_to(np.asarray(node.get("value", 0.0), np.float64), n_targets) for node in nodes]) * scale
    left, right = np.asarray(links, np.int64).T
    return [
        Tree(
            feature=np.array([place for (place, _), _ in questions], np.int64),
            threshold=np.array([border for _, border in questions]),
            left=left,
            right=right,
            missing_left=np.array([missing_left for (_, missing_left), _ in questions]),
            value=values[:, target],
            target=np.full(len(nodes), target, np.int64),
        )
        for target in range(n_targets)
    ]
