"""Labelled predictions as rows to learn from: typed as the table is, beside its training rows or instead of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from mlops_project.config import Config
from mlops_project.contract import Contract, Reading
from mlops_project.errors import DataError
from mlops_project.prediction_log.layout import ID, LABEL_BATCH, LABEL_FIRST, LABEL_SOURCE, LABEL_TIME, ROW, TIME, VERSION
from mlops_project.tables.missing import mark_missing
from mlops_project.tables.row_hashes import as_logged, hash_rows
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table, compute_digest, hash_column
from mlops_project.wire.reading import ColumnReading

NO_READINGS: Mapping[str, Reading] = MappingProxyType({})
# Equal rows give a held-out row away only where they are rare: a table of few categories is full of them.
USUALLY_EQUAL = 0.05
DIGITS = 3  # significant ones, in which a prediction and the same row in a table agree


@dataclass(frozen=True)
class ProductionRows:
    """Labelled predictions, oldest first, each once.

    Attributes
    ----------
    features
        Feature → float64 (NaN where missing), ``str`` (NaN where missing) or ``datetime64[us]`` (UTC).
    target
        Labels as Python scalars (classification) or float64 (regression), ``(n_rows,)``.
    times
        When they were predicted, ``datetime64[us]``, UTC, ``(n_rows,)``.
    witnesses
        ``id`` (prediction id and row), ``version`` (which answered), ``source`` and ``batch`` (who sent the label, with which
        delivery; empty where that is not known), ``first`` (the label that came first, as the log has it), ``came`` (when,
        ``datetime64[us]``).
    """

    features: pd.DataFrame
    target: "pd.Series[Any]"
    times: npt.NDArray[np.datetime64]
    witnesses: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __len__(self) -> int:
        return len(self.target)

    def take(self, rows: "slice | npt.NDArray[Any]") -> "ProductionRows":
        """Return some of the rows, numbered from 0: a slice, their positions, or a mask."""
        features, target = self.features.iloc[rows].reset_index(drop=True), self.target.iloc[rows].reset_index(drop=True)
        witnesses = self.witnesses.iloc[rows].reset_index(drop=True) if len(self.witnesses) else self.witnesses
        return ProductionRows(features, target, self.times[rows], witnesses)

    def split(self, recent_share: float) -> "tuple[ProductionRows, ProductionRows]":
        """Return the older rows, to learn from, and the newest, to judge on; rows of one instant stay together."""
        if not len(self):
            return self, self
        first = self.times[min(len(self) - 1, round(len(self) * (1 - recent_share)))]
        border = int(np.searchsorted(self.times, first))
        return self.take(slice(0, border)), self.take(slice(border, None))


def read_production(rows: pa.Table, labels: npt.NDArray[Any], contract: Contract) -> ProductionRows:
    """Type the log's rows by the contract that answered them.

    Parameters
    ----------
    rows
        Typed view of the log: ``mlops.id``, ``mlops.row``, ``mlops.time`` and a column per feature.
    labels
        Class index (int64, -1 where it is no class of the contract) or value (float64, NaN where there is none), ``(n_rows,)``;
        such rows are left out.

    Raises
    ------
    DataError
        If a feature's column is missing.
    """
    absent = [name for name in (*contract.names, ID, ROW, TIME) if name not in rows.column_names]
    if not rows.num_rows:
        return ProductionRows(pd.DataFrame(), pd.Series(dtype=object), np.empty(0, "datetime64[us]"))
    if absent:
        raise DataError(
            f"the prediction log has no column {', '.join(map(repr, absent[:5]))}; its predictions are of another model"
        )
    times = rows[TIME].to_pandas().dt.tz_localize(None).to_numpy("datetime64[us]")
    ids = rows[ID].to_pandas().astype(str) + "." + rows[ROW].to_pandas().astype(str)
    known = labels >= 0 if contract.is_classification else np.isfinite(labels)
    order = np.argsort(times, kind="stable")
    order = order[known[order] & ~ids.iloc[order].duplicated(keep="last").to_numpy()]
    features = {
        feature.name: _read_column(rows[feature.name], feature.type).iloc[order].reset_index(drop=True)
        for feature in contract.features
    }
    if contract.is_classification:
        values: Any = np.empty(len(contract.classes), object)
        values[:] = contract.classes
        target = pd.Series(values[labels[order]], name=contract.target).infer_objects()
    else:
        target = pd.Series(np.asarray(labels[order], np.float64), name=contract.target)
    return ProductionRows(pd.DataFrame(features, copy=False), target, times[order], _read_witnesses(rows, ids, order))


def _read_witnesses(rows: pa.Table, ids: "pd.Series[str]", order: npt.NDArray[np.intp]) -> pd.DataFrame:
    """Return who said what, of the rows in this order; empty texts where the log does not say."""
    found: dict[str, Any] = {"id": ids.iloc[order].to_numpy()}
    texts_of = {"version": VERSION, "source": LABEL_SOURCE, "batch": LABEL_BATCH, "first": LABEL_FIRST}
    for name, column in texts_of.items():
        texts = rows[column].to_pandas() if column in rows.column_names else pd.Series("", index=range(rows.num_rows))
        found[name] = texts.fillna("").astype(str).iloc[order].to_numpy()
    came = rows[LABEL_TIME if LABEL_TIME in rows.column_names else TIME].to_pandas()
    found["came"] = came.dt.tz_localize(None).to_numpy("datetime64[us]")[order]
    return pd.DataFrame(found)


def _read_column(values: pa.ChunkedArray, kind: str) -> "pd.Series[Any]":
    column: pd.Series[Any] = values.to_pandas()
    if kind in ("category", "string"):
        texts = column.astype("str")
        return texts.mask(texts.str.strip().eq(""))
    if kind == "datetime":
        dates = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column
        return dates.astype("datetime64[us]")
    return column.astype("float64")


def join_production(
    table: Table, split: Split, production: ProductionRows, config: Config, judging: ProductionRows | None = None
) -> tuple[Table, Split]:
    """Add labelled predictions to the training rows, or learn from them alone; the held-out rows stay as they are.

    Predictions equal to a held-out row are left out, unless that is usual among the training rows as well. Their indices go on
    behind the table's.

    Parameters
    ----------
    judging
        Labelled predictions that judge: new rows of the table that equal one are not learned from.

    Returns
    -------
    table, split
        The table with source and digest of both, and the split.

    Raises
    ------
    DataError
        If they lack a feature, hold a label that the table does not have, or, learned from alone, lack a class.
    """
    _check_features(table, production)
    typed = _as_logged(production.features[list(table.types)], config, table)
    known = _find_known(typed, split)
    typed, target = typed[~known], production.target[~known]
    split, n_judging = _leave_out_judging(table, split, judging, config)
    _check_labels(table, target, alone=not config.retraining.original)
    joined = {name: _join(split, typed[name], config) for name in table.types}
    start = len(table.target)
    index = pd.Index(np.arange(start, start + len(target), dtype=np.int32))
    if config.retraining.original:
        index, target = split.train_target.index.append(index), pd.concat([split.train_target, target])
    train, test = (pd.DataFrame({name: both[side] for name, both in joined.items()}, copy=False) for side in (0, 1))
    target = target.astype(split.train_target.dtype).rename(str(table.target.name)).set_axis(index)
    copies = split.copies if config.retraining.original and not n_judging else None
    whole = replace(
        split,
        train_features=train.set_axis(index),
        train_target=target,
        test_features=test.set_axis(split.test_features.index),
        copies=copies,
    )
    return _describe(table, production, len(typed), n_judging, config), whole


def _leave_out_judging(table: Table, split: Split, judging: ProductionRows | None, config: Config) -> tuple[Split, int]:
    """Leave new rows of the table out that are predictions which judge, written down; return how many were."""
    new = split.find_new(split.train_features.index)
    if judging is None or not len(judging) or not new.any():
        return split, 0
    names = list(table.types)
    ours = _as_logged(judging.features[names], config, table)
    for digits in (DIGITS, None):
        known = hash_rows(split.train_features[names], digits)
        if np.isin(hash_rows(split.test_features[names], digits), known).mean() <= USUALLY_EQUAL:
            equal = np.isin(known, hash_rows(ours, digits)) & new
            train, target = split.train_features[~equal], split.train_target[~equal]
            return replace(split, train_features=train, train_target=target), int(equal.sum())
    return split, 0


def _describe(table: Table, production: ProductionRows, n_rows: int, n_judging: int, config: Config) -> Table:
    """Return the table with where all rows come from and the digest of them all."""
    digest = compute_digest((column, hash_column(column)) for column in (*_columns(production.features), production.target))
    left_out = len(production) - n_rows
    notes = [f"{left_out:,} labelled predictions equal a held-out row and were left out"] if left_out else []
    if n_judging:
        notes.append(f"{n_judging:,} new rows of the table equal labelled predictions that judge and were left out")
    said = f"{n_rows:,} labelled predictions"
    return replace(
        table,
        source=f"{table.source} + {said}" if config.retraining.original else f"{said}; held-out rows of {table.source}",
        digest=hashlib.sha256(f"{table.digest}:{digest}:{config.retraining.original}".encode()).hexdigest(),
        own_digest=table.digest,
        warnings=(*table.warnings, *notes),
    )


def _columns(frame: pd.DataFrame) -> "list[pd.Series[Any]]":
    return [frame[name] for name in frame.columns]


def _check_features(table: Table, production: ProductionRows) -> None:
    absent = [name for name in table.types if name not in production.features]
    if absent:
        raise DataError(f"labelled predictions have no column {', '.join(map(repr, absent[:5]))}, and {table.source} has")


def _check_labels(table: Table, target: "pd.Series[Any]", *, alone: bool) -> None:
    labels, name = set(target), table.target.name
    strangers = sorted(map(repr, labels - set(table.classes))) if table.classes else []
    if strangers:
        raise DataError(
            f"labelled predictions hold {name} {', '.join(strangers[:5])}, which {table.source} does not have "
            f"({', '.join(map(repr, table.classes[:20]))}); add rows with it to the table, or mend the labels"
        )
    absent = sorted(map(repr, set(table.classes) - labels))
    if alone and (absent or not labels):
        lack = f"none of them has {name} {', '.join(absent[:5])}" if labels else "there are none"
        raise DataError(f"labelled predictions alone (retraining.original: false) cannot be learned from: {lack}")


def _as_logged(features: pd.DataFrame, config: Config | None = None, table: Table | None = None) -> pd.DataFrame:
    """Return features in the log's representation: every number float64, marks of missing values and texts read as the table's.

    A version that answered before the table had these rules has logged them by its own.
    """
    marks = () if config is None else config.data.missing
    types, readings = ({}, NO_READINGS) if table is None else (table.types, table.readings)
    columns = {}
    for name in features.columns:
        column = mark_missing(features[name], () if types.get(name) == "boolean" else marks)  # false is no mark 0
        if name in readings and isinstance(column.dtype, pd.StringDtype):
            read = ColumnReading(readings[name], "string").read_text
            column = column.map({text: read(text) or np.nan for text in column.dropna().unique()}).astype("str")
        columns[name] = column
    return as_logged(pd.DataFrame(columns, copy=False))


def _find_known(typed: pd.DataFrame, split: Split) -> npt.NDArray[np.bool_]:
    """Return which rows give a held-out row away: they equal it, or, if it is new in the table, all but its last digits."""
    names = list(typed.columns)
    held_out = split.test_features[names]
    known = np.isin(hash_rows(typed), hash_rows(held_out))
    if np.isin(hash_rows(split.train_features[names]), hash_rows(held_out)).mean() > USUALLY_EQUAL:
        return np.zeros(len(typed), bool)
    new = held_out[split.find_new(held_out.index)]
    written = hash_rows(new, DIGITS)
    if len(new) and np.isin(hash_rows(split.train_features[names], DIGITS), written).mean() <= USUALLY_EQUAL:
        known |= np.isin(hash_rows(typed, DIGITS), written)
    return known


def _join(split: Split, column: "pd.Series[Any]", config: Config) -> "tuple[pd.Series[Any], pd.Series[Any]]":
    """Return a feature's training and held-out rows, as whole numbers or booleans only where all of them are."""
    name = str(column.name)
    train, test = split.train_features[name], split.test_features[name]
    whole = train.dtype.kind in "bi" and not column.isna().any() and bool((column % 1 == 0).all())
    if train.dtype.kind in "bi" and not whole:
        train, test = train.astype("float64"), test.astype("float64")
    fitting = column.astype(train.dtype)
    return (pd.concat([train, fitting]) if config.retraining.original else fitting), test
