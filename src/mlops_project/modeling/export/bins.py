"""Steps that look up between which edges a number lies, by binary search in a ``TreeEnsemble`` with double thresholds."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns, join
from mlops_project.modeling.export.graph import DOUBLE, INT64, Graph
from mlops_project.modeling.export.registry import refuse_missing, transformer
from mlops_project.modeling.export.trees import Tree, add_ensemble

Floats = npt.NDArray[np.float64]


def count_passed(graph: Graph, x: str, edges: list[Floats], *, side: str) -> str:
    """Return ``numpy.searchsorted(edges, x, side)`` of each column, float64 of x's shape; ``edges`` are sorted."""
    trees = [_search_tree(values, column) for column, values in enumerate(edges)]
    return add_ensemble(graph, x, trees, len(edges), strict=side == "right")


def _search_tree(edges: Floats, column: int) -> Tree:
    """Build a balanced tree whose leaves are the number of edges passed."""
    left: list[int] = []
    right: list[int] = []
    threshold: list[float] = []
    value: list[float] = []

    def build(low: int, high: int) -> int:
        node = len(left)
        left.append(-1)
        right.append(-1)
        threshold.append(0.0)
        value.append(float(low))
        if high - low > 1:
            middle = (low + high) // 2
            threshold[node] = float(edges[middle - 1])
            left[node] = build(low, middle)
            right[node] = build(middle, high)
        return node

    build(0, len(edges) + 1)
    n_nodes = len(left)
    return Tree(
        feature=np.full(n_nodes, column, np.int64),
        threshold=np.array(threshold),
        left=np.array(left, np.int64),
        right=np.array(right, np.int64),
        missing_left=np.zeros(n_nodes, bool),
        value=np.array(value),
        target=np.full(n_nodes, column, np.int64),
    )


@transformer("sklearn.KBinsDiscretizer")
def add_bins(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add each number's bin, as its number or as columns of 0 and 1."""
    refuse_missing(graph, columns)
    x = columns.matrix(graph)
    passed = count_passed(graph, x, [np.asarray(edges[1:-1], np.float64) for edges in step.bin_edges_], side="right")
    if step.encode == "ordinal":
        return Columns.of_matrix(passed, len(columns))
    parts = []
    for place, n_bins in enumerate(step.n_bins_):
        same = graph.add("Equal", graph.columns(passed, [place]), graph.constant(np.arange(float(n_bins))[None]))
        parts.append(Columns.of_matrix(graph.cast(same, DOUBLE), int(n_bins)))
    return Columns(join(parts).items, step.encode == "onehot")


@transformer("sklearn.QuantileTransformer", agreement="1e-14")
def add_quantiles(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Interpolate between the training rows' quantiles from both sides, as the library does; ``uniform`` output."""
    if step.output_distribution != "uniform":
        raise ExportError(f"output_distribution={step.output_distribution!r} cannot be exported exactly; use 'uniform'")
    references = np.asarray(step.references_, np.float64)
    parts = []
    for place in range(len(columns)):
        x = columns.take([place]).matrix(graph)
        quantiles = np.asarray(step.quantiles_[:, place], np.float64)
        up = interpolate(graph, x, quantiles, references)
        down = interpolate(graph, graph.add("Neg", x), -quantiles[::-1], -references[::-1])
        value = graph.add("Mul", graph.constant(0.5), graph.add("Sub", up, down))
        for bound, answer in ((quantiles[-1], 1.0), (quantiles[0], 0.0)):
            at_bound = graph.add("Equal", x, graph.constant(bound))
            value = graph.add("Where", at_bound, graph.constant(answer), value)
        value = graph.add("Where", graph.add("IsNaN", x), x, value)
        parts.append(Columns.of_matrix(value, 1, complete=columns.items[place].complete))
    return join(parts)


def interpolate(graph: Graph, x: str, xs: Floats, ys: Floats) -> str:
    """Return ``numpy.interp`` of one column ``(n_rows, 1)``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.append(np.diff(ys) / np.diff(xs), 0.0)
    interval = graph.cast(count_passed(graph, x, [xs[1:]], side="right"), INT64)
    x_low, y_low, slope = (
        graph.add("Gather", graph.constant(table), interval) for table in (xs, ys, np.nan_to_num(slopes, posinf=0.0))
    )
    value = graph.add("Add", graph.add("Mul", slope, graph.add("Sub", x, x_low)), y_low)
    return graph.add("Where", graph.add("Less", x, graph.constant(xs[0])), graph.constant(ys[0]), value)
