"""Random tree ensembles, as ONNX models with the runtime's inputs and outputs, and rows that lie on their splits."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper

KINDS = ("double", "mixed", "single")  # double splits, double splits of rows in float32, XGBoost's
DTYPES = {"double": np.float64, "mixed": np.float64, "single": np.float32}


@dataclass
class Ensemble:
    """What a TreeEnsemble node is made of: each tree a list of nodes, each node a split or a leaf."""

    kind: str
    n_features: int
    n_targets: int
    strict: bool
    attributes: dict
    splits: np.ndarray
    weights: np.ndarray


def draw(rng: np.random.Generator, kind: str, *, n_trees: int = 12, n_features: int = 4, n_targets: int = 1) -> Ensemble:
    """Return trees of any shape: stumps, chains, bushes, trees twice for two targets, leaves that all add to one target."""
    roots, splits, weights, targets = [], [], [], []
    columns = {name: [] for name in ("feature", "true", "false", "true_leaf", "false_leaf", "missing")}
    dtype = DTYPES[kind]

    def add_leaf(target: int, pure: bool) -> int:
        weights.append(1.0 if pure else rng.normal())
        targets.append(target)
        return len(weights) - 1

    def add_node(depth: int, shape: str, choose, target, pure: bool) -> tuple[int, int]:
        """Return (number, is leaf)."""
        if depth == 0 or (shape == "ragged" and choose.random() < 0.3):
            return add_leaf(target(), pure), 1
        number = len(splits)
        splits.append(choose.choice([choose.normal(), round(choose.normal(), 1), 0.0, -0.0, 1e300, -1e-310]))
        for values in columns.values():
            values.append(0)
        columns["feature"][number] = int(choose.integers(0, n_features))
        columns["missing"][number] = int(choose.integers(0, 2))
        for side, deeper in (("true", depth - 1), ("false", 0 if shape == "chain" else depth - 1)):
            columns[side][number], columns[f"{side}_leaf"][number] = add_node(deeper, shape, choose, target, pure)
        return number, 0

    for _ in range(n_trees):
        shape = str(rng.choice(["bush", "chain", "ragged", "stump"]))
        depth = {"bush": int(rng.integers(1, 8)), "chain": int(rng.integers(2, 40)), "ragged": 14, "stump": 1}[shape]
        seed, mixed, pure = int(rng.integers(1 << 30)), rng.random() < 0.4, rng.random() < 0.3
        for twin in range(n_targets if rng.random() < 0.5 else 1):
            first = int(rng.integers(0, n_targets))
            target = (lambda: int(rng.integers(0, n_targets))) if mixed else (lambda number=(first + twin) % n_targets: number)
            choose = np.random.default_rng(seed)
            root, is_leaf = add_node(depth, shape, choose, target, pure)
            if is_leaf:  # the operator has no tree of one leaf
                columns["feature"].append(0), columns["missing"].append(1), splits.append(0.5)
                for side in ("true", "false"):
                    columns[side].append(root), columns[f"{side}_leaf"].append(1)
                root = len(splits) - 1
            roots.append(root)
    attributes = {
        "tree_roots": roots,
        "nodes_featureids": columns["feature"],
        "nodes_truenodeids": columns["true"],
        "nodes_falsenodeids": columns["false"],
        "nodes_trueleafs": columns["true_leaf"],
        "nodes_falseleafs": columns["false_leaf"],
        "nodes_missing_value_tracks_true": columns["missing"],
        "leaf_targetids": targets,
    }
    with np.errstate(over="ignore"):
        numbers = np.array(splits, np.float64).astype(dtype), np.array(weights, np.float64).astype(dtype)
    strict = kind == "single" or bool(rng.random() < 0.3)
    return Ensemble(kind, n_features, n_targets, strict, attributes, *numbers)


def build_model(ensemble: Ensemble, *, labels: bool = False) -> bytes:
    """Return ``value`` (the first sum), or ``label`` and ``probabilities`` (sums divided by 7)."""
    kind = TensorProto.FLOAT if ensemble.kind == "single" else TensorProto.DOUBLE
    x, nodes = "numbers", []
    if ensemble.kind != "double":
        nodes.append(helper.make_node("Cast", [x], ["rounded"], to=TensorProto.FLOAT))
        x = "rounded"
    if ensemble.kind == "mixed":
        nodes.append(helper.make_node("Cast", [x], ["widened"], to=TensorProto.DOUBLE))
        x = "widened"
    n_nodes, n_leaves = len(ensemble.splits), len(ensemble.weights)
    tree = helper.make_node(
        "TreeEnsemble",
        [x],
        ["sums"],
        domain="ai.onnx.ml",
        n_targets=ensemble.n_targets,
        aggregate_function=1,
        post_transform=0,
        nodes_modes=helper.make_tensor("modes", TensorProto.UINT8, [n_nodes], bytes([ensemble.strict]) * n_nodes, raw=True),
        nodes_splits=helper.make_tensor("splits", kind, [n_nodes], ensemble.splits.tobytes(), raw=True),
        leaf_weights=helper.make_tensor("weights", kind, [n_leaves], ensemble.weights.tobytes(), raw=True),
        **ensemble.attributes,
    )
    nodes.append(tree)
    sums = "sums"
    if ensemble.kind == "single":
        nodes.append(helper.make_node("Cast", ["sums"], ["wide"], to=TensorProto.DOUBLE))
        sums = "wide"
    constants = []
    if labels:
        constants.append(helper.make_tensor("seven", TensorProto.DOUBLE, [], [7.0]))
        nodes += [
            helper.make_node("Div", [sums, "seven"], ["probabilities"]),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        outputs = [("label", TensorProto.INT64, [None]), ("probabilities", TensorProto.DOUBLE, [None, ensemble.n_targets])]
    else:
        nodes.append(helper.make_node("Identity", [sums], ["value"]))
        outputs = [("value", TensorProto.DOUBLE, [None, ensemble.n_targets])]
    graph = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, ensemble.n_features])],
        [helper.make_tensor_value_info(*output) for output in outputs],
        constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def draw_rows(rng: np.random.Generator, ensemble: Ensemble, n_rows: int, *, gaps: bool) -> np.ndarray:
    """Return float64 ``(n_rows, n_features)``: on splits, an ulp beside them, anywhere, infinite, missing with ``gaps``."""
    rows = rng.normal(size=(n_rows, ensemble.n_features))
    near = rng.choice(ensemble.splits.astype(np.float64), rows.shape)
    step = rng.integers(-1, 2, rows.shape)
    with np.errstate(over="ignore"):
        single = near.astype(np.float32)
        closest = np.nextafter(near, near + step), np.nextafter(single, single + step.astype(np.float32)).astype(np.float64)
    beside = np.where(step == 0, near, np.where(rng.random(rows.shape) < 0.5, *closest))
    rows = np.where(rng.random(rows.shape) < 0.6, beside, rows)
    rows[rng.random(rows.shape) < 0.02] = np.inf
    rows[rng.random(rows.shape) < 0.02] = -np.inf
    if gaps:
        rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows
