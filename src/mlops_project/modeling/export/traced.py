"""Functions of somebody's own: called once with a stand-in for the table, which writes down what they compute.

Arithmetic, NumPy's functions of single numbers, comparisons, choices and columns are followed, in arrays and in frames. What
else a function does ends in an error. ``check_parity`` proves it, as for any step.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from mlops_project.modeling.export import followed
from mlops_project.modeling.export.followed import Few, NotFollowedError, Untouched
from mlops_project.modeling.export.graph import BOOL, DOUBLE, Graph
from mlops_project.modeling.export.stand_ins import with_stand_ins

Unary = Callable[[Graph, str], str]


class Traced(NDArrayOperatorsMixin):
    """Columns of a table while a function computes with them.

    Parameters
    ----------
    graph, unary
        Where nodes go, and NumPy's functions of single numbers.
    columns
        Names of float64 or bool values ``(n_rows, 1)``.
    names
        Of a frame's columns; None for an array.
    flat
        Whether it is one column without a second dimension.
    is_bool
        Whether the values are truth values.
    """

    def __init__(
        self,
        graph: Graph,
        unary: dict[str, Unary],
        columns: Sequence[str],
        names: Sequence[str] | None = None,
        *,
        flat: bool = False,
        is_bool: bool = False,
    ) -> None:
        self._graph, self._unary = graph, unary
        self.parts, self.names = list(columns), None if names is None else list(names)
        self.flat, self.is_bool = flat, is_bool

    def _like(self, columns: Sequence[str], **changes: Any) -> "Traced":
        given = {"names": self.names, "flat": self.flat, "is_bool": self.is_bool} | changes
        return Traced(self._graph, self._unary, columns, **given)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> "Traced":
        name = ufunc.__name__
        if method != "__call__" or settings:
            raise NotFollowedError(f"{name} with {', '.join(settings) or method}")
        result = self._of_few(ufunc, inputs)
        if result is None:
            result = self._of_one(name) if len(inputs) == 1 else self._of_two(name, inputs)
        if result is None:
            raise NotFollowedError(name)
        return result

    def _of_few(self, ufunc: Any, inputs: Sequence[Any]) -> "Traced | None":
        """Return what NumPy itself makes of columns with few values, and numbers; None for others."""
        places = [place for place, value in enumerate(inputs) if isinstance(value, Traced)]
        if len(places) != 1 or not all(np.isscalar(value) for value in inputs if not isinstance(value, Traced)):
            return None
        parts = [part for part in inputs[places[0]].parts if isinstance(part, Few)]
        if len(parts) != len(inputs[places[0]].parts):
            return None
        made = [part.after(self._graph, ufunc, inputs, places[0]) for part in parts]
        truths = any(part.values.dtype == bool for part in made)
        return self._like([self._graph.cast(part, BOOL) for part in made] if truths else made, is_bool=truths)

    def _of_one(self, name: str) -> "Traced | None":
        if name == "isnan":
            return self._apply(lambda graph, x: graph.add("IsNaN", x), is_bool=True)
        if name in ("invert", "logical_not") and self.is_bool:
            return self._apply(lambda graph, x: graph.add("Not", x), is_bool=True)
        if name in self._unary and not self.is_bool:
            return self._apply(self._unary[name])
        return self if name == "positive" else None

    def _of_two(self, name: str, inputs: Sequence[Any]) -> "Traced | None":
        truths = all(isinstance(value, Traced) and value.is_bool for value in inputs)
        if name in ("power", "float_power"):
            return self._power(*inputs)
        if name in ("equal", "not_equal") and any(isinstance(value, str) for value in inputs):
            texts = self.isin([value for value in inputs if isinstance(value, str)])
            return texts if name == "equal" else texts._of_one("invert")
        if name in followed.COMPARISONS or name == "not_equal":
            same = self._both(followed.COMPARISONS.get(name, "Equal"), inputs, is_bool=True)
            return same._of_one("invert") if name == "not_equal" else same
        if name in ("maximum", "minimum"):
            return self._larger(inputs, "GreaterOrEqual" if name == "maximum" else "LessOrEqual")
        if name in ("remainder", "floor_divide") and not truths:
            return self._combine(inputs, lambda a, b: followed.divide_whole(self._graph, a, b)[name == "remainder"])
        operators = followed.LOGIC if truths else followed.ARITHMETIC  # NumPy adds truth values as such
        return self._both(operators[name], inputs, is_bool=truths, logic=truths) if name in operators else None

    def __array_function__(self, function: Any, types: Any, inputs: Any, settings: Any) -> "Traced":
        name = function.__name__
        if name == "where" and len(inputs) == 3:
            return self._where(*inputs)
        if name == "clip":
            return self.clip(*inputs[1:], **settings)
        if name == "column_stack":
            return self._beside([part._like(part.parts, flat=False) for part in inputs[0] if isinstance(part, Traced)])
        if name == "hstack" or (name == "concatenate" and {**settings} == {"axis": 1}):
            return self._beside(inputs[0])
        raise NotFollowedError(name)

    def __getitem__(self, key: Any) -> "Traced":
        if self.names is not None:
            return self._choose(key)
        if not isinstance(key, tuple) or len(key) != 2 or key[0] != slice(None):
            raise NotFollowedError(f"[{key!r}]")
        if key[1] is None and self.flat:
            return self._like(self.parts, flat=False)
        if self.flat:
            raise NotFollowedError(f"[{key!r}]")
        return self._at(key[1])

    def _at(self, places: Any) -> "Traced":
        chosen = np.arange(len(self.parts))[places]
        names = None if self.names is None else [self.names[place] for place in np.atleast_1d(chosen)]
        return self._like([self.parts[place] for place in np.atleast_1d(chosen)], names=names, flat=np.ndim(chosen) == 0)

    def _choose(self, key: Any) -> "Traced":
        names = self.names or []
        wanted = [key] if isinstance(key, str) else [*key]
        if self.flat or not all(name in names for name in wanted):
            raise NotFollowedError(f"[{key!r}]")
        return self._at(names.index(key) if isinstance(key, str) else [names.index(name) for name in wanted])

    def __setitem__(self, name: Any, value: Any) -> None:
        if self.names is None or self.flat or not isinstance(name, str):
            raise NotFollowedError(f"[{name!r}] =")
        column = value.parts[0] if isinstance(value, Traced) and len(value.parts) == 1 else self._fill(value)
        column = self._number(column) if isinstance(value, Traced) and value.is_bool else column
        if name in self.names:
            self.parts[self.names.index(name)] = column
        else:
            self.parts.append(column)
            self.names.append(name)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in (self.names or ()):
            return self._choose(name)
        raise AttributeError(name)

    def __bool__(self) -> bool:
        raise NotFollowedError("a decision by a value; use numpy.where")

    def __len__(self) -> int:
        raise NotFollowedError("the number of rows")

    @property
    def columns(self) -> list[str]:
        """The names of a frame's columns."""
        return list(self.names or ())

    @property
    def values(self) -> "Traced":
        """The same as an array."""
        return self._like(self.parts, names=None)

    @property
    def iloc(self) -> "Traced":
        """The same as an array, to choose columns by their places."""
        return self.values

    def to_numpy(self) -> "Traced":
        """Return the same as an array."""
        return self.values

    def copy(self, deep: bool = True) -> "Traced":
        """Return the same."""
        return self._like(self.parts)

    def astype(self, kind: Any) -> "Traced":
        """Return the same in float64."""
        if np.dtype(kind) != np.float64 and not (self.is_bool and np.dtype(kind).kind in "iu"):
            raise NotFollowedError(f"astype({kind})")
        return self._apply(lambda _, x: self._number(x) if self.is_bool else x, is_bool=False)

    def to_frame(self) -> "Traced":
        """Return one column as a frame."""
        return self._like(self.parts, flat=False)

    def reshape(self, *shape: Any) -> "Traced":
        """Return one column with a second dimension."""
        if shape not in ((-1, 1), ((-1, 1),)) or len(self.parts) != 1:
            raise NotFollowedError(f"reshape{shape}")
        return self._like(self.parts, names=None, flat=False)

    def assign(self, **columns: Any) -> "Traced":
        """Return a frame with more columns."""
        result = self.copy()
        for name, value in columns.items():
            result[name] = value(result) if callable(value) else value
        return result

    def drop(self, labels: Any = None, *, axis: Any = 0, columns: Any = None) -> "Traced":
        """Return a frame without some columns."""
        if (labels is None) == (columns is None) or (labels is not None and axis not in (1, "columns")):
            raise NotFollowedError("drop of rows")
        wanted = labels if columns is None else columns
        left = {wanted} if isinstance(wanted, str) else {*wanted}
        return self._choose([name for name in self.columns if name not in left])

    def isin(self, values: Any) -> "Traced":
        """Return whether each value is one of some."""
        known = list(values)
        if not known or not all(isinstance(value, str | int | float) for value in known):
            raise NotFollowedError(f"isin({values!r})")
        parts = [followed.look_up(self._graph, part, dict.fromkeys(known, 1.0), 0.0) for part in self.parts]
        return self._like([self._graph.cast(part, BOOL) for part in parts], is_bool=True)

    def map(self, values: Any) -> "Traced":
        """Return the number that a dictionary has for each value; others are missing."""
        if not isinstance(values, dict) or not all(isinstance(value, int | float) for value in values.values()):
            raise NotFollowedError("map of something else than a dictionary of numbers")
        return self._like([followed.look_up(self._graph, part, values, math.nan) for part in self.parts], is_bool=False)

    def isna(self) -> "Traced":
        """Return whether each value is missing."""
        if all(followed.is_text(part) for part in self.parts):
            return self.isin([""])
        return self._apply(lambda graph, x: graph.add("IsNaN", x), is_bool=True)

    def notna(self) -> "Traced":
        """Return whether each value is there."""
        return self.isna()._apply(lambda graph, x: graph.add("Not", x), is_bool=True)

    isnull, notnull = isna, notna

    @property
    def dt(self) -> followed.Dates:
        """The parts of dates."""
        return followed.Dates(self)

    def fillna(self, value: float | str) -> "Traced":
        """Return the same with a number for missing values, or an empty text for missing ones."""
        if isinstance(value, str):
            if value or not all(isinstance(part, Untouched) for part in self.parts):
                raise NotFollowedError(f"fillna({value!r})")
            return self._like([part.fill() for part in self.parts if isinstance(part, Untouched)])
        number = self._graph.constant(float(value))
        return self._apply(lambda graph, x: graph.add("Where", graph.add("IsNaN", x), number, x))

    def clip(self, lower: Any = None, upper: Any = None, **named: Any) -> "Traced":
        """Return the same within bounds."""
        result = self
        low, high = named.get("a_min", named.get("min", lower)), named.get("a_max", named.get("max", upper))
        if low is not None:
            result = result._larger((result, low), "GreaterOrEqual")
        return result if high is None else result._larger((result, high), "LessOrEqual")

    def abs(self) -> "Traced":
        """Return absolute values."""
        return self._apply(self._unary["absolute"])

    def pow(self, power: float) -> "Traced":
        """Return powers."""
        return self._power(self, power)

    def _apply(self, function: Unary, **changes: Any) -> "Traced":
        self._refuse_texts(self.parts)
        return self._like([function(self._graph, part) for part in self.parts], **changes)

    @staticmethod
    def _refuse_texts(parts: Sequence[str]) -> None:
        strange = [part for part in parts if isinstance(part, Untouched)]
        if strange:
            raise NotFollowedError(strange[0].explain())

    def _number(self, part: str) -> str:
        return self._graph.cast(part, DOUBLE)

    def _fill(self, value: Any) -> str:
        """Return a number once for each row."""
        if isinstance(value, Traced) or not np.isscalar(value):
            raise NotFollowedError("values of another shape")
        return self._graph.full(self.parts[0], [float(value)])  # type: ignore[arg-type]

    def _aligned(self, value: Any, *, logic: bool) -> list[str]:
        """Return an operand's columns, or one for all."""
        if not isinstance(value, Traced):
            numbers = np.asarray(value, np.float64)
            if numbers.ndim > 1 or (numbers.ndim == 1 and (self.flat or len(numbers) != len(self.parts))):
                raise NotFollowedError("an array of numbers for each row")
            return [self._graph.constant(float(number)) for number in np.atleast_1d(numbers)]
        return [part if logic or not value.is_bool else self._number(part) for part in value.parts]

    def _shaped_as(self, inputs: Sequence[Any]) -> "Traced":
        """Return the operand whose shape the result has."""
        traced = [value for value in inputs if isinstance(value, Traced)]
        if len({value.flat for value in traced}) > 1:
            raise NotFollowedError("a column and a table in one operation")
        if len({tuple(value.names) for value in traced if value.names is not None and not value.flat}) > 1:
            raise NotFollowedError("frames with other columns in one operation")
        return max(traced, key=lambda value: len(value.parts))

    def _combine(self, inputs: Sequence[Any], join: Callable[..., str], *, logic: bool = False, **changes: Any) -> "Traced":
        shape = self._shaped_as(inputs)
        self._refuse_texts([part for value in inputs if isinstance(value, Traced) for part in value.parts])
        sides = [shape._aligned(value, logic=logic) for value in inputs]
        width = len(shape.parts)
        if any(len(side) not in (1, width) for side in sides):
            raise NotFollowedError("tables of other widths in one operation")
        full = [side * width if len(side) == 1 else side for side in sides]
        return shape._like([join(*parts) for parts in zip(*full, strict=True)], **{"is_bool": False} | changes)

    def _both(self, operator: str, inputs: Sequence[Any], *, logic: bool = False, **changes: Any) -> "Traced":
        return self._combine(inputs, lambda a, b: self._graph.add(operator, a, b), logic=logic, **changes)

    def _larger(self, inputs: Sequence[Any], operator: str) -> "Traced":
        def join(a: str, b: str) -> str:  # a missing value stays
            first = self._graph.add("Or", self._graph.add(operator, a, b), self._graph.add("IsNaN", a))
            return self._graph.add("Where", first, a, b)

        return self._combine(inputs, join)

    def _where(self, condition: Any, first: Any, second: Any) -> "Traced":
        if not (isinstance(condition, Traced) and condition.is_bool):
            raise NotFollowedError("where without a condition")
        chosen = condition._like([condition._number(part) for part in condition.parts], is_bool=False)
        return self._combine((chosen, first, second), lambda c, a, b: self._graph.add("Where", self._graph.cast(c, BOOL), a, b))

    def _power(self, base: Any, power: Any) -> "Traced":
        if isinstance(power, Traced) or not np.isscalar(power) or not isinstance(base, Traced) or base.is_bool:
            raise NotFollowedError("power")
        known = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}  # as NumPy itself computes these
        exponent = float(power)  # type: ignore[arg-type]
        if exponent in known:
            return base._apply(self._unary[known[exponent]])
        if not math.isfinite(exponent):
            raise NotFollowedError("power")
        return base._apply(lambda graph, x: graph.add("Pow", x, graph.constant(exponent)))

    def _beside(self, parts: Any) -> "Traced":
        if not all(isinstance(part, Traced) for part in parts) or len({part.flat for part in parts}) > 1 or parts[0].flat:
            raise NotFollowedError("columns of other shapes side by side")
        self._refuse_texts([name for part in parts for name in part.parts])
        columns = [part._number(name) if part.is_bool else name for part in parts for name in part.parts]
        return self._like(columns, names=None, flat=False, is_bool=False)


def _build_table(graph: Graph, unary: dict[str, Unary], columns: Sequence[tuple[str | None, Any]]) -> Traced:
    """Return what ``pandas.DataFrame`` would be of a dictionary of columns, or ``numpy.c_`` of some (named None)."""
    pairs = [(name, value) for name, value in columns if isinstance(value, Traced)]
    if len(pairs) != len(columns) or any(name is not None and len(value.parts) != 1 for name, value in pairs):
        raise NotFollowedError("columns that it does not take from its table")
    parts = [value._number(part) if value.is_bool else part for _, value in pairs for part in value.parts]
    return Traced(graph, unary, parts, None if pairs[0][0] is None else [str(name) for name, _ in pairs])


def trace(
    graph: Graph,
    unary: dict[str, Unary],
    function: Callable[..., Any],
    settings: Any,
    columns: Sequence[str],
    names: Sequence[str] | None,
) -> tuple[list[str], bool]:
    """Return the columns ``(n_rows, 1)`` that a function makes of some, and whether they are truth values (as 0 and 1).

    Parameters
    ----------
    columns
        What it is given; texts and dates as ``Untouched``.
    names
        Of a frame's columns; None for an array.

    Raises
    ------
    NotFollowedError
        If it does something that has no node.
    """
    given = Traced(graph, unary, columns, names)
    prepared = with_stand_ins(function, Traced, lambda pairs: _build_table(graph, unary, pairs))
    try:
        result = prepared(given, **dict(settings or {}))
    except NotFollowedError:
        raise
    except Exception as error:  # somebody's own function raises what it likes
        raise NotFollowedError(f"{type(error).__name__}: {error}") from error
    if not isinstance(result, Traced) or (result.flat and not isinstance(result.parts[0], Untouched)):
        raise NotFollowedError(f"it returns {type(result).__name__ if not isinstance(result, Traced) else 'one flat column'}")
    return [result._number(part) if result.is_bool else part for part in result.parts], result.is_bool
