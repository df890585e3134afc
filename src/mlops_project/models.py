"""``mlops models`` and ``mlops history``: what is registered, which aliases point where, and how they came to."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from mlops_project.command import WorkflowCommand, config_options, echo, print_entries, print_json, print_table
from mlops_project.config import Config

if TYPE_CHECKING:
    from mlops_project.tracking.events import Event
    from mlops_project.tracking.registry import Move, Version
    from mlops_project.tracking.store import Store

F = TypeVar("F", bound=Callable[..., Any])


def _which_models(function: F) -> F:
    """Add the options ``name`` and ``every``."""
    every = click.option("--all", "every", is_flag=True, help="Every registered model, also with CONFIG.yaml.")
    return click.option("--model", "name", metavar="NAME", help="Only this registered model.")(every(function))


@click.command(
    cls=WorkflowCommand,
    name="models",
    examples=("mlops models churn.yaml",),
)
@config_options
@_which_models
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every version with all its metrics.")
def command(config: Config, name: str | None, every: bool, as_json: bool) -> None:
    """List the registered versions of CONFIG.yaml's model, without it of every model: aliases, metrics, what the gate said."""
    from mlops_project.tracking import registry
    from mlops_project.tracking.store import open_store
    from mlops_project.tracking.versions import find_standing

    with open_store(config) as store:
        versions = [item for model in _find_models(store, config, name, every) for item in registry.list_versions(store, model)]
        standings = [find_standing(store, version) for version in versions]
    if as_json:
        print_json(versions)
    elif versions:
        columns, rows = ["model", "version", "alias", "metrics", "created (UTC)", "gate"], [[*_row(item)] for item in versions]
        if any(standings):
            columns.append("approval")
            rows = [[*row, item.describe() if item else ""] for row, item in zip(rows, standings, strict=True)]
        print_table(columns, rows, droppable=("created (UTC)", "gate"))
    else:
        echo(_explain_none(config))


def _find_models(store: "Store", config: Config, name: str | None, every: bool) -> list[str]:
    """Return the model that is named, else that of the configuration that is named, else every one."""
    from mlops_project.tracking import registry

    if name:
        return [registry.find_version(store, name, "latest").name]
    registered = registry.list_models(store)
    return registered if every or not config.argument else [model for model in registered if model == config.model.name]


def _explain_none(config: Config) -> str:
    train = config.command("train")
    if config.argument:
        return f"model {config.model.name!r} is not registered yet; train it with `{train}`; --all shows the other models"
    return f"no model is registered yet; train one with `{train}`"


def _row(version: "Version") -> tuple[str, ...]:
    shown = ", ".join(f"{name} {value:.4g}" for name, value in list(version.metrics.items())[:5])
    created = version.created_at[:19].replace("T", " ")
    verdict = version.verdict.replace("_", " ")  # why is told by the history
    return version.name, str(version.number), ", ".join(version.aliases), shown, created, verdict


def read_story(config: Config, name: str | None = None, *, every: bool = False) -> "tuple[list[Move | Event], list[str]]":
    """Return what happened to models, oldest first, and aliases that were moved by something else, in words.

    Parameters
    ----------
    name
        Of one registered model; None for the configuration's, or every one if the configuration is the built-in one.
    every
        Every model, whatever the configuration.
    """
    from mlops_project.tracking import registry
    from mlops_project.tracking.events import find_refusals, read_history
    from mlops_project.tracking.store import open_store

    with open_store(config) as store:
        records = {model: read_history(store, model) for model in _find_models(store, config, name, every)}
        refusals = [
            item for model, found in records.items() for item in find_refusals(found, registry.list_versions(store, model))
        ]
        moves = {model: [item for item in items if isinstance(item, registry.Move)] for model, items in records.items()}
        strays = [stray for model, found in moves.items() for stray in registry.find_strays(store, model, found)]
    story = sorted([*(item for found in records.values() for item in found), *refusals], key=lambda item: item.at)
    return story, strays


@click.command(
    cls=WorkflowCommand,
    name="history",
    examples=("mlops history churn.yaml",),
)
@config_options
@_which_models
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every move with the version's metrics, and every event.")
def history_command(config: Config, name: str | None, every: bool, as_json: bool) -> None:
    """Tell what happened to CONFIG.yaml's model, without it to every model, oldest first: when, what, who and why.

    Alias moves, what the gate refused, alerts and retrainings.
    """
    story, strays = read_story(config, name, every=every)
    if as_json:
        print_json([{"kind": _kind(item)} | msgspec.to_builtins(item) for item in story])
    elif story:
        columns = ("when (UTC)", "model", "what", "alias", "version", "who", "why")
        print_entries(columns, [_story_row(item) for item in story], droppable=("model", "alias", "who"))
    else:
        echo(_explain_none(config))
    for stray in strays:
        echo(f"warning: {stray}", fg="yellow", err=True)


KINDS = {"register": "registered", "promote": "promoted", "force": "promoted", "rollback": "rolled-back"}  # of moves


def _kind(item: "Move | Event") -> str:
    from mlops_project.tracking.registry import Move

    return KINDS[item.action] if isinstance(item, Move) else item.kind


def _story_row(item: "Move | Event") -> tuple[str, ...]:
    from mlops_project.tracking.registry import Move

    at = item.at[:19].replace("T", " ")
    if isinstance(item, Move):
        path = f"{'-' if item.source is None else item.source} → {item.target}"
        forced = "by force: " if item.action == "force" else ""
        return at, item.model, _kind(item), item.alias, path, item.user, forced + item.reason
    result = f"{item.result}: " if item.result else ""
    return at, item.model, item.kind, "", str(item.version or ""), item.user, result + item.text


if __name__ == "__main__":
    command()
