"""Rows drawn from a table with their truth, and the statistics of the table that faults need."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import MERGED_CLASS, Contract, Feature, FeatureType, Label
from mlops_project.errors import ConfigError, ContractError, suggest
from mlops_project.runtime import Floats

Column = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
NUMBERS: tuple[FeatureType, ...] = ("float", "integer")
TEXTS: tuple[FeatureType, ...] = ("category", "string")


@dataclass(frozen=True)
class Rows:
    """Rows of a table. Arrays are never changed in place: other values come in new arrays.

    Attributes
    ----------
    columns
        Feature → ``(n_rows,)``: float64 with NaN (float, integer, boolean), str objects with None, ``datetime64[us]`` with NaT.
    truth
        int64 class index or float64 value, ``(n_rows,)``.
    """

    columns: dict[str, Column]
    truth: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: npt.NDArray[Any]) -> "Rows":
        """Return some rows, by position or mask."""
        return Rows({name: column[rows] for name, column in self.columns.items()}, self.truth[rows])

    def with_column(self, name: str, column: Column) -> "Rows":
        """Return the rows with another column in the place of ``name``."""
        return replace(self, columns={**self.columns, name: column})

    def replaced(self, where: Mask, others: "Rows") -> "Rows":
        """Return the rows with others, as many as ``where`` is true, in those places."""
        columns = {name: _put(column, where, others.columns[name]) for name, column in self.columns.items()}
        return Rows(columns, _put(self.truth, where, others.truth))


def _put(column: Column, where: Mask, values: Column) -> Column:
    changed = column.copy()
    changed[where] = values
    return changed


class Source:
    """A table that rows are drawn from, with replacement.

    Parameters
    ----------
    rows
        The table.
    contract
        Of the model that is asked.
    jitter
        Noise on every drawn value of type float, in standard deviations of its column: a smoothed bootstrap.
    """

    def __init__(self, rows: Rows, contract: Contract, *, jitter: float = 0.0) -> None:
        self.rows, self.contract, self.jitter = rows, contract, jitter

    def draw(self, n_rows: int, rng: np.random.Generator, pool: npt.NDArray[np.intp] | None = None) -> Rows:
        """Return rows drawn with replacement.

        Parameters
        ----------
        n_rows
            How many.
        rng
            Random numbers; the rows follow from its state.
        pool
            Positions in the table to draw from, ``(n,)``; None for all.
        """
        picked = rng.integers(len(self.rows) if pool is None else len(pool), size=n_rows)
        drawn = self.rows.take(picked if pool is None else pool[picked])
        for feature in self.contract.features if self.jitter else ():
            if feature.type == "float":
                noise = self.jitter * self.deviation(feature.name) * rng.standard_normal(n_rows)
                drawn = drawn.with_column(feature.name, drawn.columns[feature.name] + noise)
        return drawn

    def deviation(self, name: str) -> float:
        """Return a numeric column's standard deviation, missing values left out."""
        return self._deviations[name]

    @cached_property
    def _deviations(self) -> dict[str, float]:
        columns = {item.name: self.rows.columns[item.name] for item in self.contract.features if item.type in NUMBERS}
        return {name: float(np.nanstd(column)) for name, column in columns.items()}

    def find_feature(self, wanted: str, types: tuple[FeatureType, ...], *, nullable: bool = False) -> Feature:
        """Return the feature that a fault changes: the wanted one, or the one that correlates most with the target.

        Parameters
        ----------
        wanted
            Its name; empty to choose one.
        types
            That the fault can be done to.
        nullable
            Whether to prefer features that may be missing.

        Raises
        ------
        ContractError
            If the model has no such feature.
        ConfigError
            If it is of another type, or there is none to choose.
        """
        fit = [feature for feature in self.contract.features if feature.type in types]
        if wanted:
            feature = self.contract.feature(wanted)
            if feature not in fit:
                raise ConfigError(f"feature {wanted!r} is {feature.type}; expected {' or '.join(types)}")
            return feature
        if not fit:
            raise ConfigError(f"the model has no feature of type {' or '.join(types)}; simulate another fault")
        fit = [feature for feature in fit if feature.nullable] or fit if nullable else fit
        return max(fit, key=self._association)

    def _association(self, feature: Feature) -> float:
        """Return the greatest absolute correlation of a numeric column with a class, or with the value; 0 for others."""
        if feature.type not in NUMBERS or not self._deviations[feature.name] > 0:
            return 0.0
        column = self.rows.columns[feature.name]
        filled = np.where(np.isnan(column), np.nanmean(column), column)
        targets = [self.rows.truth]
        if self.contract.is_classification:
            targets = [self.rows.truth == index for index in np.unique(self.rows.truth)]
        return max((abs(_correlate(filled, target.astype(np.float64))) for target in targets), default=0.0)

    def find_class(self, wanted: str) -> int:
        """Return the index of a class, by label or name; the last one if none is wanted.

        Raises
        ------
        ConfigError
            If there is no such class.
        """
        names = [*map(str, self.contract.classes), *self.contract.class_names]
        if not wanted:
            return len(self.contract.classes) - 1
        if wanted not in names:
            raise ConfigError(f"no class {wanted!r}{suggest(wanted, names)}; classes: {', '.join(dict.fromkeys(names))}")
        return names.index(wanted) % len(self.contract.classes)


def _correlate(one: Floats, other: Floats) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / size if size else 0.0


def read_rows(features: pd.DataFrame, target: "pd.Series[Any]", contract: Contract) -> Rows:
    """Return a typed table's rows in the contract's columns.

    Parameters
    ----------
    features
        Typed as training types them; other columns than the contract's are ignored.
    target
        Labels, or values, of the same rows.
    contract
        Of the model that the rows are sent to.

    Raises
    ------
    ContractError
        If it lacks columns or has labels that the model does not know.
    """
    absent = [name for name in contract.names if name not in features.columns]
    if absent:
        raise ContractError(f"the table lacks {len(absent)} columns of the model: {', '.join(map(repr, absent[:10]))}")
    columns = {item.name: _read_column(features[item.name], item) for item in contract.features}
    if not contract.is_classification:
        return Rows(columns, _as_numbers(target, contract.target))
    places = {str(label): index for index, label in enumerate(contract.classes)}
    places |= dict.fromkeys(contract.merged, places.get(MERGED_CLASS, 0))
    strange = sorted({str(label) for label in target.unique()} - places.keys())
    if strange:
        raise ContractError(
            f"the table's {contract.target!r} holds {', '.join(strange[:5])}, which are no classes of the model: "
            f"{', '.join(list(places)[:20])}; is this another model's table?"
        )
    return Rows(columns, np.array([places[str(label)] for label in target], np.int64))


def _as_numbers(column: "pd.Series[Any]", name: str) -> Floats:
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        raise ContractError(f"column {name!r} holds no numbers; is this another model's table?") from None


def _read_column(column: "pd.Series[Any]", feature: Feature) -> Column:
    if feature.is_text:
        return np.array([None if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)], object)
    if feature.type == "datetime":
        if column.dtype.kind != "M":
            raise ContractError(f"column {feature.name!r} holds no dates; is this another model's table?")
        return column.to_numpy(dtype="datetime64[us]")
    return _as_numbers(column, feature.name)


def to_records(rows: Rows, contract: Contract) -> list[dict[str, Any]]:
    """Return rows as JSON objects with the types that the contract asks for; null where a value is missing."""
    columns = [_to_json(rows.columns[feature.name], feature) for feature in contract.features]
    return [dict(zip(contract.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _to_json(column: Column, feature: Feature) -> Iterable[Any]:
    if feature.is_text:
        return list(column)
    if feature.type == "datetime":
        return [None if np.isnat(value) else str(value) for value in column]
    convert = {"integer": int, "boolean": bool}.get(feature.type, float)
    return [None if value != value else convert(value) for value in column.tolist()]  # noqa: PLR0124 - NaN alone


def to_labels(truth: npt.NDArray[Any], contract: Contract) -> list[Label]:
    """Return the truth as the labels that the server takes."""
    if not contract.is_classification:
        return [float(value) for value in truth]
    return [contract.classes[index] for index in truth]
