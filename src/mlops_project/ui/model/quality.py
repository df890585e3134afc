"""The curves of an evaluation, from the reference rows: what is drawn on the model page, as plain numbers."""

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from mlops_project.config import Config
from mlops_project.runtime import Floats, Predictions
from mlops_project.ui.catalogue import Model

if TYPE_CHECKING:
    from mlops_project.modeling.importance import Importance
    from mlops_project.modeling.reasons import Reasons

CACHED = 16
MAX_POINTS = 200  # of a curve, for a quick page
MAX_CLASSES = 6


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: attrgetter("digest")})
def predict_reference(model: Model) -> tuple[Predictions, npt.NDArray[Any]] | None:
    """Return the model's answers for its reference rows, and the truth; None without real reference rows."""
    reference = model.reference
    if model.runtime is None or reference is None or reference.truth is None:
        return None
    return model.runtime.predict(reference.columns), reference.truth


def find_weights(model: Model) -> Floats | None:
    """Return how much each reference row counts; None: all the same."""
    return None if model.reference is None else model.reference.weights


def count_confusion(predictions: Predictions, truth: npt.NDArray[Any], n_classes: int) -> npt.NDArray[np.int64]:
    """Count rows by actual and predicted class.

    Parameters
    ----------
    predictions
        With class indices.
    truth
        int64 class indices ``(n_rows,)`` of the same rows.
    n_classes
        Of the contract.

    Returns
    -------
    numpy.ndarray
        int64 ``(n_classes, n_classes)``.
    """
    cells = np.asarray(truth, np.int64) * n_classes + np.asarray(predictions.indices)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def compute_curves(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the ROC curve and the precision-recall curve of one class, each with ``x``, ``y`` and ``order``.

    Parameters
    ----------
    scores
        float64 ``(n_rows,)``.
    positive
        bool ``(n_rows,)``, of both kinds.
    """
    order = np.argsort(-scores, kind="stable")
    hits, alarms = np.cumsum(positive[order]), np.cumsum(~positive[order])
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # equal scores are one step
    hits, alarms = hits[last], alarms[last]
    recall = hits / positive.sum()
    roc = pd.DataFrame({"x": np.append(0.0, alarms / (~positive).sum()), "y": np.append(0.0, recall)})
    pr = pd.DataFrame({"x": np.append(0.0, recall), "y": np.append(hits[0] / (hits[0] + alarms[0]), hits / (hits + alarms))})
    return _thin(roc), _thin(pr)


def _thin(curve: pd.DataFrame) -> pd.DataFrame:
    keep = np.unique(np.linspace(0, len(curve) - 1, min(MAX_POINTS, len(curve))).round().astype(int))
    return curve.iloc[keep].assign(order=keep)


def compute_class_curves(
    predictions: Predictions, truth: npt.NDArray[Any], names: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ROC and precision-recall curves: of the positive class, or of the ``MAX_CLASSES`` most frequent of several.

    Parameters
    ----------
    predictions
        With probabilities.
    truth
        int64 class indices ``(n_rows,)`` of the same rows.
    names
        Of all classes, in contract order.

    Returns
    -------
    roc, precision_recall
        ``x``, ``y``, ``order`` and ``series`` (the class's name); empty if no class has rows both in it and outside it.
    """
    rows = np.bincount(truth, minlength=len(names))
    chosen = [1] if len(names) == 2 else sorted(np.argsort(-rows, kind="stable")[:MAX_CLASSES].tolist())
    drawable = [index for index in chosen if 0 < rows[index] < len(truth)]
    pairs = [compute_curves(np.asarray(predictions.probabilities)[:, index], truth == index) for index in drawable]
    if not pairs:
        empty = pd.DataFrame({"x": [], "y": [], "order": [], "series": []})
        return empty, empty
    roc, pr = (
        pd.concat([pair[kind].assign(series=names[index]) for index, pair in zip(drawable, pairs, strict=True)])
        for kind in (0, 1)
    )
    return roc, pr


def compute_calibration(predictions: Predictions, truth: npt.NDArray[Any]) -> pd.DataFrame:
    """Return ``x`` (mean probability), ``y`` (share that was right) and ``rows`` per bin.

    The probability is that of the positive class; of several classes, that of the predicted one.
    """
    from mlops_project.modeling.metrics import calibration_bins

    shares = np.asarray(predictions.probabilities)
    said = shares[:, 1] if shares.shape[1] == 2 else shares.max(axis=1)
    happened = truth == 1 if shares.shape[1] == 2 else predictions.indices == truth
    frame = pd.DataFrame({"bin": calibration_bins(said), "x": said, "y": np.asarray(happened, np.float64), "rows": 1})
    return frame.groupby("bin").agg({"x": "mean", "y": "mean", "rows": "sum"}).reset_index(drop=True)


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: attrgetter("digest"), Config: lambda _: 0})
def compute_reasons(model: Model, config: Config) -> "Reasons | None":
    """Return what the model goes by over the reference rows, as training computes it; None without reference rows.

    Raises
    ------
    MLOpsError
        If the model has no answer for a mixture of two rows.
    """
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.modeling.reasons import find_reasons

    reference = model.reference
    if model.runtime is None or reference is None or reference.truth is None:
        return None
    rows = HeldOut.predict(model.runtime, pd.DataFrame(reference.columns), reference.truth)
    return find_reasons(model.runtime, rows, model.contract, config.random_state)


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: attrgetter("digest"), Config: lambda _: 0})
def compute_importances(model: Model, config: Config) -> "Importance | None":
    """Return the permutation importance on the reference rows, as training computes it; None without reference rows."""
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.modeling.importance import compute_importance

    reference = model.reference
    if model.runtime is None or reference is None or reference.truth is None:
        return None
    rows = HeldOut.predict(model.runtime, pd.DataFrame(reference.columns), reference.truth)
    return compute_importance(model.runtime, rows, model.contract, config)
