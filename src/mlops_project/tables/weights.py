"""The column of row weights: read, checked, and taken out of the features."""

from typing import Any, Protocol

import numpy as np
import pandas as pd

from mlops_project.config import Config
from mlops_project.errors import DataError
from mlops_project.tables.types import TypedColumn


class Draft(Protocol):
    """A table in preparation, see ``data_prep``."""

    config: Config
    columns: "dict[str, pd.Series[Any]]"
    warnings: list[str]
    problems: list[str]

    def convert(self, column: "pd.Series[Any]", max_categories: int) -> TypedColumn:
        """Convert a column as the settings say."""

    def keep_rows(self, kept: Any) -> None:
        """Leave out the other rows of every column that was not taken yet."""


def leave_out_weightless(draft: Draft) -> None:
    """Leave out rows of the weight 0, before anything else is read of them."""
    name = draft.config.data.weight
    if name is None:
        return
    try:
        values = draft.convert(draft.columns[name], 2).values
    except DataError:  # said when the column is taken
        return
    if values.dtype.kind in "if" and (nothing := (values == 0).to_numpy()).any():
        draft.warnings.append(f"data.weight: {int(nothing.sum())} rows have the weight 0 and were left out")
        draft.keep_rows(~nothing)


def take_weights(draft: Draft) -> "pd.Series[Any] | None":
    """Return each row's weight, float64; what is wrong with them is a problem of the table."""
    name = draft.config.data.weight
    if name is None:
        return None
    try:
        values = draft.convert(draft.columns.pop(name), 2).values
    except DataError as error:
        draft.problems.append(str(error))
        return None
    problem = find_problem(values)
    if problem:
        draft.problems.append(f"data.weight: column {name!r} {problem}")
        return None
    return values.astype("float64")


def find_problem(values: "pd.Series[Any]") -> str:
    """Say why a typed column cannot be weights; empty if it can."""
    if values.dtype.kind not in "if":
        return "holds no numbers; a weight is a number over 0"
    missing = int(values.isna().sum())
    if missing:
        return f"is missing in {missing} rows; every row needs a weight (1 if it counts as usual)"
    if (values < 0).any() or not np.isfinite(values.to_numpy(np.float64)).all():
        return "holds weights below 0, or infinite ones; a weight is a number over 0"
    return ""
