"""Some rows of a table as plain numbers, for checks that ask how well one column tells the target."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import FeatureType, Task
from mlops_project.tables.table import Table

Floats = npt.NDArray[np.float64]

MAX_ROWS = 20_000  # more rows show no more: what these checks look for holds in all rows
MAX_CLASSES = 20
SEED = 0
NEIGHBOURS = 2  # on each side, in the order of a column


@dataclass(frozen=True)
class Sample:
    """Rows of a table, in its order.

    Attributes
    ----------
    values
        Feature → float64 ``(n_rows,)``: numbers, dates as days, codes of texts; NaN where missing.
    types
        Feature → type.
    target
        Regression: values divided by the largest, so that their size does not matter; else class codes. ``(n_rows,)``.
    shares
        ``(n_rows, n_classes)``: 1 in the column of the row's class; for regression ``target`` as one column.
    task, name
        What is predicted.
    rows
        Positions in the table.
    """

    values: dict[str, Floats]
    types: dict[str, FeatureType]
    target: Floats
    shares: Floats
    task: Task
    name: str
    rows: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.target)

    def is_text(self, name: str) -> bool:
        """Whether a feature's values are codes without an order."""
        return self.types[name] in ("category", "string", "boolean")


def take_sample(table: Table) -> Sample:
    """Return at most ``MAX_ROWS`` rows."""
    n_rows = len(table.target)
    rows = np.arange(n_rows)
    if n_rows > MAX_ROWS:
        rows = np.sort(np.random.default_rng(SEED).choice(n_rows, MAX_ROWS, replace=False))
    values = {name: _as_numbers(table.features[name].iloc[rows]) for name in table.features.columns}
    target = table.target.iloc[rows]
    if table.task == "regression":
        numbers = target.to_numpy(np.float64)
        scaled = numbers / (np.abs(numbers).max() or 1.0)
        shares = scaled[:, None]
    else:
        scaled = pd.factorize(target)[0].astype(np.float64)
        frequent = np.argsort(-np.bincount(scaled.astype(np.intp)))[:MAX_CLASSES]
        shares = (scaled[:, None] == frequent).astype(np.float64)
    return Sample(values, table.types, scaled, shares, table.task, str(table.target.name), rows)


def _as_numbers(column: "pd.Series[Any]") -> Floats:
    if column.dtype.kind in "biuf":
        return column.to_numpy(np.float64)
    if column.dtype.kind == "M":
        days = column.to_numpy("datetime64[us]").astype(np.float64) / 86_400e6
        return np.where(column.isna(), np.nan, days)
    codes = pd.factorize(column)[0].astype(np.float64)
    return np.where(codes < 0, np.nan, codes)


def explain_by_value(values: Floats, shares: Floats) -> float:
    """Return how much of the target the mean of the other rows with the same value explains: R² or its like for classes."""
    codes = pd.factorize(values)[0]
    codes = np.where(codes < 0, codes.max() + 1, codes)
    counts = np.bincount(codes)[codes][:, None]
    sums = np.column_stack([np.bincount(codes, weights=share) for share in shares.T])[codes]
    mean = shares.mean(axis=0)
    return _explained(shares, (sums - shares + mean) / counts)


def explain_by_order(values: Floats, shares: Floats, *, distinct: bool = False) -> float:
    """Return how much of the target the mean of a row's neighbours explains, in the order of the values.

    Rows with equal values lie in an order by lot: in the table's own order, rows of a sorted table would have neighbours of
    their class.

    Parameters
    ----------
    distinct
        Neighbours have other values: what is common to rows of one value says nothing then.
    """
    lot = np.random.default_rng(SEED).permutation(len(values))
    order = lot[np.argsort(values[lot], kind="stable")]
    ordered, sorted_shares = values[order], shares[order]
    if distinct:
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        sizes = np.diff(np.append(starts, len(ordered)))
        means = np.add.reduceat(sorted_shares, starts, axis=0) / sizes[:, None]
        return _explained(sorted_shares, np.repeat(_neighbour_means(means), sizes, axis=0))
    return _explained(sorted_shares, _neighbour_means(sorted_shares))


def _neighbour_means(rows: Floats) -> Floats:
    n_rows = len(rows)
    places = np.arange(n_rows)
    steps = [step for step in range(-NEIGHBOURS, NEIGHBOURS + 1) if step]
    inside = [(places + step >= 0) & (places + step < n_rows) for step in steps]
    total = np.zeros_like(rows)
    for step, ok in zip(steps, inside, strict=True):
        total += np.where(ok[:, None], rows[np.clip(places + step, 0, n_rows - 1)], 0)
    means: Floats = total / np.maximum(np.sum(inside, axis=0), 1)[:, None]
    return means


def explain_alone(sample: Sample, name: str) -> float:
    """Return how much of the target one column explains by itself, whatever the form: from below 0 to 1."""
    values = sample.values[name]
    n_values = len(np.unique(values[~np.isnan(values)]))
    if sample.is_text(name) or n_values <= len(values) / 5:
        return explain_by_value(values, sample.shares)
    return explain_by_order(values, sample.shares)


def _explained(truth: Floats, said: Floats) -> float:
    spread = ((truth - truth.mean(axis=0)) ** 2).sum()
    return float(1 - ((truth - said) ** 2).sum() / spread) if spread > 0 else 0.0


def numeric_matrix(sample: Sample, names: Iterable[str]) -> Floats:
    """Return columns side by side, ``(n_rows, n_columns)``."""
    return np.column_stack([sample.values[name] for name in names])
