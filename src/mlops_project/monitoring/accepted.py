"""Windows whose drift a person accepted: from then on they are part of the past that later windows are judged by.

::

    <monitoring_dir>/<model>/accepted.json
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from mlops_project.errors import ConfigError
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.store import EvaluationStore
from mlops_project.process import find_user

FILE = "accepted.json"

logger = logging.getLogger(__name__)


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """One decision.

    Attributes
    ----------
    ends
        Of the windows; ISO 8601, UTC.
    reason, by
        Why, and who.
    at
        When; ISO 8601, UTC.
    """

    ends: tuple[str, ...]
    reason: str
    by: str
    at: str


def read_acceptances(store: EvaluationStore, model: str) -> tuple[Acceptance, ...]:
    """Return a model's decisions, oldest first.

    Raises
    ------
    ConfigError
        If the file was damaged.
    """
    raw = store.read_bytes(model, FILE)
    try:
        return () if raw is None else msgspec.json.decode(raw, type=tuple[Acceptance, ...])
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{model}/{FILE} cannot be read ({error}); mend or delete it, then accept again") from error


def read_accepted(store: EvaluationStore, model: str) -> frozenset[str]:
    """Return the ends of the windows that were accepted; none, with a warning, if the file was damaged."""
    try:
        return frozenset(end for one in read_acceptances(store, model) for end in one.ends)
    except ConfigError as error:  # an evaluation without them is stricter, never blinder
        logger.warning("%s; windows are judged as if none were accepted", error)
        return frozenset()


def accept_windows(store: EvaluationStore, model: str, reason: str) -> tuple[Evaluation, ...]:
    """Accept the newest windows that drifted, back to the last one that did not; return them.

    Raises
    ------
    ConfigError
        If there is none to accept, or the data of all of them is faulty.
    """
    newest = store.read(model, last=1)
    history = store.read(model, version=newest[-1].version) if newest else []
    drifted = find_drifted(history)
    if not drifted:
        raise ConfigError(f"no window of {model!r} waits to be accepted: the newest one did not drift")
    sound = [one for one in drifted if _has_sound_drift(one)]
    if not sound:
        raise ConfigError(
            f"the data of {len(drifted)} drifted windows of {model!r} is faulty ({_name_faults(drifted[-1])}); "
            "faulty columns are never accepted: mend the source, or train on a table that has such values"
        )
    ends = tuple(one.end for one in sound)
    said = Acceptance(ends=ends, reason=reason, by=find_user(), at=datetime.now(UTC).isoformat(timespec="seconds"))
    store.write(model, FILE, msgspec.json.encode((*read_acceptances(store, model), said)))
    return tuple(sound)


def find_drifted(history: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the newest windows that drifted, back to the last one that did not, oldest first."""
    found: list[Evaluation] = []
    for one in reversed(history):
        if not (one.drift.drifted or one.drift.prediction_drifted):
            break
        found.append(one)
    return found[::-1]


def _has_sound_drift(one: Evaluation) -> bool:
    """Whether anything drifted that is not faulty."""
    faulty = any(found.quality for found in one.drift.features)
    return not faulty or any(found.drifted and not found.quality for found in one.drift.features)


def _name_faults(one: Evaluation) -> str:
    return "; ".join(f"{found.name}: {', '.join(found.quality)}" for found in one.drift.features if found.quality)
