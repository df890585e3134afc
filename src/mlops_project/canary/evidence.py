"""What the requests of a roll-out say so far: whether the challenger is worse than allowed, and whether it is shown not to be.

Failures and latency depend on the load, so they are tested at every step by itself. What is wrong with answers does not: there
all steps are one test, and their evidence adds up. Every measure is tested once more in spans of six hours, so that one who has
been good for days and then fails is found as well. All tests together err with a probability of at most ``rollout.alpha``.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from mlops_project.canary.bets import Floats, bet, find_evidence, find_range, weigh
from mlops_project.sections import RolloutConfig

Measure = Literal["failures", "latency", "loss", "estimate", "coverage"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
ALWAYS: tuple[Measure, ...] = ("failures", "latency")  # known of every request
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


_Key = tuple[Measure, int, int | None]  # measure, step, span: None for the whole step


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


class Evidence:
    """Collects outcomes, in any order, and says what they show. No clock, no files.

    Parameters
    ----------
    settings
        For the bounds and the error.
    shares
        Of the steps.

    Attributes
    ----------
    judged_by
        Which measure can show that the answers are good enough: ``loss`` if labels come for this model, ``estimate`` if none
        ever came and there are estimates; None if nothing can.
    problem
        Why nothing can be shown now, whatever comes; empty if something can.
    """

    def __init__(self, settings: RolloutConfig, shares: Sequence[float]) -> None:
        self.judged_by: Measure | None = None
        self.problem = ""
        self._settings, self._shares = settings, tuple(shares)
        self._worse, self._shown = dict[_Key, Floats](), dict[_Key, Floats]()
        self._sums = dict[_Key, Floats]()  # of each variant the number of requests, and the sum of outcomes

    def find_bound(self, measure: Measure) -> float:
        """Return by how much the challenger's mean outcome may exceed the champion's."""
        bounds: dict[Measure, float] = {"failures": self._settings.max_failures, "latency": SLOW_SHARE}
        return bounds.get(measure, self._settings.max_loss)

    def find_bound_after(self, measure: Measure, step: int) -> float:
        """Return what has to be shown before the step is left: by how much the mean outcome may exceed the champion's.

        For answers that is ``max_loss`` of *all* requests at the next step: at a quarter of them four times as much of its own
        answers, and ``max_loss`` itself before it becomes champion.
        """
        bound = self.find_bound(measure)
        return bound if measure in ALWAYS else bound / (*self._shares[1:], 1.0)[step]

    def add(self, measure: Measure, step: int, outcomes: Outcomes) -> None:
        """Take outcomes of requests that were drawn at one step."""
        if not 0 <= step < len(self._shares) or not len(outcomes.values):
            return
        share, bound, is_pooled = self._shares[step], self.find_bound(measure), measure not in ALWAYS
        weighed = weigh(outcomes.values, outcomes.drawn, share, outcomes.baseline)
        within = find_range(share, outcomes.baseline, champion_varies=measure != "failures")
        group, scale = (0, share) if is_pooled else (step, None)
        _add(self._worse, (measure, group, None), bet(weighed, bound, within.least, scale))
        for span in np.unique(outcomes.spans).tolist():
            part = weighed[outcomes.spans == span]
            _add(self._worse, (measure, group, max(int(span), 0)), bet(part, bound, within.least, scale))
        for later in range(step, len(self._shares)) if is_pooled else (step,):
            if (needed := self.find_bound_after(measure, later)) < within.most:
                _add(self._shown, (measure, later, None), bet(-weighed, -needed, -within.most, scale))
        sums = [[rows.sum(), outcomes.values[rows].sum()] for rows in (outcomes.drawn, ~outcomes.drawn)]
        _add(self._sums, (measure, step, None), np.array(sums, np.float64))

    def forget(self, measure: Measure) -> None:
        """Drop what was collected of a measure, which is then collected anew."""
        for found in (self._worse, self._shown, self._sums):
            for key in [key for key in found if key[0] == measure]:
                del found[key]

    def find_worse(self) -> list[tuple[Measure, int]]:
        """Return the measures that are worse than allowed, beyond chance, and at which step; empty if none is."""
        return [
            (measure, step)
            for (measure, step, span), logs in self._worse.items()
            if find_evidence(logs) >= -np.log(self._settings.alpha * self._find_part(measure, step, span))
        ]

    def _find_part(self, measure: Measure, step: int, span: int | None) -> float:
        """Return which part of the error a test gets; of a measure half for steps, and half for spans in the order of time."""
        part = 1 / len(MEASURES) / 2
        if span is None:
            return part / (len(self._shares) if measure in ALWAYS else 1)
        number = 1 + step + span  # grows with each step and each span, so no two tests have the same
        return part / (number * (number + 1))

    def is_shown(self, measure: Measure, step: int) -> bool:
        """Whether a measure is shown to be within what is allowed after a step."""
        if self.find_bound_after(measure, step) >= 1:  # everything may be wrong: the share is that small
            return True
        logs = self._shown.get((measure, step, None))
        return logs is not None and find_evidence(logs) >= -np.log(SHOWN_ERROR)

    def count(self, measure: Measure, step: int) -> Tally:
        """Return how many requests a measure has, and their mean outcomes: at a step, or of answers at all steps together.

        Means of several steps are means of the steps' means, both variants' with the same weights: the challenger has most of
        its requests at the last steps, and what comes then may be harder for both.
        """
        steps = (step,) if measure in ALWAYS else range(len(self._shares))
        found = np.array([item for key in steps if (item := self._sums.get((measure, key, None))) is not None]).reshape(
            -1, 2, 2
        )
        counts = found[:, :, 0].sum(axis=0)
        both = found[:, :, 0].min(axis=1) > 0
        if not both.any():
            means = np.divide(found[:, :, 1].sum(axis=0), counts, out=np.zeros(2), where=counts > 0)
        else:
            numbers, sums = found[both, :, 0], found[both, :, 1]
            means = np.average(sums / numbers, axis=0, weights=numbers.prod(axis=1) / numbers.sum(axis=1))
        return Tally(int(counts[0]), int(counts[1]), float(means[0]), float(means[1]))

    def describe(self, measure: Measure, step: int, *, shown: bool = False) -> str:
        """Say what a measure has been at a step, and what is allowed; or what is shown, before the step is left."""
        tally = self.count(measure, step)
        bound = self.find_bound_after(measure, step) if shown else self.find_bound(measure)
        return (
            f"{TITLES[measure]}: {tally.challenger_mean:.2%} of {tally.challenger:,}, the champion {tally.champion_mean:.2%} "
            f"of {tally.champion:,}; {bound:.2%} more {'at most is shown' if shown else 'are allowed'}"
        )


def _add(found: dict[_Key, Floats], key: _Key, more: Floats) -> None:
    found[key] = found[key] + more if key in found else more
