"""Calibrated probabilities of the held-out scores, bagged: their spread says how far the calibration itself may be off.

Several classes are first scaled together: one slope and an offset per class on the log-scores (Guo et al. 2017, between
temperature and vector scaling). Then each class, or the positive one of two, gets a curve: isotonic (Zadrozny & Elkan 2002)
or a beta calibration (Kull et al. 2017) that is shrunk to the identity; which, the rows outside each bootstrap sample decide.
All of it is kept as numbers, so that reading it takes an interpolation and no scikit-learn.

Measured, mean error of the estimated accuracy: two classes, nine pairs of table and model, 114 held-out rows: isotonic alone
0.033, this 0.025; 10,000 rows: equal. Ten classes of digits, a forest, 360 rows: isotonic per class 0.015, this 0.009.
"""

from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, softmax

from mlops_project.runtime import Floats

SMALLEST = 1e-4  # scores are clipped to [SMALLEST, 1 - SMALLEST]: forests answer 0 and 1
LIMIT = float(logit(1 - SMALLEST))
GRID = np.linspace(-LIMIT, LIMIT, 93)  # log-odds, 0.2 apart: at most 0.05 in probability
REPLICATES, MIN_REPLICATES, MAX_CURVES = 30, 10, 300
CHUNK_ROWS = 4_096  # times replicates times classes: what is in memory at once
MAX_SCALING_ROWS = 5_000  # plenty for a slope and an offset per class
MIN_CLASS_ROWS = 5  # fewer of a class, or of the rest: no isotonic steps from them
SHRINKAGE = 1.0  # precision of the priors around the identity

Curve = Callable[[Floats], Floats]


class Calibrator(msgspec.Struct, frozen=True, kw_only=True):
    """Score → probability.

    Attributes
    ----------
    methods
        Per calibrated class: ``isotonic`` or ``beta``. A binary task calibrates its positive class only.
    scaling
        Slope and one offset per class: ``(n_replicates, 1 + n_classes)``; empty for a binary task.
    curves
        Log-odds of the probability at each point of ``GRID``: ``(n_replicates, n_calibrated_classes, len(GRID))``.
    """

    methods: tuple[str, ...]
    scaling: list[list[float]]
    curves: list[list[list[float]]]

    def replicate(self, scores: Floats) -> Floats:
        """Calibrate with every replicate.

        Parameters
        ----------
        scores
            The model's probabilities ``(n_rows, n_classes)``.

        Returns
        -------
        numpy.ndarray
            float64 ``(n_replicates, n_rows, n_classes)``; each row sums to 1.
        """
        curves = np.asarray(self.curves)
        if self.scaling:
            judged = np.stack([scale(scores, np.asarray(scaling)) for scaling in self.scaling])
        else:
            judged = np.broadcast_to(scores[:, 1:], (len(curves), len(scores), 1))
        place = (to_log_odds(judged) + LIMIT) / (GRID[1] - GRID[0])
        left = np.minimum(place.astype(np.int64), len(GRID) - 2)
        share, rounds, columns = place - left, np.arange(len(curves))[:, None, None], np.arange(judged.shape[2])
        return _complete(expit((1 - share) * curves[rounds, columns, left] + share * curves[rounds, columns, left + 1]))

    def calibrate(self, scores: Floats) -> Floats:
        """Calibrate ``(n_rows, n_classes)`` with the mean of the replicates."""
        parts = [self.replicate(scores[start : start + CHUNK_ROWS]).mean(axis=0) for start in range(0, len(scores), CHUNK_ROWS)]
        return np.concatenate(parts) if parts else np.empty_like(scores)


def to_log_odds(scores: Floats) -> Floats:
    """Return the clipped scores' log-odds, same shape."""
    return np.asarray(logit(np.clip(scores, SMALLEST, 1 - SMALLEST)))


def scale(scores: Floats, scaling: Floats) -> Floats:
    """Apply a slope and offsets ``(1 + n_classes,)`` to the logarithms of ``(n_rows, n_classes)``."""
    return np.asarray(softmax(scaling[0] * np.log(np.maximum(scores, SMALLEST)) + scaling[1:], axis=1))


def _complete(calibrated: Floats) -> Floats:
    """Add the negative class's probability, or make several classes' sum to 1."""
    if calibrated.shape[-1] == 1:
        return np.concatenate([1 - calibrated, calibrated], axis=-1)
    return np.asarray(calibrated / calibrated.sum(axis=-1, keepdims=True))


def fit_calibrator(scores: Floats, truth: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Calibrator, Floats]:
    """Fit on held-out rows.

    Parameters
    ----------
    scores
        The model's probabilities ``(n_rows, n_classes)``.
    truth
        Class indices ``(n_rows,)``.

    Returns
    -------
    calibrator, outside
        The calibrator, and each row's probabilities ``(n_rows, n_classes)`` from the replicates that did not see it.
    """
    n_rows, n_classes = scores.shape
    judged = [1] if n_classes == 2 else list(range(n_classes))
    rounds = max(MIN_REPLICATES, min(REPLICATES, MAX_CURVES // len(judged)))
    draws = np.stack([np.bincount(rng.integers(n_rows, size=n_rows), minlength=n_rows) for _ in range(rounds)])
    scaling, scaled = np.empty((0, 0)), [scores] * rounds
    if n_classes > 2:
        rows = rng.permutation(n_rows)[:MAX_SCALING_ROWS]
        scaling = np.round([_fit_scaling(scores[rows], truth[rows], draw[rows]) for draw in draws], 4)
        scaled = [scale(scores, part) for part in scaling]
    fitted = [
        _fit_class(np.stack([to_log_odds(part[:, index]) for part in scaled]), np.asarray(truth == index, np.float64), draws)
        for index in judged
    ]
    curves = np.round(np.stack([curve for _, curve, _ in fitted], axis=1), 3)
    methods = tuple(method for method, _, _ in fitted)
    calibrator = Calibrator(methods=methods, scaling=scaling.tolist(), curves=curves.tolist())
    return calibrator, _complete(np.column_stack([outside for _, _, outside in fitted]))


def _fit_scaling(scores: Floats, truth: npt.NDArray[np.int64], weights: npt.NDArray[np.int64]) -> Floats:
    """Fit a slope and an offset per class by penalised likelihood; return ``(1 + n_classes,)``."""
    logs, n_classes = np.log(np.maximum(scores, SMALLEST)), scores.shape[1]
    wanted = np.eye(n_classes)[truth]
    identity = np.append(1.0, np.zeros(n_classes))

    def slopes(at: Floats) -> tuple[Floats, Floats]:
        p = softmax(at[0] * logs + at[1:], axis=1)
        excess, weighted = (wanted - p) * weights[:, None], p * weights[:, None]
        mean = (p * logs).sum(axis=1, keepdims=True)
        gradient = np.append((excess * logs).sum(), excess.sum(axis=0)) - SHRINKAGE * (at - identity)
        curvature = np.empty((n_classes + 1, n_classes + 1))
        curvature[0, 0] = (weighted * (logs - mean) ** 2).sum()
        curvature[0, 1:] = curvature[1:, 0] = (weighted * (logs - mean)).sum(axis=0)
        curvature[1:, 1:] = np.diag(weighted.sum(axis=0)) - p.T @ weighted
        return gradient, curvature + SHRINKAGE * np.eye(n_classes + 1)

    return _climb(slopes, identity)


def _climb(slopes: Callable[[Floats], tuple[Floats, Floats]], start: Floats) -> Floats:
    """Find the top of a concave function by Newton's method, from its gradient and its curvature's negative."""
    at = start
    for _ in range(50):
        step = np.linalg.solve(*reversed(slopes(at)))
        largest = float(np.abs(step).max())
        at = at + step / max(1.0, largest / 2)  # far from the top a whole step may overshoot
        if largest < 1e-8:
            break
    return at


def _fit_class(x: Floats, y: Floats, draws: npt.NDArray[np.int64]) -> tuple[str, Floats, Floats]:
    """Fit one class against the rest.

    Parameters
    ----------
    x, draws
        Log-odds of the score, and how often each row was drawn ``(n_replicates, n_rows)``.
    y
        1 for the class, else 0 ``(n_rows,)``.

    Returns
    -------
    method, curves, outside
        The better one, its curves ``(n_replicates, n_grid)``, and each row's probability from those that did not see it.
    """
    enough = min(y.sum(), len(y) - y.sum()) >= MIN_CLASS_ROWS
    unseen = draws == 0
    unseen |= ~unseen.any(axis=0)  # a row that all have seen is judged by all
    best: tuple[float, str, Floats, Floats] | None = None
    for name, fit in {"beta": _fit_beta, "isotonic": _fit_isotonic}.items():
        if name == "isotonic" and not enough:
            continue
        curves = [
            fit(place[draw > 0], y[draw > 0], draw[draw > 0].astype(np.float64)) for place, draw in zip(x, draws, strict=True)
        ]
        answers = np.stack([curve(place) for curve, place in zip(curves, x, strict=True)])
        outside = np.average(answers, axis=0, weights=unseen)
        clipped = np.clip(outside, 1e-3, 1 - 1e-3)
        loss = -float(np.mean(y * np.log(clipped) + (1 - y) * np.log(1 - clipped)))
        if best is None or loss < best[0]:
            best = loss, name, np.stack([to_log_odds(curve(GRID)) for curve in curves]), outside
    assert best is not None
    return best[1:]


def _fit_beta(x: Floats, y: Floats, weights: Floats) -> Curve:
    """Fit ``log-odds + a + b ln s - c ln(1 - s)`` by Newton's method, with a normal prior on a, b and c around zero.

    Parameters
    ----------
    x, y, weights
        Log-odds of the score, 0 or 1, and how often the row counts ``(n_rows,)``.
    """

    def columns(at: Floats) -> Floats:
        return np.column_stack([np.ones(len(at)), np.log(expit(at)), -np.log(expit(-at))])

    seen = columns(x)

    def slopes(beta: Floats) -> tuple[Floats, Floats]:
        p = expit(x + seen @ beta)
        curvature = (seen.T * (weights * p * (1 - p))) @ seen
        return seen.T @ (weights * (y - p)) - SHRINKAGE * beta, curvature + SHRINKAGE * np.eye(3)

    beta = _climb(slopes, np.zeros(3))
    return lambda at: np.asarray(expit(at + columns(at) @ beta))


def _fit_isotonic(x: Floats, y: Floats, weights: Floats) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y, sample_weight=weights)
    return lambda at: np.asarray(model.predict(at), np.float64)
