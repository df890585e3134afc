"""Rollback of a retrained champion that is worse than its predecessor on the labelled rows that it answered.

The two are compared a few times, each time on at least twice as many rows: comparisons after every row would find a
difference by chance sooner or later.
"""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_project.bundle import Bundle, install
from mlops_project.config import Config
from mlops_project.errors import BundleError, ContractError
from mlops_project.process import acting_as
from mlops_project.retraining.attempts import Attempts, Watch, find_folder
from mlops_project.sections import MonitoringConfig
from mlops_project.tracking.download import download_bundle
from mlops_project.tracking.events import record_event
from mlops_project.tracking.registry import CHAMPION, Move, Version, find_champion, find_version, read_moves
from mlops_project.tracking.store import Store, open_store

if TYPE_CHECKING:
    from mlops_project.data_prep import ProductionRows
    from mlops_project.modeling.gate import Decision
    from mlops_project.modeling.metrics import Scored
    from mlops_project.prediction_log.reader import LogReader


def find_watched(moves: Sequence[Move], champion: Version | None, now: datetime, *, watch_hours: float) -> Move | None:
    """Return the promotion to check: the last move of ``champion``, if a retraining made it not long ago. Pure.

    Parameters
    ----------
    moves
        Of the model, oldest first.
    champion
        The version that the alias points to; None if there is none.
    now
        With a time zone.
    watch_hours
        How long after the promotion it is checked.
    """
    last = next((move for move in reversed(moves) if move.alias == CHAMPION), None)
    if last is None or champion is None or champion.number != last.target or last.source is None:
        return None
    is_new = now < datetime.fromisoformat(last.at) + timedelta(hours=watch_hours)
    return last if is_new and last.action == "promote" and last.cause else None


def is_look_due(watch: Watch, n_rows: int, settings: MonitoringConfig) -> bool:
    """Whether there are enough labelled rows for the next comparison. Pure.

    The first is on ``min_labels`` rows, each further one on twice as many, the last one on ``label_rows``.

    Parameters
    ----------
    watch
        The comparisons so far.
    n_rows
        Labelled rows that the champion answered, at most ``label_rows``.
    settings
        For ``min_labels`` and ``label_rows``.
    """
    return n_rows > watch.rows and n_rows >= min(max(settings.min_labels, 2 * watch.rows), settings.label_rows)


def compare_champions(
    store: Store, config: Config, promotion: Move, rows: Any, looks: int, folder: Path
) -> "tuple[Decision, Bundle]":
    """Score the promoted champion and its predecessor on the same labelled rows; return the decision and the predecessor.

    Parameters
    ----------
    promotion
        The move that made the champion; its ``source`` is the predecessor.
    rows
        Arrow table of the log's typed view with labels.
    looks
        How many comparisons there were before.
    folder
        For the two bundles.
    """
    from mlops_project.data_prep import read_production
    from mlops_project.modeling.gate import Decision
    from mlops_project.prediction_log.layout import LABEL
    from mlops_project.prediction_log.reader import to_truth
    from mlops_project.retraining.gate import decide_rollback

    champion, previous = (
        download_bundle(store, find_version(store, promotion.model, str(number)), folder / str(number), config.trust_policy)
        for number in (promotion.target, promotion.source)
    )
    contract = champion.contract
    labelled = read_production(rows, to_truth(rows[LABEL].to_pylist(), contract), contract)
    try:
        if previous.contract.classes != contract.classes:
            raise ContractError(f"its classes were {previous.contract.classes!r}")
        ours, theirs = _score(champion, labelled, config), _score(previous, labelled, config)
    except (BundleError, ContractError) as error:
        reason = f"version {promotion.source} cannot be compared with version {promotion.target}: {error}"
        return Decision(promote=False, verdict="incomparable", reason=reason), previous
    decision = decide_rollback(ours, theirs, contract.task, config.gates, looks=looks, seed=config.random_state)
    return decision, previous


def _score(bundle: Bundle, rows: "ProductionRows", config: Config) -> "Scored":
    from mlops_project.modeling.evaluation import encode_target
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.proof import load_runtime

    runtime = load_runtime(bundle, config.proof)
    return HeldOut.predict(runtime, rows.features, encode_target(rows.target, bundle.contract)).score(bundle.contract)


def check_rollback(config: Config, reader: "LogReader", now: datetime | None = None) -> Move | None:
    """Compare a retrained champion with its predecessor on the labelled rows that it answered; roll back if it does worse.

    Called in every round of the monitor. Nothing happens unless the champion was promoted by a retraining in the last
    ``retraining.watch_hours``, and has ``monitoring.min_labels`` labelled rows, or twice as many as at the last comparison.

    Parameters
    ----------
    config
        For the model's name, ``retraining``, ``monitoring`` and ``gates``.
    reader
        Of the prediction log.
    now
        With a time zone; None for the present.

    Returns
    -------
    Move or None
        The rollback, as recorded.

    Raises
    ------
    TrackingError
        If MLflow cannot be reached.
    """
    from mlops_project.promote import rollback
    from mlops_project.retraining.rollback import compare_champions, find_watched, is_look_due

    now, name = now or datetime.now(UTC), config.model.name
    attempts = Attempts(find_folder(config))
    with open_store(config) as store, tempfile.TemporaryDirectory() as folder:
        champion = find_champion(store, name)
        moves = read_moves(store, name) if champion else []
        promotion = find_watched(moves, champion, now, watch_hours=config.retraining.watch_hours)
        if promotion is None:
            return None
        rows = reader.newest_labelled(name, str(promotion.target), config.monitoring.label_rows)
        watch = attempts.read().watch
        if watch is None or watch.version != promotion.target:
            watch = Watch(version=promotion.target, looks=0, rows=0)
        if not is_look_due(watch, rows.num_rows, config.monitoring):
            return None
        decision, previous = compare_champions(store, config, promotion, rows, watch.looks, Path(folder))
        said = f"version {promotion.target} against version {promotion.source}: {decision.reason}"
        record_event(store, name, "rollback-check", said, version=promotion.target, user="mlops monitor")
        attempts.note_watch(Watch(version=watch.version, looks=watch.looks + 1, rows=rows.num_rows))
        if not decision.promote:
            return None
        with acting_as("mlops monitor"):
            move = rollback(config, to=promotion.source, reason=said, only_from=promotion.target)
        attempts.note_rollback(promotion.target, said, now)
        install_champion(config, previous)
        return move


def install_champion(config: Config, bundle: Bundle) -> str:
    """Copy the champion to ``model_dir``, where training exports to.

    Returns
    -------
    str
        Empty, or why it could not be copied, for the message; the promotion stands nevertheless.
    """
    try:
        install(bundle, config.model_dir)
    except (BundleError, OSError) as error:
        return f" ({config.model_dir} still holds another model: {error})"
    return ""
