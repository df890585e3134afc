"""Runs a module of this project in a child process with limits of time and memory.

What arrives may never end, take all memory, crash, print or fork. In a child it does so alone: the child is ended with
everything that it started, its output goes nowhere, and what it reports comes through a pipe of its own.
"""

import contextlib
import ctypes
import math
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal

from mlops_project.errors import BundleError
from mlops_project.process import read_processor_seconds

Cause = Literal["time", "memory", "crash", "refused"]

MOST_TIMES = 10  # its limit, that a process may take in all where others leave it no processor
LOOK_SECONDS = 0.25  # between two looks at how far it is
REPORT_BYTES = 4096  # fits into a pipe at once, so that the child never waits for its reader
LEAST_BYTES = 256 << 20  # Python with ONNX Runtime takes 70 MiB
RESERVE = 0.9  # of a container's free memory: the process that waits needs some as well
CGROUPS = ("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")
CGROUP_ROOT = Path("/sys/fs/cgroup")
PR_SET_PDEATHSIG = 1  # linux/prctl.h
# The child gets no secrets; numeric libraries that start a thread per core would need memory for each.
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
OURS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}


class ProofError(BundleError):
    """A model that arrived did not pass: it took too long or too much memory, crashed, or gave no sound answer.

    Attributes
    ----------
    cause
        Which of these, in one word.
    """

    code: ClassVar[str] = "proof"

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Patience:
    """How long a process may take that others may leave little of the processor: it counts what it computes, and idles.

    Parameters
    ----------
    process
        Its id; it was just started.
    seconds
        Of processor time, and of time without any; all in all it may take ten times as long. Where a process's
        processor time is not known, which is anywhere but on Linux, it may take so long in all.
    """

    def __init__(self, process: int, seconds: float) -> None:
        self._process, self._seconds = process, seconds
        self._started = self._moved_at = time.monotonic()
        self._used = 0.0

    def wait_for(self, descriptor: int, until: float = math.inf) -> bool:
        """Wait until there is something to read, or nothing will come any more; return whether that was before ``until``.

        Raises
        ------
        TimeoutError
            If the process takes too long; says in what way.
        """
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not poll.poll(1000 * max(0.0, min(LOOK_SECONDS, until - time.monotonic()))):
            self._check()
            if time.monotonic() >= until:
                return False
        return True

    def _check(self) -> None:
        now, used = time.monotonic(), read_processor_seconds(self._process)
        if used is not None and used > self._used:
            self._used, self._moved_at = used, now
        if self._used >= self._seconds:
            raise TimeoutError(f"it has computed for {self._seconds:g} s")
        if now - self._moved_at >= self._seconds:
            raise TimeoutError(f"it has done nothing for {self._seconds:g} s")
        if now - self._started >= MOST_TIMES * self._seconds:
            raise TimeoutError(f"this machine has left it {self._used:.1f} s of processor time in {now - self._started:.0f} s")


class LimitedProcess:
    """A module that runs in a child process. A context manager: at its end the child is ended as well.

    Parameters
    ----------
    module
        What ``python -m`` runs. It calls ``restrict_self`` before anything else and ``report`` at the end.
    task
        What it reads from its standard input.
    seconds
        That it may take, as ``Patience`` counts them; its processor time ends it as well, should the parent be killed.
    memory_bytes
        Memory that it may take, on Linux; less if this process's container has less to give.
    """

    def __init__(self, module: str, task: bytes, *, seconds: float, memory_bytes: int) -> None:
        self.seconds, self.memory_bytes = seconds, find_memory(memory_bytes)
        self._reader, writer = os.pipe()
        limits = (str(writer), str(math.ceil(seconds) + 1), str(self.memory_bytes), str(os.getpid()))
        try:
            self._process = start_child(module, limits, task, (writer,))
        except OSError as error:
            os.close(self._reader)
            raise ProofError("crash", f"no process could be started to try the model in: {error.strerror}") from error
        finally:
            os.close(writer)
        self._patience = Patience(self._process.pid, seconds)

    def __enter__(self) -> "LimitedProcess":
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the child and all that it started."""
        os.close(self._reader)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self) -> str:
        """Return what the child reported.

        Raises
        ------
        ProofError
            If it took longer or more memory than it may, or ended without a report.
        """
        try:
            self._patience.wait_for(self._reader)
        except TimeoutError as error:
            said = f"the model did not answer its example row within {self.seconds:g} s (proof.seconds): {error}"
            raise ProofError("time", said) from None
        report = os.read(self._reader, REPORT_BYTES)
        if report:
            return report.decode(errors="replace")
        raise self._explain_end()

    def _explain_end(self) -> ProofError:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return ProofError("crash", "the process that tried the model stopped reporting")
        if code == -signal.SIGXCPU:
            return ProofError("time", f"the model took more than {self.seconds:g} s (proof.seconds)")
        if code == -signal.SIGKILL:
            return ProofError("memory", "the system killed the process that tried the model, probably for lack of memory")
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return ProofError("crash", f"the process that tried the model {how}")


def start_child(module: str, arguments: Sequence[str], task: bytes, descriptors: tuple[int, ...]) -> "subprocess.Popen[bytes]":
    """Start ``python -m module`` in a session of its own, without our secrets; its output goes nowhere.

    Parameters
    ----------
    task
        What it reads from its standard input.
    descriptors
        Open files that it gets, under the same numbers.

    Raises
    ------
    OSError
        If no process can be started.
    """
    with tempfile.TemporaryFile() as file:
        file.write(task)
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=pass_environment(),
            pass_fds=descriptors,
            start_new_session=True,
        )


def pass_environment() -> dict[str, str]:
    """Return the variables of a child: where programs and libraries are, no secrets."""
    return {name: os.environ[name] for name in PASSED if name in os.environ} | OURS


def find_memory(wanted_bytes: int) -> int:
    """Return how much memory a child may take: what is wanted, or what this process's container has left for it."""
    return min(wanted_bytes, find_room())


def find_room() -> int:
    """Return how much memory this process's container has left for a child; without such a limit, more than any setting."""
    for limit_file, usage_file in CGROUPS:
        with contextlib.suppress(OSError, ValueError):
            limit = int((CGROUP_ROOT / limit_file).read_text())  # "max" where there is none
            free = limit - int((CGROUP_ROOT / usage_file).read_text()) + _count_cache(limit_file)
            return max(LEAST_BYTES, int(free * RESERVE))
    return sys.maxsize


def _count_cache(limit_file: str) -> int:
    """Return the bytes of files that the kernel keeps in the container's memory and drops when something else needs it."""
    lines = (CGROUP_ROOT / limit_file).with_name("memory.stat").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "total_inactive_file ")))


def restrict_self(arguments: list[str]) -> int:
    """Take on the limits that ``LimitedProcess`` set; return where to report."""
    writer, seconds, memory_bytes, parent = map(int, arguments)
    restrict_memory(memory_bytes)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before it could be said
            os._exit(1)
    return writer


def restrict_memory(memory_bytes: int) -> None:
    """Let this process take no more memory than that, and leave no image of it on the disk when it crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS keeps no such limit
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def report(writer: int, text: str) -> None:
    """Send the parent what it waits for, and end at once: no clean-up may hang or crash any more."""
    os.write(writer, text.encode(errors="replace")[:REPORT_BYTES])
    os._exit(0)
