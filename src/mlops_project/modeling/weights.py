"""Row weights: what each row counts in training and in every figure, from the column that ``data.weight`` names."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from mlops_project.errors import ConfigError
from mlops_project.modeling.encoders import OriginalLabels

Weights = npt.NDArray[np.float64]


def take_weights(weights: "pd.Series[Any] | None", rows: pd.Index) -> Weights | None:
    """Return the weights of some rows, ``(n_rows,)``; None if rows have none.

    Parameters
    ----------
    weights
        The table's, by its rows' numbers.
    rows
        Such numbers. Those behind the table's are labelled predictions, which count as the others here do on average.
    """
    if weights is None:
        return None
    found = weights.reindex(rows).to_numpy(np.float64)
    is_known = ~np.isnan(found)
    return np.where(is_known, found, found[is_known].mean()) if is_known.any() else None


def pass_weights(pipeline: Pipeline, weights: Weights | None) -> dict[str, Weights]:
    """Return what ``fit`` is to be given so that the last step learns from weighted rows.

    Raises
    ------
    ConfigError
        If that step takes no weights.
    """
    name, estimator = pipeline.steps[-1]
    return {f"{name}__{option}": value for option, value in name_weights(estimator, weights).items()}


def name_weights(estimator: Any, weights: Weights | None) -> dict[str, Weights]:
    """Return what an estimator's ``fit`` is to be given; nothing where rows have no weights.

    Raises
    ------
    ConfigError
        If it takes none.
    """
    if weights is None:
        return {}
    inner = find_inner(estimator)
    if not has_fit_parameter(inner, "sample_weight"):
        raise ConfigError(
            f"data.weight: {type(inner).__name__} learns from every row alike; use an estimator that takes weights, such as "
            "hist_gradient_boosting, random_forest, logistic_regression or ridge, or leave data.weight out"
        )
    return {"sample_weight": weights}


def note_weights(rows: pd.DataFrame, weights: Weights | None) -> None:
    """Keep the weights of reference rows beside their columns, where nobody takes them for a feature; Parquet holds them."""
    if weights is not None:
        rows.attrs["weights"] = weights.tolist()


def recall_weights(rows: pd.DataFrame) -> Weights | None:
    """Return what ``note_weights`` kept; None if there is nothing."""
    found = rows.attrs.get("weights")
    return None if found is None else np.asarray(found, np.float64)


def find_inner(estimator: Any) -> Any:
    """Return the estimator in a wrapper of labels or probabilities."""
    while isinstance(estimator, OriginalLabels | CalibratedClassifierCV):
        estimator = estimator.estimator
    return estimator
