"""Imputers that fill a gap from the row's other numbers: rounds of regressions, and nearest training rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns, join
from mlops_project.modeling.export.graph import DOUBLE, Graph
from mlops_project.modeling.export.imputers import add_missing_indicator, add_simple_imputer, is_missing
from mlops_project.modeling.export.neighbours import MOST_TIED, NOISE, TIED
from mlops_project.modeling.export.registry import LAST_DIGITS, add_member, transformer

Floats = npt.NDArray[np.float64]
CHECKED_ROWS = 500  # with gaps


@transformer("sklearn.IterativeImputer", agreement=LAST_DIGITS)
def add_iterative_imputer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Fill gaps first as SimpleImputer does, then by each regression in turn."""
    if step.sample_posterior:
        raise ExportError("sample_posterior=True draws at random; leave it out")
    _check_marker(step)
    kept = np.flatnonzero(~step._is_empty_feature) if not step.keep_empty_features else np.arange(len(columns))
    given = columns.take(kept)
    filled = add_simple_imputer(graph, columns, step.initial_imputer_).matrix(graph)
    gaps = graph.add("IsNaN", given.matrix(graph))
    values = [graph.columns(filled, [place]) for place in range(len(kept))]
    missing = [graph.columns(gaps, [place]) for place in range(len(kept))]
    for turn, (place, others, regression) in enumerate(step.imputation_sequence_):
        if step._is_empty_feature[kept[place]]:
            continue  # its value is no gap
        read = join(Columns.of_matrix(values[other], 1) for other in others)
        with graph.at(f"imputation_sequence_[{turn}]"):
            answer = str(add_member(graph, read, regression).probabilities)
        low, high = (graph.constant(float(limit[place])) for limit in (step._min_value, step._max_value))
        answer = graph.add("Min", graph.add("Max", answer, low), high)
        values[place] = graph.add("Where", missing[place], answer, values[place])
    result = Columns.of_matrix(graph.add("Concat", *values, axis=1), len(values))
    return _with_indicator(graph, result, columns, step)


def _check_marker(step: Any) -> None:
    if not is_missing(step.missing_values):
        raise ExportError(f"missing_values={step.missing_values!r} cannot be exported; leave it out (NaN is missing)")


def _with_indicator(graph: Graph, result: Columns, columns: Columns, step: Any) -> Columns:
    if not step.add_indicator:
        return result
    return join([result, add_missing_indicator(graph, columns, step.indicator_)])


@transformer("sklearn.KNNImputer", agreement=LAST_DIGITS)
def add_neighbour_imputer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Fill a gap with the mean of the nearest training rows that have a value there."""
    _check_marker(step)
    if step.metric != "nan_euclidean":
        raise ExportError("a metric of your own cannot be exported; use 'nan_euclidean'")
    if step.weights not in (None, "uniform", "distance"):
        raise ExportError("weights of your own function cannot be exported; use 'uniform' or 'distance'")
    rows, gaps = np.asarray(step._fit_X, np.float64), np.asarray(step._mask_fit_X, bool)
    _refuse_ties(rows, gaps, int(step.n_neighbors))
    graph.rounds = True  # which row is nearer depends on last digits
    graph.needs_columns(6 * len(rows))
    x = columns.matrix(graph)
    missing = graph.add("IsNaN", x)
    squares, noise = _add_distances(graph, graph.add("Where", missing, graph.constant(0.0), x), missing, rows, gaps)
    parts = []
    for place, is_known in enumerate(step._valid_mask):
        if not is_known and not step.keep_empty_features:
            continue
        given, gap = (graph.columns(value, [place]) for value in (x, missing))
        fill = graph.constant(0.0)
        if is_known:
            donors = np.flatnonzero(~gaps[:, place])
            found = graph.add("Gather", squares, graph.constant(donors, np.int64), axis=1)
            fill = _add_mean(graph, found, noise, rows[donors, place], gap, step)
        else:
            given = graph.add("Where", graph.add("IsNaN", given), fill, graph.add("Mul", given, fill))
        parts.append(Columns.of_matrix(graph.add("Where", gap, fill, given), 1))
    return _with_indicator(graph, join(parts), columns, step)


def _add_distances(graph: Graph, x: str, missing: str, rows: Floats, gaps: npt.NDArray[np.bool_]) -> tuple[str, str]:
    """Return squared distances over the numbers that both rows have, infinite where they share none, and their noise.

    The library's steps: those of filled rows, less what the gaps add, per number that is there.
    """
    filled = np.where(gaps, 0.0, rows)
    own = graph.add("Mul", x, x)
    size = graph.column_sum(own)
    doubled = graph.add("Mul", graph.constant(-2.0), graph.add("MatMul", x, graph.constant(filled.T)))
    total = graph.add("Add", graph.add("Add", doubled, size), graph.constant((filled * filled).sum(axis=1)[None]))
    total = graph.add("Sub", total, graph.add("MatMul", own, graph.constant(gaps.T.astype(np.float64))))
    flags = graph.cast(missing, DOUBLE)
    total = graph.add("Sub", total, graph.add("MatMul", flags, graph.constant((filled * filled).T)))
    total = graph.add("Max", total, graph.constant(0.0))
    there = graph.add("Sub", graph.constant(1.0), flags)
    shared = graph.add("MatMul", there, graph.constant((~gaps).T.astype(np.float64)))
    safe = graph.add("Max", shared, graph.constant(1.0))
    scaled = graph.add("Mul", graph.add("Div", total, safe), graph.constant(float(rows.shape[1])))
    nothing = graph.add("Equal", shared, graph.constant(0.0))
    largest = float((filled * filled).sum(axis=1).max(initial=0.0))
    noise = graph.add("Add", graph.add("Mul", size, graph.constant(NOISE)), graph.constant(NOISE * largest))
    noise = graph.add("Mul", noise, graph.constant(float(rows.shape[1])))
    return graph.add("Where", nothing, graph.constant(np.inf), scaled), noise


def _add_mean(graph: Graph, squares: str, noise: str, answers: Floats, gap: str, step: Any) -> str:
    """Return the nearest donors' mean, ``(n_rows, 1)``; the mean of all where a row shares no number with any."""
    k = min(int(step.n_neighbors), len(answers))
    order = graph.sorted_positions(squares, k)
    found = graph.add("GatherElements", squares, order, axis=1)
    values = graph.add("Gather", graph.constant(answers), order)
    shares = graph.add("IsInf", found)
    zero, one = graph.constant(0.0), graph.constant(1.0)
    weights = graph.add("Where", shares, zero, one)
    if step.weights == "distance":
        same = graph.cast(graph.add("Equal", found, zero), DOUBLE)
        some = graph.add("Greater", graph.column_sum(same), zero)
        weights = graph.add("Where", some, same, graph.add("Div", one, graph.add("Sqrt", found)))
        near = graph.add("LessOrEqual", graph.columns(found, [0]), noise)  # where the weights are noise
        _note(graph, graph.add("And", near, gap))
    if k < len(answers):
        _note_ties(graph, squares, graph.columns(found, [k - 1]), noise, answers, k, gap)
    total = graph.column_sum(weights)
    nobody = graph.add("Equal", total, zero)
    mean = graph.add("Div", graph.column_sum(graph.add("Mul", values, weights)), graph.add("Where", nobody, one, total))
    return graph.add("Where", nobody, graph.constant(float(answers.mean())), mean)


def _note(graph: Graph, condition: str) -> None:
    said = "rows have two donors as near as each other, with different values; use SimpleImputer"
    graph.note_tie(graph.cast(condition, DOUBLE), "KNNImputer", said)


def _note_ties(graph: Graph, squares: str, last: str, noise: str, answers: Floats, k: int, gap: str) -> None:
    """Note gaps whose last donor is as far away as the next one, if these have different values."""
    low = graph.add("Sub", graph.add("Mul", last, graph.constant(1 - TIED)), noise)
    high = graph.add("Add", graph.add("Mul", last, graph.constant(1 + TIED)), noise)
    within = graph.add("LessOrEqual", squares, high)
    tied = graph.add("And", within, graph.add("GreaterOrEqual", squares, low))
    said, axis = graph.constant(answers[None]), graph.constant([1], np.int64)
    most = graph.add("ReduceMax", graph.add("Where", tied, said, graph.constant(-np.inf)), axis, keepdims=1)
    least = graph.add("ReduceMin", graph.add("Where", tied, said, graph.constant(np.inf)), axis, keepdims=1)
    more = graph.add("Greater", graph.column_sum(graph.cast(within, DOUBLE)), graph.constant(float(k)))
    _note(graph, graph.add("And", gap, graph.add("And", more, graph.add("Less", least, most))))


def _refuse_ties(rows: Floats, gaps: npt.NDArray[np.bool_], k: int) -> None:
    """Refuse a table in which many gaps have two donors as far away as each other with different values.

    Raises
    ------
    ExportError
        If more than ``MOST_TIED`` of the training rows' gaps have: which of them fills it is chance.
    """
    from sklearn.metrics.pairwise import nan_euclidean_distances

    tied = total = 0
    with_gaps = np.flatnonzero(gaps.any(axis=1))[:CHECKED_ROWS]
    if not len(with_gaps):
        return
    squares = nan_euclidean_distances(rows[with_gaps], rows, squared=True)
    for row, distances in zip(with_gaps, squares, strict=True):
        for place in np.flatnonzero(gaps[row] & ~gaps.all(axis=0)):
            donors = ~gaps[:, place] & np.isfinite(distances)
            total += 1
            if donors.sum() <= k:
                continue
            near, answers = distances[donors], rows[donors, place]
            last = np.partition(near, k - 1)[k - 1]
            room = TIED * last + NOISE * float(np.nansum(rows[row] ** 2))
            border = np.abs(near - last) <= room
            tied += bool((near <= last + room).sum() > k and np.ptp(answers[border]) > 0)
    if tied > MOST_TIED * total:
        raise ExportError(
            f"{tied} of {total} gaps of the training rows have two donors at the same distance with different values, and "
            "which of them counts depends on scikit-learn's search; scale the columns, use ones with finer values, or "
            "SimpleImputer"
        )
