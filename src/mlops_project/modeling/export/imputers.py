"""Imputers: what stands for a missing value, and the columns that say where one was."""

import math
from typing import Any

import numpy as np

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Column, Columns, join
from mlops_project.modeling.export.graph import BOOL, DOUBLE, INT64, ML, Graph
from mlops_project.modeling.export.registry import refuse_missing, transformer
from mlops_project.runtime import MISSING_TEXT


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN or pandas' NA."""
    return value is None or str(value) == "<NA>" or (isinstance(value, float) and math.isnan(value))


@transformer("sklearn.SimpleImputer")
def add_simple_imputer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Replace missing values; columns without any value in training are left out as the library does."""
    statistics = list(step.statistics_)
    if columns.kinds == {"text"}:
        kept = [place for place, value in enumerate(statistics) if not is_missing(value)]
        result = join(_fill_text(graph, columns, place, str(statistics[place])) for place in kept)
    elif columns.kinds == {"number"}:
        kept = [place for place, value in enumerate(statistics) if step.keep_empty_features or not is_missing(value)]
        result = _fill_numbers(graph, columns, step, kept)
    else:
        raise ExportError("numbers and texts are imputed by one step; give each kind a block of its own")
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
    return graph.add("Equal", x, graph.constant(float(marker)))


def _fill_text(graph: Graph, columns: Columns, place: int, fill: str) -> Columns:
    column, known = columns.column(graph, place), columns.items[place].known
    filled = graph.add("Where", text_is_missing(graph, column), graph.text(fill), column)
    return Columns((Column(filled, 0, 1, "text", known=tuple(dict.fromkeys((*known, fill))) if known else ()),))


def text_is_missing(graph: Graph, column: str) -> str:
    """Return a condition of the column's shape."""
    empty = graph.add("LabelEncoder", column, domain=ML, keys_strings=[MISSING_TEXT], values_int64s=[1], default_int64=0)
    return graph.cast(empty, BOOL)


@transformer("sklearn.MissingIndicator")
def add_missing_indicator(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Say with 0 and 1 where values are missing, for the columns that the step reports."""
    chosen = columns.take(step.features_)
    if step.features == "missing-only" and step.error_on_new:  # the library refuses gaps where training had none
        refuse_missing(graph, columns.take(place for place in range(len(columns)) if place not in step.features_))
    if not len(chosen):
        return Columns(())
    if chosen.kinds == {"text"}:
        flags = [text_is_missing(graph, chosen.column(graph, place)) for place in range(len(chosen))]
        return join(Columns.of_matrix(graph.cast(graph.cast(flag, INT64), DOUBLE), 1) for flag in flags)
    if not is_missing(step.missing_values):
        refuse_missing(graph, chosen)
    missing = _missing(graph, chosen.matrix(graph), step.missing_values)
    return Columns.of_matrix(graph.cast(missing, DOUBLE), len(chosen))
