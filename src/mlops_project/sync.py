"""``mlops sync``: follow the registry and publish champion and challenger for the model server, until it is stopped."""

import os
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from mlops_project.command import WorkflowCommand, config_options, echo
from mlops_project.config import Config
from mlops_project.errors import TrackingError

if TYPE_CHECKING:
    from mlops_project.tracking.sync import Follower, SyncResult


def sync_once(followers: "Sequence[Follower]") -> None:
    """Bring every model in step.

    Raises
    ------
    TrackingError
        If one could not be; the others are nevertheless.
    """
    problems = []
    for follower in followers:
        outcome = follower.attempt()
        _print_events(follower, outcome)
        if outcome.problem:
            problems.append(f"{follower.name}: {outcome.problem}")
    if problems:
        raise TrackingError("\n".join(problems))


def sync_forever(followers: "Sequence[Follower]") -> None:
    """Attempt whatever is due, for ever. A problem is printed once, until it is another or over."""
    shown: dict[str, str | None] = {}
    while True:
        for follower in followers:
            if follower.due_seconds > 0:
                continue
            outcome = follower.attempt()
            _print_events(follower, outcome)
            if outcome.problem != shown.get(follower.name):
                _print_line(follower, outcome.problem or "in step with the registry again", error=bool(outcome.problem))
            shown[follower.name] = outcome.problem
        time.sleep(max(0.0, min(follower.due_seconds for follower in followers)))


def _print_events(follower: "Follower", outcome: "SyncResult") -> None:
    for event in outcome.events:
        _print_line(follower, event, error=False)


def _print_line(follower: "Follower", text: str, *, error: bool) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = " ".join(f"{follower.name}: {'error: ' if error else ''}{text}".split())
    echo(f"{now} {line}", err=error)


def _end_on_signals() -> None:
    """End at once on SIGTERM and Ctrl-C, in the middle of a download too: a kill does no harm, so neither does this."""

    def end(_number: int, _frame: FrameType | None) -> None:
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


@click.command(
    cls=WorkflowCommand,
    name="sync",
    examples=(
        "mlops sync churn.yaml --once                     # bring the folder in step, and end",
        "mlops sync churn.yaml --models /srv/models --interval 30",
    ),
)
@config_options
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where models are published; default paths.served_models_dir.",
)
@click.option("--model", "names", multiple=True, metavar="NAME", help="Registered model; may be repeated; default model.name.")
@click.option("--once", is_flag=True, help="Bring the folder in step and end: exit 1 if that could not be done.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How often to ask the registry; default tracking.sync_seconds.",
)
def command(config: Config, models: Path | None, names: tuple[str, ...], once: bool, interval: float | None) -> None:
    """Follow the registry: publish champion and challenger for the model server, which never talks to MLflow."""
    if not once:
        _end_on_signals()
    from mlops_project.tracking.sync import Follower

    folder = (models or config.served_models_dir).absolute()
    seconds = interval or config.tracking.sync_seconds
    wanted = dict.fromkeys(names or (config.model.name,))
    followers = [Follower(config, name, folder, interval_seconds=seconds) for name in wanted]
    if once:
        sync_once(followers)
        return
    echo(f"following {', '.join(wanted)} every {seconds:g} s into {folder}")
    sync_forever(followers)


if __name__ == "__main__":
    command()
