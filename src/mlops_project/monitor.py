"""Monitor: evaluate what models answer, raise alerts, retrain and roll back. ``mlops monitor``."""

import contextlib
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from mlops_project.command import WorkflowCommand, config_options, echo, print_json
from mlops_project.config import Config
from mlops_project.errors import ConfigError, MLOpsError
from mlops_project.formats import PlainFormatter, count
from mlops_project.prediction_log.overdue import Overdue
from mlops_project.process import listen

if TYPE_CHECKING:
    from mlops_project.monitoring.results import Evaluation

CLEANING_SECONDS = 600.0  # at 10,000 rows a second the log grows by about a gigabyte meanwhile
OVERDUE_SECONDS = 6 * 3600.0  # how much longer old rows are kept: if only the clock is wrong, an alert fires first
END_SECONDS = 3.0  # how long work under way may go on after SIGTERM; nothing is half-written if it is killed then
QUIET, DRIFT, LOSS = 0, 3, 4  # exit codes

logger = logging.getLogger(__name__)


class Monitor:
    """Evaluates every model in the log, and starts retrainings and rollbacks of the configuration's own.

    Parameters
    ----------
    config
        The configuration. Only its own model is retrained and rolled back.
    segments
        The prediction log: absolute path or fsspec URL.

    Raises
    ------
    ConfigError
        If retrainings are to run as Jobs of a cluster, and this process does not run in a pod; or settings of ``rollout``
        exclude each other.
    """

    def __init__(self, config: Config, segments: str) -> None:
        from mlops_project.canary.guard import Guard
        from mlops_project.monitoring.service.notifier import Notifier
        from mlops_project.monitoring.service.rounds import Watcher
        from mlops_project.retraining.trigger import Trigger

        self.config, self.watcher, self.trigger = config, Watcher(config, segments), Trigger(config)
        self.notifier = Notifier(config, self.watcher.metrics)
        self.guard = Guard(config, self.watcher.reader, self.watcher.bundles)
        self.is_ready = False
        self._acting = threading.Lock()  # the loop and the webhook
        self._next_cleaning, self._overdue = 0.0, Overdue(OVERDUE_SECONDS)

    def run(self, stop: threading.Event) -> None:
        """Call ``step`` every ``monitoring.poll_seconds`` until ``stop`` is set."""
        while not stop.is_set():
            self.step()
            stop.wait(self.config.monitoring.poll_seconds)

    def step(self) -> None:
        """Do one round: read the log, evaluate, retrain, roll back, roll out, delete old rows.

        Whatever fails is logged, shown in ``/status`` and tried again in the next round.
        """
        watcher = self.watcher
        if not self.is_ready:
            self.is_ready = self._attempt("what was found before", watcher.restore)
        watermark: list[datetime] = []
        if self._attempt("the log", lambda: watermark.append(watcher.read_log())):
            watcher.watch(watermark[0])
        self._attempt("notifications", self.notifier.update)
        self._attempt("retraining", self.act)
        if watcher.bundles.has_registry:
            self._attempt("rollback", self.check_rollback)
            if self.config.serving.is_rolled_out:
                self._attempt("roll-out", self.check_rollout)
        if time.monotonic() >= self._next_cleaning:
            self._next_cleaning = time.monotonic() + CLEANING_SECONDS
            self._attempt("retention", self.clean)

    def act(self) -> None:
        """Ask for a retraining if an alert of the champion fires, or the schedule says so."""
        from mlops_project.retraining.trigger import find_causes

        name = self.config.model.name
        newest = self.watcher.metrics.newest.get(name)
        is_current = newest and newest.firing and newest.version == self.watcher.bundles.find_champion(name)
        causes = find_causes(newest) if newest and is_current else ()
        with self._acting:
            self.trigger.settle()
            due = self.trigger.find_due()
            for cause in (*causes, *([due] if due else [])):
                outcome = self.trigger.request(cause, newest_label=self._find_newest_label())
                if outcome == "started":
                    logger.info("%s: a retraining started: %s", name, cause.reason)
                if outcome in ("started", "running"):
                    break
        self._show_retraining()

    def handle_alert(self, body: bytes) -> dict[str, Any]:
        """Act on a notification of Alertmanager.

        Returns
        -------
        dict
            ``result``: the first of ``started``, ``running``, ``cool-down``, ``duplicate``, ``off`` that an alert in it led
            to, ``ignored`` if none did; ``causes``: key of each cause → its own result.

        Raises
        ------
        WebhookError
            If the body is no notification of Alertmanager.
        """
        from mlops_project.retraining.webhook import parse_webhook

        causes = parse_webhook(body, self.config.model.name)
        with self._acting:
            newest_label = self._find_newest_label()
            outcomes = {cause.key: self.trigger.request(cause, newest_label=newest_label) for cause in causes}
        self._show_retraining()
        order = ("started", "running", "cool-down", "duplicate", "off")
        result = next((outcome for outcome in order if outcome in outcomes.values()), "ignored")
        logger.info("notification of Alertmanager: %s", result)
        return {"result": result, "causes": outcomes}

    def _find_newest_label(self) -> datetime | None:
        """Return when the newest label came that the last evaluation knew of."""
        newest = self.watcher.metrics.newest.get(self.config.model.name)
        return datetime.fromisoformat(newest.last_label_at) if newest and newest.last_label_at else None

    def check_rollback(self) -> None:
        """Roll back a retrained champion that does worse than its predecessor."""
        from mlops_project.retraining.rollback import check_rollback

        move = check_rollback(self.config, self.watcher.reader)
        if move is not None:
            logger.warning("%s: version %d is champion again: %s", move.model, move.target, move.reason)

    def check_rollout(self) -> None:
        """Look at the roll-out of a challenger: begin one, raise its share, take it back, or make it champion."""
        self.guard.watch(self.watcher.metrics)

    def clean(self) -> None:
        """Delete what is older than ``monitoring.log_retention_days``, and what is beyond ``monitoring.log_max_bytes``."""
        settings = self.config.monitoring
        self.watcher.reader.delete_old(datetime.now(UTC) - timedelta(days=settings.log_retention_days), self._overdue)
        self.watcher.keep_small()

    def read_status(self) -> dict[str, Any]:
        """Return the state of retraining, roll-out and log, the next windows' progress, and the monitor's problems."""
        status = {self.config.model.name: self.trigger.read_status()}
        watcher = self.watcher
        return {
            "retraining": status,
            "rollout": {self.config.model.name: self.guard.rollout} if self.guard.rollout else {},
            "windows": watcher.next_windows.copy(),
            "problems": watcher.problems.current,
            "rows": watcher.account.describe(),
            "log": watcher.read_state().describe(),
            "notifications": [state._asdict() for state in self.notifier.read_states()],
        }

    def _show_retraining(self) -> None:
        status = self.trigger.read_status()
        ended_at = status.last.ended_at if status.last else None
        name = self.config.model.name
        self.watcher.metrics.show_retraining(name, running=status.running, ended_at=ended_at, counts=status.counts)

    def _attempt(self, subject: str, work: Callable[[], Any]) -> bool:
        """Do a piece of work; return whether it went well."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the service's edge: the other pieces go on
            self.watcher.problems.note(subject, error)
            return False
        self.watcher.problems.settle(subject)
        return True


def serve(monitor: Monitor, host: str, port: int) -> None:
    """Answer over HTTP while the monitor works in a thread, until SIGTERM or SIGINT.

    Parameters
    ----------
    monitor
        Its ``run`` is the thread's work.
    host
        Name or IP address to listen on.
    port
        0 for any free port; the log's first line has the one that was taken.

    Raises
    ------
    StackError
        If the port is taken.
    """
    from mlops_project.monitoring.service.http import MonitorBackend, build_server, build_service

    watcher = monitor.watcher
    backend = MonitorBackend(
        watcher.metrics, lambda: monitor.is_ready, monitor.read_status, watcher.read_report, monitor.handle_alert
    )
    listener = listen(host, port)
    server = build_server(build_service(backend, monitor.config.monitoring.root_path))
    stop = threading.Event()
    worker = threading.Thread(target=monitor.run, args=(stop,), name="monitor", daemon=True)

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    shown = "[{}]:{}" if ":" in host else "{}:{}"
    logger.info("listening on http://%s", shown.format(*listener.getsockname()[:2]))
    worker.start()
    monitor.notifier.start(stop)
    server.run(sockets=[listener])
    worker.join(END_SECONDS)
    if worker.is_alive():  # it is evaluating a window; the next start evaluates that window again
        logging.shutdown()
        os._exit(0)


def evaluate_once(monitor: Monitor, since: timedelta | None, *, act: bool) -> tuple[list["Evaluation"], dict[str, str]]:
    """Evaluate one window of each model: since the last evaluation, or a span of time up to now.

    A window since the last evaluation is kept, as the service would keep it; a chosen span overlaps others and is only shown.

    Parameters
    ----------
    monitor
        Not running: its ``run`` is not called.
    since
        Length of the span up to now; None for the rows since the last evaluation.
    act
        Whether to retrain and roll back afterwards, as the service would.

    Returns
    -------
    evaluations, skipped
        One evaluation per model, and model → why it has none.

    Raises
    ------
    MLOpsError
        If the log cannot be read, or the configuration's own model cannot be evaluated.
    """
    watcher, evaluations, skipped = monitor.watcher, [], {}
    watermark = watcher.read_log()
    now = datetime.now(UTC)
    for model in watcher.list_models():
        try:
            if since is None:
                found = watcher.evaluate_newest(model, watermark)
            else:
                found = watcher.evaluate_span(model, now - since, now)
        except MLOpsError as error:
            if model == monitor.config.model.name:
                raise
            found = str(error)
        if isinstance(found, str):
            skipped[model] = found
            continue
        evaluations.append(found)
        if since is None:
            watcher.keep(found)
            for other in watcher.evaluate_others(model, found.version, watermark):
                watcher.keep(other)
    monitor.notifier.update()
    if act:
        monitor.act()
        monitor.check_rollback()
    return evaluations, skipped


def find_exit_code(evaluations: Sequence["Evaluation"]) -> int:
    """Return the command's exit code: 4 for lost performance, 3 for any other finding, 0 for none."""
    if any(item.performance.lost for item in evaluations):
        return LOSS
    return DRIFT if any(item.alerts for item in evaluations) else QUIET


def _parse_time(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    """Read a time such as 90s, 30m, 24h or 7d."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value.strip())
    if not match or not float(match[1]):
        raise click.BadParameter(f"{value!r} is no time; expected one such as 90s, 30m, 24h or 7d")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return timedelta(**{unit: float(match[1])})


def _set_up_logging(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    own = logging.getLogger("mlops_project")
    own.handlers, own.propagate = [handler], False
    own.setLevel(level)


@click.command(
    cls=WorkflowCommand,
    name="monitor",
    examples=(
        "mlops monitor churn.yaml                         # until Ctrl-C",
        "mlops monitor churn.yaml --once --since 24h --json",
    ),
)
@config_options
@click.option(
    "--once", is_flag=True, help="Evaluate one window and end: exit 0 if all is quiet, 3 for drift, 4 for a lost metric."
)
@click.option(
    "--since",
    callback=_parse_time,
    metavar="TIME",
    help="With --once: so long back, such as 24h; default since the last window.",
)
@click.option("--act", is_flag=True, help="With --once: retrain and roll back as the service would.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print the evaluations as JSON.")
@click.option(
    "--accept",
    metavar="REASON",
    help="The newest windows that drifted are as they should be: later ones are judged by them, too. Then end.",
)
@click.option("--segments", metavar="DIR", help="The prediction log, a folder or fsspec URL; default paths.prediction_log_dir.")
@click.option("--host", help="Address to listen on; default monitoring.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; default monitoring.port.")
def command(
    config: Config,
    once: bool,
    since: timedelta | None,
    act: bool,
    as_json: bool,
    accept: str | None,
    segments: str | None,
    host: str | None,
    port: int | None,
) -> None:
    """Watch the prediction log: drift, live and estimated performance, data quality; alert, report and act."""
    if not once and (since or act or as_json):
        raise click.UsageError("--since, --act and --json go with --once")
    if since and act:
        raise click.UsageError("--act goes without --since: a look at a span of time is no reason to retrain")
    if accept is not None:
        _accept(config, accept, alone=not once)
        return
    _set_up_logging(logging.WARNING if once else logging.INFO)
    monitor = Monitor(config, _find_segments(config, segments, once=once))
    if not once:
        chosen = config.monitoring
        with monitor.watcher.store.lock():
            serve(monitor, host or chosen.host, chosen.port if port is None else port)
        return
    with contextlib.nullcontext() if since else monitor.watcher.store.lock():
        evaluations, skipped = evaluate_once(monitor, since, act=act)
    if as_json:
        print_json({"evaluations": evaluations, "skipped": skipped}, indent=2)
    else:
        from mlops_project.monitoring.report.evaluations import print_evaluations

        print_evaluations(evaluations, skipped)
    raise SystemExit(find_exit_code(evaluations))


def _accept(config: Config, reason: str, *, alone: bool) -> None:
    """Let the newest windows that drifted be part of the past that later ones are judged by."""
    from mlops_project.monitoring.accepted import accept_windows
    from mlops_project.monitoring.store import EvaluationStore

    if not alone or not reason.strip():
        raise click.UsageError("--accept takes a reason, and goes without --once")
    found = accept_windows(EvaluationStore(config.monitoring_dir), config.model.name, reason.strip())
    said = f"{count(len(found), 'window')} to {found[-1].end} accepted; a running monitor goes by it from the next window on"
    echo(f"{config.model.name}: {said}")


def _find_segments(config: Config, given: str | None, *, once: bool) -> str:
    folder = config.prediction_log_dir if given is None else Path(given).absolute()
    if given is not None and once and "://" not in given and not folder.is_dir():  # later it may come
        raise ConfigError(f"--segments {given}: no such folder; name the model server's paths.prediction_log_dir")
    return given if given is not None and "://" in given else str(folder)


if __name__ == "__main__":
    command()
