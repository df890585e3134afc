"""From what a window shows to an alert: what is wrong, for how many windows in a row, and whether that is long enough.

Pure. One window may be wrong by chance or for an hour; ``monitoring.consecutive`` of them in a row are a fact.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mlops_project.monitoring.results import Alert, AlertName, Drift, Evaluation, Performance
from mlops_project.sections import MonitoringConfig

MAX_NAMED = 3  # features in the reason for a data-quality alert
TITLES: dict[AlertName, str] = {
    "performance-loss": "the model lost performance",
    "estimated-loss": "the model probably lost performance",
    "data-drift": "the inputs changed",
    "prediction-drift": "the predictions changed",
    "data-quality": "the data is faulty",
}


def decide_alerts(
    drift: Drift, performance: Performance, previous: Sequence[Evaluation], settings: MonitoringConfig, start: str
) -> tuple[Alert, ...]:
    """Return everything that is wrong in a window, the gravest first.

    Parameters
    ----------
    previous
        Earlier evaluations of the same model and version, oldest first: a new version starts counting anew.
    start
        Start of the window; ISO 8601, UTC.
    """
    before = {alert.name: alert for alert in previous[-1].alerts} if previous else {}
    alerts = []
    for name, reason in _find_wrongs(drift, performance):
        last = before.get(name)
        windows = last.windows + 1 if last else 1
        since = last.since if last else start
        alerts.append(Alert(name=name, windows=windows, firing=windows >= settings.consecutive, since=since, reason=reason))
    return tuple(alerts)


def _find_wrongs(drift: Drift, performance: Performance) -> Iterator[tuple[AlertName, str]]:
    live, _, estimated = performance.reason.partition("; ")
    if performance.lost:
        yield "performance-loss", live
    if performance.estimated_lost:
        yield "estimated-loss", estimated or live
    if drift.drifted:
        yield "data-drift", drift.reason
    if drift.prediction_drifted:
        yield "prediction-drift", _name_scores(drift)
    faulty = [feature for feature in drift.features if feature.quality]
    if faulty:
        named = "; ".join(f"{feature.name}: {', '.join(feature.quality)}" for feature in faulty[:MAX_NAMED])
        rest = len(faulty) - MAX_NAMED
        yield "data-quality", f"{named} and {rest} more" if rest > 0 else named


def _name_scores(drift: Drift) -> str:
    moved = [
        f"{score.name} ({score.jensen_shannon:.3f}, tolerated {score.threshold:.3f})" for score in drift.scores if score.drifted
    ]
    return f"the scores moved: {', '.join(moved)}" if moved else drift.reason


class Changes(NamedTuple):
    """Alerts that fire since this window, and those that no longer do."""

    began: tuple[Alert, ...]
    over: tuple[Alert, ...]


def find_changes(before: Evaluation | None, now: Evaluation) -> Changes:
    """Compare with the model's evaluation before; another version starts with what its predecessor left firing."""
    then = {alert.name: alert for alert in before.firing} if before else {}
    fires = {alert.name: alert for alert in now.firing}
    began = tuple(alert for name, alert in fires.items() if name not in then)
    return Changes(began, tuple(alert for name, alert in then.items() if name not in fires))
