"""Regressors of a transformed target: the way back from the regressor's value to the table's."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.bins import at_bound, interpolate
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.functions import add_function
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.normal import add_normal_share
from mlops_project.modeling.export.registry import LAST_DIGITS, add_member, meta_estimator
from mlops_project.modeling.export.scores import Scores


@meta_estimator("sklearn.TransformedTargetRegressor", agreement=LAST_DIGITS)
def add_transformed_target(graph: Graph, columns: Columns, fitted: Any) -> Scores:
    """Turn the regressor's values back."""
    with graph.at("regressor_"):
        value = str(add_member(graph, columns, fitted.regressor_).probabilities)
    with graph.at("transformer_"):
        return Scores(_invert(graph, value, fitted.transformer_))


def _invert(graph: Graph, value: str, step: Any) -> str:
    name = type(step).__name__
    if name not in INVERSES:
        raise ExportError(
            f"{graph.place}: {name} of the target cannot be turned back exactly; use func=numpy.log1p and "
            "inverse_func=numpy.expm1, StandardScaler, PowerTransformer or QuantileTransformer"
        )
    return INVERSES[name](graph, value, step)


def _invert_all(graph: Graph, value: str, step: Any) -> str:
    for _, part in step.steps[::-1]:
        value = _invert(graph, value, part)
    return value


def _invert_function(graph: Graph, value: str, step: Any) -> str:
    return add_function(graph, value, step.inverse_func, step.inv_kw_args)


def _invert_range(graph: Graph, value: str, step: Any) -> str:
    return graph.add("Div", graph.add("Sub", value, graph.constant(step.min_)), graph.constant(step.scale_))


def _invert_standard(graph: Graph, value: str, step: Any) -> str:
    return _unscale(graph, value, step.scale_, step.mean_ if step.with_mean else None)


def _invert_robust(graph: Graph, value: str, step: Any) -> str:
    scale, shift = step.scale_ if step.with_scaling else None, step.center_ if step.with_centering else None
    return _unscale(graph, value, scale, shift)


def _invert_largest(graph: Graph, value: str, step: Any) -> str:
    return graph.add("Mul", value, graph.constant(step.scale_))


def _invert_quantiles(graph: Graph, value: str, step: Any) -> str:
    quantiles = np.asarray(step.quantiles_[:, 0], np.float64)
    if step.output_distribution != "normal":
        return interpolate(graph, value, np.asarray(step.references_, np.float64), quantiles)
    share = add_normal_share(graph, value)
    result = interpolate(graph, share, np.asarray(step.references_, np.float64), quantiles)
    for sign, bound, end in ((1.0, 1.0, quantiles[-1]), (-1.0, 0.0, quantiles[0])):
        result = graph.add("Where", at_bound(graph, share, bound, sign, normal=True), graph.constant(end), result)
    return result


def _unscale(graph: Graph, value: str, scale: Any, shift: Any) -> str:
    if scale is not None:
        value = graph.add("Mul", value, graph.constant(scale))
    return value if shift is None else graph.add("Add", value, graph.constant(shift))


def _invert_power(graph: Graph, value: str, step: Any) -> str:
    """Turn Yeo-Johnson's or Box and Cox' transformation back, where it can be; NaN elsewhere, as in the library."""
    if step.standardize:
        value = _unscale(graph, value, step._scaler.scale_, step._scaler.mean_)
    power, one, zero = float(step.lambdas_[0]), graph.constant(1.0), graph.constant(0.0)
    if step.method == "box-cox":
        if power == 0:
            return graph.add("Exp", value)
        grown = graph.add("Mul", graph.constant(power), value)
        return _raise(graph, graph.add("Add", grown, one), 1 / power)
    is_positive = graph.add("GreaterOrEqual", value, zero)
    high, low = graph.add("Where", is_positive, value, zero), graph.add("Where", is_positive, zero, value)
    if abs(power) < np.spacing(1.0):
        above = graph.add("Exp", high)
    else:
        above = _raise(graph, graph.add("Add", graph.add("Mul", high, graph.constant(power)), one), 1 / power)
    if abs(power - 2) > np.spacing(1.0):
        grown = graph.add("Add", graph.add("Mul", graph.constant(power - 2), low), one)
        below = _raise(graph, grown, 1 / (2 - power))
    else:
        below = graph.add("Exp", graph.add("Neg", low))
    return graph.add("Where", is_positive, graph.add("Sub", above, one), graph.add("Sub", one, below))


def _raise(graph: Graph, base: str, power: float) -> str:
    return graph.add("Pow", base, graph.constant(power))


INVERSES: dict[str, Callable[[Graph, str, Any], str]] = {
    "FunctionTransformer": _invert_function,
    "MaxAbsScaler": _invert_largest,
    "MinMaxScaler": _invert_range,
    "Pipeline": _invert_all,
    "PowerTransformer": _invert_power,
    "QuantileTransformer": _invert_quantiles,
    "RobustScaler": _invert_robust,
    "StandardScaler": _invert_standard,
}
