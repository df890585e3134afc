"""``mlops init`` writes a commented configuration for a table; ``mlops config check`` explains what is wrong with one."""

import os
from pathlib import Path

import click

from mlops_project.command import WorkflowCommand, echo
from mlops_project.errors import ConfigError
from mlops_project.storage.files import replacing
from mlops_project.utils import load_config


@click.command(cls=WorkflowCommand)
@click.argument("source")
@click.option("--target", help="Column to predict.")
@click.option("--query", help="SQL query, when SOURCE is a SQLAlchemy URL.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("model.yaml"), show_default=True)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(source: str, target: str | None, query: str | None, output: Path, force: bool) -> None:
    """Look at the table SOURCE (a file, folder, glob or URL) and write a commented configuration for it."""
    from mlops_project.tables.draft import draft_config

    if output.exists() and not force:
        raise ConfigError(f"{output}: exists already; choose another name with -o, or replace it with --force")
    text = draft_config(source, target, query=query, folder=output.resolve().parent)
    try:
        with replacing(output, f".{output.name}.{os.getpid()}") as stream:
            stream.write(text.encode())
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from error
    echo(f"wrote {output}; look through it, then: mlops train {output}")


@click.group(name="config")
def config_command() -> None:
    """Check a configuration and explain every problem."""


@config_command.command(cls=WorkflowCommand)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--show", is_flag=True, help="Print the whole configuration, defaults included.")
def check(file: Path | None, show: bool) -> None:
    """Check FILE (default: the built-in configuration) and explain every problem at once."""
    config = load_config(file)
    echo(*(config.to_yaml().splitlines() if show else [f"{config.file}: ok"]))


if __name__ == "__main__":
    command()
