"""``mlops log``: log an exported model that could not be logged when it was trained."""

from pathlib import Path

import click

from mlops_project.bundle import CONFIG_FILE, METADATA_FILE, load_bundle
from mlops_project.command import WorkflowCommand, echo
from mlops_project.config import find_root, read_config
from mlops_project.errors import BundleError


@click.command(
    cls=WorkflowCommand,
    name="log",
    examples=(
        "mlops log                                        # artifacts/model",
        "mlops log artifacts/churn",
    ),
)
@click.argument("model_dir", type=click.Path(path_type=Path), default=Path("artifacts/model"), metavar="[MODEL_DIR]")
def command(model_dir: Path) -> None:
    """Log the bundle in MODEL_DIR (default artifacts/model) to MLflow and register it; a second time changes nothing."""
    from mlops_project.tracking.runs import log_bundle

    if not (model_dir / METADATA_FILE).exists():
        raise BundleError(f"{model_dir}: no exported model is there; name its folder, or train one with `mlops train`")
    config = read_config(model_dir / CONFIG_FILE, root=find_root(Path.cwd()))
    bundle = load_bundle(model_dir, trust=config.trust_policy)
    run = log_bundle(bundle, config)
    echo(f"logged as run {run.run_id} in {run.uri}, version {run.model_version} of {run.model_name}")
    echo(f"make it champion with: mlops promote {bundle.path / CONFIG_FILE}")


if __name__ == "__main__":
    command()
