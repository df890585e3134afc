"""What a process asks of its parent, of the C library and of the network: ports, memory, its end."""

import contextlib
import ctypes
import getpass
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from mlops_project.errors import StackError

M_MMAP_THRESHOLD = -3  # malloc.h of glibc
LARGE_BYTES = 1 << 20


def end_with_parent() -> None:
    """Send this process SIGTERM when the one that made it with ``multiprocessing`` is gone; a first process has none.

    uvicorn's workers outlive a supervisor that was killed, and keep its port.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


def return_large_blocks() -> None:
    """Make glibc hand back every freed block of a megabyte at once; by default it raises that bound to the largest it saw."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def read_own_memory() -> int:
    """Return how many bytes this process takes that are of no file; at most, where only that is known."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)


def read_processor_seconds(process: int) -> float | None:
    """Return how long a process has computed, all its threads together, also one that has just ended; None if nobody knows."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it is gone, or this is no Linux
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def return_freed_memory() -> None:
    """Make glibc hand back what was freed; it keeps small blocks otherwise."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


def is_process_alive(process: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to a port and that child processes may use; 0 takes a free port.

    Raises
    ------
    StackError
        If the port is taken, or the host is none of this machine.
    """
    listener = _open_socket(host)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StackError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port") from error
    listener.set_inheritable(True)
    return listener


def is_free(host: str, port: int) -> bool:
    """Whether nothing else listens on a port."""
    with _open_socket(host) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def find_free_port(host: str) -> int:
    """Return a port on which nothing listens at the moment."""
    with listen(host, 0) as probe:
        return int(probe.getsockname()[1])


def _open_socket(host: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just given back is free
    return opened


_actor: ContextVar[str] = ContextVar("actor", default="")


@contextlib.contextmanager
def acting_as(program: str) -> Iterator[None]:
    """Let what is recorded meanwhile name a program that acts by itself, and not the user whose process it is.

    Parameters
    ----------
    program
        Such as ``mlops monitor``; empty if a person asked for it: then it is the user.
    """
    token = _actor.set(program)
    try:
        yield
    finally:
        _actor.reset(token)


def find_user() -> str:
    """Return who acts: the program that does so by itself (``acting_as``), else MLflow's user, else the system's."""
    if actor := _actor.get():
        return actor
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return f"uid {os.getuid()}"
