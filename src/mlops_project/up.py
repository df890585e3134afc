"""Up: the whole stack on this machine, one process per service, until Ctrl-C. ``mlops up`` = ``python -m mlops_project.up``."""

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import click

from mlops_project.bundle import METADATA_FILE, load_bundle
from mlops_project.command import WorkflowCommand, config_options, print_table
from mlops_project.config import Config
from mlops_project.formats import without_credentials
from mlops_project.stack.guard import interrupted_once
from mlops_project.stack.processes import POLL_SECONDS, Child, check_alive, check_ports, running, say
from mlops_project.stack.services import build_services, remote_tracking


@click.command(
    cls=WorkflowCommand,
    name="up",
    examples=(
        "mlops up                                         # the default model",
        "mlops up churn.yaml --set stack.mlflow_port=5001",
    ),
)
@config_options
def command(config: Config) -> None:
    """Train if there is no model yet, then run the whole stack on this machine; Ctrl-C stops it.

    All of it ends with this command, however it ends: a closed terminal or kill -9, too.
    """
    _forget_own_address(config)
    services = build_services(config, click.get_current_context().meta.get("overrides", ()))
    check_ports(services, config.command("up"))
    with contextlib.suppress(KeyboardInterrupt), interrupted_once():
        _ensure_model(config)
        click.echo("starting …", err=True)
        with running(services, config.root / "logs") as children:
            _print_addresses(config, children)
            while True:
                for child in children:
                    check_alive(child)
                time.sleep(POLL_SECONDS)
    say("stopped")


def _forget_own_address(config: Config) -> None:
    """Drop a ``MLFLOW_TRACKING_URI`` that names the server which this stack starts: nothing answers there yet."""
    uri = urlsplit(remote_tracking() or "")
    if uri.hostname in ("localhost", "127.0.0.1", config.stack.host) and uri.port == config.stack.mlflow_port:
        del os.environ["MLFLOW_TRACKING_URI"]


def _ensure_model(config: Config) -> None:
    """Train if there is no bundle; a damaged one is reported, not replaced."""
    if (config.model_dir / METADATA_FILE).exists():
        load_bundle(config.model_dir, trust=config.trust_policy)
        return
    from mlops_project.train import train_and_report

    train_and_report(config, hints=False)


def _print_addresses(config: Config, children: Sequence[Child]) -> None:
    rows = [(child.service.name, child.service.address, child.service.purpose) for child in children if child.service.port]
    if uri := remote_tracking():
        rows.append(("MLflow", without_credentials(uri), "your own server, from MLFLOW_TRACKING_URI"))
    rows.append(("report", (config.model_dir / "report.html").as_uri(), "how good the model is"))
    print_table(("service", "address", "what for"), rows)
    click.echo("Ctrl-C stops everything.")
    sys.stdout.flush()


if __name__ == "__main__":
    command()
