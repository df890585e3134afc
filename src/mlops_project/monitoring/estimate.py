"""Performance without labels: CBPE for classes, direct loss estimation for values, with intervals for the realised metric."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from mlops_project.contract import Contract
from mlops_project.modeling.metrics import LOSSES, resample, standard_errors
from mlops_project.reference.calibration import Calibrator
from mlops_project.reference.direct_loss import ErrorModel, SizeModel
from mlops_project.reference.expected import NAMES, compute_expected_sets, draw_labels
from mlops_project.reference.performance import ReferencePerformance
from mlops_project.reference.sensitivity import Shift
from mlops_project.runtime import Floats, Predictions

MAX_ROWS = 50_000  # kept of a window; the sample's own error is then under 0.3 % of accuracy
MAX_CELLS, MIN_SAMPLE_ROWS = 200_000, 5_000  # rows times classes: with many classes fewer rows are kept
SPREAD_CELLS, MIN_SPREAD_ROWS = 40_000, 1_000  # the same for what standard errors are simulated on
LABEL_DRAWS = 60
MIN_ROWS = 30
# A 95 % interval reaches this many standard errors to each side. Measured, not derived: in runs of benchmarks/monitor/cbpe.py
# 1.96 held 92-94 %; on simulated calibrated scores 1.96 holds 96 % and this 98 %.
WIDTH = 2.1
UNSURE = 2.0  # times the variance that held-out rows show a shift to bring: they show a few directions of many
# Variances grow by 1 + FEW / rows of what is rarest, a wrong answer or a class: what a handful of held-out rows show of it is
# less sure than they show. Chosen on twelve tables, where intervals held 94 % without it and 95 % with it
FEW = 5
LEAST_TELLING = 30  # held-out rows, weighted as the window's mix; with fewer nothing is estimated
MOST_OUTSIDE = 0.25  # share of rows with values that the held-out rows hardly have, above which nothing is estimated


@dataclass(frozen=True)
class Estimate:
    """One metric, estimated.

    Attributes
    ----------
    name, value
        The metric and its estimate, in the metric's unit.
    low, high
        95 % interval for the metric that the window's own labels would show.
    error
        Its standard error: the labels' chance, the calibration's or error model's own error, and the sample's.
    """

    name: str
    value: float
    low: float
    high: float
    error: float


class Estimator:
    """Takes a window's rows batch by batch and keeps a bounded uniform sample of them, whatever the batches' sizes.

    Each row draws a number, and the rows with the smallest numbers stay: the same rows in the same order give the same
    sample, however they are cut into batches; a row that is not kept is neither copied nor scored.

    Parameters
    ----------
    reference
        From the bundle's profile.
    contract
        The model's.
    seed
        Of the sample and of the simulated labels.

    Attributes
    ----------
    rows
        How many rows have been taken so far.
    shift
        How their mix differs from the held-out rows; whoever counts the window sets it. None: not at all.
    """

    def __init__(self, reference: ReferencePerformance, contract: Contract, *, seed: int) -> None:
        self.rows = 0
        self.shift: Shift | None = None
        self._reference, self._calibrator, self._errors = reference, reference.calibrator, reference.error_model
        self._sizes = SizeModel(reference.error_model, contract) if reference.error_model else None
        self._limit = min(MAX_ROWS, max(MIN_SAMPLE_ROWS, MAX_CELLS // max(len(contract.classes), 1)))
        self._seed, self._rng = seed, np.random.default_rng(seed)
        self._keys: list[Floats] = []
        self._kept: list[Floats] = []
        self._bound = np.inf

    def add(self, columns: Mapping[str, Any], predictions: Predictions) -> None:
        """Take a batch.

        Parameters
        ----------
        columns
            Feature name → ``(n_rows,)``, as ``Runtime.predict`` takes them. Only a regression's error model reads them; may be
            empty for classes.
        predictions
            What the model answered; rows with a probability or value that is not finite are left out.
        """
        answers = _stack(predictions)
        known = np.isfinite(answers).all(axis=1)
        self.rows += int(known.sum())
        keys = np.full(len(answers), np.inf)
        keys[known] = self._rng.random(int(known.sum()))
        chosen = np.flatnonzero(keys < self._bound)
        if not len(chosen):
            return
        kept = answers[chosen]
        if self._sizes is not None:
            sizes = self._sizes.predict({name: np.asarray(values)[chosen] for name, values in columns.items()}, kept[:, 0])
            kept = np.column_stack([kept, sizes])
        self._keys.append(keys[chosen])
        self._kept.append(kept)
        if sum(map(len, self._keys)) > 2 * self._limit:
            self._prune()

    def _prune(self) -> None:
        keys, kept = np.concatenate(self._keys), np.concatenate(self._kept)
        order = np.argsort(keys)[: self._limit]
        self._keys, self._kept = [keys[order]], [kept[order]]
        if len(order) == self._limit:
            self._bound = float(keys[order[-1]])

    @property
    def is_outside(self) -> bool:
        """Whether too many rows have values that the held-out rows hardly have."""
        return self.shift is not None and self.shift.outside > MOST_OUTSIDE

    @property
    def telling_rows(self) -> float:
        """How many held-out rows of the window's mix would tell as much as those that there are do, weighted (Kish 1965)."""
        return self._reference.rows / (1 + (self.shift.divergence if self.shift else 0.0))

    @property
    def is_refused(self) -> bool:
        """Whether the held-out rows say too little of such a window."""
        return self.is_outside or (self.shift is not None and self.telling_rows < LEAST_TELLING)

    def expect_rarest(self) -> float | None:
        """Return how many rows of its rarest class the window is expected to have; None for values, or without calibrator."""
        if self._calibrator is None or self.rows < MIN_ROWS:
            return None
        self._prune()
        scores = self._kept[0][:MIN_SAMPLE_ROWS, 1:]  # sorted by their random numbers: any part is a sample
        return float(self._calibrator.calibrate(scores).mean(axis=0).min()) * self.rows

    def _widen(self, name: str, error: float) -> float:
        """Add to a metric's standard error what the calibration's own bias, the shift of the mix and few held-out rows bring.

        The bias is what an estimate by calibrations that had not seen the held-out rows missed of the measured value there,
        beyond the chance of those rows.
        """
        measured, checked = self._reference.metrics.get(name), self._reference.checked.get(name)
        missed = 0.0 if measured is None or checked is None else max((checked - measured.value) ** 2 - measured.error**2, 0.0)
        moved = UNSURE * self._reference.sensitivity.get(name, 0.0) * (self.shift.divergence if self.shift else 0.0)
        rarest = self._reference.rarest * self.telling_rows / max(self._reference.rows, 1)
        return float(np.sqrt((error**2 + missed + moved) * (1 + (FEW / rarest if rarest else 0.0))))

    def estimate(self) -> tuple[Estimate, ...]:
        """Estimate every metric that can be.

        None from fewer than ``MIN_ROWS`` rows, without calibrator or error model, or where the window ``is_refused``.
        """
        if self.rows < MIN_ROWS or (self._calibrator is None and self._errors is None) or self.is_refused:
            return ()
        self._prune()
        kept, rng = self._kept[0], np.random.default_rng(self._seed)
        if self._calibrator is not None:
            return _estimate_classes(kept, self.rows, self._calibrator, rng, self._widen)
        assert self._errors is not None
        return _estimate_values(kept[:, 1], self.rows, self._errors, self._widen)


def _stack(predictions: Predictions) -> Floats:
    """Return one row of floats per answer: predicted class and probabilities, or the value."""
    if predictions.indices is None or predictions.probabilities is None:
        return np.asarray(predictions.values, np.float64)[:, None]
    return np.column_stack([predictions.indices, predictions.probabilities]).astype(np.float64)


def _estimate_classes(
    kept: Floats, n_rows: int, calibrator: Calibrator, rng: np.random.Generator, widen: Callable[[str, float], float]
) -> tuple[Estimate, ...]:
    indices, scores = kept[:, 0].astype(np.int64), kept[:, 1:]
    values = compute_expected_sets(indices, scores, calibrator.calibrate(scores)[None])[:, 0]
    used = min(len(kept), max(MIN_SPREAD_ROWS, SPREAD_CELLS // scores.shape[1]))
    errors = _spread(kept[:used], len(kept), n_rows, calibrator, rng)  # sorted by their random numbers: any part is a sample
    return tuple(
        _limit(name, float(value), widen(name, float(error)))
        for name, value, error in zip(NAMES, values, errors, strict=True)
        if np.isfinite(value) and np.isfinite(error)
    )


def _spread(kept: Floats, sample_rows: int, n_rows: int, calibrator: Calibrator, rng: np.random.Generator) -> Floats:
    """Return the standard error of every metric of ``NAMES``.

    It has three parts: the labels' chance, which shrinks with the rows of the window; the sample's, which shrinks with the rows
    of the sample; and the calibration's, which does not shrink.
    """
    indices, scores, used = kept[:, 0].astype(np.int64), kept[:, 1:], len(kept)
    replicates = calibrator.replicate(scores)
    probabilities = replicates.mean(axis=0)
    calibration = standard_errors(compute_expected_sets(indices, scores, replicates))
    labels = standard_errors(compute_expected_sets(indices, scores, draw_labels(probabilities, LABEL_DRAWS, rng)))
    variance = calibration**2 + labels**2 * used / n_rows
    if n_rows > sample_rows:
        weights = resample(used, LABEL_DRAWS, rng)[:, :, None] * probabilities
        sampling = standard_errors(compute_expected_sets(indices, scores, weights))
        variance += sampling**2 * (used / sample_rows - used / n_rows)
    return np.asarray(np.sqrt(variance))


def _estimate_values(
    sizes: Floats, n_rows: int, model: ErrorModel, widen: Callable[[str, float], float]
) -> tuple[Estimate, ...]:
    """Estimate MAE and RMSE from the sizes of the errors ``(n_kept,)``."""
    absolute, error = model.absolute.estimate(sizes, n_rows)
    squares, square_error = model.square.estimate(sizes**2, n_rows)
    root = float(np.sqrt(squares))
    return (
        _limit("mae", absolute, widen("mae", error)),
        _limit("rmse", root, widen("rmse", square_error / (2 * root) if root else 0.0)),
    )


def _limit(name: str, value: float, error: float) -> Estimate:
    """Put the interval around the value.

    Near an end of its range a metric is skewed: the interval then reaches as far inwards as it does on the scale of log-odds
    (losses: logarithms), and as far outwards as on its own scale, so that a window without a single error lies within.
    """
    width = WIDTH * error
    low, high = max(value - width, 0.0), value + width
    if name in LOSSES:
        return Estimate(name, value, low, max(high, value * float(np.exp(width / value))) if value > 0 else high, error)
    if 0 < value < 1:
        low = min(low, float(expit(logit(value) - width / (value * (1 - value)))))
    return Estimate(name, value, low, min(high, 1.0), error)
