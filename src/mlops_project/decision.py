"""Decisions: from which probability on a model says yes, what asked for that, and how the choice came out."""

from typing import Literal

import msgspec

OWN_RULE = 0.5  # the more probable class, as the model itself says; it has its own way with ties
Rule = Literal["number", "metric", "cost", "recall", "precision"]
DecidedMetric = Literal["f1", "accuracy"]  # metrics that a threshold can make as large as possible


class DecisionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a binary model's contract says of its answers.

    Attributes
    ----------
    threshold
        Rows whose probability of the positive class is at least this are answered with it; in [0, 1], never ``OWN_RULE``.
    rule
        What asked for it.
    metric
        ``metric``: which one was to be as large as possible.
    wanted
        ``recall``, ``precision``: how much was asked for.
    false_positive, false_negative
        ``cost``: what a wrong yes and a wrong no cost, in the user's unit.
    """

    threshold: float
    rule: Rule = "number"
    metric: DecidedMetric | None = None
    wanted: float = 0.0
    false_positive: float = 0.0
    false_negative: float = 0.0

    @property
    def costs(self) -> tuple[float, float] | None:
        """What a wrong yes and a wrong no cost; None if nobody said so."""
        return (self.false_positive, self.false_negative) if self.rule == "cost" else None

    @property
    def judged(self) -> str:
        """The metric that says whether decisions are as they were asked for."""
        if self.rule == "cost":
            return "expected_cost"
        return self.rule if self.rule in ("recall", "precision") else self.metric or "f1"

    def describe(self) -> str:
        """Say what was asked for, for people."""
        if self.rule == "cost":
            return f"least cost, a wrong yes costs {self.false_positive:g} and a wrong no {self.false_negative:g}"
        if self.rule == "metric":
            return f"largest {self.metric}"
        return f"{self.rule} at least {self.wanted:g}" if self.rule in ("recall", "precision") else "as configured"


class Point(msgspec.Struct, frozen=True, array_like=True):
    """What a threshold comes to, as shares of all rows: right yes, wrong yes."""

    threshold: float
    true_positive: float
    false_positive: float


class ThresholdChoice(msgspec.Struct, frozen=True, kw_only=True):
    """How a threshold was chosen. Part of ``metadata.json``.

    Attributes
    ----------
    rows, folds
        Training rows that were answered by a model that had not seen them, in how many folds.
    positives
        How many of them are of the positive class.
    chosen, own_rule
        What the threshold, and ``OWN_RULE``, come to on these rows.
    curve
        The same for other thresholds, falling.
    without
        Metric → what the model's own rule comes to on the held-out rows; those that follow from labels.
    gain
        How much better the judged metric is on the held-out rows than by the model's own rule, with the bounds of a paired
        bootstrap; None without bootstrap.
    """

    rows: int
    folds: int
    positives: int
    chosen: Point
    own_rule: Point
    curve: tuple[Point, ...] = ()
    without: dict[str, float] = {}
    gain: tuple[float, float, float] | None = None

    @property
    def share(self) -> float:
        """Share of the positive class in [0, 1]."""
        return self.positives / self.rows


def compute_rate(name: str, point: Point, share: float, costs: tuple[float, float] | None = None) -> float:
    """Return a metric of a point of the curve: ``recall``, ``precision``, ``f1``, ``accuracy`` or ``expected_cost``.

    Parameters
    ----------
    share
        Of the positive class among the rows.
    costs
        Of a wrong yes and a wrong no.
    """
    hits, alarms = point.true_positive, point.false_positive
    missed = max(share - hits, 0.0)
    if name == "expected_cost":
        wrong_yes, wrong_no = costs or (1.0, 1.0)
        return wrong_yes * alarms + wrong_no * missed
    if name == "accuracy":
        return 1 - alarms - missed
    parts = {"recall": (hits, share), "precision": (hits, hits + alarms), "f1": (2 * hits, share + hits + alarms)}
    above, below = parts[name]
    return above / below if below > 0 else 0.0
