"""Frames, columns and types of pandas in a stored pipeline, which skops does not know: kept as arrays, lists and names."""

from typing import Any

import numpy as np
import pandas as pd

MODULE = "mlops_project.python_engine.frames"


def build_index(values: Any, kind: str, name: Any) -> "pd.Index[Any]":
    """Return an index."""
    made: pd.Index[Any] = pd.Index(_build_array(values, kind), name=name)
    return made


def build_column(values: Any, kind: str, name: Any, index: "pd.Index[Any]") -> "pd.Series[Any]":
    """Return a column."""
    made: pd.Series[Any] = pd.Series(_build_array(values, kind), index=index, name=name)
    return made


def build_frame(names: "pd.Index[Any]", columns: Any, index: "pd.Index[Any]") -> pd.DataFrame:
    """Return a frame."""
    made = pd.DataFrame(dict(enumerate(columns)), index=index)
    return made.set_axis(names, axis=1)


def build_categories(values: Any, kind: str, ordered: bool) -> pd.CategoricalDtype:
    """Return a type of categories."""
    return pd.CategoricalDtype(pd.Index(_build_array(values, kind)), bool(ordered))


def build_type(name: str) -> Any:
    """Return a type of pandas by its name."""
    return pd.api.types.pandas_dtype(name)


def _build_array(values: Any, kind: str) -> Any:
    if kind == "category":
        codes, categories = values
        return pd.Categorical.from_codes(codes, dtype=categories)
    if kind.startswith(("datetime64", "timedelta64")) and not isinstance(values, list):
        return np.asarray(values, np.int64).view(kind)
    return (
        pd.array(values, dtype=build_type(kind)) if isinstance(values, list) and kind != "object" else np.asarray(values, kind)
    )


def _take_array(values: Any) -> tuple[Any, str]:
    """Return what skops can keep of a column's values, and their type's name."""
    kind = values.dtype
    if isinstance(values, pd.MultiIndex):
        raise TypeError("an index of several levels; reset_index() before the pipeline is fitted")
    if isinstance(kind, pd.CategoricalDtype):
        categorical = pd.Categorical(values)
        return (categorical.codes, kind), "category"
    if isinstance(kind, np.dtype) and kind.kind in "biuf":
        return np.asarray(values), str(kind)
    if isinstance(kind, np.dtype) and kind.kind in "mM":
        return np.asarray(values).view(np.int64), str(kind)
    return [None if value is pd.NA else value for value in values.tolist()], str(kind)


def _list_arguments(found: Any) -> tuple[str, tuple[Any, ...]]:
    """Return which of the functions above makes it again, and of what."""
    if isinstance(found, pd.DataFrame):
        columns = [found.iloc[:, place] for place in range(found.shape[1])]
        return "build_frame", (found.columns, columns, found.index)
    if isinstance(found, pd.Series):
        return "build_column", (*_take_array(found), found.name, found.index)
    if isinstance(found, pd.Index):
        return "build_index", (*_take_array(found), found.name)
    if isinstance(found, pd.CategoricalDtype):
        return "build_categories", (*_take_array(found.categories), found.ordered)
    return "build_type", (str(found),)


def _write(found: Any, context: Any) -> dict[str, Any]:
    from skops.io._utils import get_state

    function, arguments = _list_arguments(found)
    return {
        "__class__": function,
        "__module__": MODULE,
        "__loader__": "ConstructorFromReduceNode",
        "content": get_state(arguments, context),
    }


def teach_skops() -> None:
    """Let skops write what pandas holds as calls of the functions above; reading them takes no more than the functions."""
    from skops.io._utils import _get_state

    for kind in (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionDtype):
        _get_state.register(kind, _write)
