"""A pipeline in processes of its own: started, asked, and started again when one dies or hangs."""

import contextlib
import math
import os
import queue
import signal
import socket
import subprocess
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from mlops_project.contract import Contract
from mlops_project.errors import BundleError, ContractError, MLOpsError, explain_os
from mlops_project.names import show
from mlops_project.python_engine.messages import Answers, Task, decode_answers, encode_rows, receive, send
from mlops_project.runtime import Floats, Predictions, Runtime
from mlops_project.sandbox import Patience, ProofError, find_memory, start_child
from mlops_project.sections import ProofConfig

MODULE = "mlops_project.python_engine.worker"
ANSWER_SECONDS = 600.0  # for a chunk of rows, where no request waits for it
HANDOVER_SECONDS = 10.0  # for a message that is coming in
CHUNK_ROWS = 1 << 14


class WorkerError(MLOpsError):
    """The process that answers for a pipeline died, or could not be started."""

    code: ClassVar[str] = "worker"
    exit_code: ClassVar[int] = 1


class LoadingError(WorkerError):
    """The process that answers for a pipeline is still loading it."""

    code: ClassVar[str] = "loading"


class SlowWorkerError(WorkerError):
    """The process that answers for a pipeline did not answer in time, and was ended."""

    code: ClassVar[str] = "slow_worker"


class _Worker:
    """One process. It is usable once ``wait_ready`` has returned."""

    def __init__(self, task: bytes, file: int, limits: ProofConfig) -> None:
        self._channel, theirs = socket.socketpair()
        memory_bytes = find_memory(limits.memory_bytes)
        arguments = [str(number) for number in (theirs.fileno(), file, memory_bytes, os.getpid())]
        try:
            self._process = start_child(MODULE, arguments, task, (theirs.fileno(), file))
        except OSError as error:
            self._channel.close()
            raise WorkerError(f"no process could be started for the pipeline: {error.strerror}") from error
        finally:
            theirs.close()
        self._is_ready, self._patience = False, Patience(self._process.pid, limits.seconds)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self, deadline: float = math.inf) -> None:
        """Wait until the pipeline is loaded.

        Raises
        ------
        LoadingError
            If it is not by then, and may be later.
        ProofError
            If it takes longer than ``proof.seconds``, as ``Patience`` counts them, or cannot be loaded.
        """
        if self._is_ready:
            return
        try:
            if not self._patience.wait_for(self._channel.fileno(), deadline):
                raise LoadingError("the pipeline is being loaded; try again later")
        except TimeoutError as error:
            raise ProofError("time", f"the pipeline was not loaded in time (proof.seconds): {error}") from None
        try:
            reason = receive(self._channel, time.monotonic() + HANDOVER_SECONDS).decode(errors="replace")
        except OSError:
            raise ProofError("crash", f"the process that loads the pipeline {self._explain_end()}") from None
        if reason:
            cause, lacks = ("memory", " (proof.memory_bytes)") if "MemoryError" in reason else ("refused", "")
            raise ProofError(cause, f"{show(reason, 1000)}{lacks}")  # type: ignore[arg-type]  # two of the causes
        self._is_ready = True

    def ask(self, message: bytes, deadline: float) -> Answers:
        """Return the answers to encoded rows.

        Raises
        ------
        TimeoutError, OSError
            If it gave none in time, or died.
        """
        send(self._channel, message, deadline)
        return msgspec.msgpack.decode(receive(self._channel, deadline), type=Answers)

    def _explain_end(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(1)
            if code == -signal.SIGKILL:
                return "was killed, probably for lack of memory"
            return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return "hung up"

    def end(self) -> None:
        self._channel.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class _Workers:
    """The processes of one pipeline, each taken by one caller at a time."""

    def __init__(self, task: bytes, file: int, limits: ProofConfig, count: int) -> None:
        self._arguments = task, file, limits
        self._file, self._is_closed = file, False
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()  # None: a process that could not be started
        self._all: set[_Worker] = set()
        for _ in range(count):
            self._idle.put(self._start())

    def _start(self) -> _Worker:
        worker = _Worker(*self._arguments)
        self._all.add(worker)
        return worker

    @contextlib.contextmanager
    def take(self, deadline: float) -> "Iterator[_Worker]":
        """Give a process that is ready. Whatever goes wrong with it, another one is started in its place.

        Raises
        ------
        SlowWorkerError, WorkerError
            If none is free or ready by then, or this one does not answer.
        """
        try:
            worker = self._idle.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise SlowWorkerError("the pipeline is busy with other rows; try again later") from None
        is_sound = False  # else, whatever the cause: what it may still send belongs to nobody
        try:
            if worker is None or not worker.is_alive:  # killed while nobody asked it
                worker = self._replace(worker)
            worker.wait_ready(deadline)
            yield worker
            is_sound = True
        except LoadingError:
            is_sound = True
            raise
        except TimeoutError:
            raise SlowWorkerError("the pipeline took too long and was ended; send fewer rows") from None
        except ProofError as error:
            raise WorkerError(f"the pipeline could not be started again: {error}") from error
        except OSError:
            raise WorkerError("the pipeline's process ended while it answered; it is started again") from None
        finally:
            self._idle.put(worker if is_sound else self._try_replace(worker))

    def _replace(self, worker: _Worker | None) -> _Worker:
        if worker is not None:
            self._all.discard(worker)
            worker.end()
        return self._start()

    def _try_replace(self, worker: _Worker | None) -> _Worker | None:
        if self._is_closed:
            return None
        try:
            return self._replace(worker)
        except WorkerError:
            return None

    def wait_ready(self) -> None:
        """Wait until every process has loaded the pipeline.

        Raises
        ------
        ProofError
            If one cannot.
        """
        for worker in self._all:
            worker.wait_ready()

    def close(self) -> None:
        self._is_closed = True
        for worker in self._all:
            worker.end()
        with contextlib.suppress(OSError):
            os.close(self._file)


class PythonRuntime(Runtime):
    """Asks a bundle's pipeline, which runs in processes of its own. They end with this object.

    Parameters
    ----------
    file, digest
        The pipeline in skops' format, and its sha256.
    contract
        Its inputs and outputs.
    limits
        Time to load, memory of each process, and the types that are trusted.
    seconds
        That a call of ``run`` may take, all waiting included.
    processes
        How many answer at the same time.

    Raises
    ------
    ProofError
        If the pipeline does not load, or holds types that are not trusted.
    """

    is_remote = True

    def __init__(
        self,
        file: Path,
        digest: str,
        contract: Contract,
        limits: ProofConfig,
        *,
        seconds: float = ANSWER_SECONDS,
        processes: int = 1,
    ) -> None:
        self.contract, self.processes = contract, processes
        self._seconds = seconds
        task = msgspec.msgpack.encode(Task(digest, contract, limits.trusted_types))
        try:
            opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC)  # stays readable when the bundle is replaced
        except OSError as error:
            raise BundleError(f"{file}: cannot be read: {explain_os(error)}") from error
        self._workers = _Workers(task, opened, limits, processes)
        self.close = weakref.finalize(self, self._workers.close)
        try:
            self._workers.wait_ready()
        except BaseException:
            self.close()
            raise

    @property
    def engine(self) -> str:
        """What evaluates the model."""
        return "python"

    def read_model(self) -> None:
        """Return None: there is no ONNX model."""

    def run(self, numbers: Floats, texts: npt.NDArray[np.object_], threshold: float | None = None) -> Predictions:
        """Predict encoded rows, see ``Runtime.run``.

        Raises
        ------
        ContractError
            If the pipeline has no answer for a row.
        WorkerError
            If its process died, or took too long; another is started.
        """
        if not len(numbers):
            return self._empty()
        deadline = time.monotonic() + self._seconds
        parts = [slice(start, start + CHUNK_ROWS) for start in range(0, len(numbers), CHUNK_ROWS)]
        pieces = [self._ask(numbers[part], texts[part], deadline) for part in parts]
        joined: list[Any] = [None if part[0] is None else np.concatenate(part) for part in zip(*pieces, strict=True)]
        whole = pieces[0] if len(pieces) == 1 else Predictions(*joined)
        return whole.decide(self.contract.threshold if threshold is None else threshold)

    def _ask(self, numbers: Floats, texts: npt.NDArray[np.object_], deadline: float) -> Predictions:
        with self._workers.take(deadline) as worker:
            answers = worker.ask(encode_rows(numbers, texts), deadline)
        if answers.refused:
            raise ContractError(answers.refused)
        if answers.fault:
            raise WorkerError(f"the pipeline {answers.fault}")
        return decode_answers(answers, self.contract)
