"""What stands for pandas and NumPy in a function of somebody's own while it is followed: makers of followed frames."""

from collections.abc import Callable, Sequence
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

Build = Callable[[Sequence[tuple[str | None, Any]]], Any]


class _Module:
    """A library of which a few names are others."""

    def __init__(self, library: ModuleType, others: dict[str, Any]) -> None:
        self._library, self._others = library, others

    def __getattr__(self, name: str) -> Any:
        return self._others[name] if name in self._others else getattr(self._library, name)


class _Beside:
    """``numpy.c_``."""

    def __init__(self, followed: type, build: Build) -> None:
        self._followed, self._build = followed, build

    def __getitem__(self, parts: Any) -> Any:
        items = parts if isinstance(parts, tuple) else (parts,)
        if not any(isinstance(item, self._followed) for item in items):
            return np.c_[parts]
        return self._build([(None, item) for item in items])


def with_stand_ins(function: Any, followed: type, build: Build) -> Any:
    """Return a function that makes frames of columns which are followed; the function itself stays as it is.

    Parameters
    ----------
    followed
        The class of such columns.
    build
        Makes a table of columns: pairs of a name, None in an array, and the column.
    """
    if not isinstance(function, FunctionType):
        return function

    def frame(data: Any = None, *rest: Any, **settings: Any) -> Any:
        if isinstance(data, followed):
            return data
        if isinstance(data, dict) and any(isinstance(value, followed) for value in data.values()):
            return build([*data.items()])
        return pd.DataFrame(data, *rest, **settings)

    def concat(parts: Any, **settings: Any) -> Any:
        items = list(parts)
        if not any(isinstance(item, followed) for item in items) or settings.get("axis") not in (1, "columns"):
            return pd.concat(items, **settings)
        named = [(name, item[[name]]) for item in items for name in getattr(item, "columns", ())]
        return build(named)

    known = {id(pd): _Module(pd, {"DataFrame": frame, "concat": concat}), id(pd.DataFrame): frame, id(pd.concat): concat}
    known[id(np)], known[id(np.c_)] = _Module(np, {"c_": _Beside(followed, build)}), _Beside(followed, build)
    names = {name: known.get(id(value), value) for name, value in function.__globals__.items()}
    made = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made
