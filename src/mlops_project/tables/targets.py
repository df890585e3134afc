"""The target: found, typed, its task named, its classes put in order."""

from typing import Any

import numpy as np
import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import FeatureType, Label, Task
from mlops_project.errors import ConfigError, DataError, suggest
from mlops_project.formats import count
from mlops_project.sections import DataConfig
from mlops_project.tables import checks
from mlops_project.tables.positive import choose_positive
from mlops_project.tables.sources import RawTable
from mlops_project.tables.types import TypedColumn

MAX_CLASSES = 100
MAX_INTEGER_CLASSES = 20  # an integer target with more distinct values is a quantity
SHOWN = 50


def find_target(raw: RawTable, wanted: str | None) -> str:
    """Return the name of the column to predict.

    Raises
    ------
    ConfigError
        If none is named.
    DataError
        If the table does not have it.
    """
    target = wanted or raw.target
    columns = [str(name) for name in raw.frame.columns]
    listed = ", ".join(columns[:SHOWN]) + (f", … ({len(columns)} in all)" if len(columns) > SHOWN else "")
    if target is None:
        raise ConfigError(f"data.target: which column of {raw.source} is to be predicted? Columns: {listed}")
    if target not in columns:
        hint = suggest(target, columns) or f"; columns: {listed}"
        size = f"{count(len(raw.frame), 'row')}, {count(len(columns), 'column')}"
        if raw.source == DataConfig().source:
            hint += "; data.source names no table of yours"
        elif len(columns) == 1:
            hint += "; is it all in one column? data.separator (`mlops init --separator`) names the sign between fields"
        raise DataError(f"{raw.source}: the target column {target!r} is missing ({size}){hint}")
    return target


def prepare_target(typed: TypedColumn, wanted: Task | None, *, n_absent: int = 0) -> "tuple[pd.Series[Any], Task]":
    """Name the task and bring the target into its form: float64 for regression, labels otherwise.

    Parameters
    ----------
    typed
        The target without missing values.
    wanted
        The task, or None to guess it.
    n_absent
        Rows that were left out because they have no target, for messages.

    Raises
    ------
    DataError
        If no model can be trained on it.
    """
    try:
        return _prepare(typed.type, typed.values, wanted)
    except DataError as error:
        absent = f"{n_absent} more rows have none (an empty field, NA, N/A, null, None or nan is none)" if n_absent else None
        raise DataError("; ".join(filter(None, (str(error), absent, typed.warning)))) from error


def _prepare(kind: FeatureType, values: "pd.Series[Any]", wanted: Task | None) -> "tuple[pd.Series[Any], Task]":
    if kind == "datetime":
        raise DataError(f"the target {values.name!r} holds dates; predict a number or a class")
    n_values = int(values.nunique())
    if n_values == 1:
        raise DataError(
            f"the target {values.name!r} is {str(values.iloc[0])!r} in all {len(values)} rows; "
            "a model needs at least two classes or a number that varies"
        )
    task = wanted or guess_task(kind, values, n_values)
    if task == "regression":
        return _check_quantity(kind, values), task
    _check_labels(values, n_values, task)
    if values.dtype.kind == "f" and (values % 1 == 0).all():
        values = values.astype("int64")
    return values, "binary" if n_values == 2 else "multiclass"


def guess_task(kind: FeatureType, values: "pd.Series[Any]", n_values: int) -> Task:
    """Return the task that fits a target without missing values."""
    if kind in ("float", "integer"):
        whole = kind == "integer" or bool((values % 1 == 0).all())
        if not whole or n_values > MAX_INTEGER_CLASSES:
            return "regression"
    return "binary" if n_values <= 2 else "multiclass"


def _check_quantity(kind: FeatureType, values: "pd.Series[Any]") -> "pd.Series[Any]":
    if kind not in ("float", "integer"):
        raise DataError(f"the target {values.name!r} is {kind}, and regression needs numbers")
    infinite = np.flatnonzero(np.isinf(values.to_numpy(np.float64)))
    if len(infinite):
        raise DataError(
            f"the target {values.name!r} has {len(infinite)} infinite values, the first in row "
            f"{values.index[infinite[0]] + 1}; mend them, or leave them empty to leave those rows out"
        )
    return values.astype("float64")


def _check_labels(values: "pd.Series[Any]", n_values: int, task: Task) -> None:
    name, n_rows = values.name, len(values)
    if task == "binary" and n_values != 2:
        raise DataError(f"the target {name!r} has {n_values} classes, and data.task is binary; use multiclass")
    small = checks.find_small_classes(values)
    if n_values > MAX_CLASSES or small:
        shown = ", ".join(small[:10]) + (", …" if len(small) > 10 else "")
        rare = f", {len(small)} of them with fewer than {checks.MIN_CLASS_ROWS} rows: {shown}" if small else ""
        limit = f" (at most {MAX_CLASSES})" if n_values > MAX_CLASSES else ""
        raise DataError(f"the target {name!r} has {n_values} classes{limit} in {n_rows} rows{rare}; {_suggest_cure(values)}")


def _suggest_cure(values: "pd.Series[Any]") -> str:
    """Return what to do about too many classes, or too rare ones, with a number of rows that leaves few enough."""
    counts = values.value_counts().to_numpy()
    least = (
        checks.MIN_CLASS_ROWS if len(counts) <= MAX_CLASSES else max(int(counts[MAX_CLASSES - 1]) + 1, checks.MIN_CLASS_ROWS)
    )
    cures = ["data.task: regression if they are amounts"] if values.dtype.kind in "if" else []
    if counts[0] >= least:
        rows = "" if least == checks.MIN_CLASS_ROWS else f" with data.min_class_rows: {least}"
        cures.append(f"data.rare_classes: merge (one class 'other') or drop{rows}")
    if len(counts) > len(values) / 2:
        cures.append("another data.target: this column names the rows")
    return "set " + ", or ".join(cures or ["another data.target"])


def order_classes(target: "pd.Series[Any]", config: Config) -> tuple[Label, ...]:
    """Return the sorted labels; of two, the positive one last: the one that the configuration names, or ``choose_positive``.

    Raises
    ------
    ConfigError
        If the configuration names labels that the target does not have.
    """
    labels: list[Any] = sorted(value.item() if hasattr(value, "item") else value for value in target.unique())
    data, positive = config.data, config.positive_class
    named: dict[str, list[Label | None]] = {
        "decision.positive": [config.decision.positive],
        "data.positive_class": [data.positive_class],
        "data.class_names": [*data.class_names],
    }
    for key, wanted in named.items():
        strangers = [label for label in wanted if label is not None and label not in labels]
        if strangers:
            raise ConfigError(f"{key}: {strangers[0]!r} is not among the labels of {target.name!r}: {_list(labels)}")
    if data.positive_class not in (None, positive):
        raise ConfigError(
            f"decision.positive is {positive!r} and data.positive_class {data.positive_class!r}; keep one of them"
        )
    if positive is None and len(labels) == 2:
        rows = target.value_counts()
        positive = choose_positive({label: int(rows[label]) for label in labels}, data.class_names)
    if len(labels) == 2 and positive == labels[0]:
        labels.reverse()
    return tuple(labels)


def _list(labels: list[Any]) -> str:
    return ", ".join(repr(label) for label in labels[:20]) + (", …" if len(labels) > 20 else "")


def name_classes(classes: tuple[Label, ...], raw: RawTable, config: Config) -> tuple[str, ...]:
    """Return what people read for each class."""
    names = raw.class_names | config.data.class_names
    return tuple(str(names.get(label, label)) for label in classes)
