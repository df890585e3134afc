"""A hash of each row, in the prediction log's representation: equal rows have equal ones, whatever the columns' types."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Hashes = npt.NDArray[np.uint64]


def hash_rows(features: pd.DataFrame, digits: int | None = None) -> Hashes:
    """Return a hash of each row, ``(n_rows,)``.

    Parameters
    ----------
    features
        Columns in the same order wherever hashes are compared.
    digits
        Significant digits to which numbers are rounded first; None for exact values.
    """
    logged = as_logged(features)
    if digits is not None:
        logged = pd.DataFrame({name: _round(logged[name], digits) for name in logged.columns}, copy=False)
    return np.asarray(pd.util.hash_pandas_object(logged, index=False), np.uint64)


def as_logged(features: pd.DataFrame) -> pd.DataFrame:
    """Return every number and truth value as float64, as the log has it."""
    columns = {name: column.astype("float64") if column.dtype.kind in "biuf" else column for name, column in features.items()}
    return pd.DataFrame(columns, copy=False)


def _round(column: "pd.Series[Any]", digits: int) -> "pd.Series[Any]":
    if column.dtype.kind != "f":
        return column
    values = column.to_numpy()
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log10(np.abs(values))) - (digits - 1)
        scale = 10.0 ** np.clip(exponent, -300, 300)
        rounded = np.where(np.isfinite(exponent), np.rint(values / scale) * scale, values)
    return pd.Series(np.where(rounded == 0, 0.0, np.float32(rounded)), index=column.index, name=column.name)
