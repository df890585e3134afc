"""Notify: what waits for the receivers of notifications, and whether they can be reached. ``mlops notify``."""

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from mlops_project.command import WorkflowCommand, config_options, echo, print_json
from mlops_project.config import Config
from mlops_project.errors import ConfigError, explain_os
from mlops_project.formats import plain
from mlops_project.notifications.news import News
from mlops_project.notifications.outbox import Outbox, TargetState
from mlops_project.notifications.posting import post
from mlops_project.notifications.secrets import create_secret
from mlops_project.notifications.sender import run
from mlops_project.notifications.telling import address, find_settings

EXIT_NOT_TAKEN = 1


def try_targets(config: Config, only: str | None = None) -> Iterator[tuple[str, str, float]]:
    """Post a test message to each receiver, or to one; yield its name, why it was not taken (empty if it was), and the seconds.

    Raises
    ------
    ConfigError
        If there is no such receiver.
    """
    targets = config.notifications.targets
    if not targets:
        raise ConfigError("notifications.targets is empty: there is nobody to notify; see docs/notifications.md")
    if only is not None and only not in targets:
        raise ConfigError(f"notifications.targets has no {only!r}; there are: {', '.join(targets)}")
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    name = config.model.name
    news = News(kind="test", model=name, title=f"{name}: a test message", text="Notifications arrive.", at=now, key=now)
    for message in address(config, news):
        if only in (None, message.target):
            started = time.monotonic()
            outcome = post(message, targets[message.target], config.notifications, config.root)
            yield message.target, outcome.problem, time.monotonic() - started


def write_secret(file: Path) -> None:
    """Make a secret, in a file that its owner alone can read.

    Raises
    ------
    ConfigError
        If the file is there already, or cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(create_secret() + "\n")
    except FileExistsError as error:
        raise ConfigError(f"{file} is there already, and is not replaced; name another file") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {explain_os(error)}") from error


def describe(state: TargetState, config: Config) -> str:
    """Return how a receiver stands, in one line."""
    text = f"{state.target}: {state.waiting} waiting"
    if state.oldest is not None:
        text += f" since {datetime.fromtimestamp(state.oldest, UTC):%Y-%m-%d %H:%M} UTC"
    text += f", {state.delivered} delivered, {state.dropped} dropped, {state.given_up} given up"
    if state.target not in config.notifications.targets:
        text += "; it is in notifications.targets no longer"
    return f"{text}; last problem: {plain(state.problem)}" if state.problem else text


@click.command(
    cls=WorkflowCommand,
    name="notify",
    examples=(
        "mlops notify --new-secret ops.secret",
        "mlops notify churn.yaml --test --target ops      # does it arrive?",
        "mlops notify churn.yaml --send 60                # what waits, for at most a minute",
    ),
)
@config_options
@click.option("--test", is_flag=True, help="Post a test message to every receiver; exit 1 if one does not take it.")
@click.option("--target", metavar="NAME", help="With --test: this receiver alone.")
@click.option("--send", type=click.FloatRange(min=0), metavar="SECONDS", help="Send what waits now, for at most so long.")
@click.option("--new-secret", type=click.Path(path_type=Path), metavar="FILE", help="Make a receiver's secret and end.")
@click.option("--json", "as_json", is_flag=True, help="Print how the receivers stand as JSON.")
def command(config: Config, test: bool, target: str | None, send: float | None, new_secret: Path | None, as_json: bool) -> None:
    """Show what waits for the receivers of CONFIG.yaml's notifications; try them, or send."""
    if target is not None and not test:
        raise click.UsageError("--target goes with --test")
    if new_secret is not None:
        write_secret(new_secret)
        echo(f"secret: {new_secret}   give it to the receiver; in the configuration: secret: {new_secret}")
        return
    if test:
        _print_tests(config, target)
        return
    settings = find_settings(config)
    outbox = Outbox(settings.folder)
    if send is not None and outbox.file.exists():
        with outbox.change() as change:
            change.hurry()
        run(settings, threading.Event(), send)
    states = outbox.read()
    if as_json:
        print_json(states_as_plain(states))
    else:
        echo(*(describe(state, config) for state in states) if states else ("nothing was sent yet",))
    if send is not None and any(state.waiting for state in states):
        raise SystemExit(EXIT_NOT_TAKEN)


def states_as_plain(states: tuple[TargetState, ...]) -> list[dict[str, object]]:
    """Return how receivers stand as plain values, for JSON."""
    return [dict(msgspec.to_builtins(state._asdict())) for state in states]


def _print_tests(config: Config, target: str | None) -> None:
    problems = 0
    for name, problem, seconds in try_targets(config, target):
        echo(f"{name}: {f'not taken: {problem}' if problem else f'taken after {seconds:.1f} s'}")
        problems += bool(problem)
    if problems:
        raise SystemExit(EXIT_NOT_TAKEN)


if __name__ == "__main__":
    command()
