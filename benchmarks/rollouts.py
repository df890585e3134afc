"""Simulated roll-outs: how often healthy challengers go back, and after how many requests others do.

``make bench-rollouts`` (figures do not depend on the machine). Beside ours: the same with ``rollout.evidence: until-refuted``,
where labels are not waited for; and what somebody does who compares the two shares by a test of proportions at every look, and
stops at the first p-value below the same error.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from mlops_project.canary.decide import World, decide
from mlops_project.canary.evidence import SLOW_SHARE, Evidence, Measure, Outcomes
from mlops_project.sections import RolloutConfig
from mlops_project.tracking.rollouts import begin_rollout

Floats = npt.NDArray[np.float64]
NOW = datetime(2026, 11, 1, tzinfo=UTC)
PER_LOOK, LOOKS = 500, 200


@dataclass(frozen=True)
class Requests:
    """Requests between two looks: of each measure who was drawn, the outcomes, and the baseline."""

    outcomes: dict[Measure, tuple[npt.NDArray[np.bool_], Floats, float]]


Run = Callable[[np.random.Generator, "Make", RolloutConfig], tuple[str, int]]
Make = Callable[[np.random.Generator, int, float], Requests]  # generator, number of the look, share


def happen(rng: np.random.Generator, drawn: npt.NDArray[np.bool_], theirs: Floats | float, ours: Floats | float) -> Floats:
    """Return outcomes that befall champion and challenger with these probabilities."""
    return (rng.random(len(drawn)) < np.where(drawn, ours, theirs)).astype(np.float64)


def make_world(
    *,
    failures: float = 0.0,
    slow: float = 0.04,
    wrong: float = 0.1,
    drift: float = 0.0,
    burst: int = 1,
    begins: int = 0,
    labelled: float = 1.0,
) -> Make:
    """Return what makes the requests of a world.

    Parameters
    ----------
    failures, slow, wrong
        Shares of the challenger's requests from look ``begins`` on; the champion has 0, 4 % and 10 %.
    drift
        How much more of everybody's answers are wrong at the end than at the beginning.
    burst
        How many requests in a row have the same outcome.
    labelled
        Share of the requests whose label comes.
    """

    def make(rng: np.random.Generator, look: int, share: float) -> Requests:
        drawn, sick = rng.random(PER_LOOK) < share, look >= begins
        harder = drift * look / LOOKS
        common = np.repeat(rng.random(PER_LOOK // burst), burst)  # of a burst, whoever answers
        usual = 0.1 + harder
        loss = (common < np.where(drawn, wrong + harder if sick else usual, usual)).astype(np.float64)
        known = rng.random(PER_LOOK) < labelled
        return Requests(
            {
                "failures": (drawn, happen(rng, drawn, 0.0, failures if sick else 0.0), 0.0),
                "latency": (drawn, happen(rng, drawn, 0.04, slow if sick else 0.04), SLOW_SHARE),
                "loss": (drawn[known], loss[known], 0.1),
            },
        )

    return make


WORLDS: dict[str, Make] = {
    "equal": make_world(),
    "equal, harder by the hour": make_world(drift=0.4),
    "equal, in bursts of 50": make_world(burst=50),
    "equal, labels of one in ten": make_world(labelled=0.1),
    "worse by what is allowed": make_world(failures=0.01, slow=0.09, wrong=0.12),
    "fails 5 %": make_world(failures=0.05),
    "fails 50 %": make_world(failures=0.5),
    "slow in 30 %": make_world(slow=0.3),
    "fails 20 % from look 30 on": make_world(failures=0.2, begins=30),
    "wrong in 11 %": make_world(wrong=0.11),
    "wrong in 12 %": make_world(wrong=0.12),
    "wrong in 13 %": make_world(wrong=0.13),
    "wrong in 15 %": make_world(wrong=0.15),
    "wrong in 15 %, labels of one in ten": make_world(wrong=0.15, labelled=0.1),
    "wrong in 20 %": make_world(wrong=0.2),
    "wrong in 30 %": make_world(wrong=0.3),
}


def run_ours(rng: np.random.Generator, make: Make, settings: RolloutConfig) -> tuple[str, int]:
    """Return how a roll-out ends, and after how many requests."""
    rollout, evidence = begin_rollout(2, 1, settings.steps, 1000.0, "bench", NOW), Evidence(settings, settings.steps)
    evidence.judged_by = "loss"
    for look in range(LOOKS):
        now = NOW + timedelta(minutes=15 * (look + 1))
        requests = make(rng, look, rollout.share)
        for measure, (drawn, values, baseline) in requests.outcomes.items():
            spans = np.full(len(values), 15 * look // 360)
            evidence.add(measure, rollout.step, Outcomes(values, drawn, spans, baseline))
        decision = decide(rollout, evidence, World(1, True, "", None, now), settings)
        if decision.action is not None:
            rollout = rollout.change(decision.action, decision.reason, now)
        if not rollout.is_under_way:
            return rollout.state, (look + 1) * PER_LOOK
    return "waits", LOOKS * PER_LOOK


def run_peeking(rng: np.random.Generator, make: Make, settings: RolloutConfig) -> tuple[str, int]:
    """Return the same of somebody who tests two proportions beyond the bound at each look, with the error divided by three."""
    bounds: dict[Measure, float] = {"failures": settings.max_failures, "latency": SLOW_SHARE, "loss": settings.max_loss}
    seen: dict[Measure, Floats] = {measure: np.zeros((2, 2)) for measure in bounds}
    for look in range(LOOKS):
        requests = make(rng, look, settings.steps[0])
        for measure, (drawn, values, _) in requests.outcomes.items():
            for place, rows in enumerate((drawn, ~drawn)):
                seen[measure][place] += (rows.sum(), values[rows].sum())
            (n_ours, bad_ours), (n_theirs, bad_theirs) = seen[measure]
            if min(n_ours, n_theirs) < 30:
                continue
            ours, theirs = bad_ours / n_ours, bad_theirs / n_theirs
            error = np.sqrt(ours * (1 - ours) / n_ours + theirs * (1 - theirs) / n_theirs) or 1e-9
            if norm.sf((ours - theirs - bounds[measure]) / error) < settings.alpha / len(bounds):
                return "back", (look + 1) * PER_LOOK
    return "waits", LOOKS * PER_LOOK


def report(settings: RolloutConfig, roll_outs: int, seed: int) -> Iterator[str]:
    """Yield a line of the table for each world."""
    yield f"steps {list(settings.steps)}, alpha {settings.alpha:g}, {roll_outs} roll-outs, a look every {PER_LOOK} requests"
    yield "| challenger | goes back | becomes champion | requests (median) | until refuted: champion | peeking goes back |"
    yield "| --- | --- | --- | --- | --- | --- |"
    hasty = msgspec.structs.replace(settings, evidence="until-refuted")
    for name, make in WORLDS.items():

        def run_all(run: Run, chosen: RolloutConfig, make: Make = make) -> list[tuple[str, int]]:
            return [run(np.random.default_rng([seed, number]), make, chosen) for number in range(roll_outs)]

        ends, others, peeking = run_all(run_ours, settings), run_all(run_ours, hasty), run_all(run_peeking, settings)
        back, champion = (np.mean([end == state for end, _ in ends]) for state in ("back", "promoted"))
        passed, wrong = np.mean([end == "promoted" for end, _ in others]), np.mean([end == "back" for end, _ in peeking])
        typical = int(np.median([n_requests for _, n_requests in ends]))
        yield f"| {name} | {back:.1%} | {champion:.1%} | {typical:,} | {passed:.1%} | {wrong:.1%} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roll-outs", type=int, default=1000)
    parser.add_argument("--alpha", type=float, default=RolloutConfig().alpha)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for line in report(RolloutConfig(step_minutes=0, alpha=options.alpha), options.roll_outs, options.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
