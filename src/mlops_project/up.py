"""Up: the whole stack on this machine, one process per service, until Ctrl-C. ``mlops up`` = ``python -m mlops_project.up``."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit

import click

from mlops_project.bundle import METADATA_FILE, load_bundle
from mlops_project.command import WorkflowCommand, config_options, echo, print_table
from mlops_project.config import Config
from mlops_project.errors import StackError
from mlops_project.formats import without_credentials
from mlops_project.stack.guard import Guard, interrupted_once
from mlops_project.timed_http import open_url

START_SECONDS = 90.0
POLL_SECONDS = 0.2
TAIL_LINES = 15


@dataclass(frozen=True)
class Service:
    """One process of the stack.

    Attributes
    ----------
    name, purpose
        For people.
    command, environment
        How to start it.
    host, port
        Where it listens; port 0 if it does not.
    setting
        The key of the configuration that changes the port.
    health
        Path that answers 200 once it is up.
    """

    name: str
    purpose: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    host: str = ""
    port: int = 0
    setting: str = ""
    health: str = ""

    @property
    def address(self) -> str:
        """URL for a browser on this machine."""
        return f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host}:{self.port}"  # noqa: S104


@dataclass(frozen=True)
class Child:
    """A started service."""

    service: Service
    process: "subprocess.Popen[bytes]"
    log: Path


def build_services(config: Config, overrides: Sequence[str] = ()) -> list[Service]:
    """Return what this configuration's stack consists of, with a free port wherever it asks for port 0.

    Parameters
    ----------
    overrides
        ``--set`` options, for services that read the configuration themselves.
    """
    services = [] if _remote_tracking() else [_mlflow(config)]
    mlflow = _remote_tracking() or services[0].address
    if config.tracking.enabled:
        services.append(_sync(config, overrides))
    addresses = {"UI_MLFLOW_URL": without_credentials(mlflow)}
    services.append(_model_server(config, overrides))
    addresses["UI_MODEL_SERVER"] = services[-1].address
    if find_spec("duckdb") and config.prediction_log.enabled:
        services.append(_monitor(config, overrides))
        addresses["UI_MONITOR"] = services[-1].address
    if find_spec("streamlit"):
        services.append(_application(config, overrides, addresses))
    return services


def _remote_tracking() -> str | None:
    """Return the tracking server's address if ``MLFLOW_TRACKING_URI`` names one."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri if uri.startswith(("http://", "https://")) else None


def _forget_own_address(config: Config) -> None:
    """Drop a ``MLFLOW_TRACKING_URI`` that names the server which this stack starts: nothing answers there yet."""
    uri = urlsplit(_remote_tracking() or "")
    if uri.hostname in ("localhost", "127.0.0.1", config.stack.host) and uri.port == config.stack.mlflow_port:
        del os.environ["MLFLOW_TRACKING_URI"]


def _mlflow(config: Config) -> Service:
    from mlops_project.tracking.store import artifact_root, database_uri

    host, port = config.stack.host, config.stack.mlflow_port or _free_port(config.stack.host)
    command = (
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--app-name", "mlops"),
        *("--default-artifact-root", artifact_root(config)),
    )
    # MLflow's job runners (Huey) are several further processes that nothing here uses.
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # Not on the command line, where everybody on this machine may read a password.
    environment["MLFLOW_BACKEND_STORE_URI"] = os.environ.get("MLFLOW_TRACKING_URI") or database_uri(config)
    purpose = "runs, metrics, plots, model versions"
    return Service("MLflow", purpose, command, environment, host, port, "stack.mlflow_port", "/health")


def _workflow(name: str, config: Config, overrides: Sequence[str]) -> tuple[str, ...]:
    return (sys.executable, "-m", f"mlops_project.{name}", *_arguments(config, overrides))


def _arguments(config: Config, overrides: Sequence[str]) -> list[str]:
    return [str(config.file), *(part for override in overrides for part in ("--set", override))]


def _tracking_variable() -> dict[str, str]:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return {"MLFLOW_TRACKING_URI": uri} if uri else {}


def _sync(config: Config, overrides: Sequence[str]) -> Service:
    environment = _tracking_variable()
    return Service("sync", "brings the champion to the model server", _workflow("sync", config, overrides), environment)


def _model_server(config: Config, overrides: Sequence[str]) -> Service:
    host, port = config.stack.host, config.serving.port or _free_port(config.stack.host)
    folders = ("--models", str(config.served_models_dir), "--model", str(config.model_dir))
    command = (*_workflow("serve", config, overrides), *folders, "--host", host, "--port", str(port))
    return Service("model server", "predictions; /docs to try them", command, {}, host, port, "serving.port", "/ping")


def _monitor(config: Config, overrides: Sequence[str]) -> Service:
    host, port = config.stack.host, config.monitoring.port or _free_port(config.stack.host)
    command = (*_workflow("monitor", config, overrides), "--host", host, "--port", str(port))
    purpose = f"drift and performance; /report/{quote(config.model.name)} once there is one"
    return Service("monitor", purpose, command, _tracking_variable(), host, port, "monitoring.port", "/health")


def _application(config: Config, overrides: Sequence[str], addresses: dict[str, str]) -> Service:
    host, port = config.stack.host, config.stack.ui_port or _free_port(config.stack.host)
    script = str(Path(__file__).with_name("streamlit_app.py"))
    where = ("--server.headless", "true", "--server.address", host, "--server.port", str(port))
    command = (sys.executable, "-m", "streamlit", "run", script, *where, "--", *_arguments(config, overrides))
    environment = addresses | _tracking_variable()
    purpose = "predict, score a file, look at the model, promote"
    return Service("application", purpose, command, environment, host, port, "stack.ui_port", "/_stcore/health")


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def check_ports(services: Sequence[Service]) -> None:
    """Raise if a service's port is taken.

    Raises
    ------
    StackError
        Naming each taken port and the setting that changes it.
    """
    taken = [service for service in services if service.port and not _is_free(service.host, service.port)]
    if taken:
        raise StackError("\n".join(_explain_taken(service) for service in taken))


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just given back is free
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _explain_taken(service: Service) -> str:
    other = service.port + 1
    variable = f"MLOPS_{service.setting.replace('.', '__').upper()}={other}"
    return (
        f"port {service.port}, where {service.name} would listen, is taken by another program; stop that, or choose another "
        f"port: mlops up --set {service.setting}={other} (with make: {variable} make up)"
    )


@contextlib.contextmanager
def running(services: Sequence[Service], logs: Path) -> Iterator[list[Child]]:
    """Start services, wait until each is up, and stop them when the block ends, or this process, however it ends.

    Raises
    ------
    StackError
        If one does not come up; shows the end of its log.
    """
    with Guard() as guard:
        children = [_start(guard, service, logs) for service in services]
        for child in children:
            _wait_until_up(child)
        try:
            yield children
        finally:
            say("stopping …")


def _start(guard: Guard, service: Service, logs: Path) -> Child:
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{service.name.lower().replace(' ', '-')}.log"
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= service.environment
    with log.open("wb") as file:
        process = guard.start(service.command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment)
    return Child(service, process, log)


def _wait_until_up(child: Child) -> None:
    if not child.service.port:
        return
    deadline = time.monotonic() + START_SECONDS
    while not _answers(child.service):
        _check_alive(child)
        if time.monotonic() > deadline:
            raise StackError(f"{child.service.name} did not answer within {START_SECONDS:.0f} s{_tail(child.log)}")
        time.sleep(POLL_SECONDS)


def _answers(service: Service) -> bool:
    try:
        with open_url(f"{service.address}{service.health}", 2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _check_alive(child: Child) -> None:
    code = child.process.poll()
    if code is not None:
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        raise StackError(f"{child.service.name} stopped by itself ({how}){_tail(child.log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    return f"; the end of {log}:\n" + "\n".join(f"  {line}" for line in lines) if lines else f"; {log} is empty"


def say(text: str) -> None:
    """Print a line to stderr; the terminal may be closed."""
    with contextlib.suppress(OSError):
        echo(text, err=True)


@click.command(cls=WorkflowCommand, name="up")
@config_options
def command(config: Config) -> None:
    """Train if there is no model yet, then run the whole stack on this machine; Ctrl-C stops it.

    All of it ends with this command, however it ends: a closed terminal or kill -9, too.
    """
    _forget_own_address(config)
    services = build_services(config, click.get_current_context().meta.get("overrides", ()))
    check_ports(services)
    with contextlib.suppress(KeyboardInterrupt), interrupted_once():
        _ensure_model(config)
        click.echo("starting …", err=True)
        with running(services, config.root / "logs") as children:
            _print_addresses(config, children)
            while True:
                for child in children:
                    _check_alive(child)
                time.sleep(POLL_SECONDS)
    say("stopped")


def _ensure_model(config: Config) -> None:
    """Train if there is no bundle; a damaged one is reported, not replaced."""
    if (config.model_dir / METADATA_FILE).exists():
        load_bundle(config.model_dir)
        return
    from mlops_project.train import train_and_report

    train_and_report(config)


def _print_addresses(config: Config, children: Sequence[Child]) -> None:
    rows = [(child.service.name, child.service.address, child.service.purpose) for child in children if child.service.port]
    if uri := _remote_tracking():
        rows.append(("MLflow", without_credentials(uri), "your own server, from MLFLOW_TRACKING_URI"))
    rows.append(("report", (config.model_dir / "report.html").as_uri(), "how good the model is"))
    print_table(("service", "address", "what for"), rows)
    click.echo("Ctrl-C stops everything.")
    sys.stdout.flush()


if __name__ == "__main__":
    command()
