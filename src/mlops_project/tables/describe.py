"""A table's contract: what the model takes and gives, column by column."""

from typing import Any

import msgspec
import numpy as np
import pandas as pd

from mlops_project.contract import QUANTILE_LEVELS, TEXT_TYPES, Contract, Feature, FeatureType, Label
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table

EXAMPLE_PROSE = "some words"
MAX_KNOWN_STRINGS = 100_000  # 3 MB in a bundle; a value beyond them is in one row of a table, or in a few


def build_contract(table: Table, split: Split) -> Contract:
    """Describe the model's inputs and outputs.

    Types, missing values and classes come from the whole table (and labelled predictions that joined the training rows);
    ranges, quantiles, categories and defaults from the training rows alone.
    """
    features = tuple(
        msgspec.structs.replace(
            describe_column(
                name,
                kind,
                _has_gaps(table.features[name], split.train_features[name]),
                split.train_features[name],
                is_prose=name in table.prose,
            ),
            unit=table.units.get(name, ""),
            reading=table.readings.get(name),
        )
        for name, kind in table.types.items()
    )
    return Contract(features, str(table.target.name), table.task, table.classes, table.class_names, table.merged)


def _has_gaps(*columns: "pd.Series[Any]") -> bool:
    return any(bool(column.isna().any()) for column in columns)


def describe_column(
    name: str, kind: FeatureType, nullable: bool, column: "pd.Series[Any]", *, is_prose: bool = False
) -> Feature:
    """Describe one typed column: range and quantiles, or categories, and a default, from its present values."""
    present = column.dropna()
    if is_prose:  # somebody's own words
        return Feature(name, kind, nullable=nullable, default=EXAMPLE_PROSE)
    if kind in TEXT_TYPES:
        known = present.value_counts().index.tolist()
        categories = tuple(sorted(known)) if kind == "category" else tuple(known[:MAX_KNOWN_STRINGS])
        return Feature(name, kind, nullable=nullable, categories=categories, default=known[0] if known else None)
    if not len(present):
        return Feature(name, kind, nullable=True)
    numbers = _as_seconds(present) if kind == "datetime" else present.to_numpy(np.float64)
    quantiles = np.quantile(numbers, QUANTILE_LEVELS).tolist()
    return Feature(
        name,
        kind,
        nullable=nullable,
        minimum=quantiles[0],
        maximum=quantiles[-1],
        quantiles=tuple(quantiles),
        default=_default(kind, quantiles[QUANTILE_LEVELS.index(0.5)]),
    )


def _as_seconds(dates: "pd.Series[Any]") -> Any:
    return dates.to_numpy("datetime64[us]").astype(np.int64) / 1e6


def _default(kind: FeatureType, median: float) -> Label:
    if kind == "datetime":
        return str(np.datetime64(round(median), "s"))
    if kind == "boolean":
        return median >= 0.5
    return round(median) if kind == "integer" else median
