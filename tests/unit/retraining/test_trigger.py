from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from mlops_project.config import read_config
from mlops_project.monitoring.results import Alert
from mlops_project.retraining.attempts import Attempt, Cause, State
from mlops_project.retraining.trigger import Trigger, decide_start, find_causes
from tests.evaluations import make_evaluation

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
KEY = "alert:data-drift:1:x"


def attempt(result: str | None, minutes_ago: float, key: str = KEY) -> Attempt:
    ended = (NOW - timedelta(minutes=minutes_ago)).isoformat()
    cause = Cause(kind="alert", key=key, reason="")
    return Attempt(cause=cause, started_at=ended, ended_at=None if result is None else ended, result=result)


def decide(*attempts: Attempt, kind="alert", key=KEY) -> str:
    cause = Cause(kind=kind, key=key, reason="")
    return decide_start(cause, State(attempts=attempts), NOW, cool_down_minutes=60)


def test_first_cause_starts():
    assert decide() == "started"


@pytest.mark.parametrize("result", ["promoted", "ready", "rolled-back"])
def test_cause_that_was_answered_is_done_for_ever(result):
    assert decide(attempt(result, 10_000)) == "duplicate"


@pytest.mark.parametrize("result", ["refused", "skipped"])
def test_cause_that_was_refused_may_ask_again_after_the_pause_as_there_may_be_more_labels(result):
    assert decide(attempt(result, 59)) == "cool-down"
    assert decide(attempt(result, 61)) == "started"


def test_pause_counts_from_any_retraining_but_people_need_not_wait():
    assert decide(attempt("promoted", 59, "other")) == "cool-down"
    assert decide(attempt("promoted", 61, "other")) == "started"
    assert decide(attempt("promoted", 1, "other"), kind="manual", key="manual:1") == "started"


def test_failure_is_tried_again_three_times_in_all_after_growing_waits():
    assert decide(attempt("failed", 0.9)) == "cool-down"
    assert decide(attempt("failed", 1.1)) == "started"
    assert decide(attempt("failed", 9), attempt("failed", 1.9)) == "cool-down"
    assert decide(attempt("failed", 9), attempt("failed", 2.1)) == "started"
    assert decide(attempt("failed", 99), attempt("failed", 98), attempt("failed", 97)) == "duplicate"


def test_failures_of_one_cause_do_not_hold_up_another():
    assert decide(attempt("failed", 0.1, "other")) == "started"


def alert(name: str, *, firing=True) -> Alert:
    return Alert(name=name, windows=2, firing=firing, since="2026-11-24T08:00:00+00:00", reason="because")


def test_lost_performance_alone_asks_for_a_retraining_as_drift_only_explains():
    alerts = (alert("data-quality"), alert("data-drift"), alert("performance-loss"), alert("prediction-drift", firing=False))
    (first,) = find_causes(make_evaluation(alerts=alerts))
    assert first.key.startswith("alert:performance-loss:")
    assert first.key.endswith(":2026-11-24T08:00:00+00:00")
    assert first.reason == "performance-loss of version 3 since the window from 2026-11-24T08:00:00+00:00: because"


@pytest.fixture
def make_trigger(tmp_path):
    def make(settings: str = "") -> Trigger:
        file = tmp_path / "m.yaml"
        file.write_text(f"model: {{name: cancer}}\n{settings}")
        return Trigger(read_config(file, root=tmp_path, env={}))

    return make


def test_alerts_do_nothing_by_default(make_trigger):
    trigger = make_trigger()
    for kind in ("alert", "webhook"):
        assert trigger.request(Cause(kind=kind, key=f"{kind}:x", reason=""), NOW) == "off"
    status = trigger.read_status()
    assert (status.running, status.last, status.counts) == (False, None, {})


def test_schedule_is_due_after_so_many_hours_since_the_last_end(make_trigger):
    assert make_trigger().find_due(NOW + timedelta(days=1000)) is None
    trigger = make_trigger("retraining: {every_hours: 24}\n")
    start = datetime.now(UTC)
    assert trigger.find_due(start + timedelta(hours=23)) is None
    due = trigger.find_due(start + timedelta(hours=25))
    assert due is not None
    assert due.kind == "schedule"
    cause = Cause(kind="manual", key="manual:1", reason="")
    trigger.attempts.begin(cause, NOW)
    trigger.attempts.finish(cause.key, "failed", "", NOW)
    assert trigger.find_due(NOW + timedelta(hours=23)) is None
    assert trigger.find_due(NOW + timedelta(hours=25)).key == "schedule:2026-11-24T10:00:00+00:00"


def refused(minutes_ago: float, label: str) -> Attempt:
    return msgspec.structs.replace(attempt("refused", minutes_ago), newest_label=label)


def test_refusal_waits_for_new_labels_however_long_the_pause():
    state = State(attempts=(refused(100, "2026-11-24T08:00:00+00:00"),))
    cause = Cause(kind="alert", key=KEY, reason="")

    def ask(newest: datetime | None) -> str:
        return decide_start(cause, state, NOW, cool_down_minutes=60, newest_label=newest)

    assert ask(datetime(2026, 11, 24, 8, tzinfo=UTC)) == "cool-down"
    assert ask(datetime(2026, 11, 24, 9, tzinfo=UTC)) == "started"
    assert ask(None) == "started"
    assert decide_start(Cause(kind="manual", key="manual:1", reason=""), state, NOW, cool_down_minutes=60) == "started"


def test_pause_doubles_with_each_refusal_in_a_row_up_to_a_day():
    starts, attempts, now = [], [], NOW - timedelta(days=1)
    while now < NOW:
        if (
            decide_start(Cause(kind="alert", key=KEY, reason=""), State(attempts=tuple(attempts)), now, cool_down_minutes=60)
            == "started"
        ):
            starts.append(now)
            attempts.append(attempt("refused", (NOW - now).total_seconds() / 60))
        now += timedelta(minutes=10)
    assert len(starts) == 5  # it was 24: after 1, 2, 4 and 8 hours
    assert decide(*attempts, attempt("promoted", 61, "other")) == "started"
