"""What the monitor has to do with notifications: it tells of alerts, sends what waits, and shows how that goes."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial

from mlops_project.config import Config
from mlops_project.monitoring.alerts import TITLES
from mlops_project.monitoring.results import Alert, AlertName, Evaluation
from mlops_project.monitoring.service.metrics import NOTIFICATIONS, NOTIFICATIONS_WAITING, MonitorMetrics
from mlops_project.notifications.news import News
from mlops_project.notifications.outbox import Outbox, TargetState
from mlops_project.notifications.sender import run
from mlops_project.notifications.telling import find_settings, tell_alerts

logger = logging.getLogger(__name__)


class Notifier:
    """Notifications of one monitor.

    Parameters
    ----------
    config
        Whose receivers are told, of every model in the log.
    metrics
        Where the newest evaluations are, and the numbers of messages go.
    """

    def __init__(self, config: Config, metrics: MonitorMetrics) -> None:
        self._config, self._metrics = config, metrics
        self._settings = find_settings(config)
        self._told: dict[str, Evaluation] = {}

    def start(self, stop: threading.Event) -> None:
        """Send what waits, in a thread, until ``stop`` is set."""
        if self._config.notifications.targets:
            threading.Thread(target=run, args=(self._settings, stop), name="notifications", daemon=True).start()

    def update(self) -> None:
        """Tell which alerts began and ended with the newest evaluations, and show what waits. Never raises."""
        if not self._config.notifications.targets:
            return
        for model, evaluation in self._metrics.newest.items():
            if self._told.get(model) is not evaluation:
                tell_evaluation(self._config, evaluation)
                self._told[model] = evaluation
        for state in self.read_states():
            self._metrics.put(NOTIFICATIONS_WAITING, state.waiting, state.target)
            for result, number in (("delivered", state.delivered), ("dropped", state.dropped), ("given-up", state.given_up)):
                self._metrics.put(NOTIFICATIONS, number, state.target, result)

    def read_states(self) -> tuple[TargetState, ...]:
        """Return how each receiver stands that a message was ever for; none if the outbox cannot be read, which is logged."""
        try:
            return Outbox(self._settings.folder).read()
        except (sqlite3.Error, OSError) as error:
            logger.warning("what waits for the receivers of notifications cannot be read: %s: %s", self._settings.folder, error)
            return ()


def tell_evaluation(config: Config, evaluation: Evaluation) -> None:
    """Tell which of a model's alerts began, grew or ended since receivers were told last, whoever restarts in between."""
    firing: dict[str, str] = {alert.name: "\n".join(sorted(alert.told)) for alert in evaluation.firing}
    tell_alerts(config, evaluation.model, firing, partial(_write, evaluation))


def _write(evaluation: Evaluation, before: dict[str, str]) -> Iterator[News]:
    for alert in evaluation.firing:
        if alert.name not in before:
            yield _describe(evaluation, alert.name, "began", TITLES[alert.name], alert.reason, alert)
        elif fresh := sorted(set(alert.told).difference(before[alert.name].split("\n"))):
            text = f"now also {', '.join(fresh)}"
            yield _describe(evaluation, alert.name, "grew", f"{TITLES[alert.name]}, {text}", alert.reason, alert)
    firing = {alert.name for alert in evaluation.firing}
    for name, title in TITLES.items():
        if name in before and name not in firing:
            yield _describe(evaluation, name, "ended", f"no longer so: {title}", "The last window shows nothing of it.")


def _describe(evaluation: Evaluation, name: AlertName, change: str, title: str, text: str, alert: Alert | None = None) -> News:
    """Return an alert's event; the same alert of the same window is the same event."""
    return News(
        kind="recovered" if change == "ended" else "alert",
        model=evaluation.model,
        title=f"{evaluation.model} version {evaluation.version}: {title}",
        text=text,
        at=evaluation.evaluated_at,
        key=f"{name}/{change}/{evaluation.version}/{evaluation.end}",
        data={
            "alert": name,
            "version": evaluation.version,
            "window": {"start": evaluation.start, "end": evaluation.end, "rows": evaluation.rows},
            **({"since": alert.since, "causes": list(alert.told)} if alert else {}),
        },
    )
