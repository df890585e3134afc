"""The sender: posts what waits in the outbox until it is taken. A thread of the monitor, or a process of its own for commands.

``python -m mlops_project.notifications.sender`` reads its settings, without secrets, from its standard input.
"""

import contextlib
import logging
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from mlops_project.formats import PlainFormatter
from mlops_project.notifications.outbox import LOCK_FILE, Message, Outbox
from mlops_project.notifications.posting import Outcome, post
from mlops_project.sections.notifications import NotificationsConfig, TargetConfig
from mlops_project.storage.locks import is_locked, try_lock

# Seconds until the next attempt, after so many: three days in all, as the specification of Standard Webhooks suggests.
DELAYS = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 72_000)
JITTER = 0.2
LONGEST_PAUSE = 3  # of a receiver that is down: as after so many attempts
MAX_THREADS = 8
POLL_SECONDS = 1.0
LINGER_SECONDS = 900.0  # that a command's sender goes on; what waits longer is the monitor's, or the next command's
LOG_FILE, MAX_LOG = "sender.log", 1 << 20

logger = logging.getLogger(__name__)
_children: list[subprocess.Popen[bytes]] = []


class Settings(msgspec.Struct, frozen=True):
    """What a sender needs to know. Secrets are read where they are used.

    Attributes
    ----------
    folder
        Of the outbox.
    root
        Where relative paths of secrets start.
    notifications
        The section.
    """

    folder: Path
    root: Path
    notifications: NotificationsConfig


class Sender:
    """Posts what is due, to several receivers at a time, to each in the order of its messages."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.outbox = Outbox(settings.folder)
        self._paused: dict[str, float] = {}  # receivers that are down → until when; monotonic seconds
        self._failures: dict[str, int] = {}  # in a row

    def find_due(self) -> float | None:
        """Return when the next message for a receiver of the configuration is due; seconds since 1970, None if none waits."""
        return self.outbox.find_due(tuple(self.settings.notifications.targets))

    def send_due(self) -> None:
        """Make an attempt with everything that is due, except for receivers that were down a moment ago.

        Raises
        ------
        sqlite3.Error, OSError
            If the outbox cannot be used.
        """
        now = time.monotonic()
        targets = {
            name: target for name, target in self.settings.notifications.targets.items() if self._paused.get(name, 0.0) <= now
        }
        if targets:
            with ThreadPoolExecutor(min(MAX_THREADS, len(targets)), "notifications") as threads:
                list(threads.map(self._send_to, targets.keys(), targets.values()))

    def _send_to(self, name: str, target: TargetConfig) -> None:
        while True:
            with self.outbox.change() as change:
                message = change.take(name)
            if message is None:
                return
            outcome = post(message, target, self.settings.notifications, self.settings.root)
            self._note(message, outcome)
            if outcome.is_down:
                return

    def _note(self, message: Message, outcome: Outcome) -> None:
        name, problem = message.target, outcome.problem
        with self.outbox.change() as change:
            if not problem:
                change.end(message.id, name, "delivered")
            elif outcome.is_gone or message.attempts > len(DELAYS):
                change.end(message.id, name, "given-up", problem)
            else:
                change.postpone(message, max(compute_delay(message.attempts), outcome.wait_seconds), problem)
        if problem:
            logger.warning("%s: %s was not taken, attempt %d: %s", name, message.id, message.attempts, problem)
        if not outcome.is_down:
            self._failures.pop(name, None)
            return
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        self._paused[name] = time.monotonic() + max(compute_delay(min(failures, LONGEST_PAUSE)), outcome.wait_seconds)


def compute_delay(attempts: int) -> float:
    """Return the seconds until the next attempt after so many, with some chance in it."""
    return DELAYS[min(attempts, len(DELAYS)) - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load


def run(settings: Settings, stop: threading.Event, linger_seconds: float | None = None) -> None:
    """Send until ``stop`` is set; one sender of an outbox at a time, on one machine.

    Parameters
    ----------
    linger_seconds
        End also when nothing waits any more, or after so many seconds; None for a service.
    """
    sender, ends, said = Sender(settings), time.monotonic() + (linger_seconds or 0.0), ""
    while not stop.is_set():
        try:
            if _run_round(sender, stop, None if linger_seconds is None else ends):
                return
            said = ""
        except (sqlite3.Error, OSError) as error:
            if str(error) != said:
                said = str(error)
                logger.error("the outbox %s cannot be used: %s", sender.outbox.file, error)  # noqa: TRY400 - said in full
            if linger_seconds is not None:
                return
        stop.wait(POLL_SECONDS)


def _run_round(sender: Sender, stop: threading.Event, ends: float | None) -> bool:
    """Send with the lock held; return whether a command's sender has nothing more to do.

    If another sender has the lock, a command's ends: that one looks once more for what waits after it gave the lock back.
    """
    sender.settings.folder.mkdir(parents=True, exist_ok=True)
    with (sender.settings.folder / LOCK_FILE).open("ab") as lock:
        if not try_lock(lock):
            return ends is not None
        while not stop.is_set() and (ends is None or time.monotonic() < ends):
            due = sender.find_due()
            if due is not None and due <= time.time():
                sender.send_due()
                due = sender.find_due()
            if due is None and ends is not None:
                break
            stop.wait(POLL_SECONDS)
    return ends is not None and (time.monotonic() >= ends or sender.find_due() is None)


def start_sender(settings: Settings) -> None:
    """Start a process that sends what waits, unless a sender is at work.

    It outlives this process, in a session of its own, so that Ctrl-C does not reach it; where this process leads a session, as
    under `mlops up`, it ends with that.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    _children[:] = [child for child in _children if child.poll() is None]
    if is_locked(settings.folder / LOCK_FILE):
        return
    log = settings.folder / LOG_FILE
    with contextlib.suppress(OSError):
        if log.stat().st_size > MAX_LOG:
            log.unlink()
    with log.open("ab") as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "mlops_project.notifications.sender"],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            cwd=settings.root,
            start_new_session=os.getsid(0) != os.getpid(),
        )
    _children.append(child)
    threading.Thread(target=child.wait, name="wait for the sender", daemon=True).start()  # no zombie, and no warning at the end
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:  # type: ignore[union-attr]  # it was asked for
        pipe.write(msgspec.json.encode(settings, enc_hook=str))


def main() -> None:
    """Send what waits, and end."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings, dec_hook=lambda kind, value: kind(value))
    run(settings, threading.Event(), LINGER_SECONDS)


if __name__ == "__main__":
    main()
