"""Decision trees in one neutral shape, and the ``TreeEnsemble`` node (ai.onnx.ml opset 5) made from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from mlops_project.modeling.export.graph import ML, Graph

# Values of the node's attributes, from the operator's specification.
BRANCH_LEQ, BRANCH_LT, BRANCH_MEMBER = 0, 1, 6
AGGREGATE_SUM = 1
POST_TRANSFORM_NONE = 0


@dataclass(frozen=True)
class Tree:
    """One tree; node 0 is the root.

    Attributes
    ----------
    feature, threshold
        int64 and float64 ``(n_nodes,)``: what an inner node compares. A row goes left when ``x <= threshold`` (or ``<``).
    left, right
        int64 ``(n_nodes,)``: the children; -1 marks a leaf.
    missing_left
        bool ``(n_nodes,)``: where NaN goes.
    value
        float64 ``(n_nodes,)``: what a leaf adds.
    target
        int64 ``(n_nodes,)``: the output column a leaf adds to.
    members
        Inner nodes that ask for a set of values instead: a row goes left when its value is one of them.
    """

    feature: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    missing_left: npt.NDArray[np.bool_]
    value: npt.NDArray[np.float64]
    target: npt.NDArray[np.int64]
    members: Mapping[int, npt.NDArray[np.float64]] = field(default_factory=dict)

    @property
    def inner(self) -> npt.NDArray[np.bool_]:
        """Which nodes compare."""
        return self.left >= 0


def constant_tree(value: float, target: int) -> Tree:
    """Return a tree that always adds ``value``: a booster's starting point, so that sums run in the library's order."""
    one = np.zeros(1, np.int64)
    return Tree(one, np.zeros(1), one - 1, one - 1, np.zeros(1, bool), np.full(1, value), one + target)


def add_ensemble(
    graph: Graph, x: str, trees: Iterable[Tree], n_targets: int, *, single: bool = False, strict: bool = False
) -> str:
    """Add the trees' sum, ``(n_rows, n_targets)``, in the order given.

    Parameters
    ----------
    single
        Compute in float32 (``x`` must be float32), as XGBoost does; otherwise in float64.
    strict
        Go left when ``x < threshold`` instead of ``x <= threshold``.
    """
    parts, roots = [], []
    sets: list[npt.NDArray[np.float64]] = []
    n_nodes = n_leaves = 0
    for tree in trees:
        roots.append(n_nodes)
        sets += [np.append(tree.members[node], np.nan) for node in sorted(tree.members) if len(tree.members[node])]
        part = _number(tree, n_nodes, n_leaves, BRANCH_LT if strict else BRANCH_LEQ)
        parts.append(part)
        n_nodes, n_leaves = n_nodes + len(part["splits"]), n_leaves + len(part["weights"])
    columns: dict[str, Any] = {name: np.concatenate([part.pop(name) for part in parts]) for name in [*parts[0]]}
    kind, dtype = (TensorProto.FLOAT, np.float32) if single else (TensorProto.DOUBLE, np.float64)
    splits, weights = columns.pop("splits").astype(dtype), columns.pop("weights").astype(dtype)
    modes = columns.pop("modes").astype(np.uint8)
    if sets:
        values = np.concatenate(sets).astype(dtype)
        columns["membership_values"] = helper.make_tensor("members", kind, values.shape, values.tobytes(), raw=True)
    return graph.add(
        "TreeEnsemble",
        x,
        domain=ML,
        aggregate_function=AGGREGATE_SUM,
        post_transform=POST_TRANSFORM_NONE,
        n_targets=n_targets,
        tree_roots=roots,
        nodes_modes=helper.make_tensor("modes", TensorProto.UINT8, [n_nodes], modes.tobytes(), raw=True),
        nodes_splits=helper.make_tensor("splits", kind, [n_nodes], splits.tobytes(), raw=True),
        leaf_weights=helper.make_tensor("weights", kind, [n_leaves], weights.tobytes(), raw=True),
        **columns,
    )


def _number(tree: Tree, first_node: int, first_leaf: int, mode: int) -> dict[str, Any]:
    """Return a tree's part of the node's attributes, its inner nodes and leaves numbered from the given ones on."""
    inner = tree.inner
    if not inner.any():  # the operator has no tree of one leaf: both sides of a comparison lead to it
        tree, inner = _with_root(tree), np.array([True, False])
    number = np.where(inner, first_node + np.cumsum(inner) - 1, first_leaf + np.cumsum(~inner) - 1)
    left, right = tree.left[inner], tree.right[inner]
    modes, splits = np.full(len(inner), mode), tree.threshold.copy()
    for node, values in tree.members.items():  # the operator has no empty set: nothing is below -inf
        modes[node], splits[node] = (BRANCH_MEMBER, 0.0) if len(values) else (BRANCH_LT, -np.inf)
    return {
        "nodes_featureids": tree.feature[inner],
        "nodes_truenodeids": number[left],
        "nodes_falsenodeids": number[right],
        "nodes_trueleafs": (~inner[left]).astype(np.int8),
        "nodes_falseleafs": (~inner[right]).astype(np.int8),
        "nodes_missing_value_tracks_true": tree.missing_left[inner].astype(np.int8),
        "leaf_targetids": tree.target[~inner],
        "modes": modes[inner],
        "splits": splits[inner],
        "weights": tree.value[~inner],
    }


def _with_root(leaf: Tree) -> Tree:
    doubled = {item.name: np.repeat(getattr(leaf, item.name), 2) for item in fields(leaf) if item.name != "members"}
    return Tree(**doubled | {side: np.array([1, -1]) for side in ("left", "right")})
