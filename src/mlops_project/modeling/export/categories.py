"""Encoders of categories: each known value's row of numbers, as the fitted encoder itself writes it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import DATETIME_PARTS
from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Column, Columns, join
from mlops_project.modeling.export.graph import DOUBLE, INT64, ML, Graph
from mlops_project.modeling.export.imputers import is_missing
from mlops_project.modeling.export.registry import transformer
from mlops_project.runtime import MISSING_TEXT

Floats = npt.NDArray[np.float64]


@transformer("sklearn.OneHotEncoder")
def add_one_hot(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add columns of 0 and 1; ``drop`` and infrequent values included."""
    _check_dtype(step)
    widths = [int(width) for width in step._n_features_outs]
    tables = _ask(step, widths)
    rare = getattr(step, "infrequent_categories_", [None] * len(tables))
    unknown: list[Floats | None] = []
    for place, table in enumerate(tables):
        row = np.zeros(widths[place])
        if step.handle_unknown in ("infrequent_if_exist", "warn") and rare[place] is not None:
            row = table[[str(value) for value in step.categories_[place]].index(str(rare[place][0]))]
        unknown.append(None if step.handle_unknown == "error" else row)
    return _add_tables(graph, columns, step, tables, unknown, sparse=bool(step.sparse_output))


@transformer("sklearn.OrdinalEncoder")
def add_ordinal(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add each value's code."""
    _check_dtype(step)
    tables = _ask(step, [1] * len(step.categories_))
    row = None if step.handle_unknown == "error" else np.array([step.unknown_value], np.float64)
    return _add_tables(graph, columns, step, tables, [row] * len(tables))


@transformer("sklearn.TargetEncoder")
def add_target(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add each value's mean of the target; an unknown one gets the mean of all."""
    mean = np.atleast_1d(np.asarray(step.target_mean_, np.float64))
    tables = _ask(step, [len(mean)] * len(step.categories_))
    return _add_tables(graph, columns, step, tables, [mean] * len(tables))


@transformer("mlops_project.TargetMeans")
def add_target_means(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add each text's mean of the target; a missing one is the empty text."""
    return add_target(graph, columns, step.encoder_)


def _check_dtype(step: Any) -> None:
    if np.dtype(step.dtype) in (np.float32, np.float16):
        raise ExportError(f"dtype={np.dtype(step.dtype).name} makes later steps compute in it; leave it out (float64)")


def _ask(step: Any, widths: list[int]) -> list[Floats]:
    """Return, per column, the rows ``(n_categories, width)`` that the encoder writes for its categories."""
    longest = max(len(values) for values in step.categories_)
    names = getattr(step, "feature_names_in_", None)
    columns = {
        place if names is None else names[place]: values[np.minimum(np.arange(longest), len(values) - 1)]
        for place, values in enumerate(step.categories_)
    }
    frame = pd.DataFrame(columns)
    written = step.transform(frame if names is not None else _as_array(frame))
    written = written.tocsr() if hasattr(written, "tocsr") else np.asarray(written, np.float64)
    ends = np.cumsum(widths)
    parts = [
        written[: len(values), end - width : end] for values, width, end in zip(step.categories_, widths, ends, strict=True)
    ]
    return [np.asarray(part.toarray() if hasattr(part, "toarray") else part, np.float64) for part in parts]


def _as_array(frame: pd.DataFrame) -> Any:
    kinds = {dtype.kind for dtype in frame.dtypes}
    return frame.to_numpy(np.float64) if kinds <= set("biuf") else frame.to_numpy(object)


def _add_tables(
    graph: Graph,
    columns: Columns,
    step: Any,
    tables: list[Floats],
    unknown: list[Floats | None],
    *,
    sparse: bool = False,
) -> Columns:
    if "date" in columns.kinds:
        raise ExportError("a date reaches this step, which takes categories; leave dates out of its columns")
    parts = []
    for place, (table, row) in enumerate(zip(tables, unknown, strict=True)):
        if not table.shape[1]:
            continue
        code = _add_code(graph, columns, place, list(step.categories_[place]))
        last = np.full(table.shape[1], np.nan) if row is None else row  # None: the library refuses an unknown value
        values = graph.constant(np.vstack([table, last]))
        value = graph.add("Gather", values, code, axis=0)
        if row is None:
            refused = np.append(np.zeros(len(table)), np.nan)[:, None]
            graph.refuse_rows(graph.add("Gather", graph.constant(refused), code, axis=0))
        complete = not np.isnan(table).any() and (row is None or not np.isnan(row).any())
        parts.append(Columns.of_matrix(value, table.shape[1], complete=complete))
    return Columns(join(parts).items, sparse)


def _add_code(graph: Graph, columns: Columns, place: int, categories: list[Any]) -> str:
    """Return each row's position among the categories, int64 ``(n_rows,)``; one past the last if it is unknown."""
    column = graph.vector(columns.column(graph, place))
    if columns.items[place].kind == "text":
        codes = {MISSING_TEXT if is_missing(value) else str(value): code for code, value in enumerate(categories)}
        return graph.add(
            "LabelEncoder",
            column,
            domain=ML,
            keys_strings=list(codes),
            values_int64s=list(codes.values()),
            default_int64=len(categories),
        )
    try:
        keys = np.array([np.nan if is_missing(value) else float(value) for value in categories])
    except (TypeError, ValueError):
        raise ExportError(f"the categories {categories[:3]!r} are texts, and numbers reach this step") from None
    code = graph.lookup(column, keys, np.arange(float(len(keys))), float(len(keys)))
    return graph.cast(code, INT64)


@transformer("mlops_project.CategoryTypes")
def add_category_types(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Give columns pandas' type of categories: any other value becomes a missing one."""
    items = list(columns.items)
    for place, name in enumerate(step.feature_names_in_):
        values = step.categories.get(name)
        if values is None:
            continue
        column = columns.column(graph, place)
        if items[place].kind == "text":
            known = tuple(map(str, values))
            kept = graph.add(
                "LabelEncoder",
                column,
                domain=ML,
                keys_strings=list(known),
                values_strings=list(known),
                default_string=MISSING_TEXT,
            )
            items[place] = Column(kept, 0, 1, "text", known=known, categories=known)
        else:
            numbers = tuple(map(float, values))
            kept = graph.lookup(column, numbers, numbers, np.nan)
            items[place] = Column(kept, 0, 1, categories=numbers)
    return Columns(tuple(items), columns.sparse)


def with_codes(graph: Graph, columns: Columns) -> Columns:
    """Return the columns with categories of pandas' type as positions in them, as boosters read them; NaN if missing."""
    items = list(columns.items)
    for place, item in enumerate(items):
        if not item.categories:
            continue
        code = graph.cast(_add_code(graph, columns, place, list(item.categories)), DOUBLE)
        unknown = graph.add("Equal", code, graph.constant(float(len(item.categories))))
        code = graph.add("Where", unknown, graph.constant(np.nan), code)
        items[place] = Column(graph.add("Unsqueeze", code, graph.constant([1], np.int64)), 0, 1)
    return Columns(tuple(items), columns.sparse)


@transformer("mlops_project.FillText")
def add_fill_text(_graph: Graph, columns: Columns, _step: Any) -> Columns:
    """Change nothing: a missing text is the empty one in the graph as well."""
    if columns.kinds - {"text"}:
        raise ExportError("FillText makes texts of numbers; give it text columns only")
    return columns


@transformer("mlops_project.DatetimeParts")
def add_datetime_parts(_graph: Graph, columns: Columns, _step: Any) -> Columns:
    """Take the parts of each date, which the model's inputs hold already."""
    if columns.kinds != {"date"}:
        raise ExportError("DatetimeParts reads dates; give it datetime columns only")
    return Columns(
        tuple(
            Column(item.source, item.place + part, item.width) for item in columns.items for part in range(len(DATETIME_PARTS))
        )
    )
