"""What ``mlops tune`` searches: for each estimator its parameters, each a list of choices or a range."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mlops_project.errors import ConfigError, suggest

ORDERED = 3  # numbers in a list of choices that are read as a range
EDGE = 0.02  # of a range: a best value this near to an end may have its like beyond


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, both included; ``log``: as many between 1 and 10 as between 10 and 100."""

    low: float
    high: float
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def place(self, value: float) -> float:
        """Return where a value lies between the ends, 0 to 1 within them."""
        low, high, here = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (here - low) / (high - low)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these numbers."""
        kinds = int if self.is_whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high


Choices = tuple[Any, ...]
Space = dict[str, Range | Choices]
Values = dict[str, Any]


class Default(NamedTuple):
    """An estimator's own space, and values in it that are tried first."""

    space: Space
    starts: tuple[Values, ...]


# Beyond these a parameter has no values, or none that differ: a best value there is no sign of a space too narrow.
LIMITS: dict[str, tuple[float, float]] = {
    "max_depth": (1, math.inf),
    "min_samples_leaf": (1, math.inf),
    "min_child_samples": (1, math.inf),
    "max_leaf_nodes": (2, math.inf),
    "num_leaves": (2, math.inf),
    "n_neighbors": (1, math.inf),
    "max_features": (0, 1),
    "subsample": (0, 1),
    "colsample_bytree": (0, 1),
    "l1_ratio": (0, 1),
}


def fit_starts(starts: tuple[Values, ...], space: Space) -> tuple[Values, ...]:
    """Return the values to try first that lie in a space, each with exactly its parameters."""
    fitting = []
    for start in starts:
        chosen = {name: _clip(start.get(name), part) for name, part in space.items()}
        if all(_holds(part, chosen[name]) for name, part in space.items()) and chosen not in fitting:
            fitting.append(chosen)
    return tuple(fitting)


def _clip(value: Any, part: Range | Choices) -> Any:
    if not isinstance(part, Range) or not isinstance(value, int | float):
        return value
    near = min(max(value, part.low), part.high)
    return int(near) if part.is_whole else float(near)


def _holds(part: Range | Choices, value: Any) -> bool:
    return part.holds(value) if isinstance(part, Range) else value in part


def read_space(given: Mapping[str, Any], estimator: str, known: tuple[str, ...], where: str = "search.space") -> Space:
    """Return the space that a configuration gives for an estimator.

    Parameters
    ----------
    known
        Parameters that the estimator has.
    where
        The place in the configuration, for messages.

    Raises
    ------
    ConfigError
        If a parameter is unknown, or what stands there is no space.
    """
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ConfigError(f"{where}.{unknown[0]}: {estimator} has no such parameter{suggest(unknown[0], known)}")
    return {name: _read(f"{where}.{name}", value) for name, value in given.items()}


def _read(where: str, value: Any) -> Range | Choices:
    if isinstance(value, list) and value:
        return tuple(value)
    if isinstance(value, dict) and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        low, high, log = value["low"], value["high"], bool(value.get("log", False))
        is_range = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        if is_range and low < high and (low > 0 or not log):
            return Range(low, high, log)
    raise ConfigError(
        f"{where}: {value!r} is wrong, expected a list such as [3, 5, 8], or a range such as "
        "{low: 0.01, high: 1.0, log: true} with low below high, above 0 if log"
    )


def name_choice(value: Any) -> str | int | float | bool | None:
    """Return a choice as Optuna keeps it: lists and mappings as their JSON."""
    return value if value is None or isinstance(value, str | int | float | bool) else msgspec.json.encode(value).decode()


def find_edges(space: Space, best: Mapping[str, Any]) -> dict[str, str]:
    """Return a sentence for each parameter whose best value lies at an end of its range, and could go beyond."""
    found = {}
    for name, part in space.items():
        value, ends = best.get(name), _find_ends(part)
        if ends is None or not isinstance(value, int | float) or isinstance(value, bool):
            continue
        (low, high), (least, most) = ends, LIMITS.get(name, (-math.inf, math.inf))
        share = part.place(value) if isinstance(part, Range) else (value - low) / (high - low)
        if (share <= EDGE and low > least) or (share >= 1 - EDGE and high < most):
            end = "lower" if share <= EDGE else "upper"
            found[name] = f"the best {name} ({value:g}) lies at the {end} end of its range, {low:g} to {high:g}"
    return found


def _find_ends(part: Range | Choices) -> tuple[float, float] | None:
    """Return the lowest and the highest number of a part of the space; None if it is no range of numbers."""
    if isinstance(part, Range):
        return part.low, part.high
    numbers = [value for value in part if isinstance(value, int | float) and not isinstance(value, bool)]
    return (min(numbers), max(numbers)) if len(numbers) == len(part) >= ORDERED and min(numbers) < max(numbers) else None
