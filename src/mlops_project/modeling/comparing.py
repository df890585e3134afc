"""Two models on the same rows: metrics, slices, rows that changed sides, importance; differences with what chance allows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest
from scipy.stats import t as student

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.modeling.differences import Changed, ChangedRow, ColumnPair, Differences, MetricPair, SlicePair
from mlops_project.modeling.evaluation import decode_target, group_rows
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.importance import compute_importance
from mlops_project.modeling.metrics import Scored, bootstrap, compute_metrics, find_metric, higher_is_better, interval
from mlops_project.runtime import Floats, Predictions, Runtime

ERROR = 0.05  # over all slices together
LEAST_ROWS = 30  # of a slice
MAX_COLUMNS = 40  # whose slices are looked at
MAX_SHOWN = 10  # rows that changed sides
IMPORTANCE_ROWS, IMPORTANCE_REPEATS = 500, 3


@dataclass(frozen=True)
class Side:
    """One of the two: the model, and the common rows with its answers, classes in the order of its own contract."""

    name: str
    runtime: Runtime
    held_out: HeldOut

    @property
    def contract(self) -> Contract:
        """The model's."""
        return self.runtime.contract


def compute_differences(a: Side, b: Side, config: Config, *, origin: str, notes: Sequence[str] = ()) -> Differences:
    """Compare two models that answer the same question on the same rows, in the same order.

    Parameters
    ----------
    config
        For the bootstrap, its confidence and the seed.
    """
    ours, theirs = a.held_out.score(a.contract), _reorder(b, a.contract)
    costs = theirs.costs or ours.costs
    told = "B" if theirs.costs else "A"
    notes = [*notes, *([f"wrong answers cost what {told} says, for both"] if ours.costs != theirs.costs else [])]
    ours, theirs = (replace(scored, costs=costs) for scored in (ours, theirs))
    slices, tried = _compare_slices(ours, theirs, _join(a, b))
    metric, importance = _compare_importance(a, b, config)
    return Differences(
        a=a.name,
        b=b.name,
        rows=len(ours.truth),
        origin=origin,
        metrics=tuple(_compare_metrics(ours, theirs, a.contract, config)),
        slices=slices,
        slices_tried=tried,
        changed=_find_changed(ours, theirs, a.contract, a.held_out.features.index),
        importance_metric=metric,
        importance=importance,
        notes=tuple(notes),
    )


def _reorder(side: Side, contract: Contract) -> Scored:
    """Return a model's answers with the classes in the order of the other one's contract."""
    own = side.held_out.score(side.contract)
    if side.contract.classes == contract.classes or not contract.is_classification:
        return own
    places = [side.contract.classes.index(label) for label in contract.classes]
    ranks = np.argsort(places)
    answers = Predictions(ranks[own.indices], own.probabilities[:, places])
    return replace(own, predictions=answers, truth=ranks[own.truth])


def _join(a: Side, b: Side) -> pd.DataFrame:
    """Return the columns of both, each once."""
    more = [name for name in b.held_out.features if name not in a.held_out.features]
    other = b.held_out.features[more].set_axis(a.held_out.features.index)
    return pd.concat([a.held_out.features, other], axis=1)


def _compare_metrics(ours: Scored, theirs: Scored, contract: Contract, config: Config) -> Iterator[MetricPair]:
    settings, task = config.evaluation, contract.task
    one, two = compute_metrics(ours, task), compute_metrics(theirs, task)
    names = [name for name in one if name in two]
    rounds = settings.bootstrap_rounds or 500
    drawn, factor = bootstrap(
        (ours, theirs), [find_metric(name, task) for name in names], rounds, np.random.default_rng(config.random_state)
    )
    for place, name in enumerate(names):
        difference = two[name] - one[name]
        moved = drawn[1, place] - drawn[0, place]
        low = high = difference
        if np.isfinite(moved).any():
            low, high = interval(moved, difference, factor, confidence=settings.confidence)
        better = "" if low <= 0 <= high else "b" if (difference > 0) == higher_is_better(name) else "a"
        yield MetricPair(name=name, a=one[name], b=two[name], difference=difference, low=low, high=high, better=better)


def lose(scored: Scored) -> Floats:
    """Return each row's loss: Brier score, or squared error."""
    if not scored.n_classes:
        return np.asarray(scored.error**2)
    if scored.n_classes == 2:
        return np.asarray((scored.probabilities[:, 1] - scored.truth) ** 2)
    squares = np.einsum("ij,ij->i", scored.probabilities, scored.probabilities)
    return np.asarray(squares - 2 * scored.chosen + 1)


def _compare_slices(ours: Scored, theirs: Scored, features: pd.DataFrame) -> tuple[tuple[SlicePair, ...], int]:
    """Return the slices in which the mean losses differ beyond chance over all of them, and how many were looked at."""
    one, two = lose(ours), lose(theirs)
    found, p_values = [], []
    for column in features.columns[:MAX_COLUMNS]:
        names, groups = group_rows(features[column])
        for index, name in enumerate(names):
            rows = np.flatnonzero(groups == index)
            if not LEAST_ROWS <= len(rows) < len(one):
                continue
            moved = two[rows] - one[rows]
            error = moved.std(ddof=1) / np.sqrt(len(rows))
            p_values.append(2 * float(student.sf(abs(moved.mean()) / error, len(rows) - 1)) if error > 0 else 1.0)
            means = float(one[rows].mean()), float(two[rows].mean())
            found.append(SlicePair(column=str(column), value=name, rows=len(rows), a=means[0], b=means[1], p_value=1.0))
    adjusted = _correct(np.array(p_values))
    kept = [msgspec.structs.replace(item, p_value=float(p)) for item, p in zip(found, adjusted, strict=True) if p < ERROR]
    return tuple(sorted(kept, key=lambda item: item.p_value)), len(found)


def _correct(p_values: Floats) -> Floats:
    """Return p-values after Holm's correction (1979)."""
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)) if len(p_values) else p_values
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _find_changed(ours: Scored, theirs: Scored, contract: Contract, numbers: pd.Index) -> Changed:
    if not contract.is_classification:
        values = [np.asarray(scored.predictions.values) for scored in (ours, theirs)]
        by = values[1] - values[0]
        order = np.argsort(-np.abs(by), kind="stable")[:MAX_SHOWN]
        values = [np.asarray(ours.truth), *values]
        shown = [_show(numbers[row], [part[row] for part in values], by[row]) for row in order.tolist() if by[row]]
        return Changed(rows=int((by != 0).sum()), mended=0, broken=0, p_value=1.0, shown=tuple(shown))
    rows = np.flatnonzero(ours.indices != theirs.indices)
    mended, broken = (int((scored.indices[rows] == scored.truth[rows]).sum()) for scored in (theirs, ours))
    p_value = float(binomtest(mended, mended + broken).pvalue) if mended + broken else 1.0
    column = 1 if contract.task == "binary" else None
    moved = _move(ours, theirs, rows, column)
    order = np.argsort(-np.abs(moved), kind="stable")[:MAX_SHOWN]
    labels = [decode_target(part[rows], contract) for part in (np.asarray(ours.truth), ours.indices, theirs.indices)]
    shown = [_show(numbers[rows[place]], [part[place] for part in labels], moved[place]) for place in order.tolist()]
    return Changed(rows=len(rows), mended=mended, broken=broken, p_value=p_value, shown=tuple(shown))


def _move(ours: Scored, theirs: Scored, rows: npt.NDArray[np.int64], column: int | None) -> Floats:
    """Return how far the probability moved: of the positive class, of several that of the class that B says."""
    places = theirs.indices[rows] if column is None else np.full(len(rows), column)
    one, two = (np.take_along_axis(scored.probabilities[rows], places[:, None], axis=1)[:, 0] for scored in (ours, theirs))
    return np.asarray(two - one)


def _show(row: Any, said: Sequence[Any], by: Any) -> ChangedRow:
    truth, a, b = (value.item() if hasattr(value, "item") else value for value in said)
    return ChangedRow(row=int(row), truth=truth, a=a, b=b, by=float(by))


def _compare_importance(a: Side, b: Side, config: Config) -> tuple[str, tuple[ColumnPair, ...]]:
    settings = msgspec.structs.replace(
        config.evaluation, importance_rows=IMPORTANCE_ROWS, importance_repeats=IMPORTANCE_REPEATS
    )
    chosen = msgspec.structs.replace(config, evaluation=settings)
    found = [compute_importance(side.runtime, side.held_out, side.contract, chosen) for side in (a, b)]
    tables = [dict(zip(item.names, item.means.tolist(), strict=True)) if item else {} for item in found]
    names = dict.fromkeys(name for table in tables for name in table)
    pairs = [ColumnPair(name=name, a=tables[0].get(name), b=tables[1].get(name)) for name in names]
    pairs.sort(key=lambda pair: -max(pair.a or 0.0, pair.b or 0.0))
    return (found[0].metric if found[0] else ""), tuple(pairs)
