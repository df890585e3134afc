"""Rows to learn from and rows to be judged on: stratified, by whole groups, or the newest."""

import contextlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from mlops_project.config import Config
from mlops_project.errors import DataError
from mlops_project.tables.copies import Copies, find_copies
from mlops_project.tables.known_rows import HELD_OUT, LEARNED, Growth, KnownRows, choose_sides, compare_rows
from mlops_project.tables.table import Table

Rows = npt.NDArray[np.intp]
UNJUDGED = "class-not-held-out"  # the finding about a class without held-out rows, see ``modeling.model_checks``
Side = tuple[pd.DataFrame, "pd.Series[Any]"]  # features and target


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to be judged on; indices are positions in the table.

    Attributes
    ----------
    train_features, train_target, test_features, test_target
        The two sides.
    copies
        Rows of the table that are copies of others; None if there are none that matter.
    growth
        The table beside the one that a model was made from; None if it was compared with none.
    rows
        What the model that is made of this split will know of the table; None if that is not kept.
    """

    train_features: pd.DataFrame
    train_target: "pd.Series[Any]"
    test_features: pd.DataFrame
    test_target: "pd.Series[Any]"
    copies: Copies | None = None
    growth: Growth | None = None
    rows: KnownRows | None = None

    def find_new(self, rows: "pd.Index[int]") -> npt.NDArray[np.bool_]:
        """Return which rows of the table, given by position, the model does not know that it was compared with."""
        if self.growth is None or not self.growth.is_comparable:
            return np.zeros(len(rows), bool)
        return self.growth.is_new[rows]

    def part_known(self, *, held_out: bool) -> "tuple[Side, Side]":
        """Return the rows of one side that the model knows which it was compared with, and those that are new to it."""
        features, target = (self.test_features, self.test_target) if held_out else (self.train_features, self.train_target)
        new = self.find_new(features.index)
        return (features[~new], target[~new]), (features[new], target[new])

    def without_training_features(self) -> "Split":
        """Return the split without the features that were learned from, to give their memory back."""
        return replace(self, train_features=self.train_features.iloc[:0].copy())


def split_table(table: Table, config: Config, known: KnownRows | None = None) -> Split:
    """Hold out ``config.test_size`` of the rows: stratified, by whole groups, or the newest.

    In a stratified split copies of a row stay on its side, unless ``data.copies`` is ``anywhere``.

    Parameters
    ----------
    known
        Rows that a model was made from: these keep their sides, as far as the tables can be compared.

    Raises
    ------
    DataError
        If one side would lack a class (of the held-out rows: unless that is accepted), or the groups or times do not allow the
        split.
    """
    copies = find_copies(table)
    together = copies if config.data.copies == "together" else None
    growth = None if known is None else compare_rows(table, known)
    if growth is not None and growth.is_comparable:
        train, test = _split_as_before(table, growth, config, together)
    else:
        train, test = _split_anew(table, config, together)
    for side, rows in (("training", train), ("held-out", test)):
        absent = set(table.classes) - set(table.target.iloc[rows].unique())
        is_known = side == "held-out" and UNJUDGED in config.checks.accept
        if absent and not is_known:
            named = ", ".join(sorted(map(repr, absent)))
            how = f"; a class that nothing is known of can be accepted [{UNJUDGED}]" if side == "held-out" else ""
            raise DataError(
                f"{table.source}: none of the {len(rows)} {side} rows has {table.target.name} {named}; "
                f"change test_size, random_state, data.group or data.time{how}"
            )
    return Split(*_take(table, train), *_take(table, test), copies, growth)


def _take(table: Table, rows: Rows) -> "tuple[pd.DataFrame, pd.Series[Any]]":
    """Return some rows under one small index: four of int64 would be as large as two columns."""
    features, target = table.features.take(rows), table.target.take(rows)
    index = pd.Index(rows.astype(np.int32))
    return features.set_axis(index), target.set_axis(index)


def _split_anew(table: Table, config: Config, copies: Copies | None) -> tuple[Rows, Rows]:
    if table.times is not None:
        train, test = _split_by_time(table.times, config.test_size)
        return _keep_embargo(train, table.times, table.times.iloc[test[0]], config.data.embargo), test
    if table.groups is not None:
        return _split_by_group(table, table.groups, config)
    return _split_at_random(table, config, copies)


def _split_as_before(table: Table, growth: Growth, config: Config, copies: Copies | None) -> tuple[Rows, Rows]:
    """Keep the known rows on their sides; in the order of a new split, if the table is the same and was split like that."""
    if growth.is_same:
        with contextlib.suppress(DataError):
            train, test = _split_anew(table, config, copies)
            if (growth.sides[test] == HELD_OUT).all() and (growth.sides == HELD_OUT).sum() == len(test):
                return train, test
    sides = choose_sides(table, growth, config.test_size, None if copies is None else copies.groups)
    train, test = np.flatnonzero(sides == LEARNED), np.flatnonzero(sides == HELD_OUT)
    if table.times is not None and len(test):
        train = _keep_embargo(train, table.times, table.times.iloc[test].min(), config.data.embargo)
    return train, test


def _split_at_random(table: Table, config: Config, copies: Copies | None) -> tuple[Rows, Rows]:
    """Split the rows, or, of those that are copies, the first of each group: the others follow it."""
    rows = np.arange(len(table.target))
    if copies is not None:
        rows = np.unique(copies.groups, return_index=True)[1]
    stratify = None if table.task == "regression" else table.target.iloc[rows]
    try:
        train, test = train_test_split(rows, test_size=config.test_size, random_state=config.random_state, stratify=stratify)
    except ValueError as error:
        raise DataError(
            f"{table.source}: cannot hold out data.test_size={config.test_size} of {len(rows)} rows: {error}; "
            "set another size, or bring more rows"
        ) from error
    if copies is None:
        return train, test
    held_out = np.isin(copies.groups, copies.groups[test])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _split_by_group(table: Table, groups: "pd.Series[Any]", config: Config) -> tuple[Rows, Rows]:
    codes = pd.factorize(groups, use_na_sentinel=False)[0]
    if codes.max() < 1:
        raise DataError(f"{table.source}: data.group {groups.name!r} has a single value; a split needs at least two")
    splitter = GroupShuffleSplit(n_splits=1, test_size=config.test_size, random_state=config.random_state)
    try:
        train, test = next(splitter.split(codes, groups=codes))
    except ValueError as error:
        raise DataError(
            f"{table.source}: cannot hold out data.test_size={config.test_size} of {codes.max() + 1} groups: {error}; "
            "set another size, or bring more"
        ) from error
    return train, test


def _keep_embargo(train: Rows, times: "pd.Series[Any]", first: Any, embargo: float) -> Rows:
    """Leave out the rows to learn from that lie less than the embargo before the first held-out row."""
    if not embargo:
        return train
    limit = first - (pd.Timedelta(days=embargo) if pd.api.types.is_datetime64_any_dtype(times.dtype) else embargo)
    kept: Rows = train[(times.iloc[train] <= limit).to_numpy()]
    if not len(kept):
        raise DataError(f"data.embargo: no row lies {embargo:g} before the first held-out one; make it shorter")
    return kept


def _split_by_time(times: "pd.Series[Any]", test_size: float) -> tuple[Rows, Rows]:
    order = np.argsort(times.to_numpy(), kind="stable")
    n_test = min(max(1, round(len(order) * test_size)), len(order) - 1)
    return order[:-n_test], order[-n_test:]
