"""A roll-out in the registry: how far it is, what a person asked for, and its trail.

All of it are tags of the registered model: every replica's ``mlops sync``, the monitor and every person reach them, a write is
one row of MLflow's database, and what was written before a kill is whole. The monitor alone writes the state and people alone
write orders, so neither overwrites the other.
"""

import contextlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from mlops_project.notifications.news import News
from mlops_project.notifications.telling import tell
from mlops_project.process import find_user
from mlops_project.sections.notifications import EventName
from mlops_project.served_rollout import ServedRollout
from mlops_project.tracking.events import EVENT_TAG, MAX_TEXT, Event
from mlops_project.tracking.records import UNREADABLE
from mlops_project.tracking.registry import CHALLENGER, CHAMPION, Number, Version, explain_unapproved
from mlops_project.tracking.store import Store

ROLLOUT_TAG, ORDER_TAG = "mlops.rollout", "mlops.rollout.order"  # the first also of a version: how its roll-out ended
GUARD_SECONDS = 900.0  # where the monitor has not looked for so long, the champion answers everything
HOLD_SECONDS = 600.0  # how long servers go by what `mlops sync` wrote last
PASSED = ("better", "not_worse", "forced")  # verdicts of the gate with which a version is rolled out by itself
KEPT_CHANGES = 5  # in the state, each in at most MAX_SAID characters: a tag takes 5,000
MAX_SAID = 500
TOLD_WITHIN = timedelta(days=1)  # older changes were told; their events may have been deleted since

State = Literal["running", "paused", "promoted", "back", "aborted", "ended"]
Action = Literal["started", "climbed", "paused", "resumed", "promoted", "back", "aborted", "ended"]
OrderKind = Literal["start", "pause", "resume", "abort", "promote"]
STATES: dict[Action, State] = {"started": "running", "climbed": "running", "resumed": "running"}  # others are called the same


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a roll-out: when (ISO 8601, UTC), what, the share since then, why, and who did it."""

    at: str
    share: float
    action: Action
    reason: str
    user: str


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A roll-out.

    Attributes
    ----------
    id
        Drawn when it began.
    version, champion
        Of the challenger, and of the champion that it is compared with.
    shares, step
        Of the steps, and where it is, from 0.
    state
        ``running``, ``paused``; or how it ended: ``promoted``, ``back`` by itself, ``aborted`` by a person, ``ended`` because
        something else changed.
    started_at, step_at, deadline, seen_at
        When it and its step began, when it has to be over, and when the monitor looked last; ISO 8601, UTC.
    said
        What it waits for, or how it ended.
    ordered_at
        When the last order was given that was obeyed.
    slow_microseconds, slow_since
        Above what an answer is slow, by the champion's 95th percentile; None until enough was seen. And from when on that
        counts; ISO 8601.
    trail
        The newest changes; all of them are events of the model.
    """

    id: str
    version: Number
    champion: Number
    shares: tuple[float, ...]
    step: int = 0
    state: State = "running"
    started_at: str
    step_at: str
    deadline: str
    seen_at: str
    said: str = ""
    ordered_at: str = ""
    slow_microseconds: float | None = None
    slow_since: str = ""
    trail: tuple[Change, ...] = ()

    @property
    def is_under_way(self) -> bool:
        """Whether it is running or paused."""
        return self.state in ("running", "paused")

    @property
    def share(self) -> float:
        """Share of the requests that the challenger answers; all, once it was promoted."""
        return self.shares[self.step] if self.is_under_way else float(self.state == "promoted")

    def change(self, action: Action, reason: str, now: datetime) -> "Rollout":
        """Return it after a change, which its trail tells."""
        at = write_instant(now)
        said = " ".join(reason.split())[:MAX_SAID]
        state: State = STATES.get(action, action)  # type: ignore[arg-type]  # the others are states
        new: dict[str, Any] = {"step": self.step + 1, "step_at": at} if action == "climbed" else {}
        paused = [item.at for item in self.trail if item.action == "paused"]
        if action == "resumed" and paused:  # a pause does not count
            lasted = now - datetime.fromisoformat(paused[-1])
            new["deadline"] = write_instant(datetime.fromisoformat(self.deadline) + lasted)
        after = msgspec.structs.replace(self, state=state, said=said, seen_at=at, **new)
        change = Change(at=at, share=after.share, action=action, reason=said, user=find_user())
        return msgspec.structs.replace(after, trail=(*self.trail, change)[-KEPT_CHANGES:])


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asked for: of which roll-out (empty to start one), which version, when, who and why."""

    kind: OrderKind
    at: str
    user: str
    reason: str = ""
    rollout: str = ""
    version: int = 0


def write_instant(instant: datetime) -> str:
    """Return a time as it is recorded."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def begin_rollout(version: int, champion: int, shares: tuple[float, ...], hours: float, reason: str, now: datetime) -> Rollout:
    """Return a roll-out that begins now.

    Parameters
    ----------
    version, champion
        Of the challenger and the champion.
    shares
        Of the steps.
    hours
        After which it has to be over.
    reason
        Why it may begin.
    now
        With a time zone.
    """
    at = write_instant(now)
    deadline = write_instant(now + timedelta(hours=hours))
    new = Rollout(
        id=secrets.token_hex(6),
        version=version,
        champion=champion,
        shares=shares,
        started_at=at,
        step_at=at,
        deadline=deadline,
        seen_at=at,
    )
    return new.change("started", reason, now)


def read_tags(store: Store, model: str) -> dict[str, str]:
    """Return a registered model's tags."""
    return dict(store.client.get_registered_model(model).tags)


def read_rollout(tags: dict[str, str]) -> Rollout | None:
    """Return a model's newest roll-out; None if there was none, or its tag cannot be read."""
    try:
        return msgspec.json.decode(tags[ROLLOUT_TAG], type=Rollout)
    except (KeyError, *UNREADABLE):
        return None


def read_order(tags: dict[str, str], rollout: Rollout | None) -> Order | None:
    """Return what a person asked for and was not done yet: of this roll-out, or to start one where none is under way."""
    try:
        order = msgspec.json.decode(tags[ORDER_TAG], type=Order)
    except (KeyError, *UNREADABLE):
        return None
    if rollout is None or not rollout.is_under_way:
        is_new = rollout is None or order.at > rollout.started_at
        return order if order.kind == "start" and is_new else None
    return order if order.rollout == rollout.id and order.at > rollout.ordered_at else None


def write_order(store: Store, model: str, kind: OrderKind, *, rollout: str = "", version: int = 0, reason: str = "") -> Order:
    """Record what a person asks for; it takes the place of what was asked before."""
    at = write_instant(datetime.now(UTC))
    order = Order(kind=kind, at=at, user=find_user(), reason=reason[:MAX_SAID], rollout=rollout, version=version)
    store.client.set_registered_model_tag(model, ORDER_TAG, msgspec.json.encode(order).decode())
    return order


def write_rollout(store: Store, model: str, rollout: Rollout, tags: dict[str, str]) -> None:
    """Record how far a roll-out is, and tell what happened to it.

    The state comes first and has its newest changes in it: what a kill keeps from being told is told by the next call.

    Parameters
    ----------
    tags
        Of the model, as read a short time ago; brought up to date.
    """
    text = msgspec.json.encode(rollout).decode()
    if tags.get(ROLLOUT_TAG) != text:
        store.client.set_registered_model_tag(model, ROLLOUT_TAG, text)
        tags[ROLLOUT_TAG] = text
        if not rollout.is_under_way:
            _mark_version(store, model, rollout)
    oldest = datetime.now(UTC) - TOLD_WITHIN
    for change in rollout.trail:
        key = f"{EVENT_TAG}{change.at.removesuffix('+00:00')}.{rollout.id[:4]}"  # the same each time
        if key in tags or datetime.fromisoformat(change.at) < oldest:
            continue
        event = Event(
            at=change.at,
            model=model,
            kind="rollout",
            user=change.user,
            text=f"{change.share:.3g} of the requests: {change.reason}"[:MAX_TEXT],
            version=rollout.version,
            cause=rollout.id,
            result=change.action,
        )
        _tell(store, model, rollout, change)  # first: after a kill it is told again, under the same id
        tags[key] = msgspec.json.encode(event).decode()
        store.client.set_registered_model_tag(model, key, tags[key])


def _tell(store: Store, model: str, rollout: Rollout, change: Change) -> None:
    """Tell the receivers of notifications of a step, or of the end; what a person paused and resumed is not told."""
    of, other = f"version {rollout.version}", f"version {rollout.champion} answers everything"
    step = f"{of} answers {change.share:.3g} of the requests, in its roll-out against version {rollout.champion}"
    words: dict[Action, tuple[EventName, str]] = {
        "started": ("rollout-step", step),
        "climbed": ("rollout-step", step),
        "promoted": ("rollout-ended", f"the roll-out of {of} is complete, and it is champion"),
        "back": ("rollout-ended", f"{of} went back in its roll-out, and {other}"),
        "aborted": ("rollout-ended", f"the roll-out of {of} was aborted by {change.user}, and {other}"),
        "ended": ("rollout-ended", f"the roll-out of {of} ended"),
    }
    if change.action not in words:
        return
    kind, title = words[change.action]
    data = {"version": rollout.version, "champion": rollout.champion, "rollout": rollout.id, "result": change.action}
    data |= {"share": change.share, "shares": list(rollout.shares), "user": change.user}
    key = f"{rollout.id}/{change.at}"
    text = change.reason or title
    tell(store.config, News(kind=kind, model=model, title=f"{model}: {title}", text=text, at=change.at, key=key, data=data))


def _mark_version(store: Store, model: str, rollout: Rollout) -> None:
    """Write on a version how its roll-out ended."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):  # it was deleted; any other fault shows at the next event
        store.client.set_model_version_tag(model, str(rollout.version), ROLLOUT_TAG, f"{rollout.state}: {rollout.said}")


def was_rolled_out(store: Store, model: str, version: int) -> bool:
    """Whether a version's roll-out has ended once: it is rolled out again only if a person asks for it."""
    return ROLLOUT_TAG in store.client.get_model_version(model, str(version)).tags


def find_candidate(store: Store, versions: dict[int, Version], last: Rollout | None) -> tuple[Version | None, str]:
    """Return the version whose roll-out may begin by itself, with the reason; or none, with the reason for that.

    Parameters
    ----------
    versions
        Of one model, by number.
    last
        The newest roll-out; None if there was none.
    """
    champion = next((item for item in versions.values() if CHAMPION in item.aliases), None)
    asked = next((item for item in versions.values() if CHALLENGER in item.aliases), None)
    if champion is None:
        return None, "no version is champion yet, and the first one becomes champion without a roll-out"
    if asked is None or asked.number == champion.number:
        return None, "no version but the champion is challenger"
    barred = _explain_barred(store, asked, last)
    return (None, barred) if barred else (asked, f"the gate says {asked.verdict.replace('_', ' ')}: {asked.reason}")


def _explain_barred(store: Store, asked: Version, last: Rollout | None) -> str:
    """Return why a challenger's roll-out does not begin by itself; empty if it may."""
    said = f"version {asked.number}"
    if not asked.verdict:
        return f"nobody asked the gate about {said}; `mlops promote --dry-run` does"
    if asked.verdict not in PASSED:
        return f"the gate refused {said}: {asked.reason}"
    if (last is not None and last.version == asked.number) or was_rolled_out(store, asked.name, asked.number):
        return f"{said} was rolled out before; `mlops rollout start --version {asked.number}` begins again"
    missing = explain_unapproved(store, asked)
    return f"{said} waits: {missing}" if missing else ""


def is_registered(store: Store, model: str, version: int) -> bool:
    """Whether a version is still there."""
    from mlflow.exceptions import MlflowException

    try:
        store.client.get_model_version(model, str(version))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def find_served(tags: dict[str, str], now: datetime) -> ServedRollout | None:
    """Return what servers are to know of a model's roll-out; None if the champion is to answer everything.

    That is so without a roll-out, after a person's ``abort`` (the monitor need not run for that), and where the monitor has
    not looked for ``GUARD_SECONDS``, or will have by a clock that is as much ahead: what nobody watches is not rolled out.
    """
    rollout = read_rollout(tags)
    if rollout is None or not rollout.is_under_way:
        return None
    order = read_order(tags, rollout)
    if order is not None and order.kind == "abort":
        return None
    if abs(now - datetime.fromisoformat(rollout.seen_at)) >= timedelta(seconds=GUARD_SECONDS):  # ahead: whose clock is wrong?
        return None
    until = write_instant(now + timedelta(seconds=HOLD_SECONDS))
    return ServedRollout(
        id=rollout.id,
        step=rollout.step,
        share=rollout.share,
        version=rollout.version,
        champion=rollout.champion,
        until=until,
    )
