"""The services of the stack and their command lines; ``mlops up`` starts them here, a container becomes one of them."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlops_project.formats import without_credentials
from mlops_project.process import find_free_port

if TYPE_CHECKING:
    from mlops_project.config import Config  # the image's health check would wait for it

# MLflow's job runners (Huey) are several further processes that nothing here uses.
MLFLOW_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
APPLICATION = Path(__file__).parents[1] / "streamlit_app.py"


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
    path
        Prefix of its paths.
    """

    name: str
    purpose: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    host: str = ""
    port: int = 0
    setting: str = ""
    health: str = ""
    path: str = ""

    @property
    def address(self) -> str:
        """URL for a browser on this machine."""
        return f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host}:{self.port}{self.path}"  # noqa: S104


def build_services(config: "Config", overrides: Sequence[str] = ()) -> list[Service]:
    """Return what this configuration's stack consists of, with a free port wherever it asks for port 0.

    Parameters
    ----------
    overrides
        ``--set`` options, for services that read the configuration themselves.
    """
    services = [] if remote_tracking() else [_mlflow(config)]
    mlflow = remote_tracking() or services[0].address
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


def mlflow_command(host: str, port: str, *options: str) -> tuple[str, ...]:
    """Return the command line of a tracking server."""
    return (sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port, *options)


def application_command(host: str, port: str, *arguments: str, root_path: str = "") -> tuple[str, ...]:
    """Return the command line of the application, under a prefix if a proxy leaves one on its paths; arguments are its own."""
    prefix = ("--server.baseUrlPath", root_path) if root_path else ()
    where = ("--server.headless", "true", "--server.address", host, "--server.port", port, *prefix)
    return (sys.executable, "-m", "streamlit", "run", str(APPLICATION), *where, *(("--", *arguments) if arguments else ()))


def workflow_command(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command line of a workflow: ``serve``, ``sync``, ``monitor``."""
    return (sys.executable, "-m", f"mlops_project.{name}", *arguments)


def remote_tracking() -> str | None:
    """Return the tracking server's address if ``MLFLOW_TRACKING_URI`` names one."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri if uri.startswith(("http://", "https://")) else None


def _mlflow(config: "Config") -> Service:
    from mlops_project.tracking.store import artifact_root, database_uri

    host, port = config.stack.host, config.stack.mlflow_port or find_free_port(config.stack.host)
    options = ("--workers", "1", "--app-name", "mlops", "--default-artifact-root", artifact_root(config))
    command = mlflow_command(host, str(port), *options)
    # The database is not on the command line, where everybody on this machine may read a password.
    database = os.environ.get("MLFLOW_TRACKING_URI") or database_uri(config)
    environment = MLFLOW_ENVIRONMENT | {"MLFLOW_BACKEND_STORE_URI": database}
    purpose = "runs, metrics, plots, model versions"
    return Service("MLflow", purpose, command, environment, host, port, "stack.mlflow_port", "/health")


def _arguments(config: "Config", overrides: Sequence[str]) -> list[str]:
    return [str(config.file), *(part for override in overrides for part in ("--set", override))]


def _tracking_variable() -> dict[str, str]:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return {"MLFLOW_TRACKING_URI": uri} if uri else {}


def _sync(config: "Config", overrides: Sequence[str]) -> Service:
    command = workflow_command("sync", *_arguments(config, overrides))
    return Service("sync", "brings the champion to the model server", command, _tracking_variable())


def _model_server(config: "Config", overrides: Sequence[str]) -> Service:
    host, port = config.stack.host, config.serving.port or find_free_port(config.stack.host)
    folders = ("--models", str(config.served_models_dir), "--model", str(config.model_dir))
    plain = ("--set", "serving.tls={}") if config.serving.tls.certificate else ()  # on this machine alone
    options = (*folders, *plain, "--host", host, "--port", str(port))
    command = (*workflow_command("serve", *_arguments(config, overrides)), *options)
    alive = "/v2/health/live" if config.gates.approval == "required" else "/ping"  # it may have to wait for an approved model
    return Service("model server", "predictions; /docs to try them", command, {}, host, port, "serving.port", alive)


def _monitor(config: "Config", overrides: Sequence[str]) -> Service:
    host, port = config.stack.host, config.monitoring.port or find_free_port(config.stack.host)
    command = (*workflow_command("monitor", *_arguments(config, overrides)), "--host", host, "--port", str(port))
    purpose = f"drift and performance; /report/{quote(config.model.name)} once there is one"
    return Service("monitor", purpose, command, _tracking_variable(), host, port, "monitoring.port", "/health")


def _application(config: "Config", overrides: Sequence[str], addresses: dict[str, str]) -> Service:
    host, port = config.stack.host, config.stack.ui_port or find_free_port(config.stack.host)
    root_path = config.stack.ui_root_path
    command = application_command(host, str(port), *_arguments(config, overrides), root_path=root_path)
    environment = addresses | _tracking_variable()
    purpose = "predict, score a file, look at the model, promote"
    return Service("application", purpose, command, environment, host, port, "stack.ui_port", "/_stcore/health", root_path)
