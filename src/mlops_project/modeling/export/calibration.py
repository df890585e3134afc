"""``CalibratedClassifierCV``: one calibrated copy of the estimator per fold, averaged."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import DOUBLE, FLOAT, INT64, Graph
from mlops_project.modeling.export.scores import Scores, from_probabilities, normalise, two_columns


def add_calibrated(graph: Graph, x: str, estimator: Any, add_estimator: Callable[[Graph, str, Any], Scores]) -> Scores:
    """Add every fold's estimator and calibrators, and the mean of their probabilities."""
    n_classes = len(estimator.classes_)
    total = None
    for fold in estimator.calibrated_classifiers_:
        if len(fold.estimator.classes_) != n_classes:
            raise ExportError(
                f"calibration: a fold saw {len(fold.estimator.classes_)} of {n_classes} classes; drop the rare ones"
            )
        part = _add_fold(graph, add_estimator(graph, x, fold.estimator), fold, n_classes)
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
        return graph.add("Sigmoid", graph.add("Neg", scaled))
    if kind == "IsotonicRegression":
        return _add_isotonic(graph, value, calibrator)
    raise ExportError(f"calibration: {kind} cannot be exported; use sigmoid or isotonic")


def _add_isotonic(graph: Graph, value: str, calibrator: Any) -> str:
    """Clip, find the interval, interpolate in slope form as ``numpy.interp`` does; float32 thresholds round to float32."""
    single = calibrator.X_thresholds_.dtype == np.float32
    xs, ys = calibrator.X_thresholds_.astype(np.float64), calibrator.y_thresholds_.astype(np.float64)
    if len(xs) == 1:
        zero = graph.add("Mul", value, graph.constant(0.0))
        return graph.add("Add", zero, graph.constant(ys[0]))
    if single:
        value = graph.cast(graph.cast(value, FLOAT), DOUBLE)
    low = graph.add("Max", value, graph.constant(float(calibrator.X_min_)))
    clipped = graph.add("Min", low, graph.constant(float(calibrator.X_max_)))
    passed = graph.add("GreaterOrEqual", clipped, graph.constant(xs[None, 1:-1] if len(xs) > 2 else np.full((1, 1), np.inf)))
    interval = graph.add("ReduceSum", graph.cast(passed, INT64), graph.constant([1], np.int64), keepdims=1)
    slopes = np.diff(ys) / np.diff(xs)
    gathered = [graph.add("Gather", graph.constant(table), interval) for table in (slopes, xs[:-1], ys[:-1])]
    result = graph.add("Add", graph.add("Mul", gathered[0], graph.add("Sub", clipped, gathered[1])), gathered[2])
    return graph.cast(graph.cast(result, FLOAT), DOUBLE) if single else result
