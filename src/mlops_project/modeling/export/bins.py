"""Steps that look up between which edges a number lies, by binary search in a ``TreeEnsemble`` with double thresholds."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from mlops_project.modeling.export.columns import Columns, join
from mlops_project.modeling.export.graph import DOUBLE, INT64, Graph
from mlops_project.modeling.export.registry import refuse_missing, transformer
from mlops_project.modeling.export.trees import Tree, add_ensemble

Floats = npt.NDArray[np.float64]
SPACING = float(np.spacing(1))
BOUNDS_THRESHOLD = 1e-7  # of scikit-learn: a share nearer to 0 or 1 is taken for it
# Cephes' ndtri (Moshier 1989): quotients of polynomials for the middle and for the tails; highest power first.
EXP_M2, ROOT_2PI = 0.13533528323661269189, 2.50662827463100050242
NDTRI_P0 = (
    -5.99633501014107895267e1,
    9.80010754185999661536e1,
    -5.66762857469070293439e1,
    1.39312609387279679503e1,
    -1.23916583867381258016e0,
)
NDTRI_Q0 = (
    1.0,
    1.95448858338141759834e0,
    4.67627912898881538453e0,
    8.63602421390890590575e1,
    -2.25462687854119370527e2,
    2.00260212380060660359e2,
    -8.20372256168333339912e1,
    1.59056225126211695515e1,
    -1.18331621121330003142e0,
)
NDTRI_P1 = (
    4.05544892305962419923e0,
    3.15251094599893866154e1,
    5.71628192246421288162e1,
    4.40805073893200834700e1,
    1.46849561928858024014e1,
    2.18663306850790267539e0,
    -1.40256079171354495875e-1,
    -3.50424626827848203418e-2,
    -8.57456785154685413611e-4,
)
NDTRI_Q1 = (
    1.0,
    1.57799883256466749731e1,
    4.53907635128879210584e1,
    4.13172038254672030440e1,
    1.50425385692907503408e1,
    2.50464946208309415979e0,
    -1.42182922854787788574e-1,
    -3.80806407691578277194e-2,
    -9.33259480895457427372e-4,
)


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
    """Interpolate between the training rows' quantiles from both sides, as the library does."""
    normal = step.output_distribution == "normal"
    references = np.asarray(step.references_, np.float64)
    parts = []
    for place in range(len(columns)):
        x = columns.take([place]).matrix(graph)
        quantiles = np.asarray(step.quantiles_[:, place], np.float64)
        up = interpolate(graph, x, quantiles, references)
        down = interpolate(graph, graph.add("Neg", x), -quantiles[::-1], -references[::-1])
        value = graph.add("Mul", graph.constant(0.5), graph.add("Sub", up, down))
        for sign, bound, answer in ((1.0, quantiles[-1], 1.0), (-1.0, quantiles[0], 0.0)):
            value = graph.add("Where", at_bound(graph, x, bound, sign, normal=normal), graph.constant(answer), value)
        if normal:
            value = _normal_quantile(graph, value)
        value = graph.add("Where", graph.add("IsNaN", x), x, value)
        parts.append(Columns.of_matrix(value, 1, complete=columns.items[place].complete))
    return join(parts)


def at_bound(graph: Graph, x: str, bound: float, sign: float, *, normal: bool) -> str:
    """Whether a number counts as one of the two ends; for a normal distribution also if it is a little inside."""
    if not normal:
        return graph.add("Equal", x, graph.constant(bound))
    moved = graph.add("Add", x, graph.constant(sign * BOUNDS_THRESHOLD))
    return graph.add("Greater" if sign > 0 else "Less", moved, graph.constant(bound))


def _normal_quantile(graph: Graph, share: str) -> str:
    """Return the standard normal distribution's quantile by Cephes' ``ndtri`` as SciPy does, cut off as the library does."""
    one, half = graph.constant(1.0), graph.constant(0.5)
    upper = graph.add("Greater", share, graph.constant(1.0 - EXP_M2))
    lower = graph.add("Where", upper, graph.add("Sub", one, share), share)
    centred = graph.add("Sub", lower, half)
    square = graph.add("Mul", centred, centred)
    ratio = graph.add("Div", add_polynomial(graph, square, NDTRI_P0), add_polynomial(graph, square, NDTRI_Q0))
    middle = graph.add("Add", centred, graph.add("Mul", centred, graph.add("Mul", square, ratio)))
    middle = graph.add("Mul", middle, graph.constant(ROOT_2PI))
    smallest = graph.add("Max", lower, graph.constant(1e-9))  # beyond, the answer is cut off below
    far = graph.add("Sqrt", graph.add("Mul", graph.constant(-2.0), graph.add("Log", smallest)))
    inverse = graph.add("Div", one, far)
    first = graph.add("Sub", far, graph.add("Div", graph.add("Log", far), far))
    ratio = graph.add("Div", add_polynomial(graph, inverse, NDTRI_P1), add_polynomial(graph, inverse, NDTRI_Q1))
    tail = graph.add("Sub", first, graph.add("Mul", inverse, ratio))
    tail = graph.add("Where", upper, tail, graph.add("Neg", tail))
    value = graph.add("Where", graph.add("Greater", lower, graph.constant(EXP_M2)), middle, tail)
    low, high = (float(norm.ppf(bound)) for bound in (BOUNDS_THRESHOLD - SPACING, 1 - (BOUNDS_THRESHOLD - SPACING)))
    return graph.add("Min", graph.add("Max", value, graph.constant(low)), graph.constant(high))


def add_polynomial(graph: Graph, x: str, coefficients: tuple[float, ...]) -> str:
    """Return a polynomial by Horner's rule, highest power first."""
    value = graph.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        value = graph.add("Add", graph.add("Mul", value, x), graph.constant(coefficient))
    return value


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
