"""A model's evaluations in MLflow: one run per version with a metric's way over time, and the events of its alerts.

What was logged is marked on the run, so that windows that MLflow missed while it was down are logged later, and none twice.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mlops_project.config import Config
from mlops_project.process import find_user
from mlops_project.tracking.events import EventKind, read_events, record_event
from mlops_project.tracking.runs import find_experiment
from mlops_project.tracking.store import Store, open_store

MONITORING_TAG = "mlops.monitoring"  # the model's name
VERSION_TAG, LAST_TAG, COUNT_TAG = "mlops.version", "mlops.monitoring.last", "mlops.monitoring.windows"
MAX_BATCH = 1000  # metrics that MLflow takes at once
COMPARED = 100  # letters of an event's text, whose end may have been cut


class Logged(NamedTuple):
    """One window, as it is logged.

    Attributes
    ----------
    end
        Of the window; ISO 8601, UTC.
    metrics
        Name → value; finite.
    events
        (kind, text) of each alert that began to fire, or ceased to, with this window.
    """

    end: str
    metrics: Mapping[str, float]
    events: Sequence[tuple[EventKind, str]] = ()


def log_windows(config: Config, model: str, version: str, windows: Sequence[Logged], report: Path | None = None) -> int:
    """Log the windows that the version's run does not have; return how many those were.

    Parameters
    ----------
    windows
        Oldest first.
    report
        Uploaded as ``report.html``, in place of the last one.

    Raises
    ------
    TrackingError
        If MLflow cannot be reached or refuses; call again with the same and newer windows.
    """
    with open_store(config) as store:
        run = _find_run(store, model, version)
        last, count = run.data.tags.get(LAST_TAG, ""), int(run.data.tags.get(COUNT_TAG, 0))
        new = [window for window in windows if not last or _instant(window.end) > _instant(last)]
        if not new:
            return 0
        _record_events(store, model, version, new)
        _log_metrics(store, run.info.run_id, new, count)
        if report is not None:
            store.client.log_artifact(run.info.run_id, str(report))
        store.client.set_tag(run.info.run_id, COUNT_TAG, str(count + len(new)))
        store.client.set_tag(run.info.run_id, LAST_TAG, new[-1].end)
        return len(new)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _find_run(store: Store, model: str, version: str) -> Any:
    experiment = find_experiment(store)
    quoted = f'"{model}"' if "'" in model else f"'{model}'"
    query = f"tags.`{MONITORING_TAG}` = {quoted} AND tags.`{VERSION_TAG}` = '{version}'"
    found = store.client.search_runs([experiment], query, max_results=1)
    if found:
        return found[0]
    tags = {MONITORING_TAG: model, VERSION_TAG: version, "mlflow.source.name": "mlops monitor", "mlflow.source.type": "LOCAL"}
    return store.client.create_run(
        experiment, tags=tags | {"mlflow.user": find_user()}, run_name=f"monitoring {model} v{version}"
    )


def _log_metrics(store: Store, run_id: str, windows: Sequence[Logged], first_step: int) -> None:
    """Log every window as one step; the same window logged again is the same rows in MLflow."""
    from mlflow.entities import Metric

    metrics = [
        Metric(name, value, round(_instant(window.end).timestamp() * 1000), step)
        for step, window in enumerate(windows, first_step)
        for name, value in window.metrics.items()
    ]
    for start in range(0, len(metrics), MAX_BATCH):
        store.client.log_batch(run_id, metrics=metrics[start : start + MAX_BATCH])


def _record_events(store: Store, model: str, version: str, windows: Sequence[Logged]) -> None:
    """Record alerts in the audit trail of a registered model, each once."""
    from mlflow.exceptions import MlflowException

    wanted = [(_instant(window.end), kind, text) for window in windows for kind, text in window.events]
    if not wanted or not version.isdigit():
        return
    try:
        known = {(_instant(event.at), event.kind, _shorten(event.text)) for event in read_events(store, model)}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return  # a model from another registry has its trail there
    for at, kind, text in wanted:
        if (at, kind, _shorten(text)) not in known:
            record_event(store, model, kind, text, version=int(version), user="mlops monitor", at=at)


def _shorten(text: str) -> str:
    return " ".join(text.split())[:COMPARED]
