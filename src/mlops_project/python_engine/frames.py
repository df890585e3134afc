"""Frames, columns and types of pandas in a stored pipeline, which skops does not know: kept as arrays, lists and names."""

from typing import Any

import numpy as np
import pandas as pd

MODULE = "mlops_project.python_engine.frames"


def build_index(values: Any, kind: str, name: Any) -> "pd.Index[Any]":
    """Return an index."""
    return pd.Index(_build_array(values, kind), name=name)


def build_column(values: Any, kind: str, name: Any, index: "pd.Index[Any]") -> "pd.Series[Any]":
    """Return a column."""
    return pd.Series(_build_array(values, kind), index=index, name=name)


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
    return pd.array(values, dtype=kind) if isinstance(values, list) and kind != "object" else np.asarray(values, kind)


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


def _call(function: str, arguments: tuple[Any, ...], save: Any, context: Any) -> dict[str, Any]:
    return {
        "__class__": function,
        "__module__": MODULE,
        "__loader__": "ConstructorFromReduceNode",
        "content": save(arguments, context),
    }


def teach_skops() -> None:
    """Let skops write what pandas holds as calls of the functions above; reading them takes no more than the functions."""
    from skops.io._utils import _get_state, get_state

    @_get_state.register(pd.Index)
    def _(found: Any, context: Any) -> dict[str, Any]:
        return _call("build_index", (*_take_array(found), found.name), get_state, context)

    @_get_state.register(pd.Series)
    def _(found: Any, context: Any) -> dict[str, Any]:
        return _call("build_column", (*_take_array(found), found.name, found.index), get_state, context)

    @_get_state.register(pd.DataFrame)
    def _(found: Any, context: Any) -> dict[str, Any]:
        columns = [found.iloc[:, place].reset_index(drop=True) for place in range(found.shape[1])]
        plain = [column.set_axis(found.index) for column in columns]
        return _call("build_frame", (found.columns, plain, found.index), get_state, context)

    @_get_state.register(pd.CategoricalDtype)
    def _(found: Any, context: Any) -> dict[str, Any]:
        return _call("build_categories", (*_take_array(found.categories), found.ordered), get_state, context)

    @_get_state.register(pd.api.extensions.ExtensionDtype)
    def _(found: Any, context: Any) -> dict[str, Any]:
        return _call("build_type", (str(found),), get_state, context)
