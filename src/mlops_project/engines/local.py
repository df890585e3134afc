"""Processes of this machine."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic

from mlops_project.engines.pool import R, T, Work
from mlops_project.errors import MLOpsError, StackError
from mlops_project.process import end_with_parent

LOST = (
    "a process was killed (by the system, for lack of memory?); run the same command again, with fewer --processes: "
    "what is finished is kept"
)


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """Runs tasks in processes of this machine. One that is killed ends all with ``StackError``."""

    is_here = True

    @contextlib.contextmanager
    def open(self, work: Work[T, R], size: int | None) -> "Iterator[LocalPool[T, R]]":
        """See ``Engine.open``."""
        size = size or count_cores()
        # Not forked: a fork has the locks of threads that it does not have.
        pool = ProcessPoolExecutor(size, multiprocessing.get_context("spawn"), _start, (work,))
        try:
            yield LocalPool(pool, size)
        except BrokenProcessPool as error:
            raise StackError(LOST) from error
        finally:
            pool.shutdown(cancel_futures=True)


class LocalPool(Generic[T, R]):
    """Processes of this machine, each with the work in it."""

    def __init__(self, pool: ProcessPoolExecutor, size: int) -> None:
        self._pool, self.size = pool, size

    def submit(self, task: T) -> "Future[R]":
        """See ``Pool.submit``."""
        return self._pool.submit(_run, task)


# --- in the processes ---

_work: Any = None


def _start(work: Work[Any, Any]) -> None:
    global _work  # noqa: PLW0603 - a process of the pool has one, and loads the model once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    end_with_parent()
    work.start()
    _work = work


def _run(task: Any) -> Any:
    try:
        return _work.run(task)
    except MLOpsError as error:
        raise type(error)(str(error)) from None  # as it can be sent to another process
