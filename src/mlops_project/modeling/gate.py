"""The promotion rule: whether a challenger is good enough, and better, not worse or worse than the champion.

Pure: two score sets on the same rows and the configuration give a decision. See ``docs/adr/0004-promotion-rule.md``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np

from mlops_project.comparison import Comparison
from mlops_project.contract import Task
from mlops_project.decision import DecisionRule
from mlops_project.findings import Finding
from mlops_project.modeling.evaluation import TITLES
from mlops_project.modeling.metrics import (
    BOUNDED,
    PRIMARY,
    PROPER,
    Scored,
    bootstrap,
    compute_metric,
    find_metric,
    higher_is_better,
)
from mlops_project.sections import GatesConfig

Verdict = Literal[
    "first",
    "not_better_than_dummy",
    "identical",
    "better",
    "not_worse",
    "unclear",
    "worse",
    "forgets",
    "too_good",
    "worse_slice",
    "follows_trigger",
    "below_minimum",
    "barred",
    "incomparable",
    "forced",
    "unapproved",
    "rollout",
]
UNBOUNDED = ("expected_cost", "log_loss", "mae", "rmse")  # their tolerance is a share of the champion's value


@dataclass(frozen=True)
class Decision:
    """Whether to promote. ``forgets`` to ``follows_trigger`` are a retraining's verdicts alone, see ``retraining/gate.py``.

    Attributes
    ----------
    promote
        The answer.
    verdict
        The finding behind it; ``unapproved``: it passed, and waits for a second person's approval; ``rollout``: it passed, and
        becomes champion step by step.
    reason
        The same in words, with the figures.
    comparison
        The figures; None where nothing was compared.
    """

    promote: bool
    verdict: Verdict
    reason: str
    comparison: Comparison | None = None


def decide_promotion(
    challenger: Scored,
    champion: Scored | None,
    task: Task,
    gates: GatesConfig,
    *,
    seed: int,
    dummy: Scored | None = None,
    asked: DecisionRule | None = None,
) -> Decision:
    """Decide from the scores of the same held-out rows.

    Parameters
    ----------
    champion
        None if there is no champion yet.
    dummy
        What the base rate says to the same rows: a first model must be better. None: it is not asked to be.
    seed
        Of the paired bootstrap.
    asked
        What the challenger's threshold is for: its decisions must not be worse than the champion's, whatever its scores.

    Raises
    ------
    ConfigError
        If a gate names a metric that the task does not have.
    """
    missed = find_missed(challenger, task, gates)
    if missed:
        return Decision(promote=False, verdict="below_minimum", reason="; ".join(missed))
    if champion is None:
        return decide_first(challenger, dummy, task, gates, seed)
    if answer_equally(challenger, champion):
        return Decision(promote=False, verdict="identical", reason="it answers every held-out row as the champion does")
    verdict, figures = compare(challenger, champion, task, gates, seed=seed)
    enough = is_enough(verdict, gates)
    reason = say(verdict, figures) + ("" if enough else _ADVICE.get(verdict, ""))
    worse = find_worse_decisions(challenger, champion, gates, asked, seed=seed) if enough else ""
    if worse:
        return Decision(promote=False, verdict="worse", reason=f"{reason}; {worse}; {_BY_HAND}", comparison=figures)
    return Decision(enough, verdict, reason, figures)


def find_worse_decisions(
    challenger: Scored, champion: Scored, gates: GatesConfig, asked: DecisionRule | None, *, seed: int
) -> str:
    """Say that a challenger's decisions are worse than the champion's, beyond chance, by what its threshold is for; else empty.

    Each decides by its own threshold; wrong answers cost both what they cost now. A recall or a precision that is reached is
    enough, however much more the champion has.

    Parameters
    ----------
    asked
        Of the challenger's contract; None where its own rule decides.
    """
    if asked is None or gates.metric == asked.judged:
        return ""
    if asked.wanted and compute_metric(asked.judged, challenger, "binary") >= asked.wanted:
        return ""
    own = msgspec.structs.replace(gates, metric=asked.judged)
    verdict, figures = compare(challenger, replace(champion, costs=challenger.costs), "binary", own, seed=seed)
    return f"its decisions are {say(verdict, figures)}" if verdict == "worse" else ""


def refuse_findings(findings: Iterable[Finding], gates: GatesConfig) -> Decision | None:
    """Refuse a model with a finding that ``gates.checks`` names and nobody accepted; None if it has none."""
    barred = [found for found in findings if found.code in gates.checks and not found.accepted]
    if not barred:
        return None
    said = "; ".join(f"{found.code}: {found.sentence}" for found in barred)
    return Decision(promote=False, verdict="barred", reason=f"gates.checks promotes no model with {said}")


def decide_first(model: Scored, dummy: Scored | None, task: Task, gates: GatesConfig, seed: int) -> Decision:
    """Ask a first model to be better than the base rate by a proper score: accuracy alone would let guessing pass.

    Where log loss is better but its bounds are wide, because some rows were answered wrongly with certainty, the Brier score
    may show it.
    """
    if dummy is None:
        return Decision(promote=True, verdict="first", reason="the first model that passes the minimum metrics")
    proper = msgspec.structs.replace(gates, metric=PROPER[task], tolerance=0.0)
    verdict, figures = compare(model, dummy, task, proper, seed=seed)
    said = _say_first(figures, gates)
    if verdict != "better" and figures.gain > 0 and task != "regression":
        verdict, bounded = compare(model, dummy, task, msgspec.structs.replace(proper, metric=BOUNDED), seed=seed)
        said = f"{said}; {_say_first(bounded, gates)}"
    if verdict == "better":
        reason = f"the first model that passes the minimum metrics, and better than the base rate: {said}"
        return Decision(promote=True, verdict="first", reason=reason)
    finding = "worse than the base rate" if figures.gain <= 0 else "not shown to be better than the base rate"
    return Decision(promote=False, verdict="not_better_than_dummy", reason=f"{finding}: {said}; {_TRY_FIRST[task]}")


def _say_first(figures: Comparison, gates: GatesConfig) -> str:
    return (
        f"{TITLES[figures.metric]} {figures.challenger:.4f} against {figures.champion:.4f} of the base rate on {figures.rows} "
        f"rows; with {gates.confidence:.0%} confidence the gain is over {figures.low:+.4f} and under {figures.high:+.4f}"
    )


def leave_to_rollout(decision: Decision, command: str) -> Decision:
    """Return a decision to promote as one that the monitor carries out step by step; any other as it is.

    Parameters
    ----------
    command
        That tells how far it is.
    """
    if not decision.promote:
        return decision
    reason = f"{decision.reason}; the monitor rolls it out step by step: {command}"
    return replace(decision, promote=False, verdict="rollout", reason=reason)


def is_enough(verdict: Verdict, gates: GatesConfig) -> bool:
    """Whether a comparison's verdict is what ``gates.require`` asks for."""
    return verdict == "better" or (verdict == "not_worse" and gates.require == "not_worse")


def find_missed(scored: Scored, task: Task, gates: GatesConfig) -> list[str]:
    """Return one sentence per metric that misses its bound in ``gates.minimum``."""
    missed = []
    for name, bound in gates.minimum.items():
        value, higher = compute_metric(name, scored, task), higher_is_better(name)
        if not (value >= bound if higher else value <= bound):
            missed.append(f"{TITLES[name]} is {value:.4f}, {'at least' if higher else 'at most'} {bound:g} is asked for")
    return missed


def answer_equally(one: Scored, other: Scored) -> bool:
    """Whether two models give the same answers."""
    mine, theirs = one.predictions, other.predictions
    if mine.values is not None or theirs.values is not None:
        return np.array_equal(np.asarray(mine.values), np.asarray(theirs.values))
    return np.array_equal(one.probabilities, other.probabilities)


def compare(challenger: Scored, champion: Scored, task: Task, gates: GatesConfig, *, seed: int) -> tuple[Verdict, Comparison]:
    """Bound the difference of the metric, oriented so that a positive one is better, by a paired bootstrap.

    Returns
    -------
    verdict, comparison
        ``better``, ``not_worse``, ``worse`` or ``unclear``, and the figures.
    """
    name = gates.metric or PRIMARY[task]
    metric, sign = find_metric(name, task), 1.0 if higher_is_better(name) else -1.0
    ours, theirs = (compute_metric(name, scored, task) for scored in (challenger, champion))
    drawn, factor = bootstrap((challenger, champion), [metric], gates.bootstrap_rounds, np.random.default_rng(seed))
    difference = sign * (ours - theirs)
    deviations = sign * (drawn[0, 0] - drawn[1, 0])
    centre = float(np.nanmean(deviations))
    low, high = (
        difference + factor * (float(bound) - centre)
        for bound in np.nanquantile(deviations, [1 - gates.confidence, gates.confidence])
    )
    tolerance = compute_tolerance(name, theirs, gates.tolerance)
    found = Comparison(
        metric=name,
        challenger=ours,
        champion=theirs,
        gain=difference,
        low=low,
        high=high,
        confidence=gates.confidence,
        tolerance=tolerance,
        rows=len(challenger.truth),
    )
    return _judge(low, high, tolerance), found


def say(verdict: Verdict, figures: Comparison) -> str:
    """Return a comparison in words."""
    return (
        f"{_WORDS[verdict]}: {TITLES[figures.metric]} {figures.challenger:.4f} against {figures.champion:.4f} on "
        f"{figures.rows} rows; with {figures.confidence:.0%} confidence the gain is over {figures.low:+.4f} and under "
        f"{figures.high:+.4f}, and {-figures.tolerance:+.4f} is tolerated"
    )


def compute_tolerance(name: str, value: float, tolerance: float) -> float:
    """Return a tolerated loss in the metric's unit: of metrics without an upper bound it is a share of the value."""
    return tolerance * (abs(value) if name in UNBOUNDED else 1.0)


def _judge(low: float, high: float, tolerance: float) -> Verdict:
    if low > 0:
        return "better"
    if low >= -tolerance:
        return "not_worse"
    return "worse" if high < 0 else "unclear"


_BY_HAND = "decide yourself: --force promotes it"
_WORDS = {"better": "better", "not_worse": "not worse", "worse": "worse", "unclear": "these rows cannot tell"}
_TRY_CLASSES = (
    "try another model.estimator (estimator: auto looks for one), a larger model.params.min_samples_leaf or "
    "model.calibration: sigmoid, more rows, or look at what training warned of; --force promotes it all the same"
)
_TRY_FIRST: dict[Task, str] = {
    "binary": _TRY_CLASSES,
    "multiclass": _TRY_CLASSES,
    "regression": _TRY_CLASSES.replace(" or model.calibration: sigmoid", ""),
}
_ADVICE = {
    "not_worse": "; gates.require asks for better",
    "unclear": "; hold out more rows (test_size), raise gates.tolerance, or decide yourself: --force promotes it",
}
