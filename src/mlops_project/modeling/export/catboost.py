"""CatBoost: float32 input and borders, float64 leaves; NaN goes where training sent it. Read from its own JSON export."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops_project.errors import ExportError
from mlops_project.modeling.export.catboost_categories import Question, add_features, known_texts
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import DOUBLE, FLOAT, Graph
from mlops_project.modeling.export.registry import LINK, meta_estimator, name_of, refuse_infinite
from mlops_project.modeling.export.scores import Scores, binary_from_raw, from_probabilities
from mlops_project.modeling.export.trees import Tree, add_ensemble, constant_tree

IDENTITY = {"RMSE", "MAE", "Quantile", "LogCosh", "Lq", "MAPE", "Huber", "Expectile"}
EXPONENTIAL = {"Poisson", "Tweedie"}
SIGMOID = {"Logloss", "CrossEntropy"}


@meta_estimator("catboost.CatBoostClassifier", "catboost.CatBoostRegressor", agreement=LINK)
def add_catboost(graph: Graph, columns: Columns, estimator: Any) -> Scores:
    """Add ``CatBoostClassifier`` or ``CatBoostRegressor`` on numbers and texts."""
    loss = str(estimator.get_all_params()["loss_function"]).split(":")[0]
    if loss not in (*IDENTITY, *EXPONENTIAL, *SIGMOID, "MultiClass"):
        raise ExportError(f"catboost: loss_function={loss!r} cannot be exported exactly; use RMSE, Logloss or MultiClass")
    refuse_infinite(graph, columns, name_of(estimator))
    for method in ("text", "embedding"):
        if getattr(estimator, f"_get_{method}_feature_indices")():
            raise ExportError(f"catboost: {method}_features cannot be exported exactly; use TfidfVectorizer before it")
    texts = known_texts(columns, estimator._get_cat_feature_indices(), estimator)
    numbers = columns.take(place for place in range(len(columns)) if place not in texts)
    document = _read_document(estimator, texts)
    x = graph.cast(graph.cast(numbers.matrix(graph), FLOAT), DOUBLE) if len(numbers) else ""
    features = add_features(graph, columns, document, x, texts)
    scale, start = document["scale_and_bias"]
    trees = [constant_tree(float(value), target) for target, value in enumerate(start)]
    for tree in document.get("oblivious_trees", ()):
        trees += _read_oblivious(tree, features.questions, len(start), scale)
    for tree in document.get("trees", ()):
        trees += _read_nested(tree, features.questions, len(start), scale)
    raw = add_ensemble(graph, features.matrix(graph), trees, len(start))
    if loss in SIGMOID:  # calibration reads the probabilities: it has no decision function
        scores = binary_from_raw(graph, raw, operator="Greater")
        return replace(scores, decision=graph.columns(str(scores.probabilities), [1]))
    if loss == "MultiClass":
        return from_probabilities(graph, graph.add("Softmax", raw, axis=1), len(start))
    return Scores(graph.add("Exp", raw) if loss in EXPONENTIAL else raw)


def _read_document(estimator: Any, texts: dict[int, tuple[str, ...]]) -> Any:
    """Return the model as the library writes it, with the hashes of the texts."""
    import catboost

    pool = None
    if texts:  # a table in which every text occurs
        n_rows = max(map(len, texts.values()))
        table = {
            name: np.resize(np.array(texts[place], object), n_rows) if place in texts else np.zeros(n_rows)
            for place, name in enumerate(estimator.feature_names_)
        }
        pool = catboost.Pool(pd.DataFrame(table), cat_features=list(texts))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        estimator.save_model(str(file), format="json", pool=pool)
        return json.loads(file.read_bytes())


NOTHING = Question(0, 0.0, missing_left=False)  # of a leaf


def _read_oblivious(tree: dict[str, Any], asked: list[Question], n_targets: int, scale: float) -> list[Tree]:
    """Return a tree that asks the same at every node of a level, once for each target: the last question is the root."""
    questions = [asked[split["split_index"]] for split in tree.get("splits") or ()][::-1]
    depth = len(questions)
    n_inner = 2**depth - 1
    node = np.arange(2**depth + n_inner)
    level = np.minimum(np.log2(node + 1).astype(np.int64), depth)
    asks = node < n_inner
    table = [*questions, NOTHING]
    values = np.asarray(tree["leaf_values"], np.float64).reshape(2**depth, n_targets) * scale
    shared = {
        "feature": np.array([question.place for question in table], np.int64)[level],
        "threshold": np.array([question.border for question in table])[level],
        "missing_left": np.array([question.missing_left for question in table])[level],
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


def _read_nested(root: dict[str, Any], asked: list[Question], n_targets: int, scale: float) -> list[Tree]:
    """Return a tree of any shape, once for each target."""
    nodes: list[dict[str, Any]] = [root]
    links: list[tuple[int, int]] = []
    for node in nodes:  # grows while it is walked
        if "split" in node:
            links.append((len(nodes), len(nodes) + 1))
            nodes += [node["left"], node["right"]]
        else:
            links.append((-1, -1))
    questions = [asked[node["split"]["split_index"]] if "split" in node else NOTHING for node in nodes]
    values = np.array([np.broadcast_to(np.asarray(node.get("value", 0.0), np.float64), n_targets) for node in nodes]) * scale
    left, right = np.asarray(links, np.int64).T
    return [
        Tree(
            feature=np.array([question.place for question in questions], np.int64),
            threshold=np.array([question.border for question in questions]),
            left=left,
            right=right,
            missing_left=np.array([question.missing_left for question in questions]),
            value=values[:, target],
            target=np.full(len(nodes), target, np.int64),
        )
        for target in range(n_targets)
    ]
