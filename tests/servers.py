"""Real servers on free ports of this machine, polled until they answer."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

BIN = Path(sys.executable).parent


def plain_environment() -> dict[str, str]:
    """Return the variables of a user's shell, without ours and MLflow's, with the commands of this environment on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_", "PYTEST_"))}
    return kept | {"PATH": f"{BIN}{os.pathsep}{kept['PATH']}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: "subprocess.Popen[bytes]", seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            assert process.poll() is None, f"the server ended with {process.returncode}"
            assert time.monotonic() < deadline, f"no answer from {url}"
            threading.Event().wait(0.1)


@contextlib.contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """Run an MLflow tracking server that keeps its database (``mlflow.db``) and files in ``folder``; give its address."""
    port = free_port()
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "stored")]
    variables = plain_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


class ModelServer:
    """A running ``mlops serve``.

    Attributes
    ----------
    port, address
        Where it listens.
    process, folder
        The process, and the folder it runs in, with ``server.log``.
    """

    def __init__(self, port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self.port, self.process, self.folder = port, process, folder
        self.address = f"http://127.0.0.1:{port}"

    def read_log(self) -> str:
        return (self.folder / "server.log").read_text()


@contextlib.contextmanager
def model_server(folder: Path, *options: str, module: bool = False, **variables: str) -> Iterator[ModelServer]:
    """Run ``mlops serve`` (or ``python -m mlops_project.serve``) with these options in ``folder``; ends it with SIGTERM."""
    port = free_port()
    command = ["python", "-m", "mlops_project.serve"] if module else ["mlops", "serve"]
    command += ["--port", str(port), *options]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=plain_environment() | variables, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", process)
            yield ModelServer(port, process, folder)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
