"""Rows in which scikit-learn's own answer hangs on last digits or on the order of its search: either answer is right there.

Its matrix products differ by last digits between one row and a table, and its two searches for neighbours take different ones
of two that are equally near. A row is a tie only if that can be shown; everything else that differs is an inexact export.
"""

from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import Contract
from mlops_project.modeling.export.model import Rounding, find_rounding
from mlops_project.modeling.held_out import as_columns
from mlops_project.modeling.pipeline import predict_frame
from mlops_project.runtime import Predictions, Runtime

TOLERANCE = 1e-6  # on probabilities; on values relative to their size, or the median one's if that is larger
# Of a number's size. Behind a matrix product scikit-learn's own answer depends on the rows beside it so near a threshold: 1e-12
# of the product's size, which powers of numbers make a thousand times the number's. A graph in float32 is 6e-8 off.
NEAR = 1e-9
EQUAL = 1e-12  # two probabilities this near are equal
MOST_ROWS = 64  # that are looked at; many more are no ties
MOST_OF = 0.5  # of the rows that differ: so many are explained by a step that has such rows
MOVES = 64  # copies of each, every number moved by up to NEAR

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def measure_differences(expected: Predictions, actual: Predictions) -> Floats:
    """Return how far apart two answers to the same rows are, ``(n_rows,)``; infinite where labels differ or one is NaN."""
    if expected.values is not None and actual.values is not None:
        sizes = np.abs(expected.values)
        difference = np.abs(expected.values - actual.values) / np.maximum(sizes, np.median(sizes) or 1.0)
    else:
        difference = np.where(_labels(expected) == _labels(actual), _apart(expected, actual), np.inf)
    return np.where(np.isnan(difference), np.inf, difference)


class Ties:
    """Tells which rows of a pipeline are ties.

    Parameters
    ----------
    features
        Every row that the pipeline learned from: its columns' sizes.
    """

    def __init__(self, pipeline: Any, contract: Contract, features: pd.DataFrame) -> None:
        self._pipeline, self._contract = pipeline, contract
        names = [feature.name for feature in contract.numbers if feature.type in ("float", "integer")]
        self._sizes = {name: float(features[name].abs().max()) for name in names if features[name].notna().any()}

    @cached_property
    def _rounding(self) -> Rounding:
        """Made only when it is asked for: it writes the model once more, and a forest can be half a gigabyte."""
        return find_rounding(self._pipeline, self._contract)

    @property
    def distance(self) -> float:
        """How far from a threshold, as a share of a number's size, no row is a tie."""
        return NEAR if self._rounding.before_last else 0.0

    def find(self, frame: pd.DataFrame, expected: Predictions, actual: Predictions) -> Bools:
        """Return which rows are ties, ``(n_rows,)``, given the pipeline's answers and the exported model's."""
        ties: Bools = np.zeros(len(frame), bool)
        if not 0 < len(frame) <= MOST_ROWS:
            return ties
        if self._rounding.anywhere and expected.probabilities is not None:
            ties |= self._have_two_labels(expected, actual)
        ties |= self._are_noted(frame)
        if self._rounding.before_last and self._sizes:
            for row in np.flatnonzero(~ties).tolist():
                ties[row] = self._is_answer_nearby(frame.iloc[[row]], actual.take(row, row + 1))
        return ties

    def explain(self, frame: pd.DataFrame) -> str:
        """Return which step makes most of some rows ties, and what to do; empty if none does."""
        if self._rounding.ties is None or self._are_noted(frame).mean() < MOST_OF:
            return ""
        return " or ".join(self._rounding.reasons)

    def _are_noted(self, frame: pd.DataFrame) -> Bools:
        """Return in which rows a step says that its library's answer hangs on last digits or on a search."""
        if self._rounding.ties is None:
            return np.zeros(len(frame), bool)
        regression = msgspec.structs.replace(self._contract, task="regression", classes=(), class_names=(), merged=())
        return np.asarray(Runtime(self._rounding.ties, regression).predict(as_columns(frame)).values) > 0

    def _have_two_labels(self, expected: Predictions, actual: Predictions) -> Bools:
        """Whether probabilities are the same and the two largest are equal."""
        largest = np.sort(np.asarray(expected.probabilities), axis=1)[:, -2:]
        both: Bools = (_apart(expected, actual) <= TOLERANCE) & (largest[:, 1] - largest[:, 0] <= EQUAL)
        return both

    def _is_answer_nearby(self, row: pd.DataFrame, answer: Predictions) -> bool:
        """Whether the pipeline gives the exported model's answer to a row whose numbers differ by ``NEAR`` of their size."""
        rng = np.random.default_rng(0)
        moved = row.iloc[[0] * MOVES].reset_index(drop=True)
        for name, size in self._sizes.items():
            moved[name] = moved[name].astype("float64") + rng.uniform(-NEAR, NEAR, MOVES) * size
        try:
            nearby = predict_frame(self._pipeline, moved, self._contract)
        except Exception:  # noqa: BLE001 - each library refuses with errors of its own
            return False
        return bool((measure_differences(nearby, _repeat(answer, MOVES)) <= TOLERANCE).any()) or _lies_between(nearby, answer)


def _lies_between(nearby: Predictions, answer: Predictions) -> bool:
    """Whether several answers by last digits surround one, with its label: the steps between them are last digits, too."""
    if answer.probabilities is None or answer.indices is None:
        return False
    found, own = np.asarray(nearby.probabilities), np.asarray(answer.probabilities)[0]
    within = (found.min(axis=0) - TOLERANCE <= own) & (own <= found.max(axis=0) + TOLERANCE)
    several = len(np.unique(found.round(6), axis=0)) > 1
    return several and bool(within.all()) and int(answer.indices[0]) in set(_labels(nearby).tolist())


def _labels(predictions: Predictions) -> npt.NDArray[np.int64]:
    return np.asarray(predictions.indices)


def _apart(expected: Predictions, actual: Predictions) -> Floats:
    difference: Floats = np.abs(np.asarray(expected.probabilities) - np.asarray(actual.probabilities)).max(axis=1)
    return difference


def _repeat(answer: Predictions, times: int) -> Predictions:
    if answer.values is not None:
        return Predictions(values=np.repeat(answer.values, times))
    return Predictions(np.repeat(_labels(answer), times), np.repeat(np.asarray(answer.probabilities), times, axis=0))
