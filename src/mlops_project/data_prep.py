"""A table → typed features and target, checked, split and described by a contract. The steps are in ``tables/``."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import FeatureType, Reading, Task
from mlops_project.errors import ConfigError, DataError, suggest
from mlops_project.findings import Finding, accept
from mlops_project.formats import count
from mlops_project.tables import checks
from mlops_project.tables.describe import build_contract
from mlops_project.tables.judge import judge_table
from mlops_project.tables.missing import AS_TYPED, Options
from mlops_project.tables.production import ProductionRows, join_production, read_production
from mlops_project.tables.rare import settle_rare_classes
from mlops_project.tables.sources import build_options, read_table
from mlops_project.tables.spellings import join_spellings
from mlops_project.tables.splits import Split, split_table
from mlops_project.tables.table import Table, compute_digest, hash_column
from mlops_project.tables.targets import MAX_CLASSES, find_target, name_classes, order_classes, prepare_target
from mlops_project.tables.texts import find_cut, find_prose
from mlops_project.tables.types import TypedColumn, convert_column
from mlops_project.tables.weights import leave_out_weightless, take_weights

__all__ = [
    "ProductionRows",
    "Split",
    "Table",
    "build_contract",
    "join_production",
    "judge_table",
    "load_table",
    "read_production",
    "split_table",
]

Columns = dict[str, "pd.Series[Any]"]
SHOWN_REASONS = 5


@dataclass
class _Draft:
    """A table in preparation: its rows still bear their numbers in the source, for messages.

    The raw columns stand in a dictionary: taking one out of a data frame takes as long as the frame has columns.
    """

    config: Config
    source: str
    columns: Columns
    warnings: list[str]
    options: Options = AS_TYPED
    problems: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    merged: tuple[str, ...] = ()

    def convert(self, column: "pd.Series[Any]", max_categories: int, *, labels: bool = False) -> TypedColumn:
        """Convert a column as the settings say."""
        options = self.options._replace(trim=not labels)
        return convert_column(column, self.config.data.type_of(str(column.name)), max_categories, options)

    def keep_rows(self, kept: Any) -> None:
        """Leave out the other rows of every column that was not taken yet, and give their memory back one by one."""
        for name in self.columns:
            self.columns[name] = self.columns[name][kept]

    def settle_rare_classes(self, target: TypedColumn) -> tuple[TypedColumn, int]:
        """Return the target with rare classes merged or left out, and how many rows are left."""
        settled = settle_rare_classes(target, self.config.data)
        self.merged = settled.merged
        if settled.finding is not None:
            self.findings += accept([settled.finding], self.config.checks.accept)
            self.keep_rows(settled.kept)
        return settled.typed, len(settled.typed.values)

    def take(self, name: str, max_categories: int, *, labels: bool = False) -> TypedColumn | None:
        """Convert a column and give its raw memory back; None if that fails, which is a problem of the table."""
        try:
            typed = self.convert(self.columns.pop(name), max_categories, labels=labels)
        except DataError as error:
            self.problems.append(str(error))
            return None
        if typed.warning:
            self.warnings.append(typed.warning)
        return typed


def load_table(config: Config) -> Table:
    """Read, type and check the table of ``config.data``.

    Raises
    ------
    DataError
        With every problem of the table at once, naming file, columns and rows.
    ConfigError
        If the configuration names columns that the table does not have.
    """
    raw = read_table(config)
    name = find_target(raw, config.data.target)
    _check_names(config, raw.frame, name)
    columns = {str(column): values for column, values in raw.frame.items()}
    draft = _Draft(config, raw.source, columns, list(raw.warnings), build_options(config.data, raw))
    raw = replace(raw, frame=pd.DataFrame())  # a column's memory comes back once the draft has let go of it
    leave_out_weightless(draft)
    asked = {column: draft.columns[column] for column in config.checks.groups if column in draft.columns}
    target, task, n_rows = _take_target(draft, name)
    times, weights = _take_times(draft), take_weights(draft)
    groups = draft.columns.pop(config.data.group) if config.data.group else None
    features, types, readings = _take_features(draft)
    size = f"{count(n_rows, 'row')}, {count(len(features), 'feature column')}"
    features, hashes = _judge(features, types, target, task, draft)
    if draft.problems or target is None or task is None:
        problems = checks.joined(draft.problems)
        raise DataError(f"{draft.source}: no model can be trained on this table ({size})\n{problems}")
    _check_slices(config, features)
    asides = _take_asides({column: values for column, values in asked.items() if column not in features}, target.index, draft)
    classes = order_classes(target, config) if task != "regression" else ()
    return Table(
        features=pd.DataFrame(features, copy=False).reset_index(drop=True),
        target=target.reset_index(drop=True),
        types={column: types[column] for column in features},
        task=task,
        classes=classes,
        class_names=name_classes(classes, raw, config),
        source=raw.source,
        digest=compute_digest([*((features[column], hashes[column]) for column in features), *_hash_others(target, weights)]),
        groups=None if groups is None else groups.reset_index(drop=True),
        times=None if times is None else times.reset_index(drop=True),
        weights=None if weights is None else weights.reset_index(drop=True),
        warnings=tuple(draft.warnings),
        findings=tuple(draft.findings),
        units=config.data.units,
        readings={column: reading for column, reading in readings.items() if column in features},
        merged=draft.merged,
        prose=tuple(name for name in config.data.text if name in features),
        asides=asides,
    )


def _hash_others(target: "pd.Series[Any]", weights: "pd.Series[Any] | None") -> "Iterator[tuple[pd.Series[Any], bytes]]":
    yield from ((column, hash_column(column)) for column in (target, weights) if column is not None)


def check_columns(config: Config, n_rows: int) -> str:
    """Look at about the first ``n_rows`` rows of the table and say which columns it has; a query is not run.

    Raises
    ------
    DataError
        If the table cannot be read, or has no such target.
    ConfigError
        If the configuration names columns that the table does not have.
    """
    if config.data.query is not None:
        return "the query was not run"
    raw = read_table(config, head=n_rows)
    name = find_target(raw, config.data.target)
    _check_names(config, raw.frame, name)
    return f"{raw.source} has the target {name!r} and {len(raw.frame.columns) - 1} other columns"


def _check_names(config: Config, frame: pd.DataFrame, target: str) -> None:
    """Reject settings about columns that do not exist, or that have another part already."""
    data, columns = config.data, [str(name) for name in frame.columns]
    roles = {"data.group": data.group, "data.time": data.time, "data.weight": data.weight}
    named = {key: [name] for key, name in roles.items() if name is not None}
    named |= {
        "data.drop": list(data.drop),
        "data.types": list(data.types),
        "data.text": list(data.text),
        "data.dates": list(data.dates),
        "data.units": list(data.units),
    }
    named |= {"evaluation.slices": list(config.evaluation.slices), "checks.groups": list(config.checks.groups)}
    wrong = [
        f"{key}: no column {name!r}{suggest(name, columns)}"
        for key, names in named.items()
        for name in names
        if name not in columns
    ]
    taken = {
        key: name for key, name in {**roles, "data.drop": target if target in data.drop else None}.items() if name == target
    }
    wrong += [f"{key}: {name!r} is the target" for key, name in taken.items()]
    if data.embargo and not data.time:
        wrong.append("data.embargo: only a split by time has one; name data.time")
    if data.group and data.time:
        wrong.append("data.group and data.time are both set; a split goes by one of them")
    if data.weight and data.weight in (data.group, data.time, *data.drop):
        wrong.append(f"data.weight: {data.weight!r} has another part already; name it once")
    if wrong:
        raise ConfigError(f"{config.file}: {count(len(wrong), 'problem')}\n{checks.joined(wrong)}")


def _take_target(draft: _Draft, name: str) -> "tuple[pd.Series[Any] | None, Task | None, int]":
    """Convert the target and leave out the rows without one; return it, its task and how many rows are left."""
    column = draft.columns[name]
    n_rows = len(column)
    typed = draft.take(name, MAX_CLASSES, labels=True)
    if typed is None:
        return None, None, n_rows
    missing = typed.values.isna()
    n_left = n_rows - int(missing.sum())
    if missing.any():
        draft.findings.append(checks.describe_missing_target(name, int(missing.sum()), n_rows))
        draft.keep_rows(~missing)
    if n_left < checks.MIN_ROWS:
        raise DataError(
            f"{draft.source}: {n_left} of {n_rows} rows have a {name!r}, "
            f"too few to train and judge a model; {checks.MIN_ROWS} is the least"
        )
    if missing.any():  # whole numbers and booleans without gaps have types of their own
        typed = draft.convert(column[~missing], MAX_CLASSES, labels=True)
    values, spellings = join_spellings(typed.values, draft.config.checks.accept)
    typed = typed._replace(values=values)
    draft.findings += [] if spellings is None else [spellings]
    wanted = draft.config.data.task
    try:
        typed, n_left = draft.settle_rare_classes(typed)
        return *prepare_target(typed, None if wanted == "auto" else wanted, n_absent=int(missing.sum())), n_left
    except DataError as error:
        draft.problems.append(str(error))
        return None, None, n_left


def _take_times(draft: _Draft) -> "pd.Series[Any] | None":
    name = draft.config.data.time
    typed = draft.take(name, MAX_CLASSES) if name else None
    if typed is None:
        return None
    n_missing = int(typed.values.isna().sum())
    if typed.type not in ("datetime", "integer", "float"):
        draft.problems.append(
            f"data.time: column {name!r} is {typed.type}; rows are put in order by dates such as 2026-11-23 or by numbers"
        )
    elif n_missing:
        draft.problems.append(f"data.time: column {name!r} is missing in {n_missing} rows; every row needs a place in time")
    return typed.values


def _take_features(draft: _Draft) -> tuple[Columns, dict[str, FeatureType], dict[str, Reading]]:
    """Convert column by column, giving each one's memory back before the next."""
    features: Columns = {}
    types: dict[str, FeatureType] = {}
    readings: dict[str, Reading] = {}
    for name in [name for name in draft.columns if name not in draft.config.data.drop]:
        typed = draft.take(name, draft.config.data.max_categories)
        if typed is not None:
            types[name], features[name] = typed.type, typed.values
            if typed.reading is not None:
                readings[name] = typed.reading
    return features, types, readings


def _take_asides(columns: Columns, rows: "pd.Index[Any]", draft: _Draft) -> pd.DataFrame | None:
    """Return columns whose groups are to be compared, and that are no features, with the rows that have a target."""
    if not columns:
        return None
    named = ", ".join(map(repr, columns))
    draft.warnings.append(
        f"checks.groups: the model does not see {named}, and the prediction log holds what the model sees: groups by "
        f"{'it' if len(columns) == 1 else 'them'} are compared in training, and not by the monitor"
    )
    typed = {name: draft.convert(column.loc[rows], MAX_CLASSES).values for name, column in columns.items()}
    return pd.DataFrame(typed).reset_index(drop=True)


def _judge(
    features: Columns, types: dict[str, FeatureType], target: "pd.Series[Any] | None", task: Task | None, draft: _Draft
) -> tuple[Columns, dict[str, bytes]]:
    """Return the features that a model can use with their hashes; add what is wrong with them to the draft."""
    hashes = {name: hash_column(column) for name, column in features.items()}
    unusable = checks.find_unusable(features, hashes)
    rest = {name: column for name, column in features.items() if name not in unusable}
    unusable |= find_prose(rest, types, {*draft.config.data.types, *draft.config.data.text})
    usable = {name: column for name, column in features.items() if name not in unusable}
    infinite = [*checks.find_infinite(usable), *checks.find_huge(usable)]
    leaks = [] if target is None or task is None else checks.find_leaks(usable, target, task)
    cut = find_cut(usable, types, draft.config)
    found = [*unusable.values(), *leaks, *checks.find_nearly_constant(usable), *cut]
    no_prose = {name: column for name, column in usable.items() if name not in draft.config.data.text}
    draft.findings += accept([*found, *checks.find_identifiers(no_prose, types)], draft.config.checks.accept)
    blocking = [*infinite, *(finding for finding in draft.findings if finding.blocks)]
    draft.problems += [f"{finding.sentence} [{finding.code}]" for finding in blocking]
    if not usable and not draft.problems:
        reasons = "; ".join(finding.seen for finding in [*unusable.values()][:SHOWN_REASONS])
        draft.problems.append("no column is left to learn from" + (f": {reasons}" if reasons else ""))
    return usable, hashes


def _check_slices(config: Config, features: Columns) -> None:
    absent = [name for name in config.evaluation.slices if name not in features]
    if absent:
        raise ConfigError(
            f"{config.file}: evaluation.slices: {', '.join(map(repr, absent))}: the model does not see this column "
            "(dropped, unusable, or used for the split); slices are made of features"
        )
