"""Why a row is predicted as it is: Shapley values by sampling through the runtime, and curves of one feature.

The value of a set of features is the model's answer for the row where all others are a reference row's (interventional,
Janzing et al. 2020). A walk switches the features one by one, in random order, from a reference row to the row in question,
and each switch's change of the answer counts for its feature (Castro et al. 2009; Štrumbelj & Kononenko 2014). Each order is
walked in both directions, which lowers the variance. The changes of a walk add up to its ends' difference, so the
contributions add up exactly, however few the walks. It works for every model that the runtime runs, in bounded time.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.contract import DATETIME_PARTS, Contract, Feature
from mlops_project.runtime import Floats, Predictions, Runtime, encode

BUDGET_SECONDS = 0.25  # the default forest: 3,000 walks, within 0.0009 of the exact values (the largest is 0.054)
MAX_ROWS = 16_384  # that the model sees at once
MIN_BACKGROUND, MAX_BACKGROUND = 10, 100  # reference rows that a row is compared with; fewer if the model is slow and wide
CURVE_POINTS = 60
SEED = 0

Row = dict[str, Any]
Inputs = tuple[Floats, npt.NDArray[np.object_]]  # the model's numbers and texts


@dataclass(frozen=True)
class Explanation:
    """How a row's answer comes about.

    Attributes
    ----------
    base
        Mean answer for the reference rows: a probability in [0, 1], or a value in the target's unit.
    answer
        The answer for the row.
    contributions
        float64 ``(n_features,)`` in contract order; ``base`` and they add up to ``answer``.
    errors
        float64 ``(n_features,)``: standard error that sampling leaves in each contribution.
    walks
        How many walks were taken.
    rows
        How many reference rows they start from.
    """

    base: float
    answer: float
    contributions: Floats
    errors: Floats
    walks: int
    rows: int


def explain_row(
    runtime: Runtime, row: Row, background: dict[str, Any], output: int, budget_seconds: float = BUDGET_SECONDS
) -> Explanation:
    """Compute the contributions of a row's features to one output.

    Parameters
    ----------
    row
        Feature name → value.
    background
        Feature name → array ``(n_rows,)`` of the reference rows to compare with.
    output
        Index of the class; not looked at for regression.
    budget_seconds
        A further round of walks starts only if it would end within this time, judged by the last round; one is always done.

    Raises
    ------
    ContractError
        If the row does not fit the model, or the model has no answer for a mixture of it and a reference row.
    """
    contract = runtime.contract
    rows = encode({name: background[name][:MAX_BACKGROUND] for name in contract.names}, contract)
    own = encode({name: [row[name]] for name in contract.names}, contract)
    return explain_encoded(runtime, own, rows, output, budget_seconds)


def explain_encoded(
    runtime: Runtime, row: Inputs, background: Inputs, output: int, budget_seconds: float = BUDGET_SECONDS
) -> Explanation:
    """Do the same for rows that are encoded already, see ``runtime.encode``.

    Parameters
    ----------
    row
        One row.
    background
        The reference rows to compare with; at most ``MAX_BACKGROUND`` are.

    Raises
    ------
    ContractError
        If the model has no answer for a mixture of the row and a reference row.
    """
    walker = _Walker(runtime, row, background, output, budget_seconds)
    deadline = time.perf_counter() + budget_seconds
    rng = np.random.default_rng(SEED)
    pairs: list[Floats] = []  # per round: (n_background, n_features), mean of an order and its reverse
    latest = 0.0
    while not pairs or time.perf_counter() + latest < deadline:
        started = time.perf_counter()
        pairs.append(walker.walk_round(rng))
        latest = time.perf_counter() - started
    changes = np.stack(pairs)
    means = changes.mean(axis=1)  # each round compares with every reference row once
    contributions = means.mean(axis=0)
    if len(means) > 1:
        errors = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    else:
        errors = changes[0].std(axis=0) / np.sqrt(changes.shape[1])
    return Explanation(
        walker.base, walker.answer, contributions, errors, 2 * changes.shape[0] * changes.shape[1], walker.n_rows
    )


class _Walker:
    """Walks from reference rows to a row, many at once."""

    def __init__(self, runtime: Runtime, row: Inputs, background: Inputs, output: int, budget_seconds: float) -> None:
        contract = runtime.contract
        names = contract.names
        self._runtime, self._output, self._n_features = runtime, output, len(names)
        rows = background[0][:MAX_BACKGROUND], background[1][:MAX_BACKGROUND]
        self._row = row
        self._owners = find_owners(contract)
        answers, seconds = self._time(*rows)
        affordable = budget_seconds / max(2 * (len(names) + 1) * seconds / len(answers), 1e-12)
        n_rows = min(len(answers), max(MIN_BACKGROUND, int(affordable)))
        self._rows = rows[0][:n_rows], rows[1][:n_rows]
        self.base, self.n_rows = float(answers[:n_rows].mean()), n_rows
        self.answer = float(self._ask(*self._row)[0])

    def _ask(self, numbers: Floats, texts: npt.NDArray[np.object_]) -> Floats:
        return take_output(self._runtime.run(numbers, texts), self._output)

    def _time(self, numbers: Floats, texts: npt.NDArray[np.object_]) -> tuple[Floats, float]:
        """Return the answers and the seconds they take, the shorter of two attempts: the first may find cold caches."""
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            answers = self._ask(numbers, texts)
            seconds.append(time.perf_counter() - started)
        return answers, min(seconds)

    def walk_round(self, rng: np.random.Generator) -> Floats:
        """Return the changes ``(n_background, n_features)``, mean of one random order per reference row and its reverse."""
        n_rows, n_features = len(self._rows[0]), self._n_features
        orders = rng.permuted(np.tile(np.arange(n_features), (n_rows, 1)), axis=1)
        changes = np.empty((n_rows, n_features))
        at_once = max(1, MAX_ROWS // (2 * (n_features + 1)))
        for start in range(0, n_rows, at_once):
            part = slice(start, start + at_once)
            there, back = self._walk(part, orders[part]), self._walk(part, orders[part, ::-1])
            changes[part] = (there + back) / 2
        return changes

    def _walk(self, part: slice, orders: npt.NDArray[np.int64]) -> Floats:
        """Return each feature's change on one walk per reference row of the part."""
        n_walks, n_features = orders.shape
        places = np.argsort(orders, axis=1)  # at which step a feature is switched
        steps = np.arange(n_features + 1)
        switched = places[:, None, :] < steps[None, :, None]  # (walks, steps, features)
        mixed = [
            np.where(switched[:, :, owners], theirs[0], ours[part][:, None, :]).reshape(len(orders) * len(steps), len(owners))
            for owners, theirs, ours in zip(self._owners, self._row, self._rows, strict=True)
        ]
        answers = self._ask(mixed[0], mixed[1]).reshape(n_walks, n_features + 1)
        changes: Floats = np.take_along_axis(np.diff(answers, axis=1), places, axis=1)
        return changes


def find_owners(contract: Contract) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the index of the feature behind each column of ``numbers`` and of ``texts``; a date owns several."""
    numbers: list[int] = []
    texts: list[int] = []
    for index, feature in enumerate(contract.features):
        if feature.is_text:
            texts.append(index)
        else:
            numbers += [index] * (len(DATETIME_PARTS) if feature.type == "datetime" else 1)
    return np.array(numbers, np.int64), np.array(texts, np.int64)


def take_output(predictions: Predictions, output: int) -> Floats:
    """Return one class's probabilities, or the values, ``(n_rows,)``."""
    if predictions.probabilities is None:
        return np.asarray(predictions.values, np.float64)
    return predictions.probabilities[:, output]


def compute_curve(runtime: Runtime, row: Row, name: str) -> tuple[list[Any], Predictions]:
    """Return the values to try for one feature, and the model's answers to them, everything else as in the row.

    Parameters
    ----------
    runtime
        The model.
    row
        Feature name → value.
    name
        Of the feature.

    Raises
    ------
    ContractError
        If the row does not fit the model.
    """
    values = list_values(runtime.contract.feature(name), row[name])
    columns = {other: [value] * len(values) for other, value in row.items()} | {name: values}
    return values, runtime.predict(columns)


def list_values(feature: Feature, current: Any) -> list[Any]:
    """Return values to try, sorted: the training range, widened to hold the current value, or every choice; None is missing."""
    if feature.type == "boolean" or feature.is_text:
        known: list[Any] = [False, True] if feature.type == "boolean" else list(feature.categories[:CURVE_POINTS])
        others = [] if current is None or current in known else [current]
        return [*known, *others, *([None] if feature.nullable or current is None else [])]
    if feature.minimum is None or feature.maximum is None:
        return [current]
    if feature.type == "datetime":
        return [_to_iso(seconds) for seconds in np.linspace(feature.minimum, feature.maximum, CURVE_POINTS)]
    ends = [feature.minimum, feature.maximum, *([] if current is None else [float(current)])]
    if feature.type == "integer" and max(ends) - min(ends) < CURVE_POINTS:
        return list(range(int(min(ends)), int(max(ends)) + 1))
    points = np.unique([*np.linspace(min(ends), max(ends), CURVE_POINTS), *([] if current is None else [float(current)])])
    values: list[Any] = np.unique(points.round()).astype(int).tolist() if feature.type == "integer" else points.tolist()
    return values


def _to_iso(seconds: float) -> str:
    return str(np.datetime64(round(seconds), "s"))
