"""Real servers on free ports of this machine, polled until they answer."""

import contextlib
import importlib.metadata
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from random import SystemRandom

import psutil
import pytest

BIN = Path(sys.executable).parent
BUILD = Path(__file__).parents[1] / "build" / "tests"


def plain_environment() -> dict[str, str]:
    """Return the variables of a user's shell, without ours and MLflow's, with the commands of this environment on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_", "PYTEST_"))}
    return kept | {"PATH": f"{BIN}{os.pathsep}{kept['PATH']}"}


def free_port() -> int:
    """Return a port below those that clients get from the system: tests open thousands of connections beside each other."""
    while True:
        port = SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(url: str, process: "subprocess.Popen[bytes]", seconds: float = 90, context: ssl.SSLContext | None = None) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2, context=context):
                return
        except OSError:
            assert process.poll() is None, f"the server ended with {process.returncode}"
            assert time.monotonic() < deadline, f"no answer from {url}"
            threading.Event().wait(0.1)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that is dead and waits for init to reap it does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def read_command(process: psutil.Process) -> str:
    """Return a process's command line; empty if it ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def find_alive(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return the processes that have not ended after so many seconds."""
    deadline = time.monotonic() + seconds
    while (alive := list(filter(is_alive, processes))) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    return alive


class RunningServer:
    """A server in a process of its own.

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


class TrackingServer(RunningServer):
    """A running ``mlflow server``."""

    def read_metrics(self) -> dict[tuple[object, ...], float]:
        """Return what ``/metrics`` says: (sample's name, … its labels as pairs, sorted) → value."""
        from prometheus_client.parser import text_string_to_metric_families

        with urllib.request.urlopen(f"{self.address}/metrics", timeout=20) as response:
            families = list(text_string_to_metric_families(response.read().decode()))
        return {(item.name, *sorted(item.labels.items())): item.value for family in families for item in family.samples}


def write_mlflow_tables(file: Path) -> None:
    """Write an MLflow database that holds nothing yet, unless there is one.

    MLflow's own migrations make it, which take seconds: once for all tests and runs, and again for another MLflow.
    """
    from mlops_project.storage.locks import locked
    from mlops_project.tracking.database import Database

    kept = BUILD / f"mlflow-{importlib.metadata.version('mlflow')}.db"
    with locked(kept.with_suffix(".lock")):
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=BUILD) as folder:
                Database(f"sqlite:///{folder}/mlflow.db").upgrade(60)
                Path(folder, "mlflow.db").rename(kept)
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        shutil.copyfile(kept, file)


@contextlib.contextmanager
def start_tracking_server(folder: Path, *options: str, database: str = "", **variables: str) -> Iterator[TrackingServer]:
    """Run ``mlflow server`` with one worker and these options; the database is ``mlflow.db`` in ``folder`` unless given."""
    port = free_port()
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    if not database:
        write_mlflow_tables(folder / "mlflow.db")
    command += ["--backend-store-uri", database or f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "stored"), *options]
    environment = plain_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | variables
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            yield TrackingServer(port, process, folder)
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """Run an MLflow tracking server that keeps its database (``mlflow.db``) and files in ``folder``; give its address."""
    with start_tracking_server(folder) as server:
        yield server.address


class PostgreSQL:
    """A real PostgreSQL server on loopback, with passwords.

    Parameters
    ----------
    programs
        Folder of ``initdb`` and ``pg_ctl``.
    """

    user, password = "mlops", "hunter2-@/database"  # with what an address must escape

    def __init__(self, programs: Path) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # a short path: it holds a socket
        self._folder.chmod(0o777)
        identity = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}  # it does not run as root
        self._quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": self._folder, **identity}
        secret = self._folder / "password"
        secret.write_text(self.password)
        data = self._folder / "data"
        initialise = [programs / "initdb", "-D", data, "-U", self.user, "-A", "scram-sha-256", f"--pwfile={secret}", "-N"]
        subprocess.run([*initialise, "--locale=C", "-E", "UTF8"], check=True, **self._quiet)
        self._control = [programs / "pg_ctl", "-D", data, "-w", "-l", self._folder / "server.log"]
        self._control += ["-o", f"-p {self.port} -h 127.0.0.1 -k {self._folder}"]

    def start(self) -> None:
        subprocess.run([*self._control, "start"], check=True, **self._quiet)

    def restart(self, mode: str) -> None:
        """Restart as ``pg_ctl`` does: ``fast`` ends sessions, ``immediate`` is a crash with recovery."""
        subprocess.run([*self._control, "-m", mode, "restart"], check=True, **self._quiet)

    def stop(self) -> None:
        subprocess.run([*self._control, "-m", "immediate", "stop"], check=False, **self._quiet)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def address(self, database: str, password: str = "") -> str:
        """Return a database's SQLAlchemy URI."""
        secret = urllib.parse.quote(password or self.password, safe="")
        return f"postgresql://{self.user}:{secret}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Make an empty database; return its URI."""
        import psycopg

        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.address(name)


@contextlib.contextmanager
def postgresql_server() -> Iterator[PostgreSQL]:
    """Run PostgreSQL from the system's packages; skip the test if it is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = folders[-1] / "initdb" if folders else shutil.which("initdb")
    if not found:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)")
    server = PostgreSQL(Path(found).parent)
    try:
        server.start()
        yield server
    finally:
        server.remove()


class ModelServer(RunningServer):
    """A running ``mlops serve``."""


@contextlib.contextmanager
def model_server(
    folder: Path, *options: str, module: bool = False, context: ssl.SSLContext | None = None, **variables: str
) -> Iterator[ModelServer]:
    """Run ``mlops serve`` (or ``python -m mlops_project.serve``) with these options in ``folder``; ends it with SIGTERM.

    With a ``context`` it is asked over TLS.
    """
    port = free_port()
    command = ["python", "-m", "mlops_project.serve"] if module else ["mlops", "serve"]
    command += ["--port", str(port), *options]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=plain_environment() | variables, stdout=log, stderr=log)
        try:
            wait_for(f"{'https' if context else 'http'}://127.0.0.1:{port}/ping", process, context=context)
            yield ModelServer(port, process, folder)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Ask until it is so; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds:g} s"
        threading.Event().wait(0.2)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a local S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
