"""Actors of a Ray cluster. A task whose actor or node is lost is given to another one."""

import contextlib
import importlib.util
import os
import queue
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic

from mlops_project import __version__
from mlops_project.engines.pool import R, T, Work
from mlops_project.errors import ConfigError, MLOpsError, StackError

PER_ACTOR = 2  # tasks that an actor has: one runs, one waits, so that it never waits for the next
MAX_LOSSES = 3  # of actors that ran the same task, or before the first one has started
OBJECT_STORE_BYTES = 256 << 20  # of a cluster of this machine: tasks are small, and the work is there once
# Ray's own switch for a cluster that listens on 127.0.0.1 alone. By default it takes the machine's outer address, even if it is
# given the inner one (seen with Ray 2.60).
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
ANSWER_SECONDS = 10
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# Of a cluster of this machine; by default actors have niceness 15, and starve where others work as well.
NOT_NICE = {"RAY_worker_niceness": "0"}


def is_installed() -> bool:
    """Whether Ray is installed; it is not imported, because variables that it reads then are not set yet."""
    try:
        return importlib.util.find_spec("ray") is not None
    except ValueError:  # a module without a spec in its place
        return False


class RayEngine:
    """Runs tasks in actors of a Ray cluster.

    Parameters
    ----------
    address
        Of the cluster; None for ``RAY_ADDRESS``, or a new cluster of this machine, which only this machine reaches.

    Raises
    ------
    ConfigError
        If Ray is not installed.
    """

    is_here = False

    def __init__(self, address: str | None) -> None:
        if not is_installed():
            raise ConfigError("Ray is not installed; pip install 'mlops_project[ray]'")
        self._address = address or os.environ.get("RAY_ADDRESS")

    @contextlib.contextmanager
    def open(self, work: Work[T, R], size: int | None) -> "Iterator[RayPool[T, R]]":
        """See ``Engine.open``; the default size is the number of CPUs that the cluster has now."""
        with self._connect() as ray:
            pool = RayPool[T, R](ray, work, size or max(1, int(ray.cluster_resources().get("CPU", 1))))
            try:
                yield pool
            finally:
                pool.close()

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Any]:
        for name, value in self._find_variables().items():
            os.environ.setdefault(name, value)
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            yield sys.modules["ray"]
            return
        self._look_for_cluster()
        import ray

        options: dict[str, Any] = {"address": self._address or "local", "logging_level": "error", "log_to_driver": False}
        if not self._address:
            options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        with contextlib.redirect_stdout(sys.stderr):  # Ray prints what it notices, such as lost nodes, between our results
            try:
                ray.init(**options)
            except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
                raise StackError(self._describe(error)) from error
            try:
                yield ray
            finally:
                ray.shutdown()

    def _find_variables(self) -> dict[str, str]:
        """Return the variables that Ray reads when it is imported."""
        host = (self._address or "").rpartition("://")[2].rpartition(":")[0].strip("[]")
        return QUIET | NOT_NICE | (LOOPBACK if not self._address or host in LOCAL_HOSTS else {})

    def _look_for_cluster(self) -> None:
        """See that something listens at an address; Ray itself tries for a minute, and then says little."""
        host, _, port = (self._address or "").rpartition("://")[2].rpartition(":")
        if not (host and port.isdecimal()):  # `auto`, or no address
            return
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
        except OSError as error:
            raise StackError(self._describe(error)) from error

    def _describe(self, error: Exception) -> str:
        reason = " ".join(str(error).split())[:300]
        if not self._address:
            return f"Ray does not start here: {reason}"
        if "AuthenticationError" in f"{error.__cause__ or error.__context__}":
            reason = "it wants its token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN unless ~/.ray/auth_token holds it"
        return f"--address {self._address}: no Ray cluster answers there: {reason}"


class _Actor:
    """In a process of the cluster: the work, once it has started."""

    def start(self, work: Work[Any, Any], version: str) -> None:
        if version != __version__:
            raise StackError(
                f"a node of the Ray cluster has mlops_project {__version__}, this machine {version}; install one version on all"
            )
        work.start()
        self._work = work

    def run(self, task: Any) -> Any:
        return self._work.run(task)


class _Job(Generic[T, R]):
    """A task, what is promised of it, and how many actors were lost while they ran it."""

    def __init__(self, task: T) -> None:
        self.task, self.future, self.losses = task, Future[R](), 0


class _Member:
    """An actor, and the jobs that it has, the one that runs first."""

    def __init__(self, handle: Any) -> None:
        self.handle, self.jobs, self.has_started = handle, deque[_Job[Any, Any]](), False


class RayPool(Generic[T, R]):
    """Actors with one work in each. Close it.

    Ray's own retries restart an actor only where there is room for it: with a node gone for good its tasks would wait for ever.
    Here they go to the actors that are left, and a new actor takes part when there is room.

    Parameters
    ----------
    ray
        The module, connected.
    """

    def __init__(self, ray: Any, work: Work[T, R], size: int) -> None:
        self._ray, self.size = ray, size
        self._work = ray.put(work)
        # SPREAD: over the nodes, so that a lost one takes few with it.
        options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        self._actor = ray.remote(_Actor).options(**options)
        self._waiting, self._members = deque[_Job[T, R]](), list[_Member]()
        self._events: queue.SimpleQueue[tuple[_Member, _Job[T, R] | None, Future[Any]] | None] = queue.SimpleQueue()
        self._lock, self._early_losses, self._fault = threading.RLock(), 0, BaseException()
        self._is_closed = self._has_failed = False
        # What was promised is kept without the lock: joblib's callbacks take a lock with which it calls `submit` elsewhere.
        self._kept: list[Callable[[], None]] = []
        for _ in range(size):
            self._add_member()
        self._thread = threading.Thread(target=self._settle_all, name="ray-pool", daemon=True)
        self._thread.start()

    def submit(self, task: T) -> "Future[R]":
        """See ``Pool.submit``."""
        job = _Job[T, R](task)
        with self._lock:
            if self._has_failed:
                job.future.set_exception(self._fault)
            else:
                self._waiting.append(job)
                self._hand_out()
        return job.future

    def close(self) -> None:
        """End the actors; what they do is lost."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            for member in self._members:
                self._ray.kill(member.handle)
        self._events.put(None)
        self._thread.join()

    def _add_member(self) -> None:
        member = _Member(self._actor.remote())
        self._members.append(member)
        self._watch(member, None, member.handle.start.remote(self._work, __version__))

    def _watch(self, member: _Member, job: "_Job[T, R] | None", reference: Any) -> None:
        reference.future().add_done_callback(lambda done: self._events.put((member, job, done)))

    def _hand_out(self) -> None:
        """Give waiting jobs to the actors with the fewest."""
        free = [member for member in self._members if member.has_started]
        while self._waiting and free and (member := min(free, key=lambda one: len(one.jobs))) and len(member.jobs) < PER_ACTOR:
            job = self._waiting.popleft()
            member.jobs.append(job)
            self._watch(member, job, member.handle.run.remote(job.task))

    def _settle_all(self) -> None:
        while (event := self._events.get()) is not None:
            with self._lock:
                if not self._is_closed:
                    self._settle(*event)
                    self._hand_out()
                kept, self._kept = self._kept, []
            for keep in kept:
                keep()

    def _settle(self, member: _Member, job: "_Job[T, R] | None", done: "Future[Any]") -> None:
        if member not in self._members:  # lost, and its jobs are handed out again
            return
        error = done.exception()
        if error is not None and not isinstance(error, self._ray.exceptions.RayTaskError):
            self._lose(member, error)
        elif job is None:
            member.has_started = error is None
            if error is not None:
                self._fail(_unwrap(error))
        else:
            member.jobs.remove(job)
            if error is None:
                self._kept.append(partial(job.future.set_result, done.result()))
            else:
                self._kept.append(partial(job.future.set_exception, _unwrap(error)))

    def _lose(self, member: _Member, error: BaseException) -> None:
        """Give a lost actor's jobs to others, and start another actor in its place."""
        self._members.remove(member)
        self._ray.kill(member.handle)  # a node that only seemed lost works no more for this run
        if not member.has_started:
            self._early_losses += 1
            if self._early_losses >= MAX_LOSSES and not any(one.has_started for one in self._members):
                self._fail(StackError(f"no actor could be started on the Ray cluster: {' '.join(str(error).split())[:300]}"))
                return
        for job in list(member.jobs)[:1]:  # the one that ran
            job.losses += 1
            if job.losses >= MAX_LOSSES:
                member.jobs.remove(job)
                reason = " ".join(str(error).split())[:300]
                lost = StackError(f"{job.losses} actors were lost while they ran the same task: {reason}")
                self._kept.append(partial(job.future.set_exception, lost))
        self._waiting.extendleft(reversed(member.jobs))
        self._add_member()

    def _fail(self, error: BaseException) -> None:
        """End all that waits and all that comes with an error of ``Work.start``."""
        self._fault, self._has_failed = error, True
        jobs = [job for member in self._members for job in member.jobs]
        self._kept += [partial(job.future.set_exception, error) for job in (*jobs, *self._waiting)]
        self._waiting.clear()
        self._members.clear()


def _unwrap(error: BaseException) -> BaseException:
    """Return the error that was raised in an actor."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, MLOpsError):
        return type(cause)(str(cause))
    return cause if isinstance(cause, Exception) else error
