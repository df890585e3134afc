"""Small scikit-learn transformers for what scikit-learn has none for. They can be cloned, pickled and stored by skops."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from mlops_project.contract import DATETIME_PARTS
from mlops_project.runtime import MISSING_TEXT, Floats, datetime_parts


class DatetimeParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """Datetime columns → float64 ``(n_rows, n_columns * len(DATETIME_PARTS))``; a missing date is NaN in every part."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> "DatetimeParts":
        """Learn nothing but the number of columns."""
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> Floats:
        """Compute the parts; a column that is not datetime64 is read as ISO 8601 text in UTC."""
        check_is_fitted(self, "n_features_in_")
        columns = [pd.to_datetime(X.iloc[:, index], utc=True, format="ISO8601") for index in range(X.shape[1])]
        return np.hstack([datetime_parts(column.dt.tz_localize(None).to_numpy("datetime64[us]")) for column in columns])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``column.part`` names."""
        return np.array([f"{name}.{part}" for name in input_features for part in DATETIME_PARTS], dtype=object)


class FillText(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """Text columns → str objects of the same shape; None, NaN and NA become the empty string."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> "FillText":
        """Learn nothing but the number of columns."""
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.object_]:
        """Fill missing values and make every other one a str."""
        check_is_fitted(self, "n_features_in_")
        filled = np.empty(X.shape, dtype=object)
        for index in range(X.shape[1]):  # a str per different value, not one per row: a tenth of the memory and of the time
            codes, values = pd.factorize(X.iloc[:, index])
            filled[:, index] = np.array([*map(str, values), MISSING_TEXT], dtype=object)[codes]  # -1 marks a missing value
        return filled

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names unchanged."""
        return input_features


class OriginalLabels(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """Give a classifier that only takes the labels 0 … K-1 (XGBoost) the labels of the table.

    Parameters
    ----------
    estimator
        The classifier to wrap.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any) -> "OriginalLabels":
        """Fit the classifier on label positions."""
        self.classes_, positions = np.unique(np.asarray(y), return_inverse=True)
        self.estimator_ = clone(self.estimator).fit(X, positions)
        self.n_features_in_ = self.estimator_.n_features_in_
        return self

    def predict(self, X: Any) -> Any:
        """Predict labels of the table, ``(n_rows,)``."""
        check_is_fitted(self)
        return self.classes_[self.estimator_.predict(X)]

    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities ``(n_rows, n_classes)`` in the order of ``classes_``."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags
