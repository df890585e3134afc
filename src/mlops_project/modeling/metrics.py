"""Metrics that take many sets of row weights at once: one code for the value, its bootstrap and the paired bootstrap.

A set of weights says how often each row was drawn; ones give the metric itself. The tests compare every metric with
scikit-learn's. A class that no row of a resample has is left out of that resample's mean, and a metric that says nothing
there (a ranking with one class, R² of a constant) is NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from mlops_project.contract import Contract, Task
from mlops_project.errors import ConfigError, suggest
from mlops_project.runtime import Floats, Predictions

Truth = npt.NDArray[Any]  # int64 class indices or float64 values, (n_rows,)
Metric = Callable[["Scored", Floats], Floats]

CALIBRATION_BINS = 10
MAX_BOOTSTRAP_ROWS = 20_000
CHUNK_WEIGHTS = 1_000_000  # weights in memory at once: 8 MB, and a few arrays of that size


@dataclass(frozen=True)
class Scored:
    """Predictions beside the truth.

    Attributes
    ----------
    predictions
        What the model said.
    truth
        int64 class indices or float64 values, ``(n_rows,)``.
    n_classes
        0 for regression.
    costs
        Of a wrong yes and a wrong no; None if nobody said so.
    weights
        How much each row counts in metrics and their bootstrap, ``(n_rows,)``; None: all the same.
    """

    predictions: Predictions
    truth: Truth
    n_classes: int
    costs: tuple[float, float] | None = None
    weights: Floats | None = None

    def take(self, rows: npt.NDArray[np.int64]) -> "Scored":
        """Return some of the rows."""
        whole, weights = self.predictions, None if self.weights is None else self.weights[rows]
        if whole.values is not None:
            return Scored(Predictions(values=whole.values[rows]), self.truth[rows], 0, None, weights)
        answers = Predictions(self.indices[rows], self.probabilities[rows])
        return Scored(answers, self.truth[rows], self.n_classes, self.costs, weights)

    def without_weights(self) -> "Scored":
        """Return the same rows, of which each counts the same."""
        return replace(self, weights=None)

    def count_equal(self) -> float:
        """Return how many rows of one weight would tell as much (Kish 1965): at most as many as there are."""
        if self.weights is None:
            return float(len(self.truth))
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Predicted class indices ``(n_rows,)``."""
        return np.asarray(self.predictions.indices, np.int64)

    @property
    def probabilities(self) -> Floats:
        """Predicted probabilities ``(n_rows, n_classes)``."""
        return np.asarray(self.predictions.probabilities, np.float64)

    @property
    def chosen(self) -> Floats:
        """Probability of the true class ``(n_rows,)``."""
        return np.take_along_axis(self.probabilities, np.asarray(self.truth, np.int64)[:, None], axis=1)[:, 0]

    @property
    def correct(self) -> Floats:
        """1 where the predicted class is the true one, else 0 ``(n_rows,)``."""
        return np.asarray(self.indices == self.truth, np.float64)

    @property
    def error(self) -> Floats:
        """Regression: prediction minus truth ``(n_rows,)``."""
        error: Floats = np.asarray(self.predictions.values, np.float64) - self.truth
        return error

    @property
    def judged_classes(self) -> list[int]:
        """The classes that ranked and per-class metrics average over: the positive one, or all of several."""
        return [1] if self.n_classes == 2 else list(range(self.n_classes))


def score_rows(predictions: Predictions, truth: Truth, contract: Contract, weights: Floats | None = None) -> Scored:
    """Put predictions and truth together, what wrong answers cost, and how much each row counts; None: all the same."""
    return Scored(predictions, np.asarray(truth), len(contract.classes), contract.costs, weights)


def _mean(values: Floats, weights: Floats) -> Floats:
    mean: Floats = weights @ values / weights.sum(axis=1)
    return mean


def _sum_by(groups: npt.NDArray[np.int64], n_groups: int, values: Floats, weights: Floats) -> Floats:
    """Sum ``weights * values`` over each group's rows: float64 ``(n_sets, n_groups)``."""
    members = csr_array((values, (groups, np.arange(len(groups)))), shape=(n_groups, len(groups)))
    return np.asarray((members @ weights.T).T)


def _class_mean(values: Floats, present: npt.NDArray[np.bool_]) -> Floats:
    """Average over the classes (columns) that are present; NaN where none is."""
    return _divide(np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1), np.nan)


def _divide(numerator: Floats, denominator: Floats, otherwise: float = 0.0) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, otherwise), where=denominator > 0)


def accuracy(scored: Scored, weights: Floats) -> Floats:
    """Share of rows with the right label."""
    return _mean(scored.correct, weights)


def _rates(scored: Scored, weights: Floats) -> tuple[Floats, Floats, Floats, npt.NDArray[np.bool_]]:
    classes, ones = scored.judged_classes, np.ones(len(scored.truth))
    hits, actual, predicted = (
        _sum_by(groups, scored.n_classes, values, weights)[:, classes]
        for groups, values in ((scored.truth, scored.correct), (scored.truth, ones), (scored.indices, ones))
    )
    return hits, actual, predicted, (actual + predicted) > 0


def precision(scored: Scored, weights: Floats) -> Floats:
    """Right among those predicted; binary: of the positive class, else the classes' mean."""
    hits, _, predicted, present = _rates(scored, weights)
    return _class_mean(_divide(hits, predicted), present)


def recall(scored: Scored, weights: Floats) -> Floats:
    """Found among those that are; binary: of the positive class, else the classes' mean."""
    hits, actual, _, present = _rates(scored, weights)
    return _class_mean(_divide(hits, actual), present)


def f1(scored: Scored, weights: Floats) -> Floats:
    """Harmonic mean of precision and recall; binary: of the positive class, else the classes' mean."""
    hits, actual, predicted, present = _rates(scored, weights)
    return _class_mean(_divide(2 * hits, actual + predicted), present)


def _ranked(scored: Scored, weights: Floats, curve: Callable[[Floats, Floats], Floats]) -> Floats:
    """Apply a curve's area to each judged class: positives and negatives of each group of equal scores, highest first."""
    columns, present = [], []
    for index in scored.judged_classes:
        is_positive = np.asarray(scored.truth == index, np.float64)
        groups = _rank(scored.probabilities[:, index], is_positive)
        n_groups = int(groups.max()) + 1
        positives = _sum_by(groups, n_groups, is_positive, weights)
        negatives = _sum_by(groups, n_groups, 1 - is_positive, weights)
        columns.append(curve(positives, negatives))
        present.append((positives.sum(axis=1) > 0) & (negatives.sum(axis=1) > 0))
    return _class_mean(np.column_stack(columns), np.column_stack(present))


def _rank(score: Floats, is_positive: Floats) -> npt.NDArray[np.int64]:
    """Number the rows by score, highest 0, equal scores alike; neighbours without a positive share a number, too."""
    values, place = np.unique(-score, return_inverse=True)
    holds_positive = np.bincount(place, is_positive, len(values)) > 0
    starts = np.append(False, holds_positive[1:] | holds_positive[:-1])
    return np.asarray(np.cumsum(starts)[place], np.int64)


def roc_auc(scored: Scored, weights: Floats) -> Floats:
    """Area under the ROC curve, from probabilities; several classes: the mean of each against the rest."""

    def area(positives: Floats, negatives: Floats) -> Floats:
        above = np.cumsum(positives, axis=1) - positives / 2  # of a tie, half is above
        return _divide((negatives * above).sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1))

    return _ranked(scored, weights, area)


def pr_auc(scored: Scored, weights: Floats) -> Floats:
    """Average precision: precision weighted by the steps in recall; several classes: the classes' mean."""

    def area(positives: Floats, negatives: Floats) -> Floats:
        found, drawn = np.cumsum(positives, axis=1), np.cumsum(positives + negatives, axis=1)
        return _divide((positives * _divide(found, drawn)).sum(axis=1), found[:, -1])

    return _ranked(scored, weights, area)


def log_loss(scored: Scored, weights: Floats) -> Floats:
    """Mean negative log-probability of the true class, in nats; probabilities are clipped at float64's epsilon."""
    return _mean(-np.log(np.clip(scored.chosen, np.finfo(np.float64).eps, 1.0)), weights)


def brier(scored: Scored, weights: Floats) -> Floats:
    """Mean squared error of the probabilities (Brier 1950); two classes: of the positive one, as is usual."""
    if scored.n_classes == 2:
        return _mean((scored.probabilities[:, 1] - scored.truth) ** 2, weights)
    squares = np.einsum("ij,ij->i", scored.probabilities, scored.probabilities)
    return _mean(squares - 2 * scored.chosen + 1, weights)


def calibration_error(scored: Scored, weights: Floats) -> Floats:
    """Expected calibration error over ten equal bins (Naeini et al. 2015).

    Two classes: of the positive class's probability; more: of the predicted class's (Guo et al. 2017). A perfectly
    calibrated model scores above 0 by chance, the more so the fewer the rows.
    """
    if scored.n_classes == 2:
        said, happened = scored.probabilities[:, 1], np.asarray(scored.truth, np.float64)
    else:
        said, happened = np.take_along_axis(scored.probabilities, scored.indices[:, None], axis=1)[:, 0], scored.correct
    gaps = np.abs(_sum_by(calibration_bins(said), CALIBRATION_BINS, said - happened, weights))
    return np.asarray(gaps.sum(axis=1) / weights.sum(axis=1))


def calibration_bins(said: Floats) -> npt.NDArray[np.int64]:
    """Return the bin, 0 to ``CALIBRATION_BINS - 1``, of each probability ``(n_rows,)``."""
    return np.clip((said * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)


def mae(scored: Scored, weights: Floats) -> Floats:
    """Mean absolute error, in the target's unit."""
    return _mean(np.abs(scored.error), weights)


def rmse(scored: Scored, weights: Floats) -> Floats:
    """Root of the mean squared error, in the target's unit."""
    return np.sqrt(_mean(scored.error**2, weights))


def r2(scored: Scored, weights: Floats) -> Floats:
    """Share of the target's variance explained; NaN where a resample's target is constant."""
    centred = scored.truth - scored.truth.mean()  # a shift, so that the difference of squares below keeps its digits
    squares = _mean(centred**2, weights)
    total = squares - _mean(centred, weights) ** 2
    total[total < 1e-10 * squares] = 0.0  # rounding
    return 1 - _divide(_mean(scored.error**2, weights), total, np.nan)


def expected_cost(scored: Scored, weights: Floats) -> Floats:
    """Mean cost of an answer, in the unit of ``decision.threshold.cost``; NaN where nobody said what wrong answers cost."""
    if scored.costs is None:
        return np.full(len(weights), np.nan)
    wrong_yes, wrong_no = ((scored.indices == label) & (scored.truth == 1 - label) for label in (1, 0))
    return _mean(scored.costs[0] * wrong_yes + scored.costs[1] * wrong_no, weights)


CLASSIFICATION: dict[str, Metric] = {
    metric.__name__: metric for metric in (accuracy, precision, recall, f1, roc_auc, pr_auc, log_loss, brier, calibration_error)
}
REGRESSION: dict[str, Metric] = {"mae": mae, "rmse": rmse, "r2": r2}
DECISIONS: dict[str, Metric] = {"expected_cost": expected_cost}  # of two classes, where costs are known
LOSSES = {"expected_cost", "log_loss", "brier", "calibration_error", "mae", "rmse"}
PROPER: dict[Task, str] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}  # honest answers are best
BOUNDED = "brier"  # proper, too, and no single row decides it: a wrong answer given with certainty costs 36 in log loss
PRIMARY: dict[Task, str] = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}


def metrics_of(task: Task) -> dict[str, Metric]:
    """Return the metrics of a task by name."""
    return REGRESSION if task == "regression" else CLASSIFICATION


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the metric is the better one."""
    return name not in LOSSES


def find_metric(name: str, task: Task) -> Metric:
    """Return a metric by name.

    Raises
    ------
    ConfigError
        If the task has no such metric.
    """
    known = metrics_of(task) | (DECISIONS if task == "binary" else {})
    if name not in known:
        raise ConfigError(f"{task} models have no metric {name!r}{suggest(name, list(known))}; known: {', '.join(known)}")
    return known[name]


def compute_metric(name: str, scored: Scored, task: Task) -> float:
    """Return a metric's value on all rows; NaN where it is undefined."""
    weights = np.ones((1, len(scored.truth))) if scored.weights is None else scored.weights[None, :]
    return float(find_metric(name, task)(scored, weights)[0])


def compute_metrics(scored: Scored, task: Task) -> dict[str, float]:
    """Return every metric of the task that these rows define."""
    names = [*metrics_of(task), *(DECISIONS if scored.costs is not None else ())]
    values = {name: compute_metric(name, scored, task) for name in names}
    return {name: value for name, value in values.items() if np.isfinite(value)}


def resample(n_rows: int, rounds: int, rng: np.random.Generator) -> Floats:
    """Draw bootstrap weights ``(rounds, n_rows)``: how often each row is drawn (Efron 1979)."""
    drawn = rng.integers(n_rows, size=(rounds, n_rows)) + np.arange(rounds)[:, None] * n_rows
    counts = np.bincount(drawn.ravel(), minlength=rounds * n_rows)
    return np.ascontiguousarray(counts.reshape(rounds, n_rows).T, np.float64).T  # as _sum_by multiplies fastest


def bootstrap(scored: tuple[Scored, ...], metrics: list[Metric], rounds: int, rng: np.random.Generator) -> tuple[Floats, float]:
    """Compute metrics of one or more models on the same resamples: ``values[1] - values[0]`` is their paired bootstrap.

    Over ``MAX_BOOTSTRAP_ROWS`` rows, that many are drawn; deviations must then be multiplied by the returned factor,
    ``sqrt(m / n)`` (m-out-of-n bootstrap, Bickel, Götze & van Zwet 1997); ``interval`` does so.

    Parameters
    ----------
    scored
        Models on the same rows in the same order.
    metrics
        Functions of this module, see ``find_metric``.

    Returns
    -------
    values, factor
        float64 ``(len(scored), len(metrics), rounds)``, NaN where a resample does not define the metric, and the factor, at
        most 1.

    Raises
    ------
    ValueError
        If the models were judged on different rows.
    """
    n_rows = len(scored[0].truth)
    if any(not np.array_equal(item.truth, scored[0].truth) for item in scored[1:]):
        raise ValueError("a paired bootstrap needs models that were judged on the same rows in the same order")
    used = min(n_rows, MAX_BOOTSTRAP_ROWS)
    if used < n_rows:
        rows = np.sort(rng.choice(n_rows, used, replace=False))
        scored = tuple(item.take(rows) for item in scored)
    chunk = max(1, CHUNK_WEIGHTS // used)
    parts = []
    for start in range(0, rounds, chunk):
        weights = resample(used, min(chunk, rounds - start), rng)
        if scored[0].weights is not None:
            weights = weights * scored[0].weights
        parts.append(np.array([[metric(item, weights) for metric in metrics] for item in scored]))
    return np.concatenate(parts, axis=2), float(np.sqrt(used / n_rows))


def interval(drawn: Floats, value: float, factor: float, *, confidence: float) -> tuple[float, float]:
    """Return the bootstrap interval around a value.

    The resamples' quantiles, moved so that their median lies on the value: resampling adds noise, which shifts metrics that
    take absolute values (calibration error), and an interval that lies beside its own value would mislead.

    Parameters
    ----------
    drawn
        The metric, or a difference of two, per resample ``(rounds,)``; NaN where undefined.
    factor
        What ``bootstrap`` returned.
    """
    low, centre, high = np.nanquantile(drawn, [(1 - confidence) / 2, 0.5, (1 + confidence) / 2])
    return float(value + (low - centre) * factor), float(value + (high - centre) * factor)


def standard_errors(drawn: Floats) -> Floats:
    """Return the standard deviation of resampled metrics ``(n_metrics, rounds)``; NaN where fewer than two are defined."""
    known = np.isfinite(drawn)
    count = known.sum(axis=1)
    mean = np.where(known, drawn, 0).sum(axis=1) / np.maximum(count, 1)
    squares = np.where(known, (drawn - mean[:, None]) ** 2, 0).sum(axis=1)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)
