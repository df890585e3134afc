"""Frames of other libraries → pandas, and columns in the caller's own kind.

pandas, polars and pyarrow are known by name; whatever else has the Arrow or the dataframe interchange protocol gets pyarrow
tables back.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from mlops_project.errors import DataError

Kind = Literal["pandas", "polars", "arrow", "numpy"]
SHOWN_NAMES = 5
ROWS = "expected a frame of pandas, polars or pyarrow, or one with the Arrow or the dataframe interchange protocol"


def find_kind(frame: Any) -> Kind:
    """Return which library's frame it is; ``arrow`` for those of libraries that are known by a protocol only.

    Raises
    ------
    DataError
        If it is none.
    """
    library, name = type(frame).__module__.partition(".")[0], type(frame).__name__
    if library == "pandas" and name == "Series":
        raise DataError(f"{ROWS}, got one column or row; a row of a frame is frame.iloc[[0]], in two brackets")
    if library == "polars" and name == "LazyFrame":
        raise DataError(f"{ROWS}, got a LazyFrame of polars; collect() it")
    if isinstance(frame, pd.DataFrame):
        return "pandas"
    if library == "polars" and name == "DataFrame":
        return "polars"
    if library != "polars" and (hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__dataframe__")):
        return "arrow"
    hint = "; give it names: pandas.DataFrame(values, columns=[…])" if isinstance(frame, np.ndarray | list | dict) else ""
    if library == "scipy":
        hint = "; requests bring whole rows: fit the pipeline on X.toarray(), as some estimators take the zeros of X for gaps"
    raise DataError(f"{ROWS}, got {library + '.' if library != 'builtins' else ''}{name}{hint}")


def to_pandas(frame: Any) -> pd.DataFrame:
    """Return a frame of any kind as one of pandas; rows of others are numbered from 0.

    Raises
    ------
    DataError
        If it is no frame, or its library cannot hand it over.
    """
    if find_kind(frame) == "pandas":
        rows: pd.DataFrame = frame
        return rows
    try:
        if hasattr(frame, "__arrow_c_stream__"):
            table = pa.table(frame)
        else:
            from pyarrow.interchange import from_dataframe

            table = from_dataframe(frame)
        twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        if not twice:
            converted: pd.DataFrame = table.to_pandas()
            return converted.reset_index(drop=True)
    except (pa.ArrowException, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"the frame cannot be read: {' '.join(str(error).split())[:300]}") from error
    raise DataError(f"columns stand twice: {', '.join(map(repr, twice))}; rename them")


def name_columns(rows: Any, names: Sequence[str]) -> Any:
    """Return an array, or the only column, as a frame with the given names; anything else as it is.

    Raises
    ------
    DataError
        If it has more or fewer columns.
    """
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        if rows.shape[1] != len(names):
            wanted = f"{', '.join(names[:SHOWN_NAMES])}{', …' if len(names) > SHOWN_NAMES else ''}"
            raise DataError(f"{ROWS}, or an array with the {len(names)} columns {wanted}; got the shape {rows.shape}")
        return pd.DataFrame(rows, columns=[*names]).infer_objects()
    if len(names) != 1 or hasattr(rows, "columns"):
        return rows
    if type(rows).__name__ != "Series" and (np.ndim(rows) != 1 or isinstance(next(iter(rows), None), dict)):
        return rows
    values = rows.to_numpy() if hasattr(rows, "to_numpy") else np.asarray(rows, getattr(rows, "dtype", object))
    return pd.DataFrame({names[0]: values}, getattr(rows, "index", None)).infer_objects()


def _find_answer_kind(like: Any) -> Kind:
    """Return which kind of column or frame answers rows of a kind."""
    if isinstance(like, np.ndarray | list):
        return "numpy"
    if type(like).__name__ == "Series":
        return "polars" if type(like).__module__.startswith("polars") else "pandas"
    return find_kind(like)


def build_column(values: npt.NDArray[Any], like: Any, name: str) -> Any:
    """Return values ``(n_rows,)`` as a column of the caller's library: a Series, or an array of pyarrow.

    Parameters
    ----------
    like
        The caller's frame, with the same rows; a Series of pandas has its index.
    name
        Of the column.
    """
    kind = _find_answer_kind(like)
    if kind == "numpy":
        return values
    if kind == "pandas":
        return pd.Series(values, like.index, name=name)
    if kind == "polars":
        return import_module("polars").Series(name, values)
    return pa.array(values)


def build_labels(labels: tuple[Any, ...], indices: npt.NDArray[np.int64], like: Any, name: str) -> Any:
    """Return ``labels[indices]`` as a column of the caller's library, with the labels' own type."""
    kind = _find_answer_kind(like)
    if kind == "numpy":
        return np.asarray(labels)[indices]
    if kind == "pandas":
        return pd.Series(list(labels)).take(indices).set_axis(like.index).rename(name)
    taken = pa.array(list(labels)).take(pa.array(indices))
    return import_module("polars").from_arrow(taken).alias(name) if kind == "polars" else taken


def build_frame(columns: Mapping[str, npt.NDArray[Any]], like: Any) -> Any:
    """Return columns as a frame of the caller's library."""
    kind = _find_answer_kind(like)
    if kind == "numpy":
        return np.column_stack([*columns.values()])
    if kind == "pandas":
        return pd.DataFrame(dict(columns), index=like.index)
    if kind == "polars":
        return import_module("polars").DataFrame(dict(columns))
    return pa.table({name: pa.array(values) for name, values in columns.items()})
