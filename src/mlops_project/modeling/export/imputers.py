"""Imputers: what stands for a missing value, and the columns that say where one was."""

import math
from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Column, Columns, join
from mlops_project.modeling.export.graph import BOOL, DOUBLE, INT64, ML, Graph
from mlops_project.modeling.export.registry import refuse_missing, transformer
from mlops_project.runtime import MISSING_TEXT

NEVER = "\0"  # no text is it


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN or pandas' NA."""
    return value is None or str(value) == "<NA>" or (isinstance(value, float) and math.isnan(value))


@transformer("sklearn.SimpleImputer")
def add_simple_imputer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Replace missing values; columns without any value in training are left out as the library does."""
    if "date" in columns.kinds:
        raise ExportError("a date reaches this step, which fills numbers and texts; leave dates out of its columns")
    statistics = list(step.statistics_)
    if columns.kinds == {"number"}:
        kept = [place for place, value in enumerate(statistics) if step.keep_empty_features or not is_missing(value)]
        result = _fill_numbers(graph, columns, step, kept)
    else:
        kept = [place for place, value in enumerate(statistics) if not is_missing(value)]
        result = join(
            _fill_text(graph, columns, place, step)
            if columns.items[place].kind == "text"
            else _fill_numbers(graph, columns, step, [place])
            for place in kept
        )
    if step.add_indicator and step.indicator_ is not None:
        return join([result, add_missing_indicator(graph, columns, step.indicator_)])
    return result


def _fill_numbers(graph: Graph, columns: Columns, step: Any, kept: list[int]) -> Columns:
    columns = columns.take(kept)
    if not is_missing(step.missing_values):
        refuse_missing(graph, columns)
    x = columns.matrix(graph)
    fill = np.array([0.0 if is_missing(step.statistics_[place]) else float(step.statistics_[place]) for place in kept])
    filled = graph.add("Where", _missing(graph, x, step.missing_values), graph.constant(fill), x)
    return Columns.of_matrix(filled, len(kept), sparse=columns.sparse)


def _missing(graph: Graph, x: str, marker: Any) -> str:
    if is_missing(marker):
        return graph.add("IsNaN", x)
    return graph.add("Equal", x, graph.constant(np.nan if isinstance(marker, str) else float(marker)))  # NaN: no number is


def _fill_text(graph: Graph, columns: Columns, place: int, step: Any) -> Columns:
    column, known, fill = columns.column(graph, place), columns.items[place].known, str(step.statistics_[place])
    filled = graph.add("Where", _text_has_gap(graph, column, step.missing_values), graph.text(fill), column)
    return Columns((Column(filled, 0, 1, "text", known=tuple(dict.fromkeys((*known, fill))) if known else ()),))


def _text_has_gap(graph: Graph, column: str, marker: Any) -> str:
    """Return a condition of the column's shape; where a text stands for missing values, the library takes no others."""
    if is_missing(marker) or marker == MISSING_TEXT:  # which is how the model reads a gap
        return text_is_missing(graph, column)
    refused = graph.add("Where", text_is_missing(graph, column), graph.constant(np.nan), graph.constant(0.0))
    graph.refuse_rows(refused)
    return _equals(graph, column, marker if isinstance(marker, str) else NEVER)


def _equals(graph: Graph, column: str, text: str) -> str:
    same = graph.add("LabelEncoder", column, domain=ML, keys_strings=[text], values_int64s=[1], default_int64=0)
    return graph.cast(same, BOOL)


def text_is_missing(graph: Graph, column: str) -> str:
    """Return a condition of the column's shape."""
    return _equals(graph, column, MISSING_TEXT)


@transformer("sklearn.MissingIndicator")
def add_missing_indicator(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Say with 0 and 1 where values are missing, for the columns that the step reports."""
    chosen = columns.take(step.features_)
    if step.features == "missing-only" and step.error_on_new:  # the library refuses gaps where training had none
        refuse_missing(graph, columns.take(place for place in range(len(columns)) if place not in step.features_))
    if not len(chosen):
        return Columns(())
    if "text" in chosen.kinds:
        parts = [_text_flag(graph, chosen, place, step) for place in range(len(chosen))]
        return join(Columns.of_matrix(part, 1) for part in parts)
    if not is_missing(step.missing_values):
        refuse_missing(graph, chosen)
    missing = _missing(graph, chosen.matrix(graph), step.missing_values)
    return Columns.of_matrix(graph.cast(missing, DOUBLE), len(chosen))


def _text_flag(graph: Graph, columns: Columns, place: int, step: Any) -> str:
    """Return 1 where one column of texts or numbers has a gap, else 0, ``(n_rows, 1)``."""
    column = columns.column(graph, place)
    if columns.items[place].kind == "text":
        return graph.cast(graph.cast(_text_has_gap(graph, column, step.missing_values), INT64), DOUBLE)
    return graph.cast(_missing(graph, column, step.missing_values), DOUBLE)
