"""Processes that end with the program that started them, however it ends: with an error, by Ctrl-C, by ``kill -9``.

Every process leads a session and a process group of its own, so Ctrl-C in the terminal does not reach it, and a signal to the
group reaches its descendants (uvicorn's workers, MLflow's). This file is also run as two small programs:

- ``run``: what ``Guard.start`` starts. It reports its process id through a pipe, then becomes the command.
- ``watch``: reads that pipe, which ends when the starter is gone. What is left of the reported groups is then ended.

It imports nothing but the standard library: those programs start in milliseconds.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any

STOP_SECONDS = 10.0  # between SIGTERM and SIGKILL
POLL_SECONDS = 0.05
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Guard:
    """Starts processes and ends them, with their descendants, when its block ends or this process dies."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> "Guard":
        """Start the program that watches this one. It is no child of ours: it must outlive us."""
        reads, self._pipe = os.pipe()
        self._ended, shows = os.pipe()
        command = [sys.executable, "-I", "-S", __file__, "watch"]
        options: dict[str, Any] = {"stdin": reads, "stdout": shows, "stderr": subprocess.DEVNULL, "start_new_session": True}
        try:
            subprocess.run(command, check=True, **options)  # it goes on in a process of its own
        finally:
            os.close(reads)
            os.close(shows)
        return self

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a command in a group of its own; ``options`` are those of ``subprocess.Popen``."""
        run = [sys.executable, "-I", "-S", __file__, "run", str(self._pipe), *command]
        process = subprocess.Popen(run, start_new_session=True, pass_fds=(self._pipe,), **options)
        self._processes.append(process)
        return process

    def __exit__(self, *_: "type[BaseException] | BaseException | TracebackType | None") -> None:
        """End everything; a signal that arrives meanwhile changes nothing."""
        with _holding_signals():
            end_groups({process.pid for process in self._processes}, reap=self._reap)
            os.close(self._pipe)
            os.read(self._ended, 1)  # returns once it has ended what was started and not noted here
            os.close(self._ended)

    def _reap(self) -> None:
        for process in self._processes:
            process.poll()


def end_groups(groups: Iterable[int], *, reap: Callable[[], None] = lambda: None) -> None:
    """Ask process groups to end, all at once; kill those that still have a member after ``STOP_SECONDS``.

    Parameters
    ----------
    reap
        Collects children that have ended: until then their group counts as there.
    """
    left = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + STOP_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        reap()
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)
    deadline = time.monotonic() + 1.0  # the system takes a moment to take them away
    while left and time.monotonic() < deadline:
        reap()
        left = {group for group in left if _signal(group, 0)}


def _signal(group: int, number: int) -> bool:
    """Send a signal to a group, 0 sends none; return whether it has a member."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS answers the latter for one that ended and was not reaped
        return False
    return True


@contextlib.contextmanager
def _holding_signals() -> Iterator[None]:
    with _handling(lambda _number, _frame: None):
        yield


@contextlib.contextmanager
def interrupted_once() -> Iterator[None]:
    """Let the first Ctrl-C, SIGTERM or closed terminal raise ``KeyboardInterrupt``, and further ones change nothing.

    Ctrl-C does so even where a shell started us with it ignored; a closed terminal does not under ``nohup``.
    """
    seen: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    numbers = [number for number in STOP_SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    old: dict[Any, Any] = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


def _run(pipe: int, command: list[str]) -> None:
    """Report this process, and become the command, which does not get the pipe: it would keep it open."""
    with contextlib.suppress(OSError):
        os.write(pipe, b"%d\n" % os.getpid())
    os.close(pipe)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what it becomes would inherit that
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted here
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def _watch() -> None:
    """Go on in a process of its own; read groups until the starter is gone; end those that are left."""
    if os.fork():
        os._exit(0)
    end_groups([int(line) for line in sys.stdin.buffer])


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        _watch()
    else:
        _run(int(sys.argv[2]), sys.argv[3:])
