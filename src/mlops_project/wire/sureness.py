"""How sure the model is, for requests that ask: the set or interval of each row, and whether a person should decide."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.runtime import Floats, Predictions
from mlops_project.uncertainty import Uncertainty

NAME = "uncertainty"


class Sureness(NamedTuple):
    """Of some rows.

    Attributes
    ----------
    members
        Classification: bool ``(n_rows, n_classes)``, whether the class is in the row's set; None for regression.
    lower, upper
        Regression: float64 ``(n_rows,)``, the ends of the interval; None for classification.
    abstain
        Bool ``(n_rows,)``.
    """

    members: npt.NDArray[np.bool_] | None
    lower: Floats | None
    upper: Floats | None
    abstain: npt.NDArray[np.bool_]

    def list_rows(self, labels: Sequence[Any]) -> list[dict[str, Any]]:
        """Return what is said of each row, sets as lists of ``labels``."""
        marks = self.abstain.tolist()
        if self.members is None:
            ends = zip(self.lower.tolist(), self.upper.tolist(), marks, strict=True)  # type: ignore[union-attr]
            return [{"lower": lower, "upper": upper, "abstain": mark} for lower, upper, mark in ends]
        sets = [[label for label, inside in zip(labels, row, strict=True) if inside] for row in self.members.tolist()]
        return [{"set": one, "abstain": mark} for one, mark in zip(sets, marks, strict=True)]


def measure(known: Uncertainty, predictions: Predictions, numbers: Floats) -> Sureness:
    """Say how sure the model is of these answers.

    Parameters
    ----------
    predictions, numbers
        Of the same rows: what the model answered, and read; see ``runtime.encode``.
    """
    far = known.is_far(numbers)
    if predictions.probabilities is None or predictions.indices is None:
        assert predictions.values is not None
        return Sureness(None, *known.find_intervals(predictions.values), far)
    members = known.find_sets(predictions.probabilities, predictions.indices)
    return Sureness(members, None, None, far | members.all(axis=1))


def find_problem(value: Any, known: Uncertainty | None) -> str | None:
    """Return what is wrong with what a request asks; None if nothing is."""
    if type(value) is not bool:
        return f"{NAME}: expected true or false"
    if value and known is None:
        return f"{NAME}: this model does not say how sure it is; it was trained without, or with too few held-out rows"
    return None
