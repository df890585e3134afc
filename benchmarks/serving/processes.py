"""Servers as processes: started, waited for, weighed and ended with all that they started."""

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from serving.places import BIN

POLL_SECONDS = 0.005
READY_SECONDS = 120
END_SECONDS = 10
MIB = 2**20
DROPPED = ("MLFLOW_", "MLOPS_", "OPENBLAS_", "PYTHON")  # PYTHONDONTWRITEBYTECODE alone doubles start times
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
}


class StartError(Exception):
    """A server did not start."""


def build_environment() -> dict[str, str]:
    """Return the environment of everything that is measured: nothing of the project's settings, no telemetry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return kept | QUIET


def find_free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], settings: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a new process group and a temporary folder, which is also its home; end it whatever happens."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder, log.open("wb") as output:
        environment = build_environment() | settings | {"HOME": folder, "TMPDIR": folder}
        # mlflow looks for uvicorn on the path; the project's own environment need not be activated
        environment["PATH"] = f"{Path(command[0]).parent}{os.pathsep}{BIN}{os.pathsep}{environment['PATH']}"
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server's process group, and what left the group."""
    tree = list_tree(process.pid)
    for number, seconds in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, END_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    for survivor in tree:
        with suppress(psutil.NoSuchProcess):
            survivor.kill()
    psutil.wait_procs(tree, timeout=END_SECONDS)


def list_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, log: Path, seconds: float = READY_SECONDS) -> None:
    """Poll until the server answers 200."""
    end_time = time.perf_counter() + seconds
    while time.perf_counter() < end_time:
        if process.poll() is not None:
            raise StartError(f"ended with code {process.returncode}: {read_last_error(log)}")
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        time.sleep(POLL_SECONDS)
    raise StartError(f"no 200 from {path} in {seconds} s: {read_last_error(log)}")


def read_last_error(log: Path) -> str:
    """Return the log's last line that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"


def weigh(pid: int) -> dict[str, float]:
    """Return the resident and, where the system tells, the proportional memory of a process tree, in MiB."""
    memory = {"rss_mib": 0.0, "pss_mib": 0.0}
    for process in list_tree(pid):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            full = process.memory_full_info()
            memory["rss_mib"] += full.rss / MIB
            memory["pss_mib"] += getattr(full, "pss", 0) / MIB
    return memory if memory["pss_mib"] else {"rss_mib": memory["rss_mib"]}
