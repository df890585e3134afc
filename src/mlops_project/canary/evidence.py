"""What the requests of a roll-out say so far: whether the challenger is worse than allowed, and whether it is shown not to be.

Every measure is tested at every step by itself, and once more in spans of six hours, so that a challenger that has been good
for days and then fails is found as well. All tests together err with a probability of at most ``rollout.alpha``.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from mlops_project.canary.bets import STAKES, Floats, bet, find_evidence, find_range, weigh
from mlops_project.sections import RolloutConfig

Measure = Literal["failures", "latency", "loss", "estimate", "coverage"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
ALWAYS: tuple[Measure, ...] = (
    "failures",
    "latency",
)  # known of every request: shown to be within bounds before a step is taken
SLOW_SHARE = 0.05  # of the champion's requests that take longer than its 95th percentile
SHOWN_ERROR = 0.05  # probability that a step is taken although a measure is beyond its bound
SPAN_HOURS = 6.0
TITLES: Mapping[Measure, str] = {
    "failures": "requests that it could not answer",
    "latency": "slow answers",
    "loss": "wrong answers by labels",
    "estimate": "wrong answers as estimated without labels",
    "coverage": "sets or intervals without the truth",
}


class Outcomes(NamedTuple):
    """Outcomes of one measure at one step.

    Attributes
    ----------
    values
        float64 ``(n,)`` in [0, 1]; large is bad.
    drawn
        bool ``(n,)``: whether the challenger was drawn.
    spans
        int64 ``(n,)``: in which span of ``SPAN_HOURS`` since the roll-out began.
    baseline
        What outcomes usually are, known before.
    """

    values: Floats
    drawn: npt.NDArray[np.bool_]
    spans: npt.NDArray[np.int64]
    baseline: float = 0.0


class Tally(NamedTuple):
    """How many requests each variant had, and its mean outcome."""

    challenger: int
    champion: int
    challenger_mean: float
    champion_mean: float


class _Test:
    """The bets on one measure in one step, or in one span of it."""

    def __init__(self) -> None:
        self.worse, self.shown = np.zeros(len(STAKES)), np.zeros(len(STAKES))
        self.counts, self.sums = np.zeros(2, np.int64), np.zeros(2)


class Evidence:
    """Collects outcomes, in any order, and says what they show. No clock, no files.

    Parameters
    ----------
    settings
        For the bounds and the error.
    shares
        Of the steps.
    """

    def __init__(self, settings: RolloutConfig, shares: Sequence[float]) -> None:
        self._settings, self._shares = settings, tuple(shares)
        self._tests: dict[tuple[Measure, int, int | None], _Test] = {}

    def find_bound(self, measure: Measure) -> float:
        """Return by how much the challenger's mean outcome may exceed the champion's."""
        bounds: dict[Measure, float] = {"failures": self._settings.max_failures, "latency": SLOW_SHARE}
        return bounds.get(measure, self._settings.max_loss)

    def add(self, measure: Measure, step: int, outcomes: Outcomes) -> None:
        """Take outcomes of requests that were drawn at one step."""
        if not 0 <= step < len(self._shares) or not len(outcomes.values):
            return
        self._add(self._find((measure, step, None)), measure, step, outcomes)
        for span in np.unique(outcomes.spans).tolist():
            rows = outcomes.spans == span
            part = outcomes._replace(values=outcomes.values[rows], drawn=outcomes.drawn[rows])
            self._add(self._find((measure, step, max(int(span), 0))), measure, step, part)

    def _find(self, key: tuple[Measure, int, int | None]) -> _Test:
        return self._tests.setdefault(key, _Test())

    def _add(self, test: _Test, measure: Measure, step: int, outcomes: Outcomes) -> None:
        share, bound = self._shares[step], self.find_bound(measure)
        values = weigh(outcomes.values, outcomes.drawn, share, outcomes.baseline)
        within = find_range(share, outcomes.baseline, champion_varies=measure != "failures")
        test.worse += bet(values, bound, within.least)
        test.shown += bet(-values, -bound, -within.most)
        for place, rows in enumerate((outcomes.drawn, ~outcomes.drawn)):
            test.counts[place] += int(rows.sum())
            test.sums[place] += float(outcomes.values[rows].sum())

    def forget(self, measure: Measure) -> None:
        """Drop what was collected of a measure, which is then collected anew."""
        self._tests = {key: test for key, test in self._tests.items() if key[0] != measure}

    def find_worse(self) -> list[tuple[Measure, int]]:
        """Return the measures that are worse than allowed, beyond chance, and at which step; empty if none is."""
        return [
            (measure, step)
            for (measure, step, span), test in self._tests.items()
            if find_evidence(test.worse) >= -np.log(self._settings.alpha * self._find_part(step, span))
        ]

    def _find_part(self, step: int, span: int | None) -> float:
        """Return which part of the error a test gets; of a measure half for steps, and half for spans in the order of time."""
        part = 1 / len(MEASURES) / 2
        if span is None:
            return part / len(self._shares)
        number = 1 + step + span  # grows with each step and each span, so no two tests have the same
        return part / (number * (number + 1))

    def is_shown(self, measure: Measure, step: int) -> bool:
        """Whether a measure is shown to be within its bound at a step."""
        test = self._tests.get((measure, step, None))
        return test is not None and find_evidence(test.shown) >= -np.log(SHOWN_ERROR)

    def count(self, measure: Measure, step: int) -> Tally:
        """Return how many requests a measure has at a step, and their mean outcomes."""
        test = self._tests.get((measure, step, None), _Test())
        means = np.divide(test.sums, test.counts, out=np.zeros(2), where=test.counts > 0)
        return Tally(int(test.counts[0]), int(test.counts[1]), float(means[0]), float(means[1]))

    def count_all(self, measure: Measure) -> int:
        """Return how many requests of the challenger a measure has, at all steps together."""
        return sum(self.count(measure, step).challenger for step in range(len(self._shares)))

    def describe(self, measure: Measure, step: int) -> str:
        """Say what a measure has been at a step."""
        tally = self.count(measure, step)
        return (
            f"{TITLES[measure]}: {tally.challenger_mean:.2%} of {tally.challenger:,}, the champion {tally.champion_mean:.2%} "
            f"of {tally.champion:,}; {self.find_bound(measure):.2%} more are allowed"
        )
