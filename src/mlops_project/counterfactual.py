"""What would change an answer: the least change of a few columns, within training's range, that makes it another.

A search in the manner of Wachter, Mittelstadt & Russell (2018), for models that give no gradients: of all changes of one column
the least with which the answer is as wanted, another class or a number between bounds; where there is none, the change that
brings it nearest, and so on; then whatever is not needed is taken back. What comes out was answered by the model itself, so it
is valid; it need not be the least of all.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.contract import DATETIME_PARTS, Contract, Feature
from mlops_project.explanation import list_values
from mlops_project.runtime import Floats, Predictions, Runtime, encode
from mlops_project.tree_reasons import Inputs, find_owners

MAX_CHANGES = 4
CHOICE_DISTANCE = 1.0  # of another category, in widths of a number's middle 90 %


@dataclass(frozen=True)
class Counterfactual:
    """A row that is answered otherwise.

    Attributes
    ----------
    changes
        Column → its new value: numbers, texts, booleans; ISO 8601 for dates.
    index, probability
        Of the class that is answered then; -1 and NaN where numbers are answered.
    value
        The number that is answered then; None where classes are answered.
    """

    changes: dict[str, Any]
    index: int = -1
    probability: float = math.nan
    value: float | None = None


@dataclass(frozen=True)
class Bounds:
    """Between what a number is wanted, ends included."""

    at_least: float = -math.inf
    at_most: float = math.inf

    def is_met(self, answers: Predictions) -> npt.NDArray[np.bool_]:
        """Return which answers are as wanted."""
        values = np.asarray(answers.values)
        return (values >= self.at_least) & (values <= self.at_most)

    def measure(self, answers: Predictions) -> Floats:
        """Return how near each answer is to what is wanted; more is nearer."""
        values = np.asarray(answers.values)
        return -np.maximum(self.at_least - values, values - self.at_most)


@dataclass(frozen=True)
class _Class:
    """Which class is wanted."""

    index: int

    def is_met(self, answers: Predictions) -> npt.NDArray[np.bool_]:
        met: npt.NDArray[np.bool_] = np.asarray(answers.indices) == self.index
        return met

    def measure(self, answers: Predictions) -> Floats:
        return np.asarray(answers.probabilities)[:, self.index]


def find_counterfactual(
    runtime: Runtime, row: dict[str, Any], wanted: int | Bounds | None = None, fixed: Collection[str] = ()
) -> Counterfactual | None:
    """Look for the least change with which the answer is as wanted.

    Parameters
    ----------
    row
        Feature name → value.
    wanted
        Index of a class, None for the most probable of those that are not answered; bounds where numbers are answered.
    fixed
        Columns that stay as they are.

    Returns
    -------
    Counterfactual
        None if no change of ``MAX_CHANGES`` columns was found; without changes if the answer is as wanted already.

    Raises
    ------
    ContractError
        If the row does not fit the model, or a change leads to one that the model has no answer for.
    """
    searched = _Search(runtime, row, wanted, frozenset(fixed))
    return searched.go()


class _Search:
    def __init__(self, runtime: Runtime, row: dict[str, Any], wanted: int | Bounds | None, fixed: frozenset[str]) -> None:
        contract = runtime.contract
        self._runtime, self._contract, self._owners = runtime, contract, find_owners(contract)
        self._own = encode({name: [row[name]] for name in contract.names}, contract)
        first = runtime.run(*self._own)
        self._wanted = wanted if isinstance(wanted, Bounds) else _Class(_find_other(first) if wanted is None else wanted)
        self._is_met = bool(self._wanted.is_met(first)[0])
        free = [(place, feature) for place, feature in enumerate(contract.features) if feature.name not in fixed]
        self._candidates = {place: _list_candidates(feature, row[feature.name]) for place, feature in free}
        self._encoded = {place: self._encode(place) for place in self._candidates}

    def _encode(self, place: int) -> Inputs:
        """Return the model's columns of a feature's candidates."""
        feature, (values, _) = self._contract.features[place], self._candidates[place]
        alone = Contract((feature,), "", "regression")
        return encode({feature.name: values}, alone)

    def go(self) -> Counterfactual | None:
        changed: dict[int, int] = {}  # feature → which candidate
        if not self._is_met:
            while not self._take_step(changed):
                if len(changed) == MAX_CHANGES or len(changed) == len(self._candidates):
                    return None
            self._take_back(changed)
        found = self._runtime.run(*self._apply([changed]))
        changes = {self._contract.features[place].name: self._candidates[place][0][which] for place, which in changed.items()}
        if isinstance(self._wanted, _Class):
            return Counterfactual(changes, self._wanted.index, float(self._wanted.measure(found)[0]))
        return Counterfactual(changes, value=float(np.asarray(found.values)[0]))

    def _take_step(self, changed: dict[int, int]) -> bool:
        """Add the least change that turns the answer, else the one that brings it nearest; return whether it turned."""
        steps = [
            (place, which)
            for place, (values, _) in self._candidates.items()
            if place not in changed
            for which in range(len(values))
        ]
        if not steps:
            return False
        answers = self._runtime.run(*self._apply([changed | {place: which} for place, which in steps]))
        far = np.array([self._candidates[place][1][which] for place, which in steps])
        turned = self._wanted.is_met(answers)
        best = int((-np.where(turned, far, np.inf) if turned.any() else self._wanted.measure(answers)).argmax())
        changed[steps[best][0]] = steps[best][1]
        return bool(turned.any())

    def _take_back(self, changed: dict[int, int]) -> None:
        """Take back what the answer does not need."""
        for place in list(changed)[:-1]:
            without = {other: which for other, which in changed.items() if other != place}
            if self._wanted.is_met(self._runtime.run(*self._apply([without])))[0]:
                del changed[place]

    def _apply(self, rows: list[dict[int, int]]) -> Inputs:
        """Return the row once for each set of changes, with them."""
        inputs = np.repeat(self._own[0], len(rows), axis=0), np.repeat(self._own[1], len(rows), axis=0)
        for part, owners, kind in zip(inputs, self._owners, (0, 1), strict=True):
            for place in self._candidates:
                columns = np.flatnonzero(owners == place)
                chosen = [(row, changes[place]) for row, changes in enumerate(rows) if place in changes]
                if not len(columns) or not chosen:
                    continue
                targets, whiches = map(list, zip(*chosen, strict=True))
                part[np.ix_(targets, columns)] = self._encoded[place][kind][whiches]
        return inputs


def _find_other(answers: Predictions) -> int:
    """Return the most probable class of those that are not answered."""
    shares = np.asarray(answers.probabilities)[0].copy()
    shares[int(np.asarray(answers.indices)[0])] = -1.0
    return int(shares.argmax())


def decode_row(row: Inputs, contract: Contract) -> dict[str, Any]:
    """Return one encoded row as values of its columns: numbers as such, however they were written; dates as ISO 8601."""
    values: dict[str, Any] = {feature.name: text or None for feature, text in zip(contract.texts, row[1][0], strict=True)}
    numbers = dict(zip(contract.number_columns, row[0][0].tolist(), strict=True))
    for feature in contract.numbers:
        value = numbers.get(feature.name, numbers.get(f"{feature.name}.{DATETIME_PARTS[0]}"))
        if value is None or math.isnan(value):
            values[feature.name] = None
        elif feature.type == "datetime":
            values[feature.name] = str(np.datetime64(round(value * 1e6), "us"))
        else:
            values[feature.name] = {"boolean": bool, "integer": int}.get(feature.type, float)(value)
    return values


def _list_candidates(feature: Feature, current: Any) -> tuple[list[Any], Floats]:
    """Return other values of a feature, and how far each is."""
    values = [value for value in list_values(feature, current) if value is not None and value != current]
    if feature.type == "boolean" or feature.is_text or current is None:
        return values, np.full(len(values), CHOICE_DISTANCE)
    spread = feature.quantiles[8] - feature.quantiles[2] if feature.quantiles else 0.0
    spread = spread or (feature.maximum or 0.0) - (feature.minimum or 0.0) or 1.0
    if feature.type == "datetime":
        instants = np.array([*values, current], "datetime64[s]").astype(np.int64)
        return values, np.abs(instants[:-1] - instants[-1]) / spread
    low, high = feature.minimum, feature.maximum
    values = [value for value in values if low is None or high is None or low <= value <= high]
    return values, np.abs(np.array(values, np.float64) - float(current)) / spread
