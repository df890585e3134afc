"""Frames that somebody hands over with a fitted pipeline → the typed table and its split, as training has them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import FeatureType, Label, Reading, Task
from mlops_project.errors import DataError, suggest
from mlops_project.tables import checks
from mlops_project.tables.copies import find_copies
from mlops_project.tables.frames import to_pandas
from mlops_project.tables.sources import RawTable
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table, compute_digest, hash_column
from mlops_project.tables.targets import MAX_CLASSES, name_classes, order_classes, prepare_target
from mlops_project.tables.texts import find_prose
from mlops_project.tables.types import convert_column
from mlops_project.tables.weights import find_problem

READ_VALUES = 100  # of a column that may hold texts
SOURCE = "frames handed to mlops.export"


class Side(NamedTuple):
    """Rows and their labels, as they were handed over.

    Attributes
    ----------
    features
        In pandas, rows numbered from 0.
    target
        The same rows.
    is_column
        Whether the rows were one column, not a frame, as for a pipeline that begins with a reader of texts.
    """

    features: pd.DataFrame
    target: "pd.Series[Any]"
    is_column: bool = False


def read_side(X: Any, y: Any, names: Sequence[str] | None, target: str | None, which: str) -> Side:
    """Return rows and labels in pandas.

    Parameters
    ----------
    X
        A frame of any kind, an array ``(n_rows, n_columns)``, or one column of texts.
    y
        Labels ``(n_rows,)``: a column of any kind, an array or a list.
    names
        Of an array's columns; None for x0, x1, …
    target
        Name of the labels; None for the column's own, or ``target``.
    which
        ``train`` or ``test``, for messages.

    Raises
    ------
    DataError
        If there is no row, or they do not belong together.
    """
    column = _read_column(X, names)
    if column is not None:
        features = column.to_frame().reset_index(drop=True)
    elif isinstance(X, np.ndarray):
        if X.ndim != 2:
            raise DataError(f"X_{which} has the shape {X.shape}; expected rows and columns")
        columns = [f"x{place}" for place in range(X.shape[1])] if names is None else list(names)
        if len(columns) != X.shape[1]:
            raise DataError(f"X_{which} has {X.shape[1]} columns, and feature_names has {len(columns)}; name each column once")
        features = pd.DataFrame(X, columns=columns)
    else:
        features = to_pandas(X).reset_index(drop=True)
    labels = _read_labels(y, which).rename(target or getattr(y, "name", None) or "target")
    if len(labels) != len(features) or not len(labels):
        raise DataError(
            f"X_{which} has {len(features)} rows and y_{which} {len(labels)}; expected the same number, at least one"
        )
    if labels.isna().any():
        raise DataError(f"y_{which}: {int(labels.isna().sum())} of {len(labels)} labels are missing; leave those rows out")
    if len(features.columns) and all(isinstance(name, int | np.integer) for name in features.columns):
        features = features.set_axis([str(name) for name in features.columns], axis=1)  # the library took them for an array's
    unnamed = [name for name in features.columns if not isinstance(name, str)]
    if unnamed:
        raise DataError(f"X_{which}: column {unnamed[0]!r} has no text as its name; rename the columns, then fit the pipeline")
    return Side(features, labels, column is not None)


def _read_column(X: Any, names: Sequence[str] | None) -> "pd.Series[Any] | None":
    """Return one column of texts, named; None if it is something else."""
    if not isinstance(X, pd.Series | list) and not hasattr(X, "to_list") and not (isinstance(X, np.ndarray) and X.ndim == 1):
        return None
    column = pd.Series(X.to_pandas() if hasattr(X, "to_pandas") else X)
    if not len(column) or not all(isinstance(value, str) for value in column.dropna().head(READ_VALUES)):
        return None
    return column.rename(str(names[0] if names else column.name if column.name is not None else "text"))


def _read_labels(y: Any, which: str) -> "pd.Series[Any]":
    if y is None:
        raise DataError(
            f"y_{which} is missing: a model is judged by labels; of an outlier detector -1 for rows that are known as outliers "
            "and 1 for others, or, where nothing is known, what it says itself (y = pipeline.predict(X))"
        )
    if isinstance(y, pd.DataFrame) and len(y.columns) == 1:
        y = y.iloc[:, 0]
    if isinstance(y, pd.Series):
        return y.reset_index(drop=True)
    values = y.to_pandas() if hasattr(y, "to_pandas") else np.asarray(y)
    if np.ndim(values) == 2 and np.shape(values)[1] == 1:
        values = np.asarray(values)[:, 0]
    if np.ndim(values) != 1:
        raise DataError(f"y_{which} has the shape {np.shape(values)}; expected one label for each row")
    return pd.Series(values).reset_index(drop=True)


def build_handed_over(
    train: Side,
    test: Side,
    names: Sequence[str],
    classes: Sequence[Any] | None,
    config: Config,
    *,
    words: frozenset[str] = frozenset(),
) -> "tuple[Table, Split]":
    """Type two sides alike.

    Texts stay texts, whatever they look like: the pipeline has learned from them as such.

    Parameters
    ----------
    names
        The columns that the pipeline reads, in its order.
    classes
        Those that it knows; None if it predicts numbers.
    config
        For ``data.types``, ``data.max_categories``, ``data.weight``, ``data.positive_class`` and ``data.class_names``.

    words
        Columns that the pipeline reads by their words.

    Raises
    ------
    DataError
        With every column that is missing or cannot be read, or if labels do not fit the pipeline.
    """
    if train.target.name in names:
        raise DataError(
            f"the labels are called {train.target.name!r}, and so is a column that the pipeline was fitted on: if they are the "
            "same, fit it without that column; else name the labels with target='…'"
        )
    typed = _type_columns(train, test, names, config, words)
    target, task = _prepare_target(train, test, classes)
    weights = _take_weights(train, test, names, config)
    labels = order_classes(target, config) if task != "regression" else ()
    _check_classes(labels, classes)
    table = Table(
        features=pd.DataFrame(typed.columns),
        target=target,
        types=typed.types,
        task=task,
        classes=labels,
        class_names=name_classes(labels, RawTable(pd.DataFrame(), SOURCE), config),
        source=SOURCE,
        digest=compute_digest((column, hash_column(column)) for column in (*typed.columns.values(), target)),
        weights=weights,
        warnings=tuple(typed.warnings),
        units=config.data.units,
        readings=typed.readings,
        prose=tuple(dict.fromkeys((*find_prose(typed.columns, typed.types, ()), *sorted(words)))),
    )
    border = len(train.target)
    sides = (table.features.iloc[:border], target.iloc[:border], table.features.iloc[border:], target.iloc[border:])
    return table, Split(*sides, find_copies(table))


class _Typed(NamedTuple):
    """Columns of both sides, typed alike."""

    columns: "dict[str, pd.Series[Any]]"
    types: dict[str, FeatureType]
    readings: dict[str, Reading]
    warnings: list[str]


def _type_columns(train: Side, test: Side, names: Sequence[str], config: Config, words: frozenset[str]) -> _Typed:
    """Type the columns that the pipeline reads; names every one that is missing or cannot be read."""
    for which, side in (("train", train), ("test", test)):
        absent = [name for name in names if name not in side.features]
        if absent:
            hint = suggest(absent[0], [str(name) for name in side.features])
            raise DataError(f"X_{which} lacks columns that the pipeline was fitted on: {', '.join(map(repr, absent))}{hint}")
    found, problems = _Typed({}, {}, {}, []), []
    for name in names:
        column = _join(train.features[name], test.features[name])
        try:
            wanted = config.data.types.get(name) or _keep_text(column, 0 if name in words else config.data.max_categories)
            typed = convert_column(column, wanted, config.data.max_categories)
        except DataError as error:
            problems.append(str(error))
            continue
        found.types[name], found.columns[name] = typed.type, typed.values
        if typed.reading is not None:
            found.readings[name] = typed.reading
        if typed.warning:
            found.warnings.append(typed.warning)
    problems += [finding.seen for finding in (*checks.find_infinite(found.columns), *checks.find_huge(found.columns))]
    if problems:
        raise DataError(f"{SOURCE}: columns cannot be read\n{checks.joined(problems)}")
    return found


def _take_weights(train: Side, test: Side, names: Sequence[str], config: Config) -> "pd.Series[Any] | None":
    """Return the column of both sides that ``data.weight`` names."""
    name = config.data.weight
    if name is None:
        return None
    if name in names:
        raise DataError(f"data.weight: the pipeline was fitted on column {name!r}, so it is a feature; a weight is none")
    for which, side in (("train", train), ("test", test)):
        if name not in side.features:
            raise DataError(f"data.weight: X_{which} has no column {name!r}{suggest(name, [*map(str, side.features)])}")
    values = convert_column(_join(train.features[name], test.features[name]), None, 2).values
    problem = find_problem(values) or ("holds weights of 0; leave those rows out" if (values == 0).any() else "")
    if problem:
        raise DataError(f"data.weight: column {name!r} {problem}")
    return values.astype("float64")


def _join(train: "pd.Series[Any]", test: "pd.Series[Any]") -> "pd.Series[Any]":
    if isinstance(train.dtype, pd.CategoricalDtype) or isinstance(test.dtype, pd.CategoricalDtype):
        train, test = (part.astype(part.cat.categories.dtype) if hasattr(part, "cat") else part for part in (train, test))
    return pd.concat([train, test], ignore_index=True)


def _keep_text(column: "pd.Series[Any]", max_categories: int) -> FeatureType | None:
    """Return the type of a column of texts; None for other columns."""
    values = column.dropna()
    if not isinstance(column.dtype, pd.StringDtype) and not (
        column.dtype == object and len(values) and all(isinstance(value, str) for value in values)
    ):
        return None
    return "category" if column.nunique() <= max_categories else "string"


def _prepare_target(train: Side, test: Side, classes: Sequence[Any] | None) -> "tuple[pd.Series[Any], Task]":
    column = _join(train.target, test.target)
    typed = convert_column(column, _keep_text(column, MAX_CLASSES), MAX_CLASSES)
    wanted: Task = "regression" if classes is None else "binary" if column.nunique() <= 2 else "multiclass"
    target, task = prepare_target(typed, wanted)
    return target.rename(str(train.target.name)), task


def _check_classes(labels: tuple[Label, ...], classes: Sequence[Any] | None) -> None:
    """Refuse labels that the pipeline does not know, or does not show."""
    known = {label.item() if hasattr(label, "item") else label for label in classes or ()}
    strangers, absent = [label for label in labels if label not in known], sorted(known - {*labels}, key=str)
    if strangers:
        raise DataError(
            f"the labels hold {strangers[0]!r}, which the pipeline does not know; it knows {sorted(known, key=str)}"
        )
    if absent:
        raise DataError(
            f"the pipeline knows the class {absent[0]!r}, which no row has; hand over the rows that it was fitted on"
        )
