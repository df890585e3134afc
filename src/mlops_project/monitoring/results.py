"""What an evaluation of one window found. Written as JSON; read by report, metrics, commands and application."""

from typing import Literal

import msgspec

from mlops_project.monitoring.drift_results import (
    Aspect,
    AspectDrift,
    Bins,
    DomainDrift,
    Drift,
    FeatureDrift,
    PastNote,
    Reason,
    Repeats,
)

__all__ = [  # what a window's rows show is defined in `drift_results.py`; readers of evaluations import all of them from here
    "Alert",
    "AlertName",
    "Aspect",
    "AspectDrift",
    "Bins",
    "DomainDrift",
    "Drift",
    "Evaluation",
    "FeatureDrift",
    "MetricValue",
    "PastNote",
    "Performance",
    "Reason",
    "Repeats",
    "Source",
]

Source = Literal["live", "estimated"]
AlertName = Literal[
    "data-drift",
    "prediction-drift",
    "performance-loss",
    "coverage-loss",
    "abstain-rise",
    "unequal-groups",
    "estimated-loss",
    "data-quality",
    "rows-missing",
]


class MetricValue(msgspec.Struct, frozen=True, kw_only=True):
    """One metric beside its value on the held-out rows.

    Attributes
    ----------
    name, source
        Which metric, and whether from labels, estimated without, or counted among the answers themselves.
    value, low, high
        With its 95 % interval.
    reference
        On the held-out rows.
    rows
        How many rows it is from.
    lost
        Whether it is worse than the reference by more than the tolerance, beyond chance.
    """

    name: str
    source: Source | Literal["counted"]
    value: float
    low: float
    high: float
    reference: float
    rows: int
    lost: bool = False


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """How good the model is now.

    Attributes
    ----------
    metric
        The metric whose loss raises an alert.
    live
        From labelled rows; empty if there are too few.
    estimated
        Without labels; empty if the reference does not allow an estimate.
    counted
        How sure the model is of the window's rows; empty if it does not say, and in evaluations of earlier releases.
    assumptions
        What the estimate rests on, one English sentence each.
    assumed
        The same as data; empty in evaluations of earlier releases.
    labelled_rows, label_coverage, label_delay_seconds
        Rows with a label, their share among the predictions as old as they, median time from prediction to label.
    lost, estimated_lost
        Whether ``metric`` is lost, live and by the estimate.
    groups
        In which respects groups of ``checks.groups`` are treated differently, beyond chance.
    reason
        In English words.
    live_reason, estimated_reason
        Its parts as data; None in evaluations of earlier releases.
    young
        Which labelled rows do not count, because labels of one class take longer than their age; None if all count.
    """

    metric: str
    live: tuple[MetricValue, ...] = ()
    estimated: tuple[MetricValue, ...] = ()
    counted: tuple[MetricValue, ...] = ()
    assumptions: tuple[str, ...] = ()
    assumed: tuple[Reason, ...] = ()
    labelled_rows: int = 0
    label_coverage: float | None = None
    label_delay_seconds: float | None = None
    lost: bool = False
    estimated_lost: bool = False
    groups: tuple[Reason, ...] = ()
    reason: str = ""
    live_reason: Reason | None = None
    young: Reason | None = None
    estimated_reason: Reason | None = None

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons there are, live first."""
        return tuple(reason for reason in (self.live_reason, self.young, self.estimated_reason) if reason)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is so for ``windows`` windows in a row.

    Attributes
    ----------
    name
        What.
    windows
        For how many windows in a row by now.
    firing
        Whether that is ``monitoring.consecutive`` or more.
    since
        Start of the first of them; ISO 8601, UTC.
    reason
        Of the newest window, in English words.
    reasons
        The same as data; empty in evaluations of earlier releases.
    causes
        What it is about, such as a feature's name → for how many windows in a row; empty for lost metrics, and in evaluations
        of earlier releases.
    told
        Those that were so when it began to fire, or for long enough since then: what people were told of.
    labels_until
        Of ``performance-loss``: when the newest label came that had come when a window was last counted; ISO 8601, UTC; empty
        for other alerts, and in evaluations of earlier releases.
    """

    name: AlertName
    windows: int
    firing: bool
    since: str
    reason: str
    reasons: tuple[Reason, ...] = ()
    causes: dict[str, int] = {}
    told: tuple[str, ...] = ()
    labels_until: str = ""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One window of one model's log, evaluated.

    Attributes
    ----------
    model, version
        Whose predictions.
    start, end
        The window, end excluded; ISO 8601, UTC.
    evaluated_at
        ISO 8601, UTC.
    rows
        Predictions in the window.
    drift, performance
        What was found.
    alerts
        Everything that is not as it should be.
    last_label_at
        When the newest label came; ISO 8601, UTC; None if none ever did.
    champion
        Whether the version was champion; False for the last rows of its predecessor, and for a canary's.
    missing, missing_total
        Rows of the log that are in no window, reason → how many: found missing since the model's window before, and ever.
    """

    model: str
    version: str
    start: str
    end: str
    evaluated_at: str
    rows: int
    drift: Drift
    performance: Performance
    alerts: tuple[Alert, ...] = ()
    last_label_at: str | None = None
    champion: bool = True
    missing: dict[str, int] = {}
    missing_total: dict[str, int] = {}

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The alerts that fire."""
        return tuple(alert for alert in self.alerts if alert.firing)
