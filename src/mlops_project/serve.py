"""Serve: models over HTTP. ``mlops serve`` = ``python -m mlops_project.serve``."""

from pathlib import Path

import click

from mlops_project.bundle import METADATA_FILE
from mlops_project.command import WorkflowCommand, config_options, echo
from mlops_project.config import Config
from mlops_project.errors import BundleError


@click.command(
    cls=WorkflowCommand,
    name="serve",
    examples=(
        "mlops serve                                      # the exported model",
        "mlops serve churn.yaml --models artifacts/served --workers 2 --port 8080",
    ),
)
@config_options
@click.option(
    "--model", "model_dir", type=click.Path(path_type=Path), metavar="DIR", help="A bundle; default the exported model."
)
@click.option(
    "--models",
    "models_dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of models, as `mlops sync` keeps it.",
)
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that answer.")
def command(
    config: Config, model_dir: Path | None, models_dir: Path | None, host: str | None, port: int | None, workers: int | None
) -> None:
    """Serve the exported model, or a folder of models: MLflow's protocol, the Open Inference Protocol, typed REST."""
    from mlops_project.serving.server import run_server
    from mlops_project.serving.settings import build_settings
    from mlops_project.storage.temporary import own_folder

    if models_dir is None:
        _check_there(model_dir or config.model_dir, config)
    elif not models_dir.is_dir():
        echo(f"{models_dir}: no such folder yet; until `{config.command('sync')}` has made it, nothing is answered", err=True)
    with own_folder("mlops-serve-") as metrics_dir:
        run_server(
            build_settings(
                config,
                metrics_dir=metrics_dir,
                model_dir=model_dir,
                models_dir=models_dir,
                host=host,
                port=port,
                workers=workers,
            )
        )


def _check_there(folder: Path, config: Config) -> None:
    """Raise if there is nothing to serve; whether it is sound the server finds out itself."""
    if not (folder / METADATA_FILE).exists():
        raise BundleError(
            f"{folder}: no model is there; train one with `{config.command('train')}`, or name another with --model or --models"
        )


if __name__ == "__main__":
    command()
