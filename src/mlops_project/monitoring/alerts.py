"""From what a window shows to an alert: what is wrong, for how many windows in a row, and whether that is long enough.

Pure. One window may be wrong by chance or for an hour; ``monitoring.consecutive`` of them in a row are a fact.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from mlops_project.monitoring.account import is_alarming
from mlops_project.monitoring.coverage import ABSTAINED, COVERAGE, WEIGHTED, explain_abstained, explain_coverage
from mlops_project.monitoring.drift import DRIFT_REASONS, describe_distance
from mlops_project.monitoring.reasons import say, shorten_list
from mlops_project.monitoring.results import Alert, AlertName, Drift, Evaluation, Performance, Reason
from mlops_project.sections import MonitoringConfig

NEW_LABELS = 0.1  # share of the labels behind a metric that must be new for a window to count
BY_LABELS = ("performance-loss", "coverage-loss", "unequal-groups")
TITLES: dict[AlertName, str] = {
    "performance-loss": "the model lost performance",
    "coverage-loss": "sets and intervals hold the truth less often than promised",
    "abstain-rise": "more rows should go to a person",
    "unequal-groups": "groups bear unequal errors",
    "estimated-loss": "the model probably lost performance",
    "data-drift": "the inputs changed",
    "prediction-drift": "the predictions changed",
    "data-quality": "the data is faulty",
    "rows-missing": "predictions are in no window",
}


def decide_alerts(
    drift: Drift,
    performance: Performance,
    previous: Sequence[Evaluation],
    settings: MonitoringConfig,
    start: str,
    missing: Reason | None = None,
    came: Sequence[datetime] = (),
) -> tuple[Alert, ...]:
    """Return everything that is wrong in a window, the most severe first.

    A lost metric counts for a window only if labels came since a window was last counted for it: at least ``NEW_LABELS`` of
    those that the metric is from. One bad delivery would otherwise be a fact in all windows that look back on it.

    Parameters
    ----------
    previous
        Earlier evaluations of the same model and version, oldest first: a new version starts counting anew.
    start
        Start of the window; ISO 8601, UTC.
    missing
        Which rows were found to be in no window since the window before; None for none.
    came
        When the labels came that the live metrics are from; UTC.
    """
    newest = max(came).isoformat() if came else ""
    before = {alert.name: alert for alert in previous[-1].alerts} if previous else {}
    alerts = []
    for name, reasons in (*_find_alerts(drift, performance), *_find_missing(missing)):
        last, until = before.get(name), newest if name in BY_LABELS else ""
        windows, since = 1, start
        if last:
            is_new = _has_new_labels(last, came)
            windows, since = last.windows + is_new, last.since
            until = until if is_new else last.labels_until
        causes = {cause: 1 + (last.causes.get(cause, 0) if last else 0) for cause in _find_causes(name, drift)}
        alert = Alert(
            name=name,
            windows=windows,
            firing=windows >= settings.consecutive,
            since=since,
            reason=say(*reasons),
            reasons=reasons,
            causes=causes,
            labels_until=until,
        )
        alerts.append(msgspec.structs.replace(alert, told=_list_told(alert, last, settings)))
    return tuple(alerts)


def _find_causes(name: AlertName, drift: Drift) -> tuple[str, ...]:
    """Return what an alert is about: the features, pairs and other aspects, scores or faults."""
    if name == "data-drift":
        return tuple(found.name for found in (*drift.features, *drift.aspects) if found.drifted)
    if name == "prediction-drift":
        return tuple(score.name for score in drift.scores if score.drifted)
    if name == "data-quality":
        return tuple(f"{feature.name}: {fault.kind}" for feature in drift.features for fault in feature.faults)
    return ()


def _list_told(alert: Alert, last: Alert | None, settings: MonitoringConfig) -> tuple[str, ...]:
    """Return the causes that people know of: all when it begins to fire, then those that are so for long enough as well."""
    if not alert.firing:
        return ()
    if last is None or not last.firing:
        return tuple(alert.causes)
    lasting = (cause for cause, windows in alert.causes.items() if windows >= settings.consecutive)
    return tuple(dict.fromkeys((*last.told, *lasting)))


def _has_new_labels(last: Alert, came: Sequence[datetime]) -> bool:
    """Whether a window counts for an alert that stands: for a lost metric, if enough of its labels are new."""
    if last.name not in BY_LABELS or not last.labels_until:
        return True
    until = datetime.fromisoformat(last.labels_until)
    return sum(instant > until for instant in came) >= max(1.0, NEW_LABELS * len(came))


def _find_alerts(drift: Drift, performance: Performance) -> Iterator[tuple[AlertName, tuple[Reason, ...]]]:
    if performance.lost and performance.live_reason:
        yield "performance-loss", (performance.live_reason,)
    live = {value.name: value for value in performance.live}
    if COVERAGE in live and live[COVERAGE].lost:
        yield "coverage-loss", explain_coverage(live[COVERAGE], live.get(WEIGHTED))
    for value in performance.counted:
        if value.name == ABSTAINED and value.lost:
            yield "abstain-rise", (explain_abstained(value),)
    if performance.groups:
        yield "unequal-groups", performance.groups
    if performance.estimated_lost and performance.estimated_reason:
        yield "estimated-loss", (performance.estimated_reason,)
    if drift.drifted:
        yield "data-drift", tuple(reason for reason in drift.reasons if reason.kind in DRIFT_REASONS) or drift.reasons
    if drift.prediction_drifted:
        moved = tuple(describe_distance("score-moved", score) for score in drift.scores if score.drifted)
        yield "prediction-drift", (Reason(kind="scores-moved", values={"named": moved}),)
    faulty = [feature for feature in drift.features if feature.faults]
    if faulty:
        found = [Reason(kind="faulty", values={"name": feature.name, "faults": feature.faults}) for feature in faulty]
        yield "data-quality", shorten_list(found, "more-clauses")


def _find_missing(missing: Reason | None) -> Iterator[tuple[AlertName, tuple[Reason, ...]]]:
    if missing is not None and is_alarming(missing):
        yield "rows-missing", (missing,)


class Changes(NamedTuple):
    """What there is to tell people after a window.

    Attributes
    ----------
    began, over
        Alerts that fire since this window, and those that no longer do.
    grown
        Alerts that fired already, with what they are about besides since this window: a change that stands must not hide the
        next one.
    """

    began: tuple[Alert, ...]
    over: tuple[Alert, ...]
    grown: tuple[tuple[Alert, tuple[str, ...]], ...] = ()


def find_changes(before: Evaluation | None, now: Evaluation) -> Changes:
    """Compare with the model's evaluation before; another version starts with what its predecessor left firing."""
    then = {alert.name: alert for alert in before.firing} if before else {}
    fires = {alert.name: alert for alert in now.firing}
    began = tuple(alert for name, alert in fires.items() if name not in then)
    stands = [(alert, then[name].told) for name, alert in fires.items() if name in then and then[name].told]
    found = ((alert, tuple(cause for cause in alert.told if cause not in told)) for alert, told in stands)
    over = tuple(alert for name, alert in then.items() if name not in fires)
    return Changes(began, over, tuple((alert, causes) for alert, causes in found if causes))
