"""``mlops rollout``: how a challenger's roll-out stands; stop it, go on, take it back, or finish it at once."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, get_args

import click
import msgspec

from mlops_project.command import WorkflowCommand, config_options, echo, echo_wrapped, print_json
from mlops_project.config import Config
from mlops_project.errors import TrackingError

if TYPE_CHECKING:
    from mlops_project.tracking.rollouts import Order, Rollout

Action = Literal["status", "start", "pause", "resume", "abort", "promote"]


def read_rollout(config: Config) -> "tuple[Rollout | None, Order | None]":
    """Return the newest roll-out of the configuration's model, and what a person asked for and was not done yet.

    Raises
    ------
    TrackingError
        If the model is not registered.
    """
    from mlops_project.tracking import registry, rollouts
    from mlops_project.tracking.store import open_store

    with open_store(config) as store:
        name = registry.find_version(store, config.model.name, "latest").name
        tags = rollouts.read_tags(store, name)
        found = rollouts.read_rollout(tags)
        return found, rollouts.read_order(tags, found)


def explain_next(config: Config) -> str:
    """Return why no roll-out begins now by itself, or which one does.

    Raises
    ------
    TrackingError
        If the model is not registered.
    """
    from mlops_project.tracking import registry, rollouts
    from mlops_project.tracking.store import open_store

    if not config.serving.is_rolled_out:
        return "set serving.challenger: canary for servers and monitor to have them"
    with open_store(config) as store:
        name = registry.find_version(store, config.model.name, "latest").name
        versions = {version.number: version for version in registry.list_versions(store, name)}
        found, reason = rollouts.find_candidate(store, versions, rollouts.read_rollout(rollouts.read_tags(store, name)))
    return reason if found is None else f"the monitor begins with version {found.number} in its next round: {reason}"


def order_rollout(config: Config, action: Literal["pause", "resume", "abort", "promote"], reason: str = "") -> "Order":
    """Ask for something of the roll-out that is under way; the monitor does it in its next round.

    An ``abort`` does not wait for the monitor: ``mlops sync`` takes the challenger's requests away at once.

    Raises
    ------
    TrackingError
        If none is under way.
    """
    from mlops_project.tracking import rollouts
    from mlops_project.tracking.store import open_store

    found, _ = read_rollout(config)
    if found is None or not found.is_under_way:
        raise TrackingError(f"no roll-out of {config.model.name!r} is under way; see `{config.command('rollout status')}`")
    with open_store(config) as store:
        return rollouts.write_order(store, config.model.name, action, rollout=found.id, reason=reason)


def start_rollout(config: Config, which: str, reason: str) -> "Order":
    """Ask for a roll-out of a version that does not get one by itself; the monitor begins it in its next round.

    Parameters
    ----------
    which
        Version number or alias.
    reason
        Recorded in the audit trail.

    Raises
    ------
    TrackingError
        If there is no champion to compare it with, it is the champion, it lacks an approval, or another roll-out is under way.
    """
    from mlops_project.tracking import registry, rollouts
    from mlops_project.tracking.store import open_store

    found, _ = read_rollout(config)
    if found is not None and found.is_under_way:
        raise TrackingError(f"version {found.version} is being rolled out; end that first: {config.command('rollout abort')}")
    with open_store(config) as store:
        version = registry.find_version(store, config.model.name, which)
        champion = registry.find_champion(store, version.name)
        if champion is None or champion.number == version.number:
            why = "there is no champion to compare it with" if champion is None else "it is the champion"
            raise TrackingError(f"version {version.number} cannot be rolled out: {why}")
        if missing := registry.explain_unapproved(store, version):
            raise TrackingError(f"version {version.number} cannot be rolled out: {missing}")
        return rollouts.write_order(store, version.name, "start", version=version.number, reason=reason)


@click.command(
    cls=WorkflowCommand,
    name="rollout",
    examples=(
        "mlops rollout status churn.yaml",
        "mlops rollout pause churn.yaml --reason 'a campaign begins'",
        "mlops rollout abort churn.yaml --reason 'complaints'",
        "mlops rollout start churn.yaml --version 7",
    ),
)
@click.argument("action", type=click.Choice(get_args(Action)), metavar="ACTION")
@config_options
@click.option("--version", "which", default="challenger", show_default=True, metavar="N", help="With start: version or alias.")
@click.option("--reason", default="", help="Recorded in the audit trail.")
@click.option("--json", "as_json", is_flag=True, help="With status: print JSON.")
def command(config: Config, action: Action, which: str, reason: str, as_json: bool) -> None:
    """See how a challenger's roll-out stands, or steer it.

    ACTION is status, start, pause (no further step), resume, abort (the champion answers everything at once) or promote (the
    challenger becomes champion now). The monitor (`mlops monitor`) does what is asked for, in its next round.
    """
    if as_json and action != "status":
        raise click.UsageError("--json goes with status")
    if action == "status":
        _show(config, *read_rollout(config), as_json=as_json)
        return
    if action == "start":
        order = start_rollout(config, which, reason)
        echo(f"asked for: start of version {order.version}; the monitor begins it in its next round")
    else:
        order = order_rollout(config, action, reason)
        echo(f"asked for: {order.kind}; the monitor does it in its next round")
    echo(f"next: {config.command('rollout status')}")


def _show(config: Config, found: "Rollout | None", order: "Order | None", *, as_json: bool) -> None:
    if as_json:
        print_json({"rollout": msgspec.to_builtins(found), "asked": msgspec.to_builtins(order)})
        return
    if found is None:
        echo_wrapped(f"{config.model.name}: there was no roll-out yet; {explain_next(config)}")
        return
    steps = " → ".join(f"[{share:.3g}]" if place == found.step else f"{share:.3g}" for place, share in enumerate(found.shares))
    lines = [
        f"{config.model.name}: roll-out of version {found.version} against version {found.champion}: {found.state}",
        f"steps: {steps} → champion",
        f"since {found.started_at[:19]} UTC, this step since {found.step_at[:19]}",
        f"{'waits' if found.is_under_way else 'ended'}: {found.said}",
    ]
    if found.is_under_way:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(found.seen_at)).total_seconds()
        lines.append(f"the monitor looked {seconds:.0f} s ago" if seconds >= -1 else _say_ahead(-seconds))
    else:
        lines.append(f"another one: {explain_next(config)}")
    if order is not None:
        lines.append(f"asked for and not yet done: {order.kind} ({order.user}, {order.at[:19]} UTC)")
    echo_wrapped(*lines)
    echo(f"next: {config.command('history')}   # every step, when and why")


def _say_ahead(seconds: float) -> str:
    from mlops_project.tracking.rollouts import GUARD_SECONDS

    stops = "; the champion answers everything until they agree" if seconds >= GUARD_SECONDS else ""
    return f"the monitor's clock is {seconds:.0f} s ahead of this machine's{stops}"


if __name__ == "__main__":
    command()
