"""The columns of a frame, typed or as texts, by the rules of a contract: what a model in MLflow's own format is given."""

from typing import Any

import msgspec
import numpy as np
import pandas as pd

from mlops_project.contract import Contract, Feature
from mlops_project.runtime import MISSING_TEXT
from mlops_project.wire.columns import Rules, read_date_column, read_number_column, read_text_column
from mlops_project.wire.problems import Problem, RowsError
from mlops_project.wire.reading import ColumnReading, compile_readings

RULES = Rules()


def read_frame(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Return a frame with the columns that have rules read by them; the others as they are.

    Raises
    ------
    RowsError
        Listing every value that cannot be read.
    """
    problems: list[Problem] = []
    columns: dict[str, pd.Series[Any]] = {}
    for name, reading in compile_readings(contract.features).items():
        feature = contract.feature(name)
        if name in frame.columns and not _is_plain(feature):
            columns[name] = _read_column(frame[name], feature, reading, problems)
    if problems:
        raise RowsError(problems)
    return frame.assign(**columns)


def _is_plain(feature: Feature) -> bool:
    """Whether MLflow's own schema makes booleans of all that training read as one."""
    reading = feature.reading
    return feature.type == "boolean" and (reading is None or not (reading.is_written or reading.missing))


def _read_column(
    column: "pd.Series[Any]", feature: Feature, reading: ColumnReading, problems: list[Problem]
) -> "pd.Series[Any]":
    values = _list_values(column)
    if feature.is_text:
        texts: pd.Series[Any] = pd.Series(read_text_column(values, feature, RULES, problems, reading), column.index, "str")
        return texts.where(texts != MISSING_TEXT)
    if feature.type == "datetime":
        seconds = read_date_column(values, feature, RULES, problems, reading)[:, 0]
        gaps = np.isnan(seconds)
        instants = np.rint(np.where(gaps, 0, seconds) * 1e6).astype(np.int64).astype("datetime64[us]")
        return pd.Series(np.where(gaps, np.datetime64("NaT"), instants), column.index)
    lenient = msgspec.structs.replace(feature, nullable=True)  # a gap is the pipeline's business, as in MLflow's own format
    return pd.Series(read_number_column(values, lenient, RULES, problems, reading), column.index)


def _list_values(column: "pd.Series[Any]") -> Any:
    """Return values as the wire's readers take them."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiubM":
        return column.to_numpy()
    return [
        value.to_pydatetime() if isinstance(value, pd.Timestamp) else value.item() if isinstance(value, np.bool_) else value
        for value in column.astype(object).where(column.notna(), None).tolist()
    ]
