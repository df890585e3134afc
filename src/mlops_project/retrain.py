"""Retrain: labelled predictions beside the original table → a challenger, judged on both. ``mlops retrain``.

Killed at any moment, it can be started again: a version that was logged and not judged stays a challenger, and a cause that
was answered with a promotion is not answered again.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from mlops_project.bundle import Bundle
from mlops_project.command import Step, WorkflowCommand, config_options, echo, show_progress
from mlops_project.config import Config
from mlops_project.errors import ConfigError, MLOpsError, TrackingError
from mlops_project.process import acting_as
from mlops_project.retraining.attempts import Attempts, Cause, Result, find_folder, name_cause

if TYPE_CHECKING:
    from mlops_project.data_prep import ProductionRows, Split, Table
    from mlops_project.modeling.gate import Decision
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.monitoring.results import Evaluation
    from mlops_project.prediction_log.reader import LogReader
    from mlops_project.retraining.labelled import Labelled
    from mlops_project.tracking.events import EventKind
    from mlops_project.tracking.registry import Move
    from mlops_project.tracking.store import Store

STEPS = 13
EXIT_NOT_DONE = 3


@dataclass(frozen=True)
class Retraining:
    """How a retraining ended.

    Attributes
    ----------
    result
        ``promoted``; ``ready``: the gate agrees and a person is to promote; ``refused`` by the gate, or not begun because of a
        veto; ``skipped`` for lack of rows; ``running``: another one runs.
    text
        In words, with the figures.
    version
        The version that was made, if any.
    vetoes
        Codes of what stopped it before it began.
    """

    result: Result | Literal["running"]
    text: str
    version: int | None = None
    vetoes: tuple[str, ...] = ()


def retrain(
    config: Config,
    *,
    since_days: float | None = None,
    reason: str = "",
    cause: str = "",
    promote: bool = True,
    overrule: tuple[str, ...] = (),
    reader: "LogReader | None" = None,
    step: Step = lambda _: None,
) -> Retraining:
    """Train a challenger on new labelled predictions, judge it against the champion, and promote it if the gates agree.

    Parameters
    ----------
    since_days
        Age of the oldest labelled predictions to use, in days; default ``retraining.max_age_days``.
    reason
        Recorded in the audit trail.
    cause
        Key of what asked for it; a cause that was answered with a promotion is not answered again. Default: one of its own.
    promote
        Whether to move ``champion`` if the gates agree, or leave that to a person.
    overrule
        Codes of vetoes that do not count this time; ``reason`` says why, and is recorded with who asked.
    reader
        Of the prediction log; default the one in ``config.monitoring_dir``.
    step
        Called at the beginning of each of ``STEPS`` steps with what it does.

    Raises
    ------
    ConfigError
        If a veto is overruled without a reason.
    MLOpsError
        Whatever training, log or registry raise; the attempt is then recorded as failed.
    """
    if overrule and not reason.strip():
        raise ConfigError("--overrule needs --reason: it is recorded in the audit trail")
    attempts = Attempts(find_folder(config))
    lock = attempts.inherit()
    if lock is None:
        return Retraining("running", f"another retraining of {config.model.name!r} runs on this machine; nothing was done")
    try:
        now = datetime.now(UTC)
        asked = name_cause(cause, reason, now)
        attempts.fail_dead(now, but=asked.key)
        if not any(attempt.cause.key == asked.key for attempt in attempts.read().open):
            attempts.begin(asked, now)
        oldest = now - timedelta(days=since_days or config.retraining.max_age_days)
        overruled = dict.fromkeys(overrule, reason.strip())
        moves = promote and not config.serving.is_rolled_out
        work = _Retraining(config, attempts.folder, asked, promote=moves, overruled=overruled, reader=reader, step=step)
        try:
            with acting_as(asked.program):
                done = work.run(oldest)
        except MLOpsError as error:
            attempts.finish(asked.key, "failed", str(error), datetime.now(UTC))
            raise
        finish = partial(attempts.finish, asked.key, done.result, done.text, datetime.now(UTC))
        finish(version=done.version, vetoes=done.vetoes, newest_label=work.newest_label)
        return Retraining(done.result, done.text, done.version, done.vetoes)
    finally:
        os.close(lock)


@dataclass(frozen=True)
class _End:
    result: Result
    text: str
    version: int | None = None
    vetoes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Material:
    """What there is to learn from, and the champion, its version and its newest evaluation."""

    champion: Bundle
    number: int
    labelled: "Labelled"
    newest: "Evaluation | None"


class _Retraining:
    """One retraining, from the log to the alias."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        cause: Cause,
        *,
        promote: bool,
        overruled: Mapping[str, str],
        reader: "LogReader | None",
        step: Step,
    ) -> None:
        self.config, self.cause, self._overruled = config, cause, overruled
        self._name = config.model.name
        self._folder = folder
        self._promote = promote
        self._reader = reader
        self._step = step
        self.newest_label = ""  # when it came; known once the labels are read

    def run(self, oldest: datetime) -> _End:
        """Retrain, and record in the registry how it ended, a failure as well."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                champion, number, answered = self._find_champion(Path(folder))
                end = self._finish_answered(answered, champion) if answered else self._challenge(champion, number, oldest)
        except MLOpsError as error:
            with contextlib.suppress(TrackingError):  # which may be why it failed
                self._record("retraining-ended", str(error), result="failed")
            raise
        self._record("retraining-ended", end.text, result=end.result, version=end.version)
        return end

    def _find_champion(self, folder: Path) -> "tuple[Bundle, int, Move | None]":
        """Return the champion's bundle and number, and the promotion that this cause was answered with, if it was."""
        from mlops_project.tracking import registry
        from mlops_project.tracking.download import download_bundle

        with self._open() as store:
            if registry.find_champion(store, self._name) is None:
                raise TrackingError(f"model {self._name!r} has no champion to retrain; train one with `{store.train}`")
            moves = [move for move in registry.read_moves(store, self._name) if move.alias == registry.CHAMPION]
            answered = next((move for move in reversed(moves) if move.cause == self.cause.key), None)
            if answered is not None and answered is moves[-1]:
                registry.finish_move(store, answered)
            champion = registry.find_version(store, self._name, registry.CHAMPION)
            return download_bundle(store, champion, folder, self.config.trust_policy), champion.number, answered

    def _finish_answered(self, move: "Move", champion: Bundle) -> _End:
        from mlops_project.retraining.rollback import install_champion

        note = install_champion(self.config, champion)
        return _End("promoted", f"this cause was answered with version {move.target} already{note}", move.target)

    def _challenge(self, champion: Bundle, number: int, oldest: datetime) -> _End:
        from mlops_project.monitoring.store import EvaluationStore
        from mlops_project.prediction_log.reader import LogReader
        from mlops_project.retraining.labelled import read_labelled
        from mlops_project.retraining.vetoes import VetoError

        self._step("reading labelled predictions")
        reader = self._reader or LogReader(self.config.monitoring_dir)
        evaluations = EvaluationStore(self.config.monitoring_dir).read(self._name)
        labelled = read_labelled(self.config, champion, oldest, reader, evaluations)
        self.newest_label = labelled.newest
        least = self.config.retraining.min_rows
        if len(labelled.rows) < least:
            found = f"{len(labelled.rows):,} labelled predictions since {oldest:%Y-%m-%d %H:%M} UTC"
            return _End("skipped", f"{'; '.join([found, *labelled.notes])}, retraining.min_rows asks for {least:,}")
        said = labelled.describe(self.config.retraining.recent_share, getattr(reader, "left_out", ()))
        self._record("retraining-started", f"{self.cause.reason}; {said}")
        newest = next((item for item in reversed(evaluations) if item.version == str(number)), None)
        try:
            return self._train_and_judge(_Material(champion, number, labelled, newest), said)
        except VetoError as veto:
            codes = tuple(finding.code for finding in veto.findings)
            options = " ".join(f"--overrule {code}" for code in codes)
            command = self.config.command("retrain", f"{options} --reason '…'")
            return _End("refused", f"not begun: {veto}. To go on all the same: {command}", vetoes=codes)

    def _train_and_judge(self, material: "_Material", said: str) -> _End:
        from mlops_project.modeling.evaluation import encode_target
        from mlops_project.modeling.held_out import HeldOut
        from mlops_project.proof import load_runtime
        from mlops_project.retraining.gate import run_retraining_gate
        from mlops_project.retraining.recent_reference import renew_reference
        from mlops_project.tracking.patience import retry

        bundle, fixed, judging, notes = self._build(material)
        runtime = load_runtime(bundle, self.config.proof)
        judged = HeldOut.predict(runtime, judging.features, encode_target(judging.target, bundle.contract))
        bundle = renew_reference(bundle, judged, runtime, self.config)
        self._step("logging to MLflow")
        logged = retry(lambda: self._log(bundle, "; ".join([f"{self.cause.reason}; {said}", *notes])))
        self._step("comparing with the champion")
        older, _ = material.labelled.rows.split(self.config.retraining.recent_share)
        decision = run_retraining_gate(
            self.config,
            bundle,
            logged,
            judged,
            fixed,
            learned=older.features,
            cause=self.cause,
            promote=self._promote,
        )
        return self._conclude(decision, bundle, logged)

    def _build(self, material: "_Material") -> "tuple[Bundle, HeldOut, ProductionRows, list[str]]":
        """Train; return the bundle, the table's held-out rows, the labelled predictions that judge, and what to note."""
        from mlops_project.retraining.row_checks import FRESH_ROWS, mark_repeats
        from mlops_project.retraining.table_checks import describe_growth
        from mlops_project.tables.known_rows import read_known_rows
        from mlops_project.train import build

        older, recent = material.labelled.rows.split(self.config.retraining.recent_share)
        judging, notes = recent, list[str]()

        def choose(table: "Table", split: "Split") -> "tuple[ProductionRows, ProductionRows]":
            nonlocal judging
            self._check(material, len(older), table, split)
            repeated, _ = mark_repeats(recent.features, older.features, split.test_features, split.train_features)
            judging = recent.take(~repeated) if (~repeated).sum() >= FRESH_ROWS else recent  # overruled if there are fewer
            notes.extend(describe_growth(table, split.growth))
            if len(judging) < len(recent):
                notes.append(f"{len(recent) - len(judging):,} of the newest were sent before as well, and do not judge")
            return older, judging

        bundle, _, fixed, _ = build(
            self.config,
            self._step,
            production=choose,
            standing=material.champion.contract,
            known=read_known_rows(material.champion),
            target=self._folder / "model",
        )
        return bundle, fixed, judging, notes

    def _check(self, material: "_Material", n_learned: int, table: "Table", split: "Split") -> None:
        """Look for vetoes; record those that a person overruled.

        Raises
        ------
        VetoError
            If there is one that nobody overruled.
        """
        from mlops_project.retraining.vetoes import VetoError, find_vetoes

        self._step("looking at labels and rows")
        found = find_vetoes(
            self.config,
            material.champion,
            str(material.number),
            material.labelled,
            n_learned,
            table,
            split,
            newest=material.newest,
            overruled=self._overruled,
        )
        standing = tuple(finding for finding in found if finding.blocks)
        if standing:
            raise VetoError(standing)
        for finding in found:
            self._record("overruled", f"veto {finding.code}: {finding.accepted}; it said: {finding.seen}")

    def _log(self, bundle: Bundle, text: str) -> int:
        """Log and register the challenger; return its version. A second time completes what the first began."""
        from mlops_project.tracking import registry
        from mlops_project.tracking.runs import log_bundle

        number = log_bundle(bundle, self.config).model_version
        with self._open() as store:
            registry.note_retraining(store, registry.find_version(store, self._name, str(number)), text)
        return number

    def _conclude(self, decision: "Decision", bundle: Bundle, number: int) -> _End:
        from mlops_project.promote import write_overrule
        from mlops_project.retraining.rollback import install_champion

        if decision.verdict == "unapproved":
            how = f"then promote it with: {write_overrule(self.config, number)}"
            return _End("ready", f"version {number} passes: {decision.reason}; {how}", number)
        if not decision.promote:
            how = f"to overrule the gates: {write_overrule(self.config, number)}"
            return _End("refused", f"version {number} is not promoted: {decision.reason}; {how}", number)
        if not self._promote:
            how = f"promote it with: {write_overrule(self.config, number)}"
            if self.config.serving.is_rolled_out:
                how = f"the monitor rolls it out step by step: {self.config.command('rollout status')}"
            return _End("ready", f"version {number} passes: {decision.reason}; {how}", number)
        note = install_champion(self.config, bundle)
        return _End("promoted", f"version {number} is champion: {decision.reason}{note}", number)

    def _record(self, kind: "EventKind", text: str, *, result: str = "", version: int | None = None) -> None:
        from mlops_project.tracking.events import record_event

        with self._open() as store:
            record_event(store, self._name, kind, text, cause=self.cause.key, result=result, version=version)

    def _open(self) -> "contextlib.AbstractContextManager[Store]":
        from mlops_project.tracking.store import open_store

        return open_store(self.config)


@click.command(
    cls=WorkflowCommand,
    name="retrain",
    examples=(
        "mlops retrain churn.yaml --since 30 --reason 'new labels'",
        "mlops retrain churn.yaml --no-promote --json",
    ),
)
@config_options
@click.option(
    "--since",
    "since_days",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DAYS",
    help="Use labelled predictions of so many days; default retraining.max_age_days.",
)
@click.option("--reason", default="", help="Recorded in the audit trail.")
@click.option(
    "--overrule",
    multiple=True,
    metavar="CODE",
    help="Go on in spite of this veto, such as label-noise; needs --reason. Several times for several.",
)
@click.option("--promote/--no-promote", default=True, show_default=True, help="Make it the champion if the gates agree.")
@click.option("--cause", default="", hidden=True, help="Key of what asked for it; answered with a promotion at most once.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(
    config: Config, since_days: float | None, reason: str, overrule: tuple[str, ...], promote: bool, cause: str, as_json: bool
) -> None:
    """Train on new labelled predictions as well, and promote if both gates agree (exit 3: refused, or nothing to do)."""
    with show_progress(STEPS, hidden=as_json) as step:
        done = retrain(config, since_days=since_days, reason=reason, cause=cause, promote=promote, overrule=overrule, step=step)
    echo(json.dumps(asdict(done)) if as_json else f"{config.model.name}: {done.result}: {done.text}")
    if done.result not in ("promoted", "ready"):
        raise SystemExit(EXIT_NOT_DONE)


if __name__ == "__main__":
    command()
