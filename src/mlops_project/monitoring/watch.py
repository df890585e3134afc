"""The watch over a retrained champion: whether it is worse than its predecessor on the labelled rows that it answered.

A few looks, each on at least twice the rows of the one before: asking after every row would sooner or later say yes by chance.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_project.bundle import Bundle
from mlops_project.config import Config
from mlops_project.errors import BundleError, ContractError
from mlops_project.monitoring.attempts import Watch
from mlops_project.sections import MonitoringConfig
from mlops_project.tracking.registry import CHAMPION, Move, Version, download_bundle, find_version
from mlops_project.tracking.store import Store

if TYPE_CHECKING:
    from mlops_project.data_prep import ProductionRows
    from mlops_project.modeling.gate import Decision
    from mlops_project.modeling.metrics import Scored


def find_watched(moves: Sequence[Move], champion: Version | None, now: datetime, *, watch_hours: float) -> Move | None:
    """Return the promotion that is to be watched: the last move of ``champion``, by a retraining, not long ago. Pure.

    Parameters
    ----------
    moves
        Of the model, oldest first.
    """
    last = next((move for move in reversed(moves) if move.alias == CHAMPION), None)
    if last is None or champion is None or champion.number != last.target or last.source is None:
        return None
    is_new = now < datetime.fromisoformat(last.at) + timedelta(hours=watch_hours)
    return last if is_new and last.action == "promote" and last.cause else None


def is_look_due(watch: Watch, n_rows: int, settings: MonitoringConfig) -> bool:
    """Whether there are enough labelled rows for the next look: at first ``min_labels``, then twice as many each time. Pure.

    The last look is on ``label_rows``, or on as many as that allows.
    """
    return n_rows > watch.rows and n_rows >= min(max(settings.min_labels, 2 * watch.rows), settings.label_rows)


def compare_champions(
    store: Store, config: Config, promotion: Move, rows: Any, looks: int, folder: Path
) -> "tuple[Decision, Bundle]":
    """Score the promoted champion and its predecessor on the same labelled rows; return the decision and the predecessor.

    Parameters
    ----------
    rows
        Arrow table of the log's typed view with labels.
    looks
        How many comparisons there were before.
    folder
        For the two bundles.
    """
    from mlops_project.data_prep import read_production
    from mlops_project.modeling.gate import Decision
    from mlops_project.modeling.retraining_gate import decide_rollback
    from mlops_project.prediction_log.reader import to_truth

    champion, previous = (
        download_bundle(store, find_version(store, promotion.model, str(number)), folder / str(number))
        for number in (promotion.target, promotion.source)
    )
    contract = champion.contract
    labelled = read_production(rows, to_truth(rows["mlops.label"].to_pylist(), contract), contract)
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
    from mlops_project.modeling.metrics import score_rows
    from mlops_project.proof import load_runtime

    columns = {str(name): rows.features[name].to_numpy() for name in rows.features.columns}
    predictions = load_runtime(bundle, config.proof).predict(columns)
    return score_rows(predictions, encode_target(rows.target, bundle.contract), bundle.contract)
