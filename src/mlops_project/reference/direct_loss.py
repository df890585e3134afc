"""Direct loss estimation for values: a model of the error's size, learned from the held-out rows.

A line gives |error| and error² for a predicted size. It is fitted to the held-out rows and to sizes that come from models
that did not see the row. So rows like the held-out ones get exactly the held-out error, however rough the model of the size
is, and where rows shift, the line makes up for sizes that lie too near the mean. The line's own error is White's (1980),
right for errors of unequal spread.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ExportError
from mlops_project.modeling.side_work import SideWork
from mlops_project.prediction_log.layout import PREDICTION
from mlops_project.proof import prove_model
from mlops_project.runtime import Floats, Predictions, Runtime

MIN_ROWS = 200  # held-out rows; with fewer the error's size cannot be learned
FOLDS = 5
MIN_SKILL = 0.01  # share of the variance of |error| that the model must explain, cross-fitted
MIN_SIZE = 0.05  # of the mean size: no row is taken to be nearly without error
PARAMS = {"max_iter": 120, "learning_rate": 0.05, "max_leaf_nodes": 4, "min_samples_leaf": 30, "early_stopping": False}


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A power of the error, given the same power of the size: ``mean + slope * (size ** power - centre)``.

    Attributes
    ----------
    mean, centre
        Means on the held-out rows: of the error's power and of the size's.
    slope
        0 where the size is constant.
    covariance
        Of mean and slope: variance, covariance, variance.
    noise
        Variance around the line, as a share of ``size ** (2 * power)``.
    """

    mean: float
    centre: float
    slope: float
    covariance: tuple[float, float, float]
    noise: float

    def estimate(self, powers: Floats, n_rows: int) -> tuple[float, float]:
        """Return the mean power of the error of ``n_rows`` rows, and its standard error, from some of them ``(n_kept,)``."""
        away = float(powers.mean()) - self.centre
        level = max(self.mean + self.slope * away, MIN_SIZE * self.mean)
        first, both, second = self.covariance
        learned = first + 2 * away * both + away**2 * second
        labels = self.noise * float((powers**2).mean()) / n_rows
        sampling = self.slope**2 * float(powers.var()) * max(1 / len(powers) - 1 / n_rows, 0.0)
        return level, float(np.sqrt(learned + labels + sampling))


class ErrorModel(msgspec.Struct, frozen=True, kw_only=True):
    """How large the model's errors are.

    Attributes
    ----------
    model
        ONNX of features and prediction → |error|; empty where nothing beats the constant.
    mean_size
        Mean of |error| on the held-out rows, in the target's unit.
    skill
        Share of the variance of |error| explained, cross-fitted; at most 1.
    absolute, square
        The levels of |error| and error².
    """

    model: bytes
    mean_size: float
    skill: float
    absolute: Level
    square: Level


class SizeModel:
    """An ``ErrorModel`` that is loaded.

    Parameters
    ----------
    error
        What training wrote.
    contract
        The contract of the model whose errors these are.
    """

    def __init__(self, error: ErrorModel, contract: Contract) -> None:
        self._floor, self._constant = MIN_SIZE * error.mean_size, error.mean_size
        if error.model:
            prove_model(error.model, extend_contract(contract))
        self._runtime = Runtime(error.model, extend_contract(contract)) if error.model else None

    def predict(self, columns: Mapping[str, Any], values: Floats) -> Floats:
        """Return the size of the error ``(n_rows,)``, in the target's unit, for features and predictions of the same rows."""
        if self._runtime is None:
            return np.full(len(values), self._constant)
        sizes = self._runtime.predict({**columns, PREDICTION: values}).values
        return np.asarray(np.maximum(np.asarray(sizes), self._floor))


def extend_contract(contract: Contract) -> Contract:
    """Return the contract of the error's model: the same features and the prediction."""
    prediction = Feature(PREDICTION, "float", default=0.0)
    return Contract((*contract.features, prediction), f"|error| of {contract.target}", "regression")


def fit_error_model(
    columns: Mapping[str, Any],
    predictions: Predictions,
    truth: Floats,
    contract: Contract,
    config: Config,
    *,
    seed: int,
    side: SideWork,
) -> tuple[ErrorModel, dict[str, Floats]]:
    """Fit on held-out rows; the size is constant where a model explains less than ``MIN_SKILL``, or cannot be exported.

    Parameters
    ----------
    columns
        Feature name → ``(n_rows,)``, as ``Runtime.predict`` takes them.
    predictions, truth
        Of the same rows; float64 values ``(n_rows,)`` in the target's unit, at least ``MIN_ROWS``.
    contract
        Of the model whose errors these are.
    config
        The pipeline's settings; estimator, parameters and calibration are replaced.
    seed
        Of the folds.
    side
        Notes why the size is constant, where the library could not fit it.

    Returns
    -------
    model, missed
        The model, and what it misses of each row's error (``mae``) and of its square (``rmse``), by sizes that did not see it.

    Raises
    ------
    ValueError
        If the errors are too large to be squared.
    """
    values = np.asarray(predictions.values, np.float64)
    errors = np.abs(values - truth)
    mean = float(errors.mean())
    if not np.isfinite((errors**2).sum()):
        raise ValueError(f"errors of up to {errors.max():.3g} cannot be squared")
    fitted = None
    if mean > 0:
        fitted = side.attempt(
            "the dependence of the error's size on the columns was",
            lambda: _fit_sizes(columns, values, errors, contract, config, seed),
            without="so every row is taken to have the mean error in estimates without labels",
        )
    total = float(((errors - mean) ** 2).sum())
    skill = 1 - float(((errors - fitted[1]) ** 2).sum()) / total if fitted and total > 0 else 0.0
    if fitted is None or skill < MIN_SKILL:
        model, sizes = b"", np.full(len(errors), mean or 1.0)
    else:
        model, sizes = fitted[0], np.maximum(fitted[1], MIN_SIZE * mean)
    absolute, missed = _fit_level(errors, sizes)
    square, missed_squares = _fit_level(errors**2, sizes**2)
    fitted_model = ErrorModel(model=model, mean_size=mean, skill=max(skill, 0.0), absolute=absolute, square=square)
    return fitted_model, {"mae": missed, "rmse": missed_squares}


def _fit_level(errors: Floats, sizes: Floats) -> tuple[Level, Floats]:
    """Fit the line by least squares to powers of errors and of cross-fitted sizes ``(n_rows,)``; return what it misses, too."""
    n_rows, mean, centre = len(errors), float(errors.mean()), float(sizes.mean())
    away = sizes - centre
    spread = float(away @ away)
    towards = away / spread if spread > 1e-12 * n_rows * centre**2 else np.zeros(n_rows)  # less is rounding
    slope = float(towards @ errors)
    rest = errors - mean - slope * away
    first, both, second = float(rest @ rest) / n_rows**2, float(rest**2 @ towards) / n_rows, float(rest**2 @ towards**2)
    noise = float((rest**2).sum() / (sizes**2).sum())
    return Level(mean=mean, centre=centre, slope=slope, covariance=(first, both, second), noise=noise), rest


def _fit_sizes(
    columns: Mapping[str, Any], values: Floats, errors: Floats, contract: Contract, config: Config, seed: int
) -> tuple[bytes, Floats] | None:
    """Return the exported model of |error|, and sizes by models that did not see the row; None if it cannot be exported."""
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    from mlops_project.modeling.export import export_onnx
    from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline, with_plain_model

    extended = extend_contract(contract)
    frame = pd.DataFrame({name: columns[name] for name in contract.names} | {PREDICTION: values})
    pipeline = build_pipeline(extended, with_plain_model(config, "hist_gradient_boosting", PARAMS))
    sizes = np.empty(len(errors))
    target = pd.Series(errors)
    fold = np.random.default_rng(seed).permutation(len(errors)) % FOLDS
    with threadpool_limits(1):  # trees this small wait for each other: on busy cores 10 s instead of 0.2 s
        for number in range(FOLDS):
            inside, outside = fold != number, fold == number
            fit_pipeline(part := clone(pipeline), frame[inside], target[inside])
            sizes[outside] = part.predict(frame[outside])
        fit_pipeline(pipeline, frame, target)
    try:
        return export_onnx(pipeline, extended), sizes
    except ExportError:
        return None
