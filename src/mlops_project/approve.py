"""Approve: a second person's word on a registered version. ``mlops approve VERSION``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_project.command import WorkflowCommand, config_options, echo
from mlops_project.config import Config
from mlops_project.errors import ConfigError
from mlops_project.signatures.signing import find_key

if TYPE_CHECKING:
    from mlops_project.signatures.approval import Approval
    from mlops_project.tracking.registry import Version


def approve(
    config: Config, which: str, *, reason: str = "", refuse: bool = False, key: str | None = None
) -> "tuple[Version, Approval]":
    """Record that somebody else than who registered a version approves it, or refuses it.

    Parameters
    ----------
    which
        Version number or alias.
    reason
        Recorded; needed for a refusal, and to approve what the gate refused.
    refuse
        Refuse it; an earlier approval is taken back.
    key
        Private key that signs: a file, or ``env:NAME``; default ``trust.signing_key``.

    Raises
    ------
    ConfigError, TrackingError
        If there is no such version, or a reason is missing.
    ApprovalError
        If the approval would not count.
    """
    from mlops_project.tracking import registry
    from mlops_project.tracking.approvals import record_approval
    from mlops_project.tracking.events import PASSED
    from mlops_project.tracking.store import open_store

    if refuse and not reason.strip():
        raise ConfigError("--refuse needs --reason: it is recorded in the audit trail")
    signing = find_key(key, Path.cwd()) if key is not None else find_key(config.trust.signing_key, config.root)
    with open_store(config) as store:
        version = registry.find_version(store, config.model.name, which)
        if not refuse and version.verdict not in ("", *PASSED) and not reason.strip():
            raise ConfigError(
                f"the gate refused version {version.number} ({version.verdict}); to approve it all the same, give --reason"
            )
        return version, record_approval(store, version, "refused" if refuse else "approved", reason, signing)


@click.command(
    cls=WorkflowCommand,
    name="approve",
    examples=(
        "mlops approve 3 churn.yaml --reason 'the report was read'",
        "mlops approve challenger churn.yaml --key approver.pem",
        "mlops approve 3 churn.yaml --refuse --reason 'trained on last week alone'",
    ),
)
@click.argument("version", metavar="VERSION")
@config_options
@click.option("--reason", default="", help="Recorded in the audit trail; needed to refuse, and where the gate refused.")
@click.option("--refuse", is_flag=True, help="Refuse it; an earlier approval is taken back.")
@click.option("--key", metavar="FILE", help="Private key of yours that signs, or env:NAME; default trust.signing_key.")
def command(version: str, config: Config, reason: str, refuse: bool, key: str | None) -> None:
    """Approve VERSION (a number, or an alias) of CONFIG.yaml's model, as somebody else than who registered it."""
    found, approval = approve(config, version, reason=reason, refuse=refuse, key=key)
    done = "approved" if approval.decision == "approved" else "refused"
    registered = f", registered by {approval.registered_by}" if approval.registered_by else ""
    echo(f"{found.name} version {found.number} {done} by {approval.user}{registered}: bundle {approval.digest[:12]}…")
    if refuse and "champion" in found.aliases:
        echo(f"it is the champion; go back with: {config.command('rollback')}")
    if not refuse and "champion" not in found.aliases:
        echo(f"next: {config.command('promote', f'--version {found.number}')}   # asks the gate again, and moves the alias")


if __name__ == "__main__":
    command()
