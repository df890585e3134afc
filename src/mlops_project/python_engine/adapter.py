"""Anything with ``predict`` as an estimator that answers as scikit-learn's do."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator


class Adapter(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """A fitted object that takes arrays, names no classes or gives no probabilities.

    Parameters
    ----------
    model
        Has ``predict``.
    classes
        Its labels, sorted; None if it predicts numbers.
    takes_array
        Whether it was fitted on an array, and so takes no frame.
    """

    def __init__(self, model: Any, classes: Any = None, takes_array: bool = False) -> None:
        self.model, self.classes, self.takes_array = model, classes, takes_array
        if classes is not None:
            self.classes_ = np.asarray(classes)

    def fit(self, X: Any, y: Any = None) -> "Adapter":
        """Return itself: the object was fitted before."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: pd.DataFrame) -> npt.NDArray[Any]:
        """Return the label or the number of each row, ``(n_rows,)``."""
        return np.asarray(self.model.predict(self._prepare(X))).reshape(-1)

    def predict_proba(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return probabilities, float64 ``(n_rows, n_classes)``; of a model without any, 1 for the class that it predicts."""
        if hasattr(self.model, "predict_proba"):
            return np.asarray(self.model.predict_proba(self._prepare(X)), np.float64)
        certain: npt.NDArray[np.bool_] = self.predict(X)[:, None] == self.classes_
        return certain.astype(np.float64)

    def _prepare(self, X: pd.DataFrame) -> Any:
        return X.to_numpy() if self.takes_array else X
