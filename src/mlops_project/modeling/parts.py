"""Parts of rows by one column: its values, or quarters of its numbers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.modeling.evaluation import format_value

Bools = npt.NDArray[np.bool_]

PART_ROWS = 50  # of a part, to be judged at all
MAX_VALUES = 30  # of a column; the rarer ones are no parts


class Part(NamedTuple):
    """Rows of one value or range.

    Attributes
    ----------
    column, value
        Which column, and the value or range in words.
    rows
        Which rows, ``(n_rows,)``.
    """

    column: str
    value: str
    rows: Bools

    @property
    def size(self) -> int:
        """How many rows it has."""
        return int(self.rows.sum())


def cut(column: "pd.Series[Any]", name: str, least: int = PART_ROWS) -> Iterator[Part]:
    """Yield the parts that a column cuts the rows into: those with enough rows, and not with all. Dates have none."""
    if column.dtype.kind == "M":
        return
    if column.dtype.kind in "iuf" and column.nunique() > MAX_VALUES:
        edges = np.unique(column.quantile([0.25, 0.5, 0.75]))
        values = column.to_numpy(np.float64)
        ranges = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
        bounds = ["", *map(format_value, edges.tolist()), ""]
        for place in range(len(edges) + 1):
            low, high = bounds[place], bounds[place + 1]
            shown = f"{low} or more" if not high else f"less than {high}" if not low else f"from {low} to {high}"
            yield from _keep_large(Part(name, shown, ranges == place), least)
        return
    for value in column.value_counts().index[:MAX_VALUES]:
        shown = repr(value) if isinstance(value, str) else f"{value}"
        yield from _keep_large(Part(name, shown, (column == value).to_numpy(bool, na_value=False)), least)


def _keep_large(part: Part, least: int) -> Iterator[Part]:
    if least <= part.size < len(part.rows):
        yield part
