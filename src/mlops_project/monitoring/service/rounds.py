"""The monitor's work, round by round: read the log, evaluate the windows that are due, show and keep what was found.

Everything follows from what is on disk: the evaluation's file is what makes a window done. A monitor that was killed at any
moment goes on where it was; report and MLflow are brought in step at the next start.
"""

import logging
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path

from mlops_project.bundle import Bundle
from mlops_project.config import Config
from mlops_project.errors import BundleError, TrackingError
from mlops_project.monitoring.accepted import read_accepted
from mlops_project.monitoring.clocks import AHEAD, SlowClocks
from mlops_project.monitoring.evaluate import evaluate_window
from mlops_project.monitoring.log_state import ClockError, LogState, check_clocks
from mlops_project.monitoring.next_window import NextWindow
from mlops_project.monitoring.report.page import build_report
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.service import metrics as exporter
from mlops_project.monitoring.service.account import Account
from mlops_project.monitoring.service.bundles import BundleFinder
from mlops_project.monitoring.service.logged import log_evaluations
from mlops_project.monitoring.service.metrics import MonitorMetrics
from mlops_project.monitoring.service.problems import Problems
from mlops_project.monitoring.service.recount import note_unreadable, recount_late
from mlops_project.monitoring.store import EvaluationStore
from mlops_project.monitoring.windows import (
    GRACE,
    MARGIN,
    Pending,
    Progress,
    describe_next,
    find_last_window,
    find_start,
    find_window,
    list_pending,
)
from mlops_project.prediction_log.ingest import Ingested, ingest, ingest_again
from mlops_project.prediction_log.markers import list_done, read_damaged
from mlops_project.prediction_log.parts import Bounds
from mlops_project.prediction_log.reader import LogReader, Window
from mlops_project.prediction_log.segments import close_abandoned
from mlops_project.prediction_log.sequence import find_host
from mlops_project.storage.directory import Directory

PAST = 200  # evaluations of a version, some of them with drift, for the ``past.KEPT`` quiet ones
RECENT = 20  # evaluations, of several versions, among which the one that was made last is looked for
HISTORY = 300  # evaluations of a model that the report looks back on
REPORT = "report.html"
CLOCKS_DIFFER = timedelta(days=1)  # a version's predictions are not older than it by more

logger = logging.getLogger(__name__)


class Watcher:
    """Watches every model of one log.

    Parameters
    ----------
    config
        The configuration; ``model.name`` is one of the models, or the only one.
    segments
        The prediction log: absolute path or fsspec URL.

    Attributes
    ----------
    metrics
        What Prometheus reads.
    next_windows
        Model → how far the window has come that ends next.
    bundles
        Where versions and their bundles are looked up.
    reader
        The log as Parquet.
    """

    def __init__(self, config: Config, segments: str) -> None:
        self.config, self.segments = config, segments
        self.metrics = MonitorMetrics(config.monitoring)
        self.next_windows: dict[str, NextWindow] = {}
        self.bundles, self.problems = BundleFinder(config), Problems()
        self.reader = LogReader(config.monitoring_dir, mend=self._mend)
        self._unreadable: Mapping[str, str] = {}
        self._waiting: set[str] = set()
        self._vanished: list[str] = []
        self._late = self._ahead = 0
        self.store = EvaluationStore(config.monitoring_dir)
        self._kept = Directory(config.monitoring_dir)
        self.account = Account(self._kept, self.metrics)
        self._clocks = SlowClocks(timedelta(seconds=config.prediction_log.segment_seconds) + GRACE)
        self._dropped, self._was_unreadable = "", True  # until the first look shows otherwise
        self._behind: Mapping[str, timedelta] = {}
        self._versions: dict[str, set[str]] | None = None  # of each model, those whose rows may not all be in windows yet

    def restore(self) -> None:
        """Show what was found before, and bring report and MLflow in step with it."""
        self.account.refresh()
        for model in self.store.models():
            newest = self.store.read_shown(model, 1)
            self.metrics.begin(model)
            self.account.restore(model, self.store.read(model))
            if newest:
                self.metrics.show(newest[0])
                self._write_report(model)
                self._log(model)

    def read_log(self) -> datetime:
        """Bring closed segments into the Parquet log; return the time up to which every row is in it."""
        options = self.config.prediction_log
        if "://" not in self.segments:
            close_abandoned(Path(self.segments))
        self.reader.recheck()
        pending = list_pending(self.segments, list_done(self._kept))
        self._behind = self._clocks.look(pending)
        self._check_clocks(pending)
        done = ingest(
            self.segments,
            self.config.monitoring_dir,
            self.bundles,
            self.config.serving,
            begin=cache(self._find_begin),
            is_behind=lambda name: find_host(name) in self._behind,
            markers_since=pending.at - timedelta(days=self.config.monitoring.log_retention_days),
        )
        left = pending.without(list_done(self._kept))
        self._note_ingested(done, pending, left)
        self._note_versions(done)
        self.metrics.put(exporter.LOG_LAG, left.lag_seconds)
        return left.find_watermark(options, self._behind)

    def _note_versions(self, done: Ingested) -> None:
        """Remember which versions have rows that may be in no window yet; at the first look, all of the log."""
        if self._versions is None:
            self._versions = {model: self.reader.list_versions(model) for model in self.reader.models()}
        for model, version in done.versions:
            self._versions.setdefault(model, set()).add(version)

    def _note_ingested(self, done: Ingested, pending: Pending, left: Pending) -> None:
        """Count and show what could not be read, and what was deleted before it was."""
        read = list_done(self._kept)
        vanished = sorted(self._waiting.difference(pending.begun, read))
        self._waiting = {name for name, (_, closed) in left.begun.items() if closed}
        self._vanished += vanished
        if vanished:
            logger.error("segments were deleted before they were read: %s", ", ".join(vanished))
        self._unreadable = done.unreadable
        self._late, self._ahead = self._late + done.late, self._ahead + done.ahead
        counts = {exporter.UNDECODABLE: done.undecodable, exporter.DAMAGED: done.lost, exporter.DAMAGED_BYTES: done.lost_bytes}
        for metric, count in {**counts, exporter.VANISHED: len(vanished)}.items():
            self.metrics.add(metric, count)
        if done.touched:
            self.account.refresh(done.touched)
        self.metrics.add(exporter.ODD_TIMES, done.late, "late")
        self.metrics.add(exporter.ODD_TIMES, done.ahead, "ahead")
        self.metrics.put(exporter.UNREADABLE, len(self.read_state().unreadable))

    def keep_small(self) -> None:
        """Delete the oldest rows of the Parquet log beyond ``monitoring.log_max_bytes``, and say so."""
        limit = self.config.monitoring.log_max_bytes
        dropped = self.reader.drop_oldest(limit, cache(self._read_begin))
        self.metrics.put(exporter.LOG_SIZE, dropped.left_bytes)
        self.metrics.add(exporter.LOG_DROPPED, dropped.bytes)
        self.account.refresh()  # notes that were deleted with their date are told of no longer
        if dropped.bytes:
            said = (
                "the Parquet log exceeded monitoring.log_max_bytes (%d): segments to %s were deleted, %d rows in no window yet"
            )
            logger.warning(said, limit, dropped.until, dropped.unevaluated)
            self._dropped = dropped.until

    def read_state(self) -> LogState:
        """Return what is wrong with the log itself."""
        unreadable = {**self._unreadable, **self.reader.left_out, **self.store.damaged}
        behind = {host: lag.total_seconds() for host, lag in self._behind.items() if lag > AHEAD}
        return LogState(read_damaged(self._kept), unreadable, self._vanished, self._late, self._ahead, behind, self._dropped)

    def _mend(self, file: str) -> bool:
        """Write a damaged file of the Parquet log anew, if its segment is still there."""
        place = self.config.monitoring_dir
        is_mended = ingest_again(file, self.segments, place, self.bundles, self.config.serving)
        if is_mended:
            logger.warning("%s was damaged, and was written anew from its segment", file)
        return is_mended

    def _check_clocks(self, pending: Pending) -> None:
        try:
            check_clocks(pending, self._behind)
            self.problems.settle("the clock")
        except ClockError as error:
            self.problems.note("the clock", error)

    def _find_begin(self, model: str, version: str) -> Bounds | None:
        """Return which times a version's rows may have; None if nothing is known of it."""
        bundle = self.bundles(model, version)
        if bundle is not None:
            self._withdraw(model, bundle)
        return self._read_bounds(model, version)

    def _read_begin(self, model: str, version: str) -> datetime | None:
        bounds = self._read_bounds(model, version)
        return bounds.begin if bounds else None

    def _read_bounds(self, model: str, version: str) -> Bounds | None:
        bundle = self.bundles(model, version)
        if bundle is None:
            return None
        progress = _find_progress(self.store.read(model, last=1, version=version), model, version, bundle)
        return Bounds(progress.begin, max(progress.begin, progress.last_end or progress.begin))

    def _withdraw(self, model: str, bundle: Bundle) -> None:
        """Take back evaluations of windows that are still to come: the clock was ahead. Their rows are evaluated again."""
        now = datetime.now(UTC)
        if now < datetime.fromisoformat(bundle.metadata.created_at):  # then it is now that it is wrong, and behind
            return
        withdrawn = self.store.withdraw(model, now)
        if withdrawn:
            said = "%s: %d windows that end after now were evaluated by a clock that was ahead; they will be evaluated again"
            logger.error(said, model, len(withdrawn))
            self.metrics.show_only(model, self.store.read_shown(model, 1))
            self.account.restore(model, self.store.read(model))
            self.account.refresh(recount_late(self._kept, self.reader, model, self._read_begin))

    def watch(self, watermark: datetime) -> None:
        """Evaluate every window that is due. What fails with one model is logged and counted, and the others go on."""
        for model in self.list_models():
            self.metrics.begin(model)
            try:
                for evaluation in self._evaluate_due(model, watermark):
                    self.keep(evaluation)
                self._note_unreadable()
                self.problems.settle(model)
            except Exception as error:  # noqa: BLE001 - the service's edge: tomorrow's window may be fine
                self.metrics.add(exporter.RUNS, 1.0, model, "error")
                self.problems.note(model, error)

    def _note_unreadable(self) -> None:
        """Count the rows of files of the Parquet log that cannot be read."""
        left_out = self.reader.left_out
        if left_out or self._was_unreadable:
            evaluated = partial(_read_version, self.store)
            self.account.refresh(note_unreadable(self._kept, self.reader, left_out, evaluated, self._read_begin))
        self._was_unreadable = bool(left_out)

    def list_models(self) -> list[str]:
        """Return the models that the log knows."""
        return sorted(self.reader.models())

    def find_champion(self, model: str) -> tuple[str, Bundle]:
        """Return a model's champion.

        Raises
        ------
        BundleError
            If nobody knows it, or its bundle is not to be had.
        """
        version = self.bundles.find_champion(model)
        if version is None:
            raise BundleError("no champion is known: no registry and no folder of the model server names one")
        bundle = self.bundles(model, version)
        if bundle is None:
            raise BundleError(f"version {version} is champion, and its bundle is not to be had")
        return version, bundle

    def evaluate_span(self, model: str, start: datetime | None, end: datetime) -> Evaluation | str:
        """Evaluate one window by itself.

        Parameters
        ----------
        start
            None: where the last evaluation ended.

        Returns
        -------
        Evaluation or str
            Why there is none, if there are too few rows.
        """
        version, bundle = self.find_champion(model)
        self._withdraw(model, bundle)
        previous = self.store.read(model, last=PAST, version=version)
        if start is None:
            start = find_start(self.reader, _find_progress(previous, model, version, bundle), self.config.monitoring)
        window = Window(model, start or end, end, version)
        rows, needed = self.reader.count(window, labelled=False).rows, self.config.monitoring.min_rows
        if rows < needed:
            return f"version {version} has {rows} rows, {needed} are needed (monitoring.min_rows)"
        return self._evaluate(bundle, window, previous)

    def evaluate_newest(self, model: str, watermark: datetime) -> Evaluation | str:
        """Evaluate the rows since the last evaluation; wait some seconds if only the newest of them make it enough.

        Returns
        -------
        Evaluation or str
            Why there is none, if there are too few rows.
        """
        found = self.evaluate_span(model, None, watermark)
        if isinstance(found, str) and datetime.now(UTC) - watermark < 2 * MARGIN:  # else a segment is waited for
            version, bundle = self.find_champion(model)
            progress = _find_progress(self.store.read(model, last=1, version=version), model, version, bundle)
            coming = describe_next(self.reader, progress, self.config.monitoring)
            if coming.rows >= coming.needed:
                time.sleep(MARGIN.total_seconds())
                return self.evaluate_span(model, None, self.read_log())
        return found

    def _evaluate(self, bundle: Bundle, window: Window, previous: Sequence[Evaluation], *, champion: bool = True) -> Evaluation:
        accepted = read_accepted(self.store, window.model)
        before = max(self.store.read(window.model, last=RECENT), key=lambda item: item.evaluated_at, default=None)
        return self.reader.leave_out_unreadable(
            lambda: evaluate_window(
                self.config,
                bundle,
                self.reader,
                window,
                previous,
                accepted=accepted,
                losses=self.account.find_losses(window.model).both,
                noted=before.missing_total if before else {},
                champion=champion,
            )
        )

    def keep(self, evaluation: Evaluation) -> None:
        """Keep an evaluation, which makes its window done, and show it."""
        self.store.append(evaluation)
        self.account.add(evaluation)
        self._write_report(evaluation.model)
        self.metrics.show(self.store.read_shown(evaluation.model, 1)[-1])
        self.metrics.add(exporter.RUNS, 1.0, evaluation.model, "ok")
        self._log(evaluation.model)

    def _write_report(self, model: str) -> None:
        history = self.store.read_shown(model, HISTORY)
        bundle = self.bundles(model, history[-1].version)
        contract = bundle.contract if bundle else None
        page = build_report(history, self.config, contract, [*self.account.write_notes(model), *self.read_state().notes()])
        self.store.write(model, REPORT, page.encode())

    def _log(self, model: str) -> None:
        """Log to MLflow what it does not have; what fails is tried again at the next evaluation."""
        if not self.config.tracking.enabled:
            return
        try:
            log_evaluations(self.config, self.store.read(model, last=HISTORY), self.read_report(model) or b"")
            self.problems.settle("MLflow")
        except TrackingError as error:
            self.problems.note("MLflow", error)

    def read_report(self, model: str) -> bytes | None:
        """Return a model's newest report; None if there is none."""
        return self.store.read_bytes(model, REPORT)

    def _evaluate_due(self, model: str, watermark: datetime) -> Iterator[Evaluation]:
        version, bundle = self.find_champion(model)
        self._withdraw(model, bundle)
        self.next_windows[model] = yield from self._evaluate_version(model, version, bundle, watermark, champion=True)
        yield from self.evaluate_others(model, version, watermark)

    def evaluate_others(self, model: str, champion: str, watermark: datetime) -> Iterator[Evaluation]:
        """Yield evaluations of what other versions answered: the last rows of those before the champion, and a canary's."""
        versions = (self._versions or {}).get(model, set())
        for version in sorted(versions - {champion}):
            bundle = self.bundles(model, version)
            if bundle is None:
                continue
            left = yield from self._evaluate_version(model, version, bundle, watermark, champion=False)
            if not left.rows:
                versions.discard(version)

    def _evaluate_version(
        self, model: str, version: str, bundle: Bundle, watermark: datetime, *, champion: bool
    ) -> Generator[Evaluation, None, NextWindow]:
        """Yield the evaluations of a version's windows that are due; return how far the next one is."""
        settings = self.config.monitoring
        while True:
            previous = self.store.read(model, last=PAST, version=version)
            progress = _find_progress(previous, model, version, bundle)
            window = find_window(self.reader, progress, watermark, settings)
            if window is None and not champion:
                window = find_last_window(self.reader, progress, watermark, settings)
            if window is None:
                left = describe_next(self.reader, progress, settings)
                self.account.note_waiting(model, version, left.rows)
                return left
            yield self._evaluate(bundle, window, previous, champion=champion)


def _read_version(store: EvaluationStore, model: str, version: str) -> list[Evaluation]:
    return store.read(model, version=version)


def _find_progress(previous: Sequence[Evaluation], model: str, version: str, bundle: Bundle) -> Progress:
    last_end = datetime.fromisoformat(previous[-1].end) if previous else None
    return Progress(model, version, last_end, datetime.fromisoformat(bundle.metadata.created_at) - CLOCKS_DIFFER)
