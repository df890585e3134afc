"""``CalibratedClassifierCV``: one calibrated copy of the estimator per fold, averaged."""

from importlib.metadata import version
from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import DOUBLE, FLOAT, INT64, Graph
from mlops_project.modeling.export.registry import LAST_DIGITS, add_member, meta_estimator
from mlops_project.modeling.export.scores import Scores, from_probabilities, normalise, two_columns

SCIPY_WEIGHTS = tuple(int(part) for part in version("scipy").split(".")[:2]) >= (1, 18)

NOISE = 1e-12  # of a score's size: what the exported model's scores may differ by
TOLERANCE = 1e-7  # of a probability
STEPS = (
    "method='isotonic' has steps between scores that differ in their last digits only, as probabilities near 1 do; use "
    "method='sigmoid'"
)


@meta_estimator("sklearn.CalibratedClassifierCV", agreement=LAST_DIGITS)
def add_calibrated(graph: Graph, columns: Columns, estimator: Any) -> Scores:
    """Add every fold's estimator and calibrators, and the mean of their probabilities."""
    n_classes = len(estimator.classes_)
    total = None
    for fold in estimator.calibrated_classifiers_:
        if len(fold.estimator.classes_) != n_classes:
            raise ExportError(
                f"calibration: a fold saw {len(fold.estimator.classes_)} of {n_classes} classes; drop the rare ones"
            )
        part = _add_fold(graph, add_member(graph, columns, fold.estimator), fold, n_classes)
        total = part if total is None else graph.add("Add", total, part)
    mean = graph.add("Div", total or "", graph.constant(float(len(estimator.calibrated_classifiers_))))
    return from_probabilities(graph, mean, n_classes)


def _add_fold(graph: Graph, scores: Scores, fold: Any, n_classes: int) -> str:
    decision = scores.decision or ""
    if n_classes == 2:
        return two_columns(graph, _add_calibrator(graph, decision, fold.calibrators[0]))
    columns = [_add_calibrator(graph, graph.columns(decision, [index]), item) for index, item in enumerate(fold.calibrators)]
    return normalise(graph, graph.add("Concat", *columns, axis=1), n_classes)


def _add_calibrator(graph: Graph, value: str, calibrator: Any) -> str:
    kind = type(calibrator).__name__
    if kind == "_SigmoidCalibration":
        scaled = graph.add("Add", graph.add("Mul", graph.constant(calibrator.a_), value), graph.constant(calibrator.b_))
        # As SciPy's expit. ONNX Runtime's Sigmoid is 0 below -37, where several classes are still divided by their sum.
        one = graph.constant(1.0)
        return graph.add("Div", one, graph.add("Add", one, graph.add("Exp", scaled)))
    if kind == "IsotonicRegression":
        return _add_isotonic(graph, value, calibrator)
    raise ExportError(f"calibration: {kind} cannot be exported; use sigmoid or isotonic")


def _add_isotonic(graph: Graph, value: str, calibrator: Any) -> str:
    """Clip, then interpolate: float64 thresholds as ``numpy.interp`` does, float32 ones as SciPy does, in float32."""
    xs, ys = calibrator.X_thresholds_, calibrator.y_thresholds_
    if len(xs) == 1:
        zero = graph.add("Mul", value, graph.constant(0.0))
        return graph.add("Add", zero, graph.constant(float(ys[0])))
    single = xs.dtype == np.float32
    if single:
        value = graph.cast(value, FLOAT)
    low = graph.add("Max", value, graph.constant(calibrator.X_min_, xs.dtype))
    clipped = graph.add("Min", low, graph.constant(calibrator.X_max_, xs.dtype))
    _note_steps(graph, clipped, xs, ys)
    if not single:  # the last threshold is an interval of its own, without slope
        x_low, y_low, slope = _find_interval(
            graph, clipped, "GreaterOrEqual", xs[1:], [xs, ys, np.append(np.diff(ys) / np.diff(xs), 0)]
        )
        return _add_slope(graph, clipped, x_low, y_low, slope)
    ys = ys.astype(np.float32)
    tables = [xs[:-1], xs[1:], ys[:-1], ys[1:], np.diff(xs), np.diff(ys) / np.diff(xs)]
    x_low, x_high, y_low, y_high, width, slope = _find_interval(graph, clipped, "Greater", xs[1:-1], tables)
    if SCIPY_WEIGHTS:
        return graph.cast(_add_weights(graph, clipped, (x_low, x_high), (y_low, y_high), width), DOUBLE)
    return graph.cast(_add_slope(graph, clipped, x_low, y_low, slope), DOUBLE)


def _note_steps(graph: Graph, value: str, xs: Any, ys: Any) -> None:
    """Note rows whose score lies where a difference in its last digits moves the probability."""
    xs, ys = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    room = NOISE * np.abs(xs[1:])
    steep = np.diff(ys) / np.diff(xs) * room > TOLERANCE
    if not graph.rounds or not steep.any():
        return
    double = graph.cast(value, DOUBLE)
    above = graph.add("Greater", double, graph.constant((xs[:-1] - room)[steep][None]))
    below = graph.add("Less", double, graph.constant((xs[1:] + room)[steep][None]))
    inside = graph.column_sum(graph.cast(graph.add("And", above, below), DOUBLE))
    graph.note_tie(inside, "CalibratedClassifierCV", STEPS)


def _find_interval(graph: Graph, value: str, operator: str, bounds: Any, tables: list[Any]) -> list[str]:
    """Look up each row's interval, the number of bounds that it passed, in every table."""
    dtype = bounds.dtype
    bounds = bounds[None] if len(bounds) else np.full((1, 1), np.inf, dtype)
    passed = graph.cast(graph.add(operator, value, graph.constant(bounds, dtype)), INT64)
    interval = graph.add("ReduceSum", passed, graph.constant([1], np.int64), keepdims=1)
    return [graph.add("Gather", graph.constant(table, dtype), interval) for table in tables]


def _add_slope(graph: Graph, value: str, x_low: str, y_low: str, slope: str) -> str:
    """``slope * (x - x_low) + y_low``: NumPy's formula, and SciPy's up to 1.17."""
    return graph.add("Add", graph.add("Mul", slope, graph.add("Sub", value, x_low)), y_low)


def _add_weights(graph: Graph, value: str, x: tuple[str, str], y: tuple[str, str], width: str) -> str:
    """``(x - x_low) / width * y_high + (x_high - x) / width * y_low``: SciPy's formula from 1.18 on."""
    upper = graph.add("Div", graph.add("Sub", value, x[0]), width)
    lower = graph.add("Div", graph.add("Sub", x[1], value), width)
    return graph.add("Add", graph.add("Mul", upper, y[1]), graph.add("Mul", lower, y[0]))
