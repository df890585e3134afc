"""The record of retrainings on this machine: which were tried and how they ended, and the lock that lets one run at a time.

::

    <monitoring_dir>/<model>/retrainings/
    ├── lock          held (flock) by the retraining that runs, inherited from the process that started it
    ├── state.json    attempts, counts, comparisons after the last promotion; replaced whole, under state.lock
    ├── model/        the newest challenger's bundle
    └── <time>.log    what a retraining printed

After ``kill -9`` an attempt has no end and the lock is free: the monitor's next round, or the next retraining, counts it as
failed.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import msgspec

from mlops_project.config import Config
from mlops_project.storage.files import replacing
from mlops_project.storage.locks import locked, try_lock

CauseKind = Literal["alert", "webhook", "schedule", "manual"]
# `ready`: the gate agrees, and a person is to promote; `rolled-back`: promoted, and then worse than its predecessor.
Result = Literal["promoted", "ready", "refused", "failed", "skipped", "rolled-back"]
KEPT_ATTEMPTS = 200
LOCK_VARIABLE = "RETRAINING_LOCK_FD"  # not MLOPS_…: those are settings

logger = logging.getLogger(__name__)


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why a retraining is asked for.

    Attributes
    ----------
    kind
        Who asks.
    key
        The same for everything that asks for the same reason; one key is promoted at most once.
    reason
        In words.
    """

    kind: CauseKind
    key: str
    reason: str

    @property
    def program(self) -> str:
        """Who acts, for the audit trail; empty if a person asked for it."""
        return "" if self.kind == "manual" else f"mlops retrain ({self.kind})"


def name_cause(key: str, reason: str, now: datetime) -> Cause:
    """Return the cause that a key stands for; without a key, one of its own: asked for by hand."""
    kind = key.partition(":")[0]
    known: CauseKind = next((item for item in get_args(CauseKind) if item == kind), "manual")
    return Cause(kind=known, key=key or f"manual:{now.isoformat()}", reason=reason or "asked for by hand")


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One retraining.

    Attributes
    ----------
    cause
        Why.
    started_at, ended_at
        ISO 8601, UTC; no end while it runs, or if it died and ``Attempts.fail_dead`` was not called since.
    result, text
        How it ended, and the same in words.
    version
        The version that it made; None if it made none.
    job
        The Kubernetes Job that it runs as; empty for a process of this machine.
    vetoes
        Codes of what stopped it before it began.
    newest_label
        When the newest of the labels came that it was about; ISO 8601, UTC; empty if there were none.
    """

    cause: Cause
    started_at: str
    ended_at: str | None = None
    result: Result | None = None
    text: str = ""
    version: int | None = None
    job: str = ""
    vetoes: tuple[str, ...] = ()
    newest_label: str = ""


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """How often a retrained champion was compared with its predecessor.

    Attributes
    ----------
    version
        The champion.
    looks, rows
        How many comparisons there were, and on how many labelled rows the last was.
    """

    version: int
    looks: int
    rows: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is kept.

    Attributes
    ----------
    attempts
        Oldest first, the newest ``KEPT_ATTEMPTS``.
    counts
        Result → how many attempts ever ended so; for the metrics.
    watch
        Comparisons of the champion with its predecessor; None if there were none yet.
    """

    attempts: tuple[Attempt, ...] = ()
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    watch: Watch | None = None

    def of(self, key: str) -> tuple[Attempt, ...]:
        """Return the attempts for one cause, oldest first."""
        return tuple(attempt for attempt in self.attempts if attempt.cause.key == key)

    @property
    def open(self) -> tuple[Attempt, ...]:
        """Attempts without an end: one that runs, or that died and was not yet counted as failed."""
        return tuple(attempt for attempt in self.attempts if attempt.result is None)

    @property
    def refusals(self) -> tuple[Attempt, ...]:
        """The newest attempts that ended without a challenger to promote, one after the other; failures are no end."""
        ended = [attempt for attempt in self.attempts if attempt.result not in (None, "failed")]
        kept = next(
            (place for place, item in enumerate(reversed(ended)) if item.result not in ("refused", "skipped")), len(ended)
        )
        return tuple(ended[len(ended) - kept :])

    @property
    def last_end(self) -> datetime | None:
        """When the last attempt ended that did not fail; the pause after a failed one is counted apart."""
        ends = [attempt.ended_at for attempt in self.attempts if attempt.ended_at and attempt.result != "failed"]
        return datetime.fromisoformat(max(ends)) if ends else None


def find_folder(config: Config) -> Path:
    """Return where a model's retrainings are recorded: a local folder, as locks need one."""
    place = config.monitoring_dir
    base = config.root / "artifacts" / "monitoring" if "://" in place else Path(place)
    return base / config.model.name / "retrainings"


class Attempts:
    """One model's record.

    Parameters
    ----------
    folder
        See ``find_folder``; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"

    def acquire(self) -> int | None:
        """Take the lock; return its descriptor, or None if a retraining runs. Closing every copy of it frees the lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if try_lock(descriptor):
            return descriptor
        os.close(descriptor)
        return None

    def inherit(self) -> int | None:
        """Return the lock that this process was started with, or take it; None if a retraining runs."""
        given = os.environ.pop(LOCK_VARIABLE, "")
        if not given.isdigit():
            return self.acquire()
        os.set_inheritable(int(given), False)  # a process that this one starts must not hold it on
        return int(given)

    def read(self) -> State:
        """Return what is recorded; empty if nothing is. A damaged file is renamed, and the service's log says so."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            aside = self._file.with_name("state.json.damaged")
            with contextlib.suppress(OSError):
                self._file.replace(aside)
            said = "%s cannot be read (%s): the record of retrainings begins anew, the damaged one is kept as %s"
            logger.error(said, self._file, error, aside.name)  # noqa: TRY400 - said in full
            return State()

    def begin(self, cause: Cause, now: datetime, *, job: str = "") -> None:
        """Record that an attempt starts.

        Parameters
        ----------
        cause
            Why.
        now
            With a time zone.
        job
            Name of the Kubernetes Job that it runs as; empty for a process of this machine.
        """
        attempt = Attempt(cause=cause, started_at=_text(now), job=job)
        self._change(lambda state: _replace(state, attempts=(*state.attempts, attempt)[-KEPT_ATTEMPTS:]))

    def finish(
        self,
        key: str,
        result: Result,
        text: str,
        now: datetime,
        *,
        version: int | None = None,
        vetoes: tuple[str, ...] = (),
        newest_label: str = "",
    ) -> None:
        """Record how the last attempt for a cause ended; if it has an end already, nothing changes.

        Parameters
        ----------
        key
            Of the cause.
        result, text
            How it ended, and the same in words.
        now
            With a time zone.
        version
            The version that it made; None if it made none.
        vetoes
            Codes of what stopped it before it began.
        newest_label
            When the newest of the labels came that it was about; ISO 8601, UTC; empty if there were none.
        """

        def change(state: State) -> State:
            open_ones = [index for index, item in enumerate(state.attempts) if item.cause.key == key and item.result is None]
            return _end(state, open_ones[-1:], result, text, now, version, vetoes=vetoes, newest_label=newest_label)

        self._change(change)

    def fail_dead(self, now: datetime, *, but: str = "") -> None:
        """Count attempts of this machine without an end as failed, except those for the cause ``but``.

        To be called with the lock held: no other can be running.
        """

        def change(state: State) -> State:
            attempts = enumerate(state.attempts)
            dead = [index for index, item in attempts if item.result is None and not item.job and item.cause.key != but]
            return _end(state, dead, "failed", "its process died", now, None)

        self._change(change)

    def note_rollback(self, version: int, text: str, now: datetime) -> None:
        """Record that the attempt that made a version was rolled back; the pause before the next attempt starts anew.

        Parameters
        ----------
        version
            The version that was promoted and rolled back.
        text
            Why, in words.
        now
            With a time zone.
        """

        def change(state: State) -> State:
            found = [
                index for index, item in enumerate(state.attempts) if item.version == version and item.result == "promoted"
            ]
            return _end(state, found[-1:], "rolled-back", text, now, version)

        self._change(change)

    def note_watch(self, watch: Watch) -> None:
        """Record a comparison of a champion with its predecessor."""
        self._change(lambda state: _replace(state, watch=watch))

    def _change(self, change: Callable[[State], State]) -> None:
        with locked(self.folder / "state.lock"):
            before = self.read()
            after = change(before)
            if after == before:
                return
            with replacing(self._file) as stream:
                stream.write(msgspec.json.format(msgspec.json.encode(after), indent=1))


def _replace(state: State, **changes: object) -> State:
    return msgspec.structs.replace(state, **changes)


def _end(
    state: State,
    places: list[int],
    result: Result,
    text: str,
    now: datetime,
    version: int | None,
    **more: object,
) -> State:
    attempts, counts = list(state.attempts), dict(state.counts)
    for place in places:
        old = attempts[place]
        known = old.version if version is None else version
        end = {"ended_at": _text(now), "result": result, "text": text, "version": known, **more}
        attempts[place] = msgspec.structs.replace(old, **end)
        counts[result] = counts.get(result, 0) + 1
    return _replace(state, attempts=tuple(attempts), counts=counts)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds")
