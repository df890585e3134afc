"""Rows that a model did not learn from, encoded and answered once for everyone who judges it by them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import Contract
from mlops_project.modeling.metrics import Scored, Truth, score_rows
from mlops_project.runtime import Floats, Predictions, Runtime, encode


@dataclass(frozen=True)
class HeldOut:
    """Held-out rows and a model's answers to them.

    Attributes
    ----------
    features
        As the table has them, one column per feature.
    encoded
        The model's inputs: float64 ``(n_rows, n_number_columns)`` and str objects ``(n_rows, n_texts)``.
    truth
        int64 class indices or float64 values, ``(n_rows,)``, see ``encode_target``.
    predictions
        The model's, in the same order.
    weights
        How much each row counts, ``(n_rows,)``; None: all the same.
    """

    features: pd.DataFrame
    encoded: tuple[Floats, npt.NDArray[np.object_]]
    truth: Truth
    predictions: Predictions
    weights: Floats | None = None

    @classmethod
    def predict(cls, runtime: Runtime, features: pd.DataFrame, truth: Truth, weights: Floats | None = None) -> "HeldOut":
        """Encode the rows and let the model answer them.

        Raises
        ------
        ContractError
            If the model cannot read a column or has no answer for a row.
        """
        encoded = encode(as_columns(features), runtime.contract)
        return cls(features, encoded, truth, runtime.run(*encoded), weights)

    def decide(self, contract: Contract) -> "HeldOut":
        """Return the rows with the answers that the contract's threshold gives."""
        return replace(self, predictions=self.predictions.decide(contract.threshold))

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Feature name → array ``(n_rows,)``, as ``Runtime.predict`` takes them."""
        return as_columns(self.features)

    def score(self, contract: Contract) -> Scored:
        """Put predictions and truth together."""
        return score_rows(self.predictions, self.truth, contract, self.weights)

    def score_other(self, runtime: Runtime) -> Scored:
        """Let another model answer the same rows.

        Raises
        ------
        ContractError
            If it cannot read them.
        """
        return score_rows(runtime.predict(self.columns), self.truth, runtime.contract, self.weights)


def as_columns(features: pd.DataFrame) -> dict[str, Any]:
    """Return a frame as name → array ``(n_rows,)``."""
    return {str(name): features[name].to_numpy() for name in features.columns}
