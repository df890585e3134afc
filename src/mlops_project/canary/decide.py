"""What becomes of a roll-out: a pure function of its state, the evidence and the time."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops_project.canary.evidence import ALWAYS, MEASURES, SHOWN_ERROR, TITLES, Evidence, Measure, Tally
from mlops_project.sections import RolloutConfig
from mlops_project.tracking.rollouts import Action, Order, Rollout


@dataclass(frozen=True)
class World:
    """What the registry says beside the roll-out itself.

    Attributes
    ----------
    champion
        Version that is champion; None for none.
    exists
        Whether the challenger's version is still there.
    unapproved
        Why the challenger may not answer, by the rule of two persons; empty if it may.
    order
        What a person asked for and was not done yet; None for nothing.
    now
        With a time zone.
    """

    champion: int | None
    exists: bool
    unapproved: str
    order: Order | None
    now: datetime


@dataclass(frozen=True)
class Decision:
    """What to do, and why; without an action the roll-out stays where it is, and ``reason`` says what it waits for."""

    action: Action | None
    reason: str


def decide(rollout: Rollout, evidence: Evidence, world: World, settings: RolloutConfig) -> Decision:
    """Decide what becomes of a roll-out that is under way. Pure.

    Parameters
    ----------
    rollout
        Running or paused.
    evidence
        Of the log, as far as it was read.
    world
        The registry, and the time.
    settings
        How fast it may go.
    """
    stopped = _find_end(rollout, world) or _find_worse(evidence)
    if stopped is not None:
        return stopped
    if world.order is not None:
        return _obey(rollout, world.order)
    return _find_pause(rollout, evidence, world, settings) or _go_on(rollout, evidence, settings)


def _find_worse(evidence: Evidence) -> Decision | None:
    worse = evidence.find_worse()
    if not worse:
        return None
    said = "; ".join(dict.fromkeys(evidence.describe(measure, step) for measure, step in worse))
    return Decision("back", f"worse than the champion, beyond chance: {said}")


def _find_pause(rollout: Rollout, evidence: Evidence, world: World, settings: RolloutConfig) -> Decision | None:
    """Return why nothing happens now, or that the time is over; None if the next step may be taken."""
    if rollout.state == "paused":
        return Decision(None, "paused by hand")
    missing = _find_missing(rollout, evidence, settings)
    if world.now >= datetime.fromisoformat(rollout.deadline):
        return Decision("back", f"it is not champion after {settings.max_hours:g} hours (rollout.max_hours). {missing}".strip())
    since, least = world.now - datetime.fromisoformat(rollout.step_at), timedelta(minutes=settings.step_minutes)
    if timedelta(0) <= since < least:  # less: the clock was ahead when the step began
        left = least - since
        return Decision(None, f"this step lasts {math.ceil(left.total_seconds() / 60)} more min (rollout.step_minutes)")
    return Decision(None, missing) if missing else None


def _go_on(rollout: Rollout, evidence: Evidence, settings: RolloutConfig) -> Decision:
    """Return the next step; after the last one the challenger becomes champion."""
    known = [measure for measure in MEASURES if evidence.count(measure, rollout.step).challenger]
    needed = find_needed(evidence, settings)
    shown = "; ".join(evidence.describe(measure, rollout.step, shown=measure in needed) for measure in known)
    shown += _say_unknown(evidence, settings)
    if rollout.step + 1 < len(rollout.shares):
        return Decision("climbed", shown)
    return Decision("promoted", shown)


def _find_end(rollout: Rollout, world: World) -> Decision | None:
    """Return how a roll-out ends for reasons that no figures can change; None if there are none."""
    if world.champion == rollout.version:
        return Decision("ended", "it was made champion by hand")
    if not world.exists:
        return Decision("ended", f"version {rollout.version} was deleted")
    if world.champion != rollout.champion:
        now = "there is none" if world.champion is None else f"version {world.champion} is"
        return Decision("ended", f"it was compared with version {rollout.champion}, and {now} champion by now")
    if world.unapproved:
        return Decision("ended", world.unapproved)
    return None


def _obey(rollout: Rollout, order: Order) -> Decision:
    """Return what a person asked for; nothing where it is so already."""
    said = f"by hand: {order.reason}" if order.reason else "by hand"
    if order.kind == "pause":
        return Decision("paused", said) if rollout.state == "running" else Decision(None, "paused by hand")
    if order.kind == "resume":
        return Decision("resumed", said) if rollout.state == "paused" else Decision(None, "running")
    return Decision("promoted" if order.kind == "promote" else "aborted", said)


def find_needed(evidence: Evidence, settings: RolloutConfig) -> list[Measure]:
    """Return what has to be shown before a step is left; of answers it is what ``rollout.evidence`` says."""
    by_setting: dict[str, Measure | None] = {"required": "loss", "available": evidence.judged_by, "until-refuted": None}
    answers = by_setting[settings.evidence]
    return [*ALWAYS, *([answers] if answers else [])]


def _find_missing(rollout: Rollout, evidence: Evidence, settings: RolloutConfig) -> str:
    """Say what is not yet shown at this step, and how much it takes; empty if everything is."""
    missing = [evidence.problem] if evidence.problem else []
    for measure in find_needed(evidence, settings):
        if not evidence.is_shown(measure, rollout.step):
            bound, tally = evidence.find_bound_after(measure, rollout.step), evidence.count(measure, rollout.step)
            missing.append(
                f"{TITLES[measure]}: not yet shown to be at most {bound:.2%} more than the champion's; {tally.challenger:,} "
                f"of its requests known, about {_estimate_needed(bound, tally, rollout.share):,} needed if all is well"
            )
    labelled = evidence.count("loss", rollout.step).challenger
    if rollout.step + 1 == len(rollout.shares) and labelled < settings.min_labels:
        missing.append(f"{labelled} of its requests have labels, {settings.min_labels} are needed (rollout.min_labels)")
    return "; ".join(missing)


def _estimate_needed(bound: float, tally: Tally, share: float) -> int:
    """Return about how many requests of the challenger show a bound, if it is as good as the champion."""
    usual = tally.champion_mean if tally.champion else 0.0
    proof = -math.log(SHOWN_ERROR)
    return math.ceil(max(proof / bound, 2 * proof * usual * (1 - usual) / ((1 - share) * bound**2)))


def _say_unknown(evidence: Evidence, settings: RolloutConfig) -> str:
    """Say that a step is taken although nothing shows that the answers are good enough; empty if that was shown."""
    if settings.evidence == "until-refuted":
        return "; that answers are right is not waited for (rollout.evidence: until-refuted)"
    if len(find_needed(evidence, settings)) == len(ALWAYS):
        return "; nothing is known of how right answers are: no label ever came for this model, and it has no estimates"
    return ""
