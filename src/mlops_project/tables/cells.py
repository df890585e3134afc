"""Rows of Python values (of a spreadsheet, of JSON lines) as a frame with the types that a CSV file would have."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pandas as pd


def build_frame(names: Sequence[str], columns: Sequence[list[Any]]) -> pd.DataFrame:
    """Return a frame of columns; None and empty texts are missing, whole numbers with gaps stay whole."""
    frame = pd.DataFrame({place: _build_column(values) for place, values in enumerate(columns)}, copy=False)
    return frame.set_axis(list(names), axis=1)


def _build_column(values: list[Any]) -> "pd.Series[Any]":
    values = [None if isinstance(value, str) and not value.strip() else value for value in values]
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if kinds == {int}:
        return _whole(values)
    if kinds and kinds <= {int, float}:
        numbers = [None if value is None or value != value else value for value in values]  # noqa: PLR0124 - NaN
        whole = all(value is None or float(value).is_integer() for value in numbers)
        return (
            _whole([None if value is None else int(value) for value in numbers])
            if whole
            else pd.Series(numbers, dtype="Float64")
        )
    if kinds == {str}:
        return pd.Series(values, dtype="string")
    if kinds and kinds <= {dt.date, dt.datetime}:
        return pd.to_datetime(pd.Series(values, dtype=object)).astype("datetime64[us]")
    return pd.Series(values, dtype=object)


def _whole(values: list[Any]) -> "pd.Series[Any]":
    if all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pd.Series(values, dtype="Int64")
    return pd.Series([None if value is None else str(value) for value in values], dtype="string")  # codes, not amounts
