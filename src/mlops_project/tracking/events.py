"""What happened to a model beside its alias moves: alerts, retrainings, comparisons with the predecessor.

Kept as the moves are: one tag of the registered model per event, so that writers at the same time do not disturb each other.
Reading a model reads all its tags, so they are short and the oldest are deleted.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from mlops_project.notifications.news import News
from mlops_project.notifications.telling import tell
from mlops_project.process import find_user
from mlops_project.sections.notifications import EventName
from mlops_project.tracking.records import decode_records
from mlops_project.tracking.registry import CHAMPION, MOVE_TAG, Move, Number, Version
from mlops_project.tracking.store import Store

EVENT_TAG = "mlops.event."
REVIEW_TAG = "mlops.review."  # of approvals: never deleted, unlike other events
EventKind = Literal[
    "alert",
    "recovered",
    "retraining-started",
    "retraining-ended",
    "overruled",
    "rollback-check",
    "refused",
    "approval-wanted",
    "approved",
    "approval-refused",
    "rollout",
]
REVIEWS: tuple[EventKind, ...] = ("approval-wanted", "approved", "approval-refused")
PASSED = ("first", "better", "not_worse", "forced")  # verdicts of a version that waits for nothing but an approval
MAX_TEXT = 1000  # characters, of the 5,000 that a tag takes
KEPT_EVENTS, SPARE_EVENTS = 500, 50  # beyond both together the oldest are deleted


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event, as recorded.

    Attributes
    ----------
    at
        ISO 8601, UTC.
    kind
        ``alert``, ``recovered``, ``retraining-started``, ``retraining-ended``, ``rollback-check``, ``overruled`` (a veto,
        by ``user``), ``approval-wanted`` (a version that passed the gate), ``approved``, ``approval-refused``, ``rollout``; or
        ``refused``, which is not recorded but found by ``find_refusals``.
    version
        The version that it is about, if any.
    user
        The user whose process recorded it.
    text
        In words.
    cause
        Of a retraining: the key of what asked for it. Of a roll-out: its id.
    result
        Of a retraining that ended: ``promoted``, ``ready``, ``refused``, ``failed`` or ``skipped``. Of a roll-out:
        ``started``, ``climbed``, ``paused``, ``resumed``, ``promoted``, ``back``, ``aborted`` or ``ended``.
    """

    at: str
    model: str
    kind: EventKind
    user: str
    text: str
    version: Number | None = None
    cause: str = ""
    result: str = ""


def record_event(
    store: Store,
    model: str,
    kind: EventKind,
    text: str,
    *,
    version: int | None = None,
    cause: str = "",
    result: str = "",
    user: str = "",
    at: datetime | None = None,
) -> Event:
    """Record an event of a registered model; the oldest beyond ``KEPT_EVENTS`` are deleted now and then.

    Parameters
    ----------
    text
        Becomes one line, cut at ``MAX_TEXT`` characters.
    version
        That it is about; None if it is about none.
    cause, result
        Of a retraining, see ``Event``; else empty.
    user
        Default: MLflow's user, else the system's.
    at
        Default: now.
    """
    line = " ".join(text.split())
    event = Event(
        at=(at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds"),
        model=model,
        kind=kind,
        user=user or find_user(),
        text=line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…",
        version=version,
        cause=cause,
        result=result,
    )
    prefix = REVIEW_TAG if kind in REVIEWS else EVENT_TAG
    key = f"{prefix}{event.at.removesuffix('+00:00')}.{secrets.token_hex(2)}"
    store.client.set_registered_model_tag(model, key, msgspec.json.encode(event).decode())
    _prune(store, model)
    _tell(store, event)
    return event


def _tell(store: Store, event: Event) -> None:
    """Tell the receivers of notifications what was said of a version; of alerts the monitor tells by itself."""
    kinds: dict[EventKind, tuple[EventName, str]] = {
        "approval-wanted": ("approval-wanted", "waits for the approval of a second person"),
        "approved": ("approved", f"approved by {event.user}"),
        "approval-refused": ("refused", f"refused by {event.user}"),
    }
    if event.kind not in kinds:
        return
    kind, words = kinds[event.kind]
    title, data = f"{event.model}: version {event.version} {words}", {"version": event.version, "user": event.user}
    tell(store.config, News(kind=kind, model=event.model, title=title, text=event.text, at=event.at, key=event.at, data=data))


def _prune(store: Store, model: str) -> None:
    keys = sorted(key for key in store.client.get_registered_model(model).tags if key.startswith(EVENT_TAG))
    if len(keys) > KEPT_EVENTS + SPARE_EVENTS:
        for key in keys[:-KEPT_EVENTS]:
            store.client.delete_registered_model_tag(model, key)  # says nothing if another writer was faster


def read_events(store: Store, model: str) -> list[Event]:
    """Return a model's events, oldest first."""
    return [item for item in read_history(store, model) if isinstance(item, Event)]


def read_history(store: Store, model: str) -> list[Move | Event]:
    """Return a model's alias moves and events in the order of time, in one request; what cannot be read is left out."""
    tags = store.client.get_registered_model(model).tags
    found: list[Move | Event] = [*decode_records(model, tags, MOVE_TAG, Move)]
    for prefix in (EVENT_TAG, REVIEW_TAG):
        found += decode_records(model, tags, prefix, Event)
    return sorted(found, key=lambda item: item.at)


def find_refusals(history: Sequence[Move | Event], versions: Sequence[Version]) -> list[Event]:
    """Return what the gate refused, oldest first; that it refused a retraining is told by the retraining's own events.

    The gate notes no time: it judges a version when it is registered. One that passed and waits for approval is not refused.

    Parameters
    ----------
    history
        From ``read_history``.
    versions
        Of the same model.
    """
    moves = [item for item in history if isinstance(item, Move)]
    told = {item.version for item in history if isinstance(item, Event) and item.kind.startswith("retraining-")}
    told |= {move.target for move in moves if move.alias == CHAMPION}
    reviewed = {item.version for item in history if isinstance(item, Event) and item.kind in REVIEWS}
    told |= {version.number for version in versions if version.number in reviewed and version.verdict in PASSED}
    registered = {move.target: move.at for move in moves if move.action == "register"}
    found = [
        Event(at=at, model=version.name, kind="refused", user="", text=version.reason, version=version.number)
        for version in versions
        if version.verdict and version.number not in told and (at := registered.get(version.number, version.created_at))
    ]
    return sorted(found, key=lambda event: event.at)


def find_end(store: Store, model: str, cause: str, since: str) -> Event | None:
    """Return the newest event that a retraining for a cause ended; None if none ended since an instant.

    Parameters
    ----------
    store
        The registry.
    model
        The registered model's name.
    cause
        Key of the cause.
    since
        ISO 8601 with a time zone.
    """
    ends = [event for event in read_events(store, model) if event.kind == "retraining-ended" and event.cause == cause]
    return ends[-1] if ends and datetime.fromisoformat(ends[-1].at) >= datetime.fromisoformat(since) else None
