"""When a retraining starts: at most one at a time, with a pause between two, and never a second promotion for one cause.

``decide_start`` is pure; ``Trigger`` keeps the record and starts what runs: a process of this machine that outlives the
monitor, or a Job of the cluster.
"""

import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import yaml

from mlops_project.config import Config
from mlops_project.errors import StackError, TrackingError
from mlops_project.monitoring.results import AlertName, Evaluation
from mlops_project.retraining.attempts import LOCK_VARIABLE, Attempt, Attempts, Cause, Result, State, find_folder
from mlops_project.retraining.jobs import Cluster, build_job_name
from mlops_project.tracking.events import find_end
from mlops_project.tracking.store import open_store
from mlops_project.utils import load_config

StartDecision = Literal["started", "running", "cool-down", "duplicate", "off"]
# Only what labels say (ADR 10): drift explains, and an estimate asks for labels; without them there is nothing to learn from.
RETRAINING_ALERTS: tuple[AlertName, ...] = ("performance-loss",)
MAX_TRIES = 3  # of one cause whose retraining fails, not counting refusals
RETRY_MINUTES = 1.0  # after the first failure; doubled after each further one
LONGEST_PAUSE = timedelta(days=1)  # after refusals one after the other, each of which doubles the pause
KEPT_LOGS = 20

logger = logging.getLogger(__name__)


class RetrainingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the monitor shows of retraining.

    Attributes
    ----------
    running
        Whether one runs now.
    last
        The newest attempt; None if there was none.
    counts
        Result → how many attempts ever ended so; for ``mlops_retrainings_total`` and ``mlops_rollbacks_total``.
    """

    running: bool
    last: Attempt | None
    counts: dict[str, int]


def find_causes(evaluation: Evaluation) -> tuple[Cause, ...]:
    """Return a cause for each firing alert of ``RETRAINING_ALERTS``, in that order."""
    firing = {alert.name: alert for alert in evaluation.firing}
    return tuple(
        Cause(
            kind="alert",
            key=f"alert:{name}:{evaluation.version}:{firing[name].since}",
            reason=f"{name} of version {evaluation.version} since the window from {firing[name].since}: {firing[name].reason}",
        )
        for name in RETRAINING_ALERTS
        if name in firing
    )


def decide_start(
    cause: Cause, state: State, now: datetime, *, cool_down_minutes: float, newest_label: datetime | None = None
) -> StartDecision:
    """Decide whether a cause may start a retraining, given that none runs. Pure.

    A cause that led to a promotion, or to a challenger for a person to promote, starts no other. After a refusal, a veto or a
    lack of rows the same labels would end the same: it may start one again once new labels came, and after a pause that
    doubles with each refusal in a row. A failure may be tried ``MAX_TRIES`` times.

    Parameters
    ----------
    cause
        Why a retraining is asked for.
    state
        The record of attempts.
    now
        With a time zone.
    cool_down_minutes
        Pause after the last attempt that did not fail; one asked for by hand does not wait for it.
    newest_label
        When the newest label came that the monitor knows of; None if that is not known: then nothing waits for it.

    Returns
    -------
    StartDecision
        ``started``: it may start; ``cool-down``: too soon, or without new labels; ``duplicate``: the cause is done, or failed
        too often.
    """
    own = state.of(cause.key)
    failures = sum(attempt.result == "failed" for attempt in own)
    if failures >= MAX_TRIES or any(attempt.result in ("promoted", "ready", "rolled-back") for attempt in own):
        return "duplicate"
    if own and own[-1].result == "failed":
        wait, ended = timedelta(minutes=RETRY_MINUTES * 2 ** (failures - 1)), datetime.fromisoformat(own[-1].ended_at or "")
        return "cool-down" if now < ended + wait else "started"
    if cause.kind == "manual" or state.last_end is None:
        return "started"
    refusals = state.refusals
    known = refusals[-1].newest_label if refusals else ""
    if known and newest_label is not None and newest_label <= datetime.fromisoformat(known):
        return "cool-down"
    pause = timedelta(minutes=cool_down_minutes)
    if refusals:
        pause = max(pause, min(LONGEST_PAUSE, pause * 2 ** (len(refusals) - 1)))
    return "cool-down" if now < state.last_end + pause else "started"


class Trigger:
    """Starts retrainings of the configuration's model. One per monitor; several monitors may share the record.

    Parameters
    ----------
    config
        ``monitoring.on_alert`` says what may happen, ``retraining`` how often and where.
    cluster
        Where Jobs are made with ``retraining.runner: kubernetes``; default the one that this process runs in.

    Raises
    ------
    ConfigError
        If the runner is ``kubernetes`` and this is no pod.
    """

    def __init__(self, config: Config, cluster: Cluster | None = None) -> None:
        self.config = config
        self.attempts = Attempts(find_folder(config))
        self._cluster = cluster
        if config.retraining.runner == "kubernetes" and cluster is None:
            self._cluster = Cluster.of_this_pod()
        self._child: subprocess.Popen[bytes] | None = None
        self._first_look = datetime.now(UTC)

    def request(self, cause: Cause, now: datetime | None = None, *, newest_label: datetime | None = None) -> StartDecision:
        """Start a retraining for a cause, unless one runs, the cause is done, or it is too early.

        Parameters
        ----------
        cause
            Why.
        now
            With a time zone; None for the present.
        newest_label
            When the newest label came that is known; None if that is not known.

        Returns
        -------
        StartDecision
            ``started``; ``running``: one runs; ``cool-down``: too soon after the last one, or no label came since a
            refusal; ``duplicate``: this cause was answered already, or failed ``MAX_TRIES`` times; ``off``:
            ``monitoring.on_alert`` is ``report``.

        Raises
        ------
        StackError, TrackingError
            If the cluster cannot be asked, or the process not be started.
        """
        now = now or datetime.now(UTC)
        if cause.kind in ("alert", "webhook") and self.config.monitoring.on_alert == "report":
            return "off"
        lock = self.attempts.acquire()
        if lock is None:
            return "running"
        try:
            self._settle(now)
            if self.attempts.read().open:  # a Job of the cluster
                return "running"
            pause = self.config.retraining.cool_down_minutes
            state = self.attempts.read()
            outcome = decide_start(cause, state, now, cool_down_minutes=pause, newest_label=newest_label)
            if outcome != "started":
                return outcome
            if self._cluster is None:
                return self._start_process(cause, lock, now)
            return self._start_job(self._cluster, cause, now)
        finally:
            os.close(lock)

    def find_due(self, now: datetime | None = None) -> Cause | None:
        """Return a cause if ``retraining.every_hours`` have passed since the last retraining ended, or since the first look."""
        hours = self.config.retraining.every_hours
        if not hours:
            return None
        ends = [attempt.ended_at for attempt in self.attempts.read().attempts if attempt.ended_at]
        last = datetime.fromisoformat(max(ends)) if ends else self._first_look
        if (now or datetime.now(UTC)) < last + timedelta(hours=hours):
            return None
        return Cause(kind="schedule", key=f"schedule:{last.isoformat(timespec='seconds')}", reason=f"every {hours:g} hours")

    def settle(self, now: datetime | None = None) -> None:
        """Record the end of retrainings that died or, on the cluster, have ended. Called in every round of the monitor.

        Raises
        ------
        StackError
            If the cluster cannot be asked.
        """
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        if not self.attempts.read().open:
            return
        lock = self.attempts.acquire()
        if lock is not None:
            try:
                self._settle(now or datetime.now(UTC))
            finally:
                os.close(lock)

    def read_status(self) -> RetrainingStatus:
        """Return whether one runs (as of the last ``settle``), the last attempt and the counts."""
        state = self.attempts.read()
        last = state.attempts[-1] if state.attempts else None
        return RetrainingStatus(running=bool(state.open), last=last, counts=state.counts)

    def _settle(self, now: datetime) -> None:
        """Record what has ended; with the lock held, so that no process of this machine can be running."""
        self.attempts.fail_dead(now)
        for attempt in self.attempts.read().open:
            if self._cluster is not None and self._cluster.read_state(attempt.job) != "active":
                self._settle_job(attempt, now)

    def _settle_job(self, attempt: Attempt, now: datetime) -> None:
        """Record how a Job ended: its pod recorded that in the registry, and in this folder if it shares it."""
        try:
            with open_store(self.config) as store:
                end = find_end(store, self.config.model.name, attempt.cause.key, attempt.started_at)
        except TrackingError as error:
            logger.warning("how Job %s ended is not known yet: %s", attempt.job, error)
            return
        result, text = (end.result or "failed", end.text) if end else ("failed", f"Job {attempt.job} ended without a result")
        version = end.version if end else None
        self.attempts.finish(attempt.cause.key, cast("Result", result), text, now, version=version)

    def _start_job(self, cluster: Cluster, cause: Cause, now: datetime) -> StartDecision:
        if cluster.is_retraining():  # started by another, or by the CronJob's clock
            return "running"
        name = build_job_name(cause.key, len(self.attempts.read().of(cause.key)) + 1)
        if not cluster.create_job(name, self._arguments(cause)):
            return "duplicate"
        self.attempts.begin(cause, now, job=name)  # if this is never reached, the next request gets a 409
        return "started"

    def _start_process(self, cause: Cause, lock: int, now: datetime) -> StartDecision:
        """Start a process that keeps the lock, and goes on if this one ends.

        If the monitor leads its session, `mlops up` started it and ends its whole group: the process stays in that group.
        Otherwise it gets a session of its own, so that Ctrl-C on the monitor does not reach it.
        """
        self.attempts.begin(cause, now)
        file = Path(self.config.file)
        command = [
            sys.executable,
            "-m",
            "mlops_project.retrain",
            str(file),
            *self._arguments(cause),
            *_find_overrides(self.config),
        ]
        output = self.attempts.folder / f"{now:%Y%m%dT%H%M%S}.log"
        try:
            with output.open("ab") as stream:
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    env=os.environ | {LOCK_VARIABLE: str(lock)},
                    pass_fds=[lock],
                    start_new_session=os.getsid(0) != os.getpid(),
                )
        except OSError as error:
            self.attempts.finish(cause.key, "failed", f"it cannot be started: {error}", now)
            raise StackError(f"a retraining cannot be started: {error}") from error
        _delete_old_logs(self.attempts.folder)
        return "started"

    def _arguments(self, cause: Cause) -> list[str]:
        """Return the retraining's arguments; it promotes if a person asked for it, or ``monitoring.on_alert`` says so."""
        promote = cause.kind == "manual" or self.config.monitoring.on_alert == "retrain-and-promote"
        return [f"--cause={cause.key}", f"--reason={cause.reason}", "--promote" if promote else "--no-promote"]


def _find_overrides(config: Config) -> list[str]:
    """Return the ``--set`` options that turn the configuration's file into the configuration of this process."""
    file, given = load_config(config.file).to_dict(), config.to_dict()
    options: list[str] = []
    for name, value in given.items():
        if not isinstance(value, dict):
            options += [f"--set={name}={_to_yaml(value)}"] if value != file[name] else []
            continue
        options += [f"--set={name}.{key}={_to_yaml(item)}" for key, item in value.items() if item != file[name][key]]
    return options


def _to_yaml(value: Any) -> str:
    """Return a value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=sys.maxsize, allow_unicode=True).removesuffix("...\n").strip()


def _delete_old_logs(folder: Path) -> None:
    for file in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
        file.unlink(missing_ok=True)
