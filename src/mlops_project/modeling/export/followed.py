"""Columns in a function of somebody's own while it is followed: what can be done with those that are no plain numbers."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from mlops_project.contract import DATETIME_PARTS
from mlops_project.modeling.export.graph import DOUBLE, ML, Graph

ARITHMETIC = {"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "true_divide": "Div"}
COMPARISONS = {
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
}
LOGIC = {"bitwise_and": "And", "bitwise_or": "Or", "logical_and": "And", "logical_or": "Or"}
DAY_SECONDS = 86_400.0
# Days before 1970-01-01 of 0000-03-01, from which years of the civil calendar are counted in whole cycles of 400.
CYCLE_START, CYCLE_DAYS = 719_468.0, 146_097.0
# Parts of dates with few values: the first one, and one above the last.
FEW_VALUES = {
    "month": (1, 13),
    "quarter": (1, 5),
    "day": (1, 32),
    "dayofyear": (1, 367),
    "dayofweek": (0, 7),
    "hour": (0, 24),
    "minute": (0, 60),
    "second": (0, 60),
}
SAME_PARTS = {"weekday": "dayofweek", "day_of_week": "dayofweek", "day_of_year": "dayofyear"}
EXPLAINED = {
    "text": "it computes with texts; compare them with ==, isin or map",
    "date": "it computes with dates; take parts of them with .dt (year, month, day, dayofweek, hour)",
    "boolean": "NumPy computes functions of booleans in half precision; make the column an integer",
}


class NotFollowedError(TypeError):
    """The function does something that has no node."""


class Untouched(str):
    """A column of texts, dates or booleans.

    Attributes
    ----------
    place
        Among the columns that the function is given.
    kind
        What it holds.
    value
        In the graph: texts or numbers ``(n_rows, 1)``, of dates the four parts that a model gets.
    filled
        Whether a missing text became an empty one.
    """

    place: int
    kind: Literal["text", "date", "boolean"]
    value: str
    filled: bool

    @classmethod
    def at(cls, place: int, kind: Any, value: str, *, filled: bool = False) -> "Untouched":
        """Return the column at a place."""
        made = cls(f"column {place}")
        made.place, made.kind, made.value, made.filled = place, kind, value, filled
        return made

    def fill(self) -> "Untouched":
        """Return the same with empty texts for missing ones."""
        return Untouched.at(self.place, self.kind, self.value, filled=True)

    def explain(self) -> str:
        """Say why nothing is computed with it."""
        return EXPLAINED[self.kind]


class Few(str):
    """A column that a small whole number decides, such as the hour: what NumPy makes of it is computed beforehand.

    Attributes
    ----------
    source
        The number's column in the graph.
    keys, values
        Every value that it can have, and what the column has there.
    missing
        What the column has where the number is missing.
    """

    source: str
    keys: Any
    values: Any
    missing: Any

    @classmethod
    def of(cls, graph: Graph, source: str, keys: Any, values: Any, missing: Any = np.nan) -> "Few":
        """Add the column."""
        made = cls(graph.lookup(source, keys, values, float(missing)))
        made.source, made.keys, made.values, made.missing = source, keys, values, missing
        return made

    def after(self, graph: Graph, ufunc: Any, inputs: Any, place: int) -> "Few":
        """Return the column that a function of NumPy makes of it, as one of several inputs, and numbers."""
        before, behind = inputs[:place], inputs[place + 1 :]
        values, missing = (ufunc(*before, given, *behind) for given in (self.values, self.missing))
        return Few.of(graph, self.source, self.keys, values, missing)


def is_text(part: str) -> bool:
    """Whether a column holds texts."""
    return isinstance(part, Untouched) and part.kind == "text"


def look_up(graph: Graph, part: str, values: Mapping[Any, float], default: float) -> str:
    """Return the number that a dictionary has for each value of a column, ``(n_rows, 1)``.

    Raises
    ------
    NotFollowedError
        If the dictionary is of another kind than the column.
    """
    kind = str if is_text(part) else (int, float)
    if (isinstance(part, Untouched) and not is_text(part)) or not all(isinstance(key, kind) for key in values):
        raise NotFollowedError("it compares a column with values of another kind")
    if not is_text(part):
        known = {float(key): float(value) for key, value in values.items()}
        return graph.lookup(part, list(known), list(known.values()), default)
    texts, table = part.value if isinstance(part, Untouched) else part, [*map(float, values.values()), default]
    place = graph.add(
        "LabelEncoder",
        texts,
        domain=ML,
        keys_strings=[*values],
        values_int64s=[*range(len(values))],
        default_int64=len(values),
    )
    return graph.add("Gather", graph.constant(table), place)


def date_part(graph: Graph, part: str, name: str) -> str:
    """Return a part of dates as pandas' ``Series.dt`` has it, ``(n_rows, 1)``; NaN where the date is missing.

    Raises
    ------
    NotFollowedError
        If it is none of those that are known, or the column holds no dates.
    """
    if not isinstance(part, Untouched) or part.kind != "date":
        raise NotFollowedError(f"dt.{name} of a column that holds no dates")
    name = SAME_PARTS.get(name, name)
    if name not in (*FEW_VALUES, "year"):
        raise NotFollowedError(f"dt.{name}; there are year, {', '.join(FEW_VALUES)}")
    value = _read_part(graph, part.value, name)
    if name == "year":
        return value
    keys = np.arange(*FEW_VALUES[name], dtype=np.int32)  # as pandas has them
    return Few.of(graph, value, keys, keys)


def _read_part(graph: Graph, parts: str, name: str) -> str:
    seconds, month, weekday, hour = (graph.columns(parts, [place]) for place in range(len(DATETIME_PARTS)))
    known = {"month": month, "hour": hour, "dayofweek": weekday}
    if name in known:
        return known[name]
    if name == "quarter":
        return graph.add("Floor", _divide(graph, graph.add("Add", month, graph.constant(2.0)), 3.0))
    if name in ("minute", "second"):
        whole = graph.add("Floor", seconds)
        rest = divide_whole(graph, whole, graph.constant(3600.0 if name == "minute" else 60.0))[1]
        return graph.add("Floor", _divide(graph, rest, 60.0)) if name == "minute" else rest
    days = graph.add("Floor", _divide(graph, seconds, DAY_SECONDS))
    year, day, first = _read_calendar(graph, days, month)
    if name == "dayofyear":
        return graph.add("Add", graph.add("Sub", days, first), graph.constant(1.0))
    return year if name == "year" else day


def _divide(graph: Graph, value: str, by: float) -> str:
    return graph.add("Div", value, graph.constant(by))


def _read_calendar(graph: Graph, days: str, month: str) -> tuple[str, str, str]:
    """Return year, day of the month, and the days from 1970-01-01 to the year's first.

    H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", ``civil_from_days``; whole numbers in float64 are exact.
    """

    def whole(value: str, by: float) -> str:
        return graph.add("Floor", _divide(graph, value, by))

    def minus(first: str, *others: str) -> str:
        for other in others:
            first = graph.add("Sub", first, other)
        return first

    moved = graph.add("Add", days, graph.constant(CYCLE_START))
    cycle = whole(moved, CYCLE_DAYS)
    of_cycle = minus(moved, graph.add("Mul", cycle, graph.constant(CYCLE_DAYS)))
    leap_days = graph.add("Add", minus(of_cycle, whole(of_cycle, 1460.0)), whole(of_cycle, 36_524.0))
    year_of_cycle = whole(minus(leap_days, whole(of_cycle, 146_096.0)), 365.0)
    from_march = minus(of_cycle, _days_before(graph, year_of_cycle))
    shifted = whole(graph.add("Add", graph.add("Mul", from_march, graph.constant(5.0)), graph.constant(2.0)), 153.0)
    before = whole(graph.add("Add", graph.add("Mul", shifted, graph.constant(153.0)), graph.constant(2.0)), 5.0)
    day = graph.add("Add", minus(from_march, before), graph.constant(1.0))
    early = graph.cast(graph.add("LessOrEqual", month, graph.constant(2.0)), DOUBLE)
    of_march = graph.add("Add", year_of_cycle, graph.add("Mul", cycle, graph.constant(400.0)))
    year = graph.add("Add", of_march, early)
    past = minus(year, graph.constant(1.0))
    leaps = graph.add("Add", minus(whole(past, 4.0), whole(past, 100.0)), whole(past, 400.0))
    first = graph.add("Add", graph.add("Mul", past, graph.constant(365.0)), leaps)
    return year, day, minus(first, graph.constant(719_162.0))  # days from 0001-01-01 to 1970-01-01


def _days_before(graph: Graph, years: str) -> str:
    """Return how many days so many years from a March 1st of a cycle take."""
    leaps = graph.add("Sub", *(graph.add("Floor", _divide(graph, years, by)) for by in (4.0, 100.0)))
    return graph.add("Add", graph.add("Mul", years, graph.constant(365.0)), leaps)


class Dates:
    """What ``Series.dt`` is of dates that are followed."""

    def __init__(self, dates: Any) -> None:
        self._dates = dates

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        graph, parts = self._dates._graph, self._dates.parts
        return self._dates._like([date_part(graph, part, name) for part in parts])


def divide_whole(graph: Graph, a: str, b: str) -> tuple[str, str]:
    """Return the whole quotient and the remainder, which has the divisor's sign, by NumPy's steps."""
    zero, one = graph.constant(0.0), graph.constant(1.0)
    rest = graph.add("Mod", a, b, fmod=1)
    other_sign = graph.add("Xor", graph.add("Less", b, zero), graph.add("Less", rest, zero))
    turned = graph.add("And", other_sign, graph.add("Not", graph.add("Equal", rest, zero)))
    quotient = graph.add("Div", graph.add("Sub", a, rest), b)
    quotient = graph.add("Where", turned, graph.add("Sub", quotient, one), quotient)
    whole = graph.add("Floor", quotient)
    above = graph.add("Greater", graph.add("Sub", quotient, whole), graph.constant(0.5))
    whole = graph.add("Where", above, graph.add("Add", whole, one), whole)
    return whole, graph.add("Where", turned, graph.add("Add", rest, b), rest)
