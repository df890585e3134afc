"""What training writes about the model's quality on the held-out rows, for monitoring to compare with and estimate from."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from mlops_project.bundle import Metadata
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.modeling.evaluation import Evaluation
from mlops_project.modeling.intervals import bootstrap_metrics
from mlops_project.modeling.metrics import Scored, Truth, compute_metrics, score_rows
from mlops_project.modeling.side_work import SideWork
from mlops_project.reference.calibration import Calibrator, fit_calibrator
from mlops_project.reference.direct_loss import MIN_ROWS, ErrorModel, fit_error_model
from mlops_project.reference.expected import compute_expected
from mlops_project.reference.sensitivity import measure_sensitivity, measure_value_sensitivity
from mlops_project.runtime import Predictions

MIN_CALIBRATION_ROWS = 30
MAX_CALIBRATION_ROWS = 20_000
ROUNDS, CONFIDENCE = 200, 0.95
NORMAL_WIDTH = 1.96  # a 95 % interval reaches this many standard errors to each side


class ReferenceMetric(msgspec.Struct, frozen=True):
    """A metric on the held-out rows.

    Attributes
    ----------
    value
        In the metric's unit.
    error
        Its standard error, by bootstrap.
    """

    value: float
    error: float


class ReferencePerformance(msgspec.Struct, frozen=True, kw_only=True):
    """How good the model is on the held-out rows, and what an estimate without labels needs. Part of ``profile.json``.

    Attributes
    ----------
    rows
        How many held-out rows.
    metrics
        Metric → value and standard error; those that the held-out rows define.
    priors
        Share of each class in the truth; empty for regression.
    calibrator
        Classes: of the held-out scores. None with fewer than ``MIN_CALIBRATION_ROWS`` rows.
    error_model
        Regression: of the error's size. None with fewer than ``direct_loss.MIN_ROWS`` rows.
    estimated
        Metric → estimate for the held-out rows themselves; later estimates are compared with it and with ``metrics``.
    checked
        The same from calibration that had not seen the row it judges: its distance from ``metrics`` is the estimate's error
        where nothing changed.
    sensitivity
        Metric → variance of that error per unit of χ² divergence of the mix of rows; empty in bundles of an older training.
    rarest
        How many held-out rows have a wrong answer, or are of the rarest class; of values all rows. 0 in bundles of an older
        training.
    """

    rows: int
    metrics: dict[str, ReferenceMetric]
    priors: tuple[float, ...] = ()
    calibrator: Calibrator | None = None
    error_model: ErrorModel | None = None
    estimated: dict[str, float] = {}
    checked: dict[str, float] = {}
    sensitivity: dict[str, float] = {}
    rarest: float = 0.0


def build_reference_performance(
    columns: Mapping[str, Any],
    predictions: Predictions,
    truth: Truth,
    contract: Contract,
    config: Config,
    *,
    seed: int,
    evaluation: Evaluation | None = None,
    side: SideWork | None = None,
) -> ReferencePerformance:
    """Measure the model on the held-out rows, and fit what estimates rest on: calibrator or error model.

    The metrics are of the model's own answers, and no held-out row was used in training; calibration changes none of them.

    Parameters
    ----------
    columns
        Feature name → ``(n_rows,)`` of the held-out rows, as ``Runtime.predict`` takes them.
    predictions, truth
        Of the same rows; int64 class indices or float64 values.
    seed
        Of bootstrap and folds.
    evaluation
        Of the same rows, if there is one: its bootstrap is not done again.
    side
        Notes what could not be fitted, and is left out; None: that is said nowhere.
    """
    side = side or SideWork()
    scored = score_rows(predictions, truth, contract)
    rng = np.random.default_rng(seed)
    n_rows, metrics = len(scored.truth), measure(scored, contract, seed, evaluation)
    if not contract.is_classification:
        basis = ReferencePerformance(rows=n_rows, metrics=metrics, rarest=n_rows)
        if n_rows < MIN_ROWS:
            return basis
        sized = side.attempt(
            "the model of the error's size was",
            lambda: _fit_errors(basis, columns, scored, contract, config, seed, side),
            without="so performance cannot be estimated before labels come",
        )
        return sized or basis
    priors = tuple((np.bincount(scored.truth, minlength=len(contract.classes)) / max(n_rows, 1)).tolist())
    if n_rows < MIN_CALIBRATION_ROWS:
        return ReferencePerformance(rows=n_rows, metrics=metrics, priors=priors)
    if n_rows > MAX_CALIBRATION_ROWS:
        kept = np.sort(rng.choice(n_rows, MAX_CALIBRATION_ROWS, replace=False))
        scored, columns = scored.take(kept), {name: np.asarray(values)[kept] for name, values in columns.items()}
    wrong = [1 - metrics["accuracy"].value] if "accuracy" in metrics else []
    rarest = max(1.0, n_rows * min([*priors, *wrong], default=1.0))
    basis = ReferencePerformance(rows=n_rows, metrics=metrics, priors=priors, rarest=rarest)
    calibrated = side.attempt(
        "the calibration of the scores was",
        lambda: _calibrate(basis, columns, scored, contract, rng),
        without="so performance cannot be estimated before labels come",
    )
    return calibrated or basis


def _fit_errors(
    basis: ReferencePerformance,
    columns: Mapping[str, Any],
    scored: Scored,
    contract: Contract,
    config: Config,
    seed: int,
    side: SideWork,
) -> ReferencePerformance:
    """Add the model of the error's size, and how far it errs on other mixes of the held-out rows."""
    model, missed = fit_error_model(columns, scored.predictions, scored.truth, contract, config, seed=seed, side=side)
    found = measure_value_sensitivity(columns, missed, contract, np.random.default_rng(seed))
    if "rmse" in found:  # of squares so far; a root errs by half of that, divided by itself
        found["rmse"] = found["rmse"] / (4 * model.square.mean) if model.square.mean else 0.0
    return msgspec.structs.replace(basis, error_model=model, sensitivity=found)


def _calibrate(
    basis: ReferencePerformance, columns: Mapping[str, Any], scored: Scored, contract: Contract, rng: np.random.Generator
) -> ReferencePerformance:
    """Add the calibrator, what it estimates for the held-out rows themselves, and how far it errs on other mixes of them."""
    indices, scores = scored.indices, scored.probabilities
    calibrator, outside = fit_calibrator(scores, scored.truth, rng)
    if not np.isfinite(np.asarray(calibrator.curves)).all():
        raise ValueError("the curves are not finite")
    return msgspec.structs.replace(
        basis,
        calibrator=calibrator,
        estimated=compute_expected(indices, scores, calibrator.calibrate(scores)),
        checked=compute_expected(indices, scores, outside),
        sensitivity=measure_sensitivity(columns, scored, outside, contract, rng),
    )


def measure(scored: Scored, contract: Contract, seed: int, evaluation: Evaluation | None) -> dict[str, ReferenceMetric]:
    """Return metric → value and bootstrap standard error, for every metric that these rows define.

    Parameters
    ----------
    scored
        Predictions and truth of the held-out rows.
    contract
        For the task.
    seed
        Of the bootstrap.
    evaluation
        Of the same rows; its metrics and errors are taken where it has them. None to compute both.
    """
    values = evaluation.metrics if evaluation else compute_metrics(scored, contract.task)
    errors = evaluation.errors if evaluation else {}
    if not errors:
        errors = bootstrap_metrics(scored, values, contract.task, rounds=ROUNDS, confidence=CONFIDENCE, seed=seed).errors
    return {name: ReferenceMetric(values[name], error) for name, error in errors.items()}


def read_reference_performance(metadata: Metadata) -> ReferencePerformance:
    """Return the metrics that an older bundle, without a profile, recorded: live metrics can be judged, none estimated.

    Standard errors come from the recorded intervals; metrics without one are left out.
    """
    width = 2 * NORMAL_WIDTH
    metrics = {
        name: ReferenceMetric(metadata.metrics[name], (high - low) / width)
        for name, (low, high) in metadata.metric_intervals.items()
        if name in metadata.metrics
    }
    return ReferencePerformance(rows=metadata.test_rows, metrics=metrics)
