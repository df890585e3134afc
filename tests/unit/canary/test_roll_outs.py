"""Whole roll-outs, simulated: healthy challengers become champion, others go back, and the stated error holds."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from mlops_project.canary.decide import World, decide
from mlops_project.canary.evidence import SHOWN_ERROR, SLOW_SHARE, Evidence, Outcomes
from mlops_project.sections import RolloutConfig
from mlops_project.tracking.rollouts import Rollout, begin_rollout

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SETTINGS = RolloutConfig(steps=(0.2, 0.5), step_minutes=1, max_failures=0.05, max_loss=0.05, alpha=0.05)


def roll_out(
    rng,
    settings=SETTINGS,
    *,
    looks=60,
    per_look=300,
    failures=0.0,
    slow=0.04,
    wrong=(0.1, 0.1),
    sick_from=0,
    labelled_from=0,
    judged_by="loss",
) -> Rollout:
    """Let a challenger answer, look after each ``per_look`` requests, and return the roll-out at its end.

    ``failures``, ``slow`` and the second of ``wrong`` are shares of the challenger's requests from look ``sick_from`` on; the
    champion has 4 % of slow answers and the first of ``wrong``. Labels come from look ``labelled_from`` on.
    """
    rollout, evidence = begin_rollout(2, 1, settings.steps, settings.max_hours, "test", NOW), Evidence(settings, settings.steps)
    evidence.judged_by = judged_by
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
            if measure == "loss" and look < labelled_from:
                continue
            outcomes = (rng.random(per_look) < np.where(drawn, ours, theirs)).astype(float)
            evidence.add(measure, rollout.step, Outcomes(outcomes, drawn, spans, baseline))
        decision = decide(rollout, evidence, World(1, True, "", None, now), settings)
        if decision.action is not None:
            rollout = rollout.change(decision.action, decision.reason, now)
        if not rollout.is_under_way:
            break
    return rollout


@pytest.mark.parametrize(
    ("wrong", "evidence"),
    [((0.1, 0.1), "available"), ((0.1, 0.11), "required"), ((0.1, 0.14), "until-refuted")],
    ids=["equal", "a-little-worse", "worse-within-the-bound"],
)
def test_healthy_challengers_become_champion_and_go_back_no_oftener_than_stated(wrong, evidence):
    rng, settings = np.random.default_rng(11), msgspec.structs.replace(SETTINGS, evidence=evidence)
    ends = [roll_out(rng, settings, wrong=wrong).state for _ in range(100)]
    assert ends.count("back") <= 100 * SETTINGS.alpha
    assert ends.count("promoted") >= 95


@pytest.mark.parametrize("wrong", [0.15, 0.17, 0.2], ids=["as-much-as-allowed", "more", "twice"])
def test_challengers_that_are_not_good_enough_do_not_become_champion_as_long_as_nothing_shows_they_are(wrong):
    rng = np.random.default_rng(16)
    ends = [roll_out(rng, wrong=(0.1, wrong)).state for _ in range(60)]
    assert ends.count("promoted") <= 60 * SHOWN_ERROR


def test_no_step_lets_more_than_the_allowed_share_of_all_requests_be_wrong():
    evidence = Evidence(RolloutConfig(max_loss=0.02), (0.01, 0.05, 0.25, 0.5))
    bounds = [evidence.find_bound_after("loss", step) for step in range(4)]
    assert bounds == pytest.approx([0.4, 0.08, 0.04, 0.02])
    assert Evidence(RolloutConfig(max_loss=0.02), (0.001, 0.01)).is_shown("loss", 0)  # all of a hundredth may be wrong
    assert not evidence.is_shown("loss", 0)


@pytest.mark.parametrize("evidence", ["required", "available"])
def test_challenger_without_labels_waits_and_goes_back_when_its_time_is_over_and_says_why(evidence):
    settings = msgspec.structs.replace(SETTINGS, evidence=evidence, max_hours=4)
    done = roll_out(np.random.default_rng(17), settings, labelled_from=10**9)
    assert (done.state, done.step) == ("back", 0)
    assert done.said.startswith("it is not champion after 4 hours (rollout.max_hours). wrong answers by labels: not yet shown")
    assert "0 of its requests known" in done.said


@pytest.mark.parametrize("judged_by", ["loss", "estimate", None])
def test_challenger_whom_nobody_asks_goes_back_when_its_time_is_over_with_the_whole_sentence(judged_by):
    settings = RolloutConfig()
    rollout, evidence = begin_rollout(2, 1, settings.steps, settings.max_hours, "test", NOW), Evidence(settings, settings.steps)
    evidence.judged_by = judged_by
    decision = decide(rollout, evidence, World(1, True, "", None, NOW + timedelta(hours=72)), settings)
    done = rollout.change(decision.action, decision.reason, NOW)
    assert done.state == "back"
    assert done.said == decision.reason  # it is not cut off
    assert "requests that it could not answer: not yet shown to be at most 1.00% more than the champion's; 0 of" in done.said
    assert ("wrong answers" in done.said) == (judged_by is not None)


@pytest.mark.parametrize(
    ("evidence", "judged_by", "said"),
    [
        ("until-refuted", "loss", "that answers are right is not waited for (rollout.evidence: until-refuted)"),
        ("available", None, "nothing is known of how right answers are: no label ever came for this model"),
    ],
)
def test_step_that_is_taken_without_knowing_of_answers_says_so(evidence, judged_by, said):
    settings = msgspec.structs.replace(SETTINGS, evidence=evidence)
    done = roll_out(np.random.default_rng(18), settings, labelled_from=10**9, judged_by=judged_by)
    assert done.state == "promoted"
    assert said in done.said


def test_labels_of_earlier_steps_count_at_later_ones():
    rng, evidence = np.random.default_rng(19), Evidence(SETTINGS, SETTINGS.steps)
    drawn = rng.random(8000) < 0.2
    outcomes = Outcomes((rng.random(8000) < 0.1).astype(float), drawn, np.zeros(8000, np.int64), 0.1)
    assert not evidence.is_shown("loss", 1)
    evidence.add("loss", 0, outcomes)
    assert evidence.is_shown("loss", 1)
    evidence.add("latency", 0, outcomes._replace(values=np.zeros(8000)))
    assert (evidence.is_shown("latency", 0), evidence.is_shown("latency", 1)) == (True, False)  # under that load, not the next


def test_means_of_several_steps_are_not_blamed_for_what_grew_harder_for_both():
    evidence = Evidence(SETTINGS, SETTINGS.steps)
    for step, (share, wrong) in enumerate([(0.2, 0.1), (0.5, 0.5)]):
        drawn = np.arange(1000) < 1000 * share
        values = np.where(np.arange(1000) % 10 < 10 * wrong, 1.0, 0.0)
        evidence.add("loss", step, Outcomes(values, drawn, np.zeros(1000, np.int64), 0.1))
    tally = evidence.count("loss", 1)
    assert (tally.challenger, tally.champion) == (700, 1300)
    assert tally.challenger_mean == pytest.approx(tally.champion_mean)


def test_step_that_began_by_a_clock_that_was_ahead_does_not_wait_for_that_time():
    settings = msgspec.structs.replace(SETTINGS, evidence="until-refuted", step_minutes=30)
    rollout, evidence = (
        begin_rollout(2, 1, settings.steps, 72, "test", NOW + timedelta(days=30)),
        Evidence(settings, settings.steps),
    )
    decision = decide(rollout, evidence, World(1, True, "", None, NOW), settings)
    assert "not yet shown" in decision.reason


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
    rollout = begin_rollout(2, 1, (0.01,) * 20, 72, "x" * 9000, NOW)
    for action in ("paused", "resumed", "climbed", "paused", "resumed", "climbed"):
        rollout = rollout.change(action, "y" * 9000, NOW)
    assert len(msgspec.json.encode(rollout)) < 5000
