"""``mlops models`` and ``mlops history``: what is registered, which aliases point where, and how they came to."""

from typing import TYPE_CHECKING, Any

import click
import msgspec

from mlops_project.command import WorkflowCommand, config_options, print_table
from mlops_project.config import Config

if TYPE_CHECKING:
    from mlops_project.tracking.registry import Version


@click.command(cls=WorkflowCommand, name="models")
@config_options
@click.option("--model", "name", metavar="NAME", help="Only this registered model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every version with all its metrics.")
def command(config: Config, name: str | None, as_json: bool) -> None:
    """List registered versions: aliases, metrics, when, and what the gate said."""
    from mlops_project.tracking import registry
    from mlops_project.tracking.store import open_store

    with open_store(config) as store:
        versions = [item for model in _models(store, name) for item in registry.list_versions(store, model)]
    if as_json:
        click.echo(msgspec.json.encode(versions))
    elif versions:
        print_table(("model", "version", "alias", "metrics", "created (UTC)", "gate"), [_row(item) for item in versions])
    else:
        click.echo("no model is registered yet; train one with `mlops train`")


def _models(store: Any, name: str | None) -> list[str]:
    from mlops_project.tracking import registry

    return [registry.find_version(store, name, "latest").name] if name else registry.list_models(store)


def _row(version: "Version") -> tuple[str, ...]:
    shown = ", ".join(f"{name} {value:.4g}" for name, value in list(version.metrics.items())[:5])
    created = version.created_at[:19].replace("T", " ")
    return version.name, str(version.number), ", ".join(version.aliases), shown, created, version.reason


@click.command(cls=WorkflowCommand, name="history")
@config_options
@click.option("--model", "name", metavar="NAME", help="Only this registered model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every move with the version's metrics.")
def history_command(config: Config, name: str | None, as_json: bool) -> None:
    """Show every alias move, oldest first: when, who, from, to and why."""
    from mlops_project.tracking import registry
    from mlops_project.tracking.store import open_store

    with open_store(config) as store:
        records = {model: registry.read_moves(store, model) for model in _models(store, name)}
        strays = [stray for model, moves in records.items() for stray in registry.find_strays(store, model, moves)]
    moves = sorted((move for found in records.values() for move in found), key=lambda move: move.at)
    if as_json:
        click.echo(msgspec.json.encode(moves))
    elif moves:
        columns = ("when (UTC)", "model", "alias", "move", "action", "who", "why")
        print_table(columns, [_move_row(move) for move in moves])
    else:
        click.echo("no alias has moved yet")
    for stray in strays:
        click.secho(f"warning: {stray}", fg="yellow", err=True)


def _move_row(move: Any) -> tuple[str, ...]:
    path = f"{'-' if move.source is None else move.source} → {move.target}"
    return move.at[:19].replace("T", " "), move.model, move.alias, path, move.action, move.user, move.reason


if __name__ == "__main__":
    command()
