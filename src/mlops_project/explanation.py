"""Why a row is predicted as it is: Shapley values by sampling through the runtime, and curves of one feature.

The value of a set of features is the model's answer for the row where all others are a reference row's (interventional,
Janzing et al. 2020). A walk switches the features one by one, in random order, from a reference row to the row in question,
and each switch's change of the answer counts for its feature (Castro et al. 2009; Štrumbelj & Kononenko 2014). Each order is
walked in both directions, which lowers the variance. The changes of a walk add up to its ends' difference, so the
contributions add up exactly, however few the walks. It works for every model that the runtime runs, in bounded time. Where a
model is a sum of trees, ``tree_reasons`` computes the same values without sampling.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.contract import Feature
from mlops_project.runtime import Floats, Predictions, Runtime, encode
from mlops_project.tree_reasons import Inputs, find_owners, open_tree_reasons

BUDGET_SECONDS = 0.25  # the default forest: 3,000 walks, within 0.0009 of the exact values (the largest is 0.054)
ROUNDS = 4  # of walks where results may not depend on time, such as files
CLOSE = 1e-9  # to the answer, or to 1: what trees may differ from the runtime
MAX_ROWS = 16_384  # that the model sees at once
MIN_BACKGROUND, MAX_BACKGROUND = 10, 100  # reference rows that a row is compared with; fewer if the model is slow and wide
CURVE_POINTS = 60
SEED = 0

Row = dict[str, Any]


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
        float64 ``(n_features,)``: standard error that sampling leaves in each contribution; 0 where nothing was sampled.
    walks
        How many walks were taken; 0 where nothing was sampled.
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
    return Explainer(runtime, rows).explain(own, output, budget_seconds)


class Explainer:
    """Explains rows of one model beside reference rows; what its trees need for that is worked out once.

    Parameters
    ----------
    runtime
        The model.
    background
        The reference rows to compare with, encoded, see ``runtime.encode``; at most ``MAX_BACKGROUND`` are.
    """

    def __init__(self, runtime: Runtime, background: Inputs) -> None:
        self._runtime, self._background = runtime, (background[0][:MAX_BACKGROUND], background[1][:MAX_BACKGROUND])
        self._trees = open_tree_reasons(runtime, self._background)
        self._links: dict[int, tuple[float, float] | None] = {}

    def is_exact(self, output: int) -> bool:
        """Whether nothing of an output is sampled."""
        if self._trees is None:
            return False
        if output not in self._links:
            self._links[output] = self._find_link(output)
        return self._links[output] is not None

    def explain(
        self, row: Inputs, output: int, budget_seconds: float = BUDGET_SECONDS, rounds: int | None = None
    ) -> Explanation:
        """Compute the contributions of one row's features, without sampling where the model allows it.

        Parameters
        ----------
        row, output, budget_seconds, rounds
            As for ``explain_encoded``.

        Raises
        ------
        ContractError
            If the model has no answer for the row, a reference row or a mixture of them.
        """
        exact = self._explain_exactly(row, output)
        return exact or explain_encoded(self._runtime, row, self._background, output, budget_seconds, rounds)

    def _explain_exactly(self, row: Inputs, output: int) -> Explanation | None:
        if not self.is_exact(output):
            return None
        link = self._links[output]
        moved = None if self._trees is None else self._trees.explain(row, output)
        if self._trees is None or link is None or moved is None:
            return None
        base, factor = link
        found, answer = moved * factor, float(take_output(self._runtime.run(*row), output)[0])
        if abs(base + float(found.sum()) - answer) > CLOSE * max(1.0, abs(answer)):
            return None
        return Explanation(base, answer, found, np.zeros(len(found)), 0, self._trees.rows)

    def _find_link(self, output: int) -> tuple[float, float] | None:
        """Return the mean answer to the reference rows, and what a unit of the trees' sum adds to an answer.

        None if an answer is no such multiple of the sum, as a probability of boosted trees is not, or the trees are too many.
        """
        assert self._trees is not None
        rows = self._background[0][: self._trees.rows], self._background[1][: self._trees.rows]
        answers = take_output(self._runtime.run(*rows), output)
        sums = self._trees.compute_sums(output)
        if sums is None or sums.max() == sums.min():
            return None
        low, high = sums.argmin(), sums.argmax()
        factor = float((answers[high] - answers[low]) / (sums[high] - sums[low]))
        missed = np.abs(answers - answers[low] - (sums - sums[low]) * factor).max()
        return (float(answers.mean()), factor) if missed <= CLOSE * max(1.0, np.abs(answers).max()) else None


def explain_encoded(
    runtime: Runtime,
    row: Inputs,
    background: Inputs,
    output: int,
    budget_seconds: float = BUDGET_SECONDS,
    rounds: int | None = None,
) -> Explanation:
    """Compute them by sampling, for rows that are encoded already, see ``runtime.encode``.

    Parameters
    ----------
    row
        One row.
    background
        The reference rows to compare with; at most ``MAX_BACKGROUND`` are.
    output, budget_seconds
        As for ``explain_row``.
    rounds
        So many rounds of walks are done from all reference rows, however long they take, so that the result does not depend on
        the machine; None: as many as the time allows.

    Raises
    ------
    ContractError
        If the model has no answer for a mixture of the row and a reference row.
    """
    walker = _Walker(runtime, row, background, output, budget_seconds if rounds is None else np.inf)
    deadline = time.perf_counter() + budget_seconds
    rng = np.random.default_rng(SEED)
    pairs: list[Floats] = []  # per round: (n_background, n_features), mean of an order and its reverse
    latest = 0.0
    while not pairs or (time.perf_counter() + latest < deadline if rounds is None else len(pairs) < rounds):
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
        n_rows = len(answers) if affordable >= len(answers) else max(MIN_BACKGROUND, int(affordable))
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
