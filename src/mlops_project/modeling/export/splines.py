"""Splines: between two knots each basis function is a polynomial, which is looked up and computed by Horner's rule."""

from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ExportError
from mlops_project.modeling.export.bins import count_passed
from mlops_project.modeling.export.columns import Columns, join
from mlops_project.modeling.export.graph import INT64, Graph
from mlops_project.modeling.export.registry import refuse_missing, transformer

Floats = npt.NDArray[np.float64]


@transformer("sklearn.SplineTransformer", agreement="1e-14")
def add_splines(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add the value of every basis function at each number."""
    if step.degree == 0 or (step.degree == 1 and step.extrapolation == "linear"):
        raise ExportError(
            f"degree={step.degree} with extrapolation={step.extrapolation!r} cannot be exported exactly; use degree=3, or "
            "KBinsDiscretizer for steps"
        )
    if step.extrapolation == "error" and graph.rounds:
        raise ExportError(
            "extrapolation='error' refuses rows by the last digit of the step before, the largest training row among them; "
            "use extrapolation='constant'"
        )
    if step.handle_missing != "zeros":
        refuse_missing(graph, columns)
    parts = []
    for place, spline in enumerate(step.bsplines_):
        x = columns.take([place]).matrix(graph)
        parts.append(_add_spline(graph, x, spline, step))
    return Columns(join(parts).items, bool(step.sparse_output))


def _add_spline(graph: Graph, x: str, spline: Any, step: Any) -> Columns:
    first, last = float(spline.t[step.degree]), float(spline.t[-step.degree - 1])
    knots = np.unique(spline.t[step.degree : len(spline.t) - step.degree])
    if len(knots) < 2:
        raise ExportError("a column has only one value; leave it out")
    x_missing = graph.add("IsNaN", x)
    if step.extrapolation == "periodic":
        x = _wrap(graph, x, first, last - first)
    starts, pieces = _read_pieces(spline, knots, step)
    edges = np.append(knots[:-1], np.nextafter(last, np.inf))
    interval = graph.vector(graph.cast(count_passed(graph, x, [edges], side="right"), INT64))
    if step.extrapolation == "error":
        outside = np.zeros((len(starts), 1))
        outside[[0, -1]] = np.nan
        graph.refuse_rows(graph.add("Gather", graph.constant(outside), interval))
    distance = graph.add("Sub", x, graph.add("Gather", graph.constant(starts[:, None]), interval))
    n_kept = pieces.shape[2] - (not step.include_bias)
    value = graph.add("Gather", graph.constant(pieces[-1, :, :n_kept]), interval)
    for table in pieces[-2::-1]:
        value = graph.add(
            "Add", graph.add("Mul", value, distance), graph.add("Gather", graph.constant(table[:, :n_kept]), interval)
        )
    if step.handle_missing == "zeros":
        value = graph.add("Where", x_missing, graph.constant(0.0), value)
    return Columns.of_matrix(value, n_kept)


def _wrap(graph: Graph, x: str, first: float, period: float) -> str:
    """Bring numbers into the first period, as ``numpy.remainder`` does."""
    rest = graph.add("Mod", graph.add("Sub", x, graph.constant(first)), graph.constant(period), fmod=1)
    below = graph.add("Less", rest, graph.constant(0.0))
    rest = graph.add("Where", below, graph.add("Add", rest, graph.constant(period)), rest)
    return graph.add("Add", graph.constant(first), rest)


def _read_pieces(spline: Any, knots: Floats, step: Any) -> tuple[Floats, Floats]:
    """Return where each interval starts, ``(n,)``, and its polynomials, ``(degree + 1, n, n_splines)``, lowest power first.

    The first interval is what lies below the knots, the last what lies above.
    """
    powers = range(step.degree + 1)
    inner = np.array([spline(knots[:-1], nu=power) / factorial(power) for power in powers])
    below, above = inner[:, 0], np.array([spline(knots[-1], nu=power) / factorial(power) for power in powers])
    starts = np.concatenate([knots[:1], knots[:-1], knots[-1:]])
    if step.extrapolation in ("constant", "linear"):
        highest = 0 if step.extrapolation == "constant" else 1
        below, above = (np.where(np.arange(step.degree + 1)[:, None] <= highest, side, 0.0) for side in (below, above))
        below[:, step.degree :] = 0.0
        above[:, : -step.degree] = 0.0
    return starts, np.concatenate([below[:, None], inner, above[:, None]], axis=1)
