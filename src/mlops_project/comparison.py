"""What a comparison of two models finds, as the registry and the bundle keep it."""

from typing import Any

import msgspec


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger and the champion on the same rows, by the gate's metric.

    Attributes
    ----------
    metric
        Its name.
    challenger, champion
        Its value for each, in its own unit.
    gain
        The difference of the two, positive where the challenger is better.
    low, high
        The gain is over ``low``, and under ``high``, each with ``confidence``.
    confidence
        In (0, 1).
    tolerance
        How much worse is still accepted, in the metric's unit.
    rows
        How many were compared.
    against
        The champion's version; None if it is in no registry.
    """

    metric: str
    challenger: float
    champion: float
    gain: float
    low: float
    high: float
    confidence: float
    tolerance: float
    rows: int
    against: int | None = None


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """A trivial model on the held-out rows, and how much better the bundle's model is.

    Attributes
    ----------
    name
        ``dummy`` or ``linear``.
    description
        What it is, for people.
    metrics
        Metric → its value.
    gains
        Metric → the difference to the bundle's model, positive where that one is better; proper scores first.
    gain_intervals
        Metric → (low, high) of the gain, by a paired bootstrap at ``evaluation.confidence``; empty without bootstrap.
    answer
        What the dummy says to every row: probabilities in the contract's order, or one value; empty for others.
    """

    name: str
    description: str
    metrics: dict[str, float]
    gains: dict[str, float] = {}
    gain_intervals: dict[str, tuple[float, float]] = {}
    answer: tuple[float, ...] = ()


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A model that ``estimator: auto`` tried.

    Attributes
    ----------
    estimator, params
        As in a configuration.
    loss
        Its proper score in cross-validation, log loss or RMSE; None if it was not finished.
    behind
        How much its mean loss per row (log loss, squared error) is over the best one's, and that difference's standard error.
    """

    estimator: str
    params: dict[str, Any] = {}
    loss: float | None = None
    behind: tuple[float, float] = (0.0, 0.0)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """How ``estimator: auto`` chose.

    Attributes
    ----------
    metric
        ``log_loss`` or ``rmse``.
    rows, folds
        How many training rows were compared on, in how many folds.
    seconds
        How long it took.
    candidates
        The simplest first.
    chosen
        Place of the one that was kept.
    reason
        Why, in words.
    """

    metric: str
    rows: int
    folds: int
    seconds: float
    candidates: tuple[Candidate, ...]
    chosen: int
    reason: str
