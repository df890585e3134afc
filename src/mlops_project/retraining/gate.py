"""The promotion rule after retraining: the newest labelled predictions decide, the fixed held-out rows guard.

See ``docs/adr/0009-retraining-gate.md``.
"""

import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from mlops_project.bundle import Bundle
from mlops_project.config import Config
from mlops_project.contract import Task
from mlops_project.decision import DecisionRule
from mlops_project.errors import BundleError, ContractError
from mlops_project.modeling.evaluation import TITLES
from mlops_project.modeling.gate import (
    Decision,
    Verdict,
    answer_equally,
    compare,
    compute_tolerance,
    find_missed,
    find_worse_decisions,
    is_enough,
    say,
)
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import PRIMARY, Scored, bootstrap, compute_metric, find_metric, higher_is_better
from mlops_project.promote import hold_back, load_champion, refuse_comparison, tell_refusal
from mlops_project.proof import load_runtime
from mlops_project.retraining.attempts import Cause
from mlops_project.retraining.gate_checks import Pair, find_forgotten_slice, find_too_good, find_trigger, find_worse_slice
from mlops_project.runtime import Runtime
from mlops_project.sections import GatesConfig
from mlops_project.signatures.statement import GateDecision
from mlops_project.tracking import registry
from mlops_project.tracking.signing import sign_version
from mlops_project.tracking.store import open_store

BY_HAND = "decide yourself: --force promotes it"


def run_retraining_gate(
    config: Config,
    bundle: Bundle,
    version_number: int,
    recent: HeldOut,
    held_out: HeldOut,
    *,
    learned: pd.DataFrame,
    cause: Cause,
    promote: bool,
) -> Decision:
    """Compare a retrained bundle with the champion on the newest labelled rows and on the fixed held-out ones.

    Parameters
    ----------
    recent, held_out
        The rows, with the bundle's answers.
    learned
        Features of the labelled predictions that it learned from.
    cause
        What asked for the retraining; recorded with the move, key and words.
    promote
        Whether to move ``champion`` if the gate agrees, or to note the verdict only.

    Raises
    ------
    TrackingError
        If MLflow cannot be reached, or there is no champion.
    """
    with open_store(config) as store, tempfile.TemporaryDirectory() as folder:
        challenger = registry.find_version(store, bundle.metadata.name, str(version_number))
        champion = registry.find_version(store, challenger.name, registry.CHAMPION)
        try:
            rival = load_champion(store, champion, bundle, Path(folder), config)
            newest, fixed = (Pair(rows.score(bundle.contract), rows.score_other(rival)) for rows in (recent, held_out))
        except (BundleError, ContractError) as error:
            decision = refuse_comparison(champion, error)
        else:
            forgetting, seed = config.retraining.forgetting, config.random_state
            decision = decide_retraining(
                newest, fixed, bundle.contract.task, config.gates, forgetting=forgetting, seed=seed, asked=bundle.contract.rule
            )
            if decision.promote:
                decision = _look_closer(decision, bundle, rival, (newest, recent), (fixed, held_out), learned, config)
        registry.note_verdict(store, challenger, decision.verdict, decision.reason, decision.comparison, champion)
        gate = GateDecision(verdict=decision.verdict, reason=decision.reason)
        tell_refusal(store, challenger, decision)
        decision = hold_back(store, challenger, decision)
        promoted = decision.promote and promote
        sign_version(store, config, challenger, bundle, msgspec.structs.replace(gate, promoted=promoted))
        if promoted:
            reason = f"{decision.reason}; retrained because of {cause.reason}" if cause.program else decision.reason
            registry.move_alias(store, challenger, registry.CHAMPION, "promote", reason, cause=cause.key)
    return decision


def _look_closer(
    decision: Decision,
    bundle: Bundle,
    rival: Runtime,
    recent: tuple[Pair, HeldOut],
    held_out: tuple[Pair, HeldOut],
    learned: pd.DataFrame,
    config: Config,
) -> Decision:
    """Refuse what a metric does not show: what is too good, much worse in one part of the rows, or follows a trigger."""
    contract = bundle.contract
    refusals: dict[Verdict, str] = {"too_good": find_too_good(recent[0], held_out[0], contract.task)}
    known = held_out[1].features
    said = find_worse_slice(recent[0], recent[1].features, contract, "newest labelled rows", known=known)
    refusals["worse_slice"] = said or find_forgotten_slice(recent[0], held_out[0], (recent[1].features, known), contract)
    ours = load_runtime(bundle, config.proof)
    refusals["follows_trigger"] = find_trigger(ours, rival, held_out[1].columns, learned, contract)
    for verdict, said in refusals.items():
        if said:
            return Decision(promote=False, verdict=verdict, reason=f"{said}; {BY_HAND}", comparison=decision.comparison)
    return decision


def decide_retraining(
    recent: Pair,
    held_out: Pair,
    task: Task,
    gates: GatesConfig,
    *,
    forgetting: float,
    seed: int,
    asked: DecisionRule | None = None,
) -> Decision:
    """Decide whether a challenger that learned from labelled predictions becomes champion.

    Parameters
    ----------
    recent
        On the newest labelled predictions, which neither model learned from: ``gates`` count here.
    held_out
        On the original table's held-out rows.
    forgetting
        How much accuracy (or R²) may be lost on ``held_out`` once the world has changed: the champion itself does worse
        on ``recent`` than there.
    seed
        Of the bootstraps.
    asked
        What the challenger's threshold is for; its decisions must not be worse on ``recent``.

    Raises
    ------
    ConfigError
        If a gate names a metric that the task does not have.
    """
    missed = find_missed(recent.challenger, task, gates)
    if missed:
        return Decision(promote=False, verdict="below_minimum", reason=f"newest labelled rows: {'; '.join(missed)}")
    if answer_equally(*recent):
        return Decision(promote=False, verdict="identical", reason="it answers the newest labelled rows as the champion does")
    verdict, figures = compare(*recent, task, gates, seed=seed)
    reason = f"newest labelled rows: {say(verdict, figures)}"
    if not is_enough(verdict, gates):
        advice = {"unclear": "; more labels will tell", "not_worse": "; gates.require asks for better"}
        return Decision(promote=False, verdict=verdict, reason=reason + advice.get(verdict, ""), comparison=figures)
    worse = find_worse_decisions(*recent, gates, asked, seed=seed)
    if worse:
        return Decision(promote=False, verdict="worse", reason=f"{reason}; {worse}; {BY_HAND}", comparison=figures)
    guard = _guard(recent, held_out, task, gates, forgetting, seed, is_better=verdict == "better")
    return Decision(guard.promote, verdict if guard.promote else guard.verdict, f"{reason}. {guard.reason}", figures)


def _guard(
    recent: Pair, held_out: Pair, task: Task, gates: GatesConfig, forgetting: float, seed: int, *, is_better: bool
) -> Decision:
    """Ask the fixed held-out rows, which tell a lesson that is new from one that is wrong.

    Parameters
    ----------
    is_better
        Whether the challenger is better on the newest rows, and not only no worse.
    """
    # the log's rows have no weights: like is compared with like
    changed, change = _find_change(recent.champion, held_out.champion.without_weights(), task, gates, seed)
    if not changed:
        verdict, figures = compare(*held_out, task, gates, seed=seed)
        reason = f"held-out rows ({change}): {say(verdict, figures)}"
        refused = verdict == "worse"
        return Decision(not refused, verdict, f"{reason}; {BY_HAND}" if refused else reason)
    if not is_better:  # with it the loss would become the reference, and no alert would tell of it any more
        reason = f"{change}; the challenger does no better there, so nothing of the change was learned"
        return Decision(promote=False, verdict="unclear", reason=f"{reason}: more labels will tell, or the labels are wrong")
    name = "r2" if task == "regression" else "accuracy"
    before, after = (compute_metric(name, scored, task) for scored in (held_out.champion, held_out.challenger))
    reason = f"held-out rows ({change}): {TITLES[name]} falls from {before:.4f} to {after:.4f}"
    if after >= before:
        return Decision(promote=True, verdict="better", reason=reason.replace("falls", "goes"))
    if before - after <= forgetting:
        return Decision(promote=True, verdict="not_worse", reason=f"{reason}, and {forgetting:g} may be forgotten")
    advice = f"that looks like broken labels or a world turned over; {BY_HAND}"
    return Decision(
        promote=False, verdict="forgets", reason=f"{reason}, more than retraining.forgetting {forgetting:g}; {advice}"
    )


def _find_change(recent: Scored, held_out: Scored, task: Task, gates: GatesConfig, seed: int) -> tuple[bool, str]:
    """Return whether the champion does worse on the newest rows than on the held-out ones, and the figures.

    Worse by more than the tolerance, beyond chance: among many rows every difference is beyond chance alone.
    The rows are different ones, so each side is resampled by itself.
    """
    name = gates.metric or PRIMARY[task]
    metric, sign = find_metric(name, task), 1.0 if higher_is_better(name) else -1.0
    values, deviations = [], []
    for offset, scored in enumerate((recent, held_out)):
        value = compute_metric(name, scored, task)
        drawn, factor = bootstrap((scored,), [metric], gates.bootstrap_rounds, np.random.default_rng([seed, offset]))
        values.append(value)
        deviations.append((drawn[0, 0] - np.nanmean(drawn[0, 0])) * factor)
    loss = sign * (values[1] - values[0])
    low = loss + float(np.nanquantile(sign * (deviations[1] - deviations[0]), 1 - gates.confidence))
    changed = low > compute_tolerance(name, values[1], gates.tolerance)
    said = "the world has changed" if changed else "no sign that the world has changed"
    return changed, f"{said}: champion's {TITLES[name]} {values[0]:.4f} on the newest, {values[1]:.4f} here"


def decide_rollback(champion: Scored, previous: Scored, task: Task, gates: GatesConfig, *, looks: int, seed: int) -> Decision:
    """Decide whether a retrained champion gives way to its predecessor again: only if that is better beyond chance.

    Parameters
    ----------
    champion, previous
        On the same labelled rows, which the champion answered.
    looks
        How many times they were compared before. Each look gets half the error of the one before, so that all looks together
        stay within ``gates.confidence``.
    """
    error = (1 - gates.confidence) / 2 ** (looks + 1)
    verdict, figures = compare(previous, champion, task, msgspec.structs.replace(gates, confidence=1 - error), seed=seed)
    return Decision(verdict == "better", verdict, f"the previous champion is {say(verdict, figures)}", figures)
