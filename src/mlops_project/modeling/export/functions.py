"""Functions of numbers: FunctionTransformer of NumPy's and of somebody's own, power transformations, products."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlops_project.contract import DATETIME_PARTS
from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Column, Columns, join
from mlops_project.modeling.export.followed import EXPLAINED, NotFollowedError, Untouched
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.registry import refuse_missing, transformer
from mlops_project.modeling.export.scalers import add_standard_scaler
from mlops_project.modeling.export.traced import trace

MOST_NODES = 1_000  # products that are nodes of their own, three times as fast; ONNX Runtime takes kilobytes for each


def log1p(graph: Graph, x: str) -> str:
    """Add ``log(1 + x)`` without loss near 0 (Kahan's formula, within 1e-15)."""
    one = graph.constant(1.0)
    above = graph.add("Add", one, x)
    same = graph.add("Equal", above, one)
    scaled = graph.add("Mul", graph.add("Log", above), graph.add("Div", x, graph.add("Sub", above, one)))
    return graph.add("Where", same, x, scaled)


def expm1(graph: Graph, x: str) -> str:
    """Add ``exp(x) - 1`` without loss near 0 (Kahan's formula, within 1e-15)."""
    one = graph.constant(1.0)
    power = graph.add("Exp", x)
    less = graph.add("Sub", power, one)
    scaled = graph.add("Mul", less, graph.add("Div", x, graph.add("Log", power)))
    far = graph.add("Greater", graph.add("Abs", x), graph.constant(30.0))
    return graph.add("Where", graph.add("Equal", power, one), x, graph.add("Where", far, less, scaled))


def _operator(name: str) -> Callable[[Graph, str], str]:
    return lambda graph, x: graph.add(name, x)


def _divided(logarithm_of: float) -> Callable[[Graph, str], str]:
    factor = 1 / np.log(logarithm_of)
    return lambda graph, x: graph.add("Mul", graph.add("Log", x), graph.constant(factor))


FUNCTIONS: dict[str, Callable[[Graph, str], str]] = {
    "absolute": _operator("Abs"),
    "abs": _operator("Abs"),
    "ceil": _operator("Ceil"),
    "cos": _operator("Cos"),
    "exp": _operator("Exp"),
    "expm1": expm1,
    "fabs": _operator("Abs"),
    "floor": _operator("Floor"),
    "log": _operator("Log"),
    "log10": _divided(10.0),
    "log1p": log1p,
    "log2": _divided(2.0),
    "negative": _operator("Neg"),
    "reciprocal": lambda graph, x: graph.add("Div", graph.constant(1.0), x),
    "rint": _operator("Round"),
    "sign": _operator("Sign"),
    "sin": _operator("Sin"),
    "sqrt": _operator("Sqrt"),
    "square": lambda graph, x: graph.add("Mul", x, x),
}  # not tanh: where it is flat, a last digit of it is a tenth of its input, and a tree behind it answers otherwise


def add_function(graph: Graph, x: str, function: Any, settings: Any) -> str:
    """Add a function of one column.

    Raises
    ------
    ExportError
        If it cannot be followed.
    """
    if function is None:
        return x
    if isinstance(function, np.ufunc):
        return _known(function, settings)(graph, x)
    (result,), _ = _follow(graph, function, settings, [x], None)
    return result


def _known(function: Any, settings: Any) -> Callable[[Graph, str], str]:
    name = function.__name__
    if name not in FUNCTIONS or getattr(np, name, None) is not function:
        raise ExportError(f"the function {name!r} cannot be exported; use one of NumPy's {', '.join(sorted(FUNCTIONS))}")
    if settings:
        raise ExportError(f"the settings {dict(settings)!r} of {name} cannot be exported; leave them out")
    return FUNCTIONS[name]


def _follow(graph: Graph, function: Any, settings: Any, columns: list[str], names: Any) -> tuple[list[str], bool]:
    """Add a function of somebody's own by what it does with a stand-in for the table."""
    try:
        return trace(graph, FUNCTIONS, function, settings, columns, names)
    except NotFollowedError as error:
        raise ExportError(
            f"the function {_name(function)!r} cannot be exported, it does what has no exact form ({error}); compute with "
            f"columns, numbers, where and NumPy's {', '.join(sorted(FUNCTIONS))}"
        ) from error


@transformer("sklearn.FunctionTransformer", agreement="1e-15")
def add_function_transformer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add a known function of numbers."""
    if step.func is None:
        return columns
    if step.validate:
        refuse_missing(graph, columns)
    if isinstance(step.func, np.ufunc):
        if columns.boolean:
            raise ExportError(EXPLAINED["boolean"])
        value = _known(step.func, step.kw_args)(graph, columns.matrix(graph))
        return Columns.of_matrix(value, len(columns), complete=False, sparse=columns.sparse).overflowing()
    if columns.sparse:
        raise ExportError(f"the function {_name(step.func)!r} cannot be exported, it reads a sparse matrix; make that dense")
    names = None if step.validate else getattr(step, "feature_names_in_", None)
    made, is_bool = _follow(graph, step.func, step.kw_args, [_give(graph, columns, p) for p in range(len(columns))], names)
    items = [_made(columns, part) for part in made]
    handed_on = [place for place, part in enumerate(made) if isinstance(part, Untouched) and part.kind == "boolean"]
    return Columns(tuple(items), boolean=frozenset(range(len(items)) if is_bool else handed_on))


def _give(graph: Graph, columns: Columns, place: int) -> str:
    """Return a column as a function of somebody's own gets it."""
    item = columns.items[place]
    if item.kind == "date":
        parts = graph.columns(item.source, [*range(item.place, item.place + len(DATETIME_PARTS))])
        return Untouched.at(place, "date", parts)
    value = columns.column(graph, place)
    if item.kind == "text":
        return Untouched.at(place, "text", value)
    return Untouched.at(place, "boolean", value) if place in columns.boolean else value


def _made(columns: Columns, part: str) -> Column:
    """Return a column that a function made, or handed on."""
    if not isinstance(part, Untouched):
        return Column(part, 0, 1, finite=False)
    item = columns.items[part.place]
    return item._replace(nullable=item.nullable or part.filled)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


@transformer("sklearn.PowerTransformer", agreement="1e-14")
def add_power(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add SciPy's Yeo-Johnson or Box-Cox transformation, then the scaler."""
    method = {"yeo-johnson": _yeo_johnson, "box-cox": _box_cox}[step.method]
    x = columns.matrix(graph)
    parts = [method(graph, graph.columns(x, [place]), float(power)) for place, power in enumerate(step.lambdas_)]
    value = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    if step.standardize:
        value = add_standard_scaler(graph, value, step._scaler)
    return Columns.of_matrix(value, len(columns), complete=columns.complete and step.method == "yeo-johnson").overflowing()


def _yeo_johnson(graph: Graph, x: str, power: float) -> str:
    zero = graph.constant(0.0)
    positive = graph.add("GreaterOrEqual", x, zero)
    rising = log1p(graph, graph.add("Where", positive, x, zero))
    falling = log1p(graph, graph.add("Where", positive, zero, graph.add("Neg", x)))
    if abs(power) >= np.spacing(1.0):
        rising = _powered(graph, rising, power)
    if abs(power - 2) > np.spacing(1.0):
        falling = _powered(graph, falling, 2 - power)
    return graph.add("Where", positive, rising, graph.add("Neg", falling))


def _box_cox(graph: Graph, x: str, power: float) -> str:
    positive = graph.add("Greater", x, graph.constant(0.0))  # the library refuses others
    usable = graph.add("Where", graph.add("Or", positive, graph.add("IsNaN", x)), x, graph.constant(np.nan))
    refused = graph.add("Where", graph.add("LessOrEqual", x, graph.constant(0.0)), graph.constant(np.nan), graph.constant(0.0))
    graph.refuse_rows(refused)
    logarithm = graph.add("Log", usable)
    return logarithm if abs(power) < 1e-19 else _powered(graph, logarithm, power)


def _powered(graph: Graph, logarithm: str, power: float) -> str:
    return graph.add("Div", expm1(graph, graph.add("Mul", graph.constant(power), logarithm)), graph.constant(power))


@transformer("sklearn.PolynomialFeatures")
def add_polynomials(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Multiply in the library's order: a product is its first factor times the product of the others."""
    refuse_missing(graph, columns)
    x = columns.matrix(graph)
    products = [tuple(np.repeat(np.arange(len(columns)), powers).tolist()) for powers in step.powers_]
    if len(products) > MOST_NODES:
        return Columns.of_matrix(_multiply_at_once(graph, x, products), len(products)).overflowing()
    known: dict[tuple[int, ...], str] = {(): graph.full(x, [1.0])}

    def product(factors: tuple[int, ...]) -> str:
        if factors not in known:
            first = graph.columns(x, [factors[0]])
            known[factors] = first if len(factors) == 1 else graph.add("Mul", first, product(factors[1:]))
        return known[factors]

    return join(Columns.of_matrix(product(factors), 1) for factors in products).overflowing()


def _multiply_at_once(graph: Graph, x: str, products: list[tuple[int, ...]]) -> str:
    """Return many products, ``(n_rows, n_products)``, the same bits by few nodes: each degree from the one before."""
    needed = {factors[place:] for factors in products for place in range(len(factors) + 1)}
    graph.needs_columns(3 * len(needed))
    order: dict[tuple[int, ...], int] = {(): 0}
    levels, last = [graph.full(x, [1.0])], dict(order)
    for degree in range(1, max(map(len, needed)) + 1):
        members = sorted(factors for factors in needed if len(factors) == degree)
        value = graph.columns(x, [factors[0] for factors in members])
        if degree > 1:
            value = graph.add("Mul", value, graph.columns(levels[-1], [last[factors[1:]] for factors in members]))
        levels.append(value)
        last = {factors: place for place, factors in enumerate(members)}
        order |= {factors: len(order) + place for place, factors in enumerate(members)}
    return graph.columns(graph.add("Concat", *levels, axis=1), [order[factors] for factors in products])
