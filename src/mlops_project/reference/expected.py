"""Expected metrics of rows whose label is known in probability only: confidence-based performance estimation (CBPE).

Every row is taken once with each label that it may have, weighted by the calibrated probability; the metric's own code does
the rest, since its weights may be fractions as well as counts. For accuracy, precision, recall and F1 this is the expected
confusion matrix (Białek et al. 2024, "Estimating Model Performance Under Covariate Shift Without Labels"), for ROC AUC, log
loss and Brier score the expectation over the labels (ratios: of numerator and denominator apart).
"""

import numpy as np
import numpy.typing as npt

from mlops_project.modeling.metrics import CLASSIFICATION, Scored
from mlops_project.runtime import Floats, Predictions

# Calibration error is left out: it would compare the calibrated probabilities with themselves.
NAMES = tuple(name for name in CLASSIFICATION if name != "calibration_error")


def expand(indices: npt.NDArray[np.int64], scores: Floats) -> Scored:
    """Return each row ``n_classes`` times, once per possible label.

    Parameters
    ----------
    indices, scores
        The model's answers: predicted class ``(n_rows,)`` and probabilities ``(n_rows, n_classes)``.
    """
    n_rows, n_classes = scores.shape
    answers = Predictions(np.repeat(indices, n_classes), np.repeat(scores, n_classes, axis=0))
    return Scored(answers, np.tile(np.arange(n_classes), n_rows), n_classes)


def compute_expected_sets(indices: npt.NDArray[np.int64], scores: Floats, probabilities: Floats) -> Floats:
    """Return every metric of ``NAMES`` under several sets of label weights.

    Parameters
    ----------
    indices, scores
        As of ``expand``.
    probabilities
        ``(n_sets, n_rows, n_classes)``: calibrated probabilities, or drawn labels as ones and zeros.

    Returns
    -------
    numpy.ndarray
        float64 ``(len(NAMES), n_sets)``; NaN where undefined.
    """
    weights = probabilities.reshape(len(probabilities), -1)
    expanded = expand(indices, scores)
    return np.array([CLASSIFICATION[name](expanded, weights) for name in NAMES])


def compute_expected(indices: npt.NDArray[np.int64], scores: Floats, probabilities: Floats) -> dict[str, float]:
    """Return metric → expected value; metrics that these rows do not define are left out.

    Parameters
    ----------
    indices, scores
        The model's answers: predicted class ``(n_rows,)`` and probabilities ``(n_rows, n_classes)``.
    probabilities
        Calibrated probability of each label, ``(n_rows, n_classes)``.
    """
    values = compute_expected_sets(indices, scores, probabilities[None])[:, 0]
    return {name: float(value) for name, value in zip(NAMES, values, strict=True) if np.isfinite(value)}


def draw_labels(probabilities: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Draw a label per row from its probabilities, several times.

    Parameters
    ----------
    probabilities
        ``(n_rows, n_classes)``; each row sums to 1.
    draws
        How many labels to draw for each row.
    rng
        Random numbers; the result follows from its state.

    Returns
    -------
    numpy.ndarray
        float64 ``(draws, n_rows, n_classes)``: 1 at the label, else 0.
    """
    upper = np.cumsum(probabilities, axis=1)
    upper[:, -1] = 1.0
    drawn = (rng.random((draws, len(upper)))[:, :, None] >= upper).sum(axis=2)
    return np.asarray(np.eye(probabilities.shape[1])[drawn])
