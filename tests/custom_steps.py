"""Steps of somebody's own, in a module that a model server can import."""

import os
import time
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

POISON, SLEEPY = 666.0, 777.0  # a first value that ends the process, and one that keeps it busy


class Clip(TransformerMixin, BaseEstimator):
    """Clips every column of numbers to the quantiles that it has seen."""

    def __init__(self, share: float = 0.05) -> None:
        self.share = share

    def fit(self, X: Any, y: Any = None) -> "Clip":
        self.low_, self.high_ = np.quantile(np.asarray(X, float), [self.share, 1 - self.share], axis=0)
        return self

    def transform(self, X: Any) -> Any:
        values = np.asarray(X, float)
        if (values == POISON).any():
            os._exit(9)
        if (values == SLEEPY).any():
            time.sleep(60)
        return np.clip(values, self.low_, self.high_)


class Rule:
    """No estimator at all: it has ``predict`` and knows nothing of classes or probabilities."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def predict(self, X: Any) -> Any:
        return np.where(np.asarray(X)[:, 0] > self.bound, "yes", "no")
