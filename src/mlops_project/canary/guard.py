"""The one who decides: starts roll-outs, raises their share, takes it back, and makes the challenger champion.

Called in every round of the monitor. What it decides follows from the registry and the log alone, so after a ``kill -9`` the
next monitor reads both and goes on; only the time of the next look differs.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from mlops_project.bundle import Bundle
from mlops_project.canary.decide import Decision, World, decide
from mlops_project.canary.evidence import SLOW_SHARE, Evidence
from mlops_project.canary.outcomes import (
    Answered,
    Firsts,
    find_baseline,
    find_calibrators,
    join,
    read_estimated,
    read_labelled,
    split_steps,
)
from mlops_project.config import Config
from mlops_project.errors import ConfigError, ContractError
from mlops_project.monitoring.service.metrics import MonitorMetrics
from mlops_project.prediction_log.draws import Drawn, DrawReader
from mlops_project.prediction_log.reader import LogReader
from mlops_project.process import acting_as
from mlops_project.promote import check_same_question
from mlops_project.signatures.statement import GateDecision
from mlops_project.tracking import registry
from mlops_project.tracking.download import download_bundle
from mlops_project.tracking.registry import CHAMPION, Version
from mlops_project.tracking.rollouts import (
    Order,
    Rollout,
    begin_rollout,
    find_candidate,
    read_order,
    read_rollout,
    read_tags,
    write_instant,
    write_rollout,
)
from mlops_project.tracking.signing import sign_version
from mlops_project.tracking.store import Store, open_store

PROGRAM = "mlops monitor"
SEEN_SECONDS = 60.0  # how often it is recorded that the monitor has looked, if nothing changes
LABEL_REST = 20.0  # times as long as a look at labels took until the next: they take a twentieth of the time at most
SLOW_ROWS = 200  # of the champion, before it is known what is slow
LEAST_MICROSECONDS = 1000.0  # a difference below it is none

logger = logging.getLogger(__name__)

FindBundle = Callable[[str, str], Bundle | None]


class Guard:
    """Watches the roll-out of the configuration's model.

    Parameters
    ----------
    config
        For the model's name, ``serving.challenger`` and ``rollout``.
    reader
        The log as Parquet.
    find_bundle
        (model, version) → its bundle; None if it is not to be had.

    Attributes
    ----------
    rollout
        The newest, as of the last look; None if there was none.

    Raises
    ------
    ConfigError
        If the settings of ``rollout`` exclude each other.
    """

    def __init__(self, config: Config, reader: LogReader, find_bundle: FindBundle) -> None:
        if problem := config.rollout.find_problem():
            raise ConfigError(problem)
        self.config = config
        self.rollout: Rollout | None = None
        self._reader, self._find_bundle = reader, find_bundle
        self._log: _RolloutLog | None = None

    def watch(self, metrics: MonitorMetrics) -> None:
        """Look once, as ``check``, and show how the newest roll-out stands; one that ended is counted."""
        before, now = self.rollout, self.check()
        if now is None:
            return
        step_at = datetime.fromisoformat(now.step_at) if now.is_under_way else None
        ended = not now.is_under_way and before is not None and before.id == now.id and before.is_under_way
        metrics.show_rollout(self.config.model.name, now.state, now.share, step_at, ended=ended)

    def check(self, now: datetime | None = None) -> Rollout | None:
        """Look once, and do what is due; return the newest roll-out.

        Parameters
        ----------
        now
            With a time zone; None for the present.

        Raises
        ------
        TrackingError
            If MLflow cannot be reached.
        """
        now, name = now or datetime.now(UTC), self.config.model.name
        with acting_as(PROGRAM), open_store(self.config) as store:
            versions = {version.number: version for version in registry.list_versions(store, name)}
            if not versions:
                return None
            tags = read_tags(store, name)
            rollout = read_rollout(tags)
            if rollout is not None:  # tells what a kill kept from being told
                write_rollout(store, name, rollout, tags)
            if rollout is not None and rollout.is_under_way:
                rollout = self._judge(store, rollout, versions, tags, now)
            else:
                self._log = None
                rollout = self._start(store, rollout, versions, read_order(tags, rollout), now) or rollout
            if rollout is not None:
                self._keep(store, rollout, tags, now)
            self.rollout = rollout
        return rollout

    def _keep(self, store: Store, rollout: Rollout, tags: dict[str, str], now: datetime) -> None:
        """Record what changed; that nothing did, now and then."""
        before = read_rollout(tags)
        if before is not None and before.id == rollout.id:
            seen = (now - datetime.fromisoformat(before.seen_at)).total_seconds()
            same = msgspec.structs.replace(rollout, seen_at=before.seen_at, said=before.said) == before
            if same and (abs(seen) < SEEN_SECONDS or not rollout.is_under_way):  # the clock may have been ahead
                return
        write_rollout(store, self.config.model.name, rollout, tags)
        newest = rollout.trail[-1]
        if before is None or before.id != rollout.id or before.trail != rollout.trail:
            said = "%s: roll-out of version %d %s (%g %% of the requests): %s"
            logger.warning(said, self.config.model.name, rollout.version, newest.action, rollout.share * 100, newest.reason)

    def _start(
        self, store: Store, last: Rollout | None, versions: dict[int, Version], order: Order | None, now: datetime
    ) -> Rollout | None:
        """Begin a roll-out, if there is a challenger that may have one."""
        if not self.config.serving.is_rolled_out:
            return None
        champion = next((item for item in versions.values() if CHAMPION in item.aliases), None)
        if champion is None:
            return None
        if order is not None:
            asked, reason = versions.get(order.version), f"by hand: {order.reason}" if order.reason else "by hand"
            if asked is None or asked.number == champion.number or registry.explain_unapproved(store, asked):
                return None
        else:
            asked, reason = find_candidate(store, versions, last)
            if asked is None:
                return None
        settings = self.config.rollout
        begun = begin_rollout(asked.number, champion.number, settings.steps, settings.max_hours, reason, now)
        problem = self._explain_other_question(asked.number, champion.number)
        return begun.change("ended", f"it cannot be rolled out: {problem}", now) if problem else begun

    def _explain_other_question(self, challenger: int, champion: int) -> str:
        """Return why two versions do not answer the same question; empty if they do, or a bundle is not to be had."""
        ours, theirs = (self._find_bundle(self.config.model.name, str(number)) for number in (challenger, champion))
        if ours is None or theirs is None:
            return ""
        try:
            check_same_question(theirs.contract, ours.contract)
        except ContractError as error:
            return str(error)
        return ""

    def _judge(
        self, store: Store, rollout: Rollout, versions: dict[int, Version], tags: dict[str, str], now: datetime
    ) -> Rollout:
        """Read what is new in the log, decide, and do it."""
        promotion = self._find_promotion(store, rollout)
        if promotion:
            return rollout.change("promoted", promotion, now)
        challenger = versions.get(rollout.version)
        champion = next((number for number, item in versions.items() if CHAMPION in item.aliases), None)
        order = read_order(tags, rollout)
        unapproved = "" if challenger is None else registry.explain_unapproved(store, challenger)
        world = World(champion, challenger is not None, unapproved, order, now)
        if self._log is None or self._log.rollout.id != rollout.id:
            self._log = _RolloutLog(self.config, rollout, self._reader, self._find_bundle)
        rollout = self._log.read(rollout, now)
        decision = decide(rollout, self._log.evidence, world, self.config.rollout)
        if order is not None:
            rollout = msgspec.structs.replace(rollout, ordered_at=order.at)
        if decision.action is None:
            return msgspec.structs.replace(rollout, said=decision.reason[:500], seen_at=write_instant(now))
        if decision.action == "promoted" and challenger is not None:
            self._promote(store, rollout, challenger, decision)
        if order is None:
            return rollout.change(decision.action, decision.reason, now)
        with acting_as(order.user):
            return rollout.change(decision.action, decision.reason, now)

    def _find_promotion(self, store: Store, rollout: Rollout) -> str:
        """Return why this roll-out promoted its challenger, if it did so and was killed before it could note that."""
        moves = [move for move in registry.read_moves(store, self.config.model.name) if move.alias == CHAMPION]
        if moves and moves[-1].cause == name_cause(rollout):
            registry.finish_move(store, moves[-1])
            return moves[-1].reason
        return ""

    def _promote(self, store: Store, rollout: Rollout, challenger: Version, decision: Decision) -> None:
        reason = f"rolled out from {rollout.shares[0]:.0%} on: {decision.reason}"
        if self.config.trust.signing_key:
            with tempfile.TemporaryDirectory() as folder:
                bundle = download_bundle(store, challenger, Path(folder), self.config.trust_policy)
                gate = GateDecision(promoted=True, verdict=challenger.verdict, reason=reason)
                sign_version(store, self.config, challenger, bundle, gate)
        registry.move_alias(store, challenger, CHAMPION, "promote", reason, cause=name_cause(rollout))


def name_cause(rollout: Rollout) -> str:
    """Return the key by which a promotion names its roll-out."""
    return f"rollout:{rollout.id}"


class _RolloutLog:
    """What the log says of one roll-out."""

    def __init__(self, config: Config, rollout: Rollout, reader: LogReader, find_bundle: FindBundle) -> None:
        self.rollout = rollout
        self.evidence = Evidence(config.rollout, rollout.shares)
        self._config, self._reader, self._find_bundle = config, reader, find_bundle
        since = datetime.fromisoformat(rollout.started_at)
        self._draws = DrawReader(config.monitoring_dir, rollout.id, str(rollout.version), since)
        self._firsts, self._durations = Firsts(), list[int]()
        self._next_labels = 0.0

    def read(self, rollout: Rollout, now: datetime) -> Rollout:
        """Take what is new; return the roll-out, which may have learned what is slow."""
        for rows in self._draws.read_new():
            drawn = rows.take(self._firsts.choose(rows))
            for step, outcomes in split_steps(drawn, drawn.failed.astype(np.float64), rollout):
                self.evidence.add("failures", step, outcomes)
            rollout = self._learn_slow(drawn, rollout)
            self._add_slow(drawn, rollout)
        if time.monotonic() >= self._next_labels:
            began = time.monotonic()
            self._read_answered(rollout, now)
            self._next_labels = time.monotonic() + LABEL_REST * (time.monotonic() - began)
        return rollout

    def _learn_slow(self, drawn: Drawn, rollout: Rollout) -> Rollout:
        """Note above what an answer is slow, once enough of the champion's are known; they do not count themselves."""
        if rollout.slow_microseconds is not None:
            return rollout
        champions = np.flatnonzero(~drawn.drawn)[: SLOW_ROWS - len(self._durations)]
        self._durations += drawn.microseconds[champions].tolist()
        if len(self._durations) < SLOW_ROWS:
            return rollout
        usual = float(np.quantile(self._durations, 1 - SLOW_SHARE))
        limit = max(usual * (1 + self._config.rollout.max_slower), usual + LEAST_MICROSECONDS)
        newest = datetime.fromtimestamp(int(drawn.times[champions[-1]]) / 1e6, UTC)
        return msgspec.structs.replace(rollout, slow_microseconds=limit, slow_since=write_instant(newest))

    def _add_slow(self, drawn: Drawn, rollout: Rollout) -> None:
        limit = rollout.slow_microseconds
        if limit is None:
            return
        since = datetime.fromisoformat(rollout.slow_since).timestamp() * 1e6
        counted = drawn.take((drawn.times > since) & ~drawn.failed)
        slow = (counted.microseconds > limit).astype(np.float64)
        for step, outcomes in split_steps(counted, slow, rollout, SLOW_SHARE):
            self.evidence.add("latency", step, outcomes)

    def _read_answered(self, rollout: Rollout, now: datetime) -> None:
        """Collect anew what labels, or without any the estimates, say of both versions' answers."""
        model, pair = self._config.model.name, (str(rollout.version), str(rollout.champion))
        bundles = {version: bundle for version in pair if (bundle := self._find_bundle(model, version)) is not None}
        self.evidence.problem = self._find_problem(bundles, pair)
        if len(bundles) < len(pair):
            logger.warning("%s: %s", model, self.evidence.problem)
            return
        theirs, answered = bundles[pair[1]], read_labelled(self._reader, model, rollout, bundles, bundles[pair[1]])
        for measure in ("loss", "coverage", "estimate"):
            self.evidence.forget(measure)
        self.evidence.judged_by = "loss"
        if not answered and not self._reader.newest_labelled(model, None, 1, columns=[]).num_rows:
            known = find_calibrators(bundles)
            self.evidence.judged_by = None if known is None else "estimate"
            answered = [] if known is None else read_estimated(self._reader, model, rollout, bundles, known, now)
        self._collect(answered, rollout, theirs)

    def _find_problem(self, bundles: Mapping[str, Bundle], pair: tuple[str, str]) -> str:
        """Say why nothing can be shown; empty if something can."""
        for version in pair:
            if version not in bundles:
                return f"the bundle of version {version} is not to be had, so nothing is known of answers"
        column = self._config.rollout.key_column
        if column is not None and column not in bundles[pair[1]].contract.names:
            said = f"rollout.key_column {column!r} is no column of the model, so no request takes part"
            return f"{said}; name one that is, or send the key in a header (rollout.key_header)"
        return ""

    def _collect(self, answered: list[Answered], rollout: Rollout, champion: Bundle) -> None:
        for measure, drawn, values in join(answered, self._draws):
            for step, outcomes in split_steps(drawn, values, rollout, find_baseline(measure, champion)):
                self.evidence.add(measure, step, outcomes)
