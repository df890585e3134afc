"""Whole roll-outs, simulated: healthy challengers become champion, others go back, and the stated error holds."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from mlops_project.canary.decide import World, decide
from mlops_project.canary.evidence import SLOW_SHARE, Evidence, Outcomes
from mlops_project.sections import RolloutConfig
from mlops_project.tracking.rollouts import Rollout, begin_rollout

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SETTINGS = RolloutConfig(steps=(0.2, 0.5), step_minutes=1, max_failures=0.05, max_loss=0.05, alpha=0.05)


def roll_out(
    rng, settings=SETTINGS, *, looks=60, per_look=300, failures=0.0, slow=0.04, wrong=(0.1, 0.1), sick_from=0
) -> Rollout:
    """Let a challenger answer, look after each ``per_look`` requests, and return the roll-out at its end.

    ``failures``, ``slow`` and the second of ``wrong`` are shares of the challenger's requests from look ``sick_from`` on; the
    champion has 4 % of slow answers and the first of ``wrong``.
    """
    rollout, evidence = begin_rollout(2, 1, settings.steps, settings.max_hours, "test", NOW), Evidence(settings, settings.steps)
    for look in range(looks):
        now, sick = NOW + timedelta(minutes=5 * (look + 1)), look >= sick_from
        drawn = rng.random(per_look) < rollout.share
        spans = np.full(per_look, int(5 * look // 360))
        shares = {
            "failures": (0.0, failures if sick else 0.0, 0.0),
            "latency": (0.04, slow if sick else 0.04, SLOW_SHARE),
            "loss": (wrong[0], wrong[1] if sick else wrong[0], 0.1),
        }
        for measure, (theirs, ours, baseline) in shares.items():
            outcomes = (rng.random(per_look) < np.where(drawn, ours, theirs)).astype(float)
            evidence.add(measure, rollout.step, Outcomes(outcomes, drawn, spans, baseline))
        decision = decide(rollout, evidence, World(1, True, "", None, now), settings)
        if decision.action is not None:
            rollout = rollout.change(decision.action, decision.reason, now)
        if not rollout.is_under_way:
            break
    return rollout


@pytest.mark.parametrize("wrong", [(0.1, 0.1), (0.1, 0.14)], ids=["equal", "worse-within-the-bound"])
def test_healthy_challengers_become_champion_and_go_back_no_oftener_than_stated(wrong):
    rng = np.random.default_rng(11)
    ends = [roll_out(rng, wrong=wrong).state for _ in range(100)]
    assert ends.count("back") <= 100 * SETTINGS.alpha
    assert ends.count("promoted") >= 95


@pytest.mark.parametrize(
    "sickness",
    [{"failures": 0.3}, {"slow": 0.4}, {"wrong": (0.1, 0.4)}, {"failures": 0.9, "sick_from": 1}],
    ids=["fails", "slower", "wrong", "fails-later"],
)
def test_sick_challengers_go_back(sickness):
    rng = np.random.default_rng(12)
    assert [roll_out(rng, **sickness).state for _ in range(20)] == ["back"] * 20


def test_failure_that_begins_after_days_of_health_is_found_within_a_few_looks():
    settings = RolloutConfig(steps=(0.5,), min_labels=10**9, max_hours=1000)
    rollout, evidence = begin_rollout(2, 1, settings.steps, settings.max_hours, "test", NOW), Evidence(settings, settings.steps)
    rng = np.random.default_rng(13)

    def look(hour: float, share: float, n_rows: int) -> str:
        drawn = rng.random(n_rows) < 0.5
        outcomes = (rng.random(n_rows) < np.where(drawn, share, 0.0)).astype(float)
        evidence.add("failures", 0, Outcomes(outcomes, drawn, np.full(n_rows, int(hour // 6))))
        evidence.add("latency", 0, Outcomes(np.zeros(n_rows), drawn, np.full(n_rows, int(hour // 6)), SLOW_SHARE))
        return decide(rollout, evidence, World(1, True, "", None, NOW + timedelta(hours=hour)), settings).action or ""

    assert {look(hour, 0.0, 2000) for hour in range(48)} == {""}
    assert [look(48 + minute / 60, 0.2, 30) for minute in range(10)][-1] == "back"


def test_decision_names_the_measure_its_figures_and_the_bound():
    rng = np.random.default_rng(14)
    done = roll_out(rng, failures=0.5)
    assert done.said.startswith("worse than the champion, beyond chance: requests that it could not answer: ")
    assert "the champion 0.00% of" in done.said
    assert "5.00% more are allowed" in done.said


def test_state_fits_into_a_tag_however_long_its_reasons_are():
    import msgspec

    rollout = begin_rollout(2, 1, (0.01,) * 20, 72, "x" * 9000, NOW)
    for action in ("paused", "resumed", "climbed", "paused", "resumed", "climbed"):
        rollout = rollout.change(action, "y" * 9000, NOW)
    assert len(msgspec.json.encode(rollout)) < 5000
