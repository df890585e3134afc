"""Promote and roll back: the gate on held-out rows, the alias ``champion``, and what they leave in the audit trail."""

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mlops_project.bundle import REFERENCE_FILE, Bundle
from mlops_project.command import WorkflowCommand, config_options, echo
from mlops_project.config import Config
from mlops_project.errors import BundleError, ConfigError, ContractError, DataError, TrackingError
from mlops_project.signatures.policy import Offer
from mlops_project.signatures.statement import GateDecision

if TYPE_CHECKING:
    import pandas as pd

    from mlops_project.contract import Contract
    from mlops_project.modeling.gate import Decision
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.modeling.metrics import Scored
    from mlops_project.modeling.weights import Weights
    from mlops_project.runtime import Runtime
    from mlops_project.tracking.registry import Move, Version
    from mlops_project.tracking.store import Store


def run_gate(
    config: Config, bundle: Bundle, version_number: int, held_out: "HeldOut", *, moves: bool = True, gradual: bool = False
) -> "Decision":
    """Compare a registered bundle with the champion on the same held-out rows, and move ``champion`` if it passes.

    Parameters
    ----------
    held_out
        The rows, with the bundle's answers.
    moves
        Whether the alias is moved; False: the verdict is noted only.
    gradual
        Whether to leave that to a roll-out where challengers get one (``serving.challenger: canary``).

    Raises
    ------
    TrackingError
        If MLflow cannot be reached.
    """
    from mlops_project.modeling.gate import leave_to_rollout
    from mlops_project.tracking import registry
    from mlops_project.tracking.signing import sign_version
    from mlops_project.tracking.store import open_store

    with open_store(config) as store:
        challenger = registry.find_version(store, bundle.metadata.name, str(version_number))
        champion = registry.find_champion(store, challenger.name)
        judged = _judge(store, bundle, champion, held_out, config)
        registry.note_verdict(store, challenger, judged.verdict, judged.reason, judged.comparison, champion)
        if moves:
            tell_refusal(store, challenger, judged)
        decision = hold_back(store, challenger, judged, moves=moves)
        if gradual and champion is not None and config.serving.is_rolled_out:
            decision = leave_to_rollout(decision, config.command("rollout status"))
        promoted = decision.promote and moves
        gate = GateDecision(promoted=promoted, verdict=judged.verdict, reason=judged.reason)
        sign_version(store, config, challenger, bundle, gate)
        if promoted:
            registry.move_alias(store, challenger, registry.CHAMPION, "promote", decision.reason)
    return decision


def hold_back(store: "Store", version: "Version", decision: "Decision", *, moves: bool = True) -> "Decision":
    """Return a decision as it is; to wait, if it is to promote a version that lacks the approval of a second person.

    That it waits is recorded. Where nothing would be moved anyway, the decision stays, and its reason says what it waits for.
    """
    from mlops_project.tracking.approvals import note_wanted
    from mlops_project.tracking.registry import explain_unapproved, say_how_to_approve

    missing = explain_unapproved(store, version) if decision.promote else ""
    if not missing:
        return decision
    if version.approval is None or version.approval.decision != "refused":
        note_wanted(store, version, decision.reason)
    reason = f"{decision.reason}; {missing}; {say_how_to_approve(store.config, version)}"
    if not moves:
        return replace(decision, reason=reason)
    return replace(decision, promote=False, verdict="unapproved", reason=reason)


def tell_refusal(store: "Store", version: "Version", decision: "Decision") -> None:
    """Tell the receivers of notifications that the gate refused a version, if it did; the same refusal once."""
    from mlops_project.notifications.news import News
    from mlops_project.notifications.telling import tell

    if decision.promote or decision.verdict == "identical":
        return
    news = News(
        kind="refused",
        model=version.name,
        title=f"{version.name}: the gate refused version {version.number}",
        text=decision.reason,
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        key=f"{version.number}/{version.digest}/{decision.verdict}/{decision.reason}",
        data={"version": version.number, "verdict": decision.verdict},
    )
    tell(store.config, news)


def _judge(store: "Store", bundle: Bundle, champion: "Version | None", held_out: "HeldOut", config: Config) -> "Decision":
    from mlops_project.modeling.gate import decide_promotion, refuse_findings

    barred = refuse_findings(bundle.metadata.findings, config.gates)
    if barred is not None:
        return barred
    score, task, seed = held_out.score(bundle.contract), bundle.contract.task, config.random_state
    if champion is None:
        return decide_promotion(score, None, task, config.gates, seed=seed, dummy=_score_dummy(bundle, held_out))
    with tempfile.TemporaryDirectory() as folder:
        try:
            rival = held_out.score_other(load_champion(store, champion, bundle, Path(folder), config))
        except (BundleError, ContractError) as error:
            return refuse_comparison(champion, error)
    return decide_promotion(score, rival, task, config.gates, seed=seed, asked=bundle.contract.rule)


def _score_dummy(bundle: Bundle, held_out: "HeldOut") -> "Scored | None":
    """Return what the base rate of the bundle's training rows says to these rows; None if the bundle does not keep it."""
    from mlops_project.modeling.baselines import repeat_answer
    from mlops_project.modeling.metrics import score_rows

    dummy = next((item for item in bundle.metadata.baselines if item.answer), None)
    if dummy is None:
        return None
    answers = repeat_answer(dummy.answer, len(held_out.truth), bundle.contract)
    return score_rows(answers, held_out.truth, bundle.contract, held_out.weights)


def refuse_comparison(champion: "Version", error: Exception) -> "Decision":
    """Return the decision where champion and challenger cannot answer the same question."""
    from mlops_project.modeling.gate import Decision

    reason = f"it cannot be compared with the champion, version {champion.number}: {error}; " + _BY_HAND
    return Decision(promote=False, verdict="incomparable", reason=reason)


_BY_HAND = "decide yourself: --force promotes it"


def load_champion(store: "Store", champion: "Version", bundle: Bundle, folder: Path, config: Config) -> "Runtime":
    """Download the champion and load it, for a comparison with ``bundle``.

    Raises
    ------
    BundleError, ContractError
        If it cannot be had, or predicts something else.
    """
    from mlops_project.proof import load_runtime
    from mlops_project.tracking.download import download_bundle

    theirs = download_bundle(store, champion, folder, config.trust_policy)
    check_same_question(theirs.contract, bundle.contract)
    return load_runtime(theirs, config.proof)


def check_same_question(old: "Contract", new: "Contract") -> None:
    """Check that two models say the same of a row: task, target and classes, in this order.

    Raises
    ------
    ContractError
        If they do not; names the first difference.
    """
    for field in ("task", "target"):
        if getattr(old, field) != getattr(new, field):
            raise ContractError(
                f"its {field} was {getattr(old, field)!r} and is {getattr(new, field)!r} now; "
                "give it a name of its own (model.name)"
            )
    if new.task == "binary" and old.classes == new.classes[::-1]:
        raise ContractError(
            f"its positive class was {old.classes[1]!r} and is {new.classes[1]!r} now; to keep it, set "
            f"decision.positive: {old.classes[1]} and train again"
        )
    if old.classes != new.classes:
        raise ContractError(
            f"its classes were {old.classes!r} and are {new.classes!r} now; give it a name of its own (model.name)"
        )


def read_held_out(config: Config, bundle: Bundle) -> tuple["HeldOut", str]:
    """Return rows that a bundle was not fitted on, with its answers, and where they are from, in words.

    They are split from the table again where table and split are the ones that the bundle was made from; otherwise the
    bundle's own reference rows serve.

    Raises
    ------
    BundleError
        If neither can be had.
    """
    from mlops_project.modeling.evaluation import encode_target
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.proof import load_runtime

    features, target, weights, origin = find_held_out_rows(config, bundle)
    truth = encode_target(target, bundle.contract)
    return HeldOut.predict(load_runtime(bundle, config.proof), features, truth, weights), origin


def find_held_out_rows(config: Config, bundle: Bundle) -> "tuple[pd.DataFrame, pd.Series[Any], Weights | None, str]":
    """Return features, target and weights of rows that a bundle was not fitted on, and where they are from."""
    from mlops_project.data_prep import load_table, split_table
    from mlops_project.modeling.weights import recall_weights, take_weights
    from mlops_project.tables.known_rows import read_known_rows

    with contextlib.suppress(DataError, ConfigError):
        table = load_table(config)
        if (known := read_known_rows(bundle)) is not None:
            split = split_table(table.keep_features(bundle.contract.names), config, known)
            if split.growth is not None and split.growth.is_kept:
                weights = take_weights(table.weights, split.test_target.index)
                return split.test_features, split.test_target, weights, "the held-out rows"
        is_same = table.digest == (bundle.metadata.table_digest or bundle.metadata.data_digest)
        if is_same and _split_settings(config.to_dict()) == _split_settings(bundle.metadata.config):
            copies = bundle.metadata.config["data"].get("copies", "anywhere")  # as that split was made, before the setting, too
            data = msgspec.structs.replace(config.data, copies=copies)
            split = split_table(table, msgspec.structs.replace(config, data=data))
            weights = take_weights(table.weights, split.test_target.index)
            return split.test_features, split.test_target, weights, "the held-out rows"
    if REFERENCE_FILE not in bundle.metadata.files:
        raise BundleError(
            f"{bundle.metadata.name}: the table is not the one it was trained on, and the bundle holds no reference rows; "
            "train again, or promote with --force --reason …"
        )
    import pandas as pd

    rows = pd.read_parquet(bundle.path / REFERENCE_FILE)
    target = rows[bundle.contract.target]
    return rows.drop(columns=target.name), target, recall_weights(rows), "the bundle's reference rows"


def _split_settings(settings: Mapping[str, Any]) -> list[Any]:
    data = settings["data"]
    return [settings["test_size"], settings["random_state"], data["group"], data["time"], data.get("weight")]


def promote(
    config: Config, which: str, *, force: bool = False, reason: str = "", dry_run: bool = False
) -> "tuple[Version, Decision]":
    """Run the gate for a registered version, or skip it, and make the version champion.

    Parameters
    ----------
    which
        Version number or alias.
    force, reason
        Promote whatever the gate would say; a reason is then required and recorded.
    dry_run
        Ask the gate and note its verdict; nothing is promoted.

    Raises
    ------
    ConfigError, TrackingError, BundleError
        If there is no reason, no such version, or no row to judge it on.
    """
    from mlops_project.modeling.gate import Decision
    from mlops_project.tracking import registry
    from mlops_project.tracking.download import download_bundle
    from mlops_project.tracking.signing import sign_version
    from mlops_project.tracking.store import open_store

    if force and not reason.strip():
        raise ConfigError("--force needs --reason: it is recorded in the audit trail")
    if force and dry_run:
        raise ConfigError("--force and --dry-run exclude each other: one asks the gate, the other does not")
    with open_store(config) as store, tempfile.TemporaryDirectory() as folder:
        version = registry.find_version(store, config.model.name, which)
        if registry.CHAMPION in version.aliases:
            return version, Decision(promote=False, verdict="identical", reason="it is the champion already")
        if force:
            held = hold_back(store, version, Decision(promote=True, verdict="forced", reason=reason))
            if not held.promote:
                return version, held
            registry.note_verdict(store, version, "forced", reason)
            if config.trust.signing_key:
                bundle = download_bundle(store, version, Path(folder), config.trust_policy)
                sign_version(store, config, version, bundle, GateDecision(promoted=True, verdict="forced", reason=reason))
            registry.move_alias(store, version, registry.CHAMPION, "force", reason)
            return version, Decision(promote=True, verdict="forced", reason=reason)
        bundle = download_bundle(store, version, Path(folder), config.trust_policy)
        held_out, origin = read_held_out(config, bundle)
        decision = run_gate(config, bundle, version.number, held_out, moves=not dry_run)
    return version, Decision(decision.promote, decision.verdict, f"{decision.reason} ({origin})", decision.comparison)


def rollback(config: Config, *, to: int | None = None, reason: str = "", only_from: int | None = None) -> "Move":
    """Make the previous champion (or version ``to``) the champion again.

    Parameters
    ----------
    only_from
        The version that must be champion still; None for any.

    Raises
    ------
    TrackingError
        If there is no champion, or no earlier one.
    ApprovalError
        If the version lacks the approval that ``gates.approval`` asks for.
    """
    from mlops_project.tracking import registry
    from mlops_project.tracking.download import check_origin
    from mlops_project.tracking.store import open_store

    with open_store(config) as store:
        name = config.model.name
        champion = registry.find_champion(store, name)
        if champion is None:
            raise TrackingError(f"model {name!r} has no champion to roll back; see `{config.command('models')}`")
        if only_from not in (None, champion.number):
            raise TrackingError(
                f"version {champion.number} is the champion of {name!r} by now, not version {only_from}; "
                f"see `{config.command('models')}`"
            )
        existing = {version.number for version in registry.list_versions(store, name)}
        target = to or registry.find_previous_champion(registry.read_moves(store, name), existing)
        if target is None:
            raise TrackingError(f"version {champion.number} is the first champion of {name!r}; there is nothing to go back to")
        if target == champion.number:
            raise TrackingError(f"version {target} is the champion of {name!r} already")
        version = registry.find_version(store, name, str(target))
        check_origin(version, config.trust_policy, Offer(name, str(target), is_champion=True))
        said = reason or f"rolled back from version {champion.number}"
        return registry.move_alias(store, version, registry.CHAMPION, "rollback", said)


EXIT_REFUSED = 3


def write_overrule(config: Config, number: int) -> str:
    """Return the command that makes a version champion against the gate's advice."""
    return config.command("promote", f"--version {number} --force --reason '…'")


@click.command(
    cls=WorkflowCommand,
    name="promote",
    examples=(
        "mlops promote churn.yaml                         # the challenger, if the gate agrees",
        "mlops promote churn.yaml --version 3 --dry-run   # what the gate says",
        "mlops promote churn.yaml --version 3 --force --reason 'the gate lacks the new region'",
    ),
)
@config_options
@click.option("--version", "which", default="challenger", show_default=True, metavar="N", help="Version or alias.")
@click.option(
    "--force",
    is_flag=True,
    help="Promote without asking the gate; needs --reason, and an approval where gates.approval asks for one.",
)
@click.option("--reason", default="", help="Recorded in the audit trail.")
@click.option("--dry-run", is_flag=True, help="Ask the gate and note its verdict, and promote nothing.")
def command(config: Config, which: str, force: bool, reason: str, dry_run: bool) -> None:
    """Run the gate for a version of the configuration's model and make it the champion (exit 3: refused, or not approved)."""
    version, decision = promote(config, which, force=force, reason=reason, dry_run=dry_run)
    yes, no = ("would be promoted", "would not be promoted") if dry_run else ("promoted", "not promoted")
    state = yes if decision.promote else no
    echo(f"{version.name} version {version.number} {state}: {decision.reason}")
    if decision.verdict == "unapproved":
        raise SystemExit(EXIT_REFUSED)
    if not decision.promote and decision.verdict != "identical":
        echo(f"to overrule the gate: {write_overrule(config, version.number)}")
        raise SystemExit(EXIT_REFUSED)


@click.command(
    cls=WorkflowCommand,
    name="rollback",
    examples=(
        "mlops rollback churn.yaml                        # to the champion before",
        "mlops rollback churn.yaml --to 2 --reason 'complaints'",
    ),
)
@config_options
@click.option("--to", type=int, metavar="N", help="Version to go back to; default the previous champion.")
@click.option("--reason", default="", help="Recorded in the audit trail.")
def rollback_command(config: Config, to: int | None, reason: str) -> None:
    """Make the previous champion the champion again."""
    move = rollback(config, to=to, reason=reason)
    echo(f"{move.model}: champion is version {move.target} again, was version {move.source}")
    echo(f"next: {config.command('history')}   # what happened, when and why")


if __name__ == "__main__":
    command()
