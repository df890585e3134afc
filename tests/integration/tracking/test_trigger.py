"""Retrainings as processes of their own: one at a time, whoever dies."""

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from mlops_project.retraining.attempts import Attempts, Cause, find_folder
from mlops_project.retraining.jobs import Cluster
from mlops_project.retraining.trigger import Trigger
from mlops_project.tracking.events import record_event
from mlops_project.tracking.registry import CHAMPION, find_version, move_alias
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from tests.integration.tracking.production import write_project
from tests.servers import wait_until

pytestmark = pytest.mark.xdist_group("mlflow")


def cause(key: str = "alert:data-drift:1:x", kind="alert") -> Cause:
    return Cause(kind=kind, key=key, reason="--it drifts")


@pytest.fixture
def config(project):
    return write_project(project)


def wait_for_end(trigger: Trigger) -> None:
    wait_until(lambda: trigger.settle() or (trigger._child is None and not trigger.read_status().running), 120)


def child_of(trigger: Trigger) -> int:
    assert trigger._child is not None
    return trigger._child.pid


def test_process_runs_with_the_monitors_settings_and_its_end_is_recorded(project):
    trigger = Trigger(write_project(project, "model.name=other", "model.params.class_weight={yes: 2}", "data.drop=[c]"))
    assert trigger.request(cause()) == "started"
    assert trigger.request(cause()) == "running"
    wait_for_end(trigger)
    status = trigger.read_status()
    assert status.last is not None
    assert (status.last.result, status.counts) == ("failed", {"failed": 1})
    assert "model 'other' has no champion to retrain" in status.last.text
    (log,) = trigger.attempts.folder.glob("*.log")
    assert "error: " in log.read_text()
    assert trigger.request(cause()) == "cool-down"


def test_killed_retraining_counts_as_failed_and_is_tried_again(config):
    trigger = Trigger(config)
    assert trigger.request(cause()) == "started"
    os.kill(child_of(trigger), signal.SIGKILL)
    wait_for_end(trigger)
    last = trigger.read_status().last
    assert last is not None
    assert (last.result, last.text) == ("failed", "its process died")
    assert trigger.request(cause(), datetime.now(UTC) + timedelta(minutes=1.1)) == "started"
    os.kill(child_of(trigger), signal.SIGKILL)
    wait_for_end(trigger)
    assert trigger.read_status().counts == {"failed": 2}


def test_retraining_outlives_the_monitor_and_the_next_monitor_sees_it(config):
    trigger = Trigger(config)
    trigger.request(cause())
    child = child_of(trigger)
    assert os.getsid(child) == child != os.getsid(0)
    successor = Trigger(config)
    assert successor.read_status().running
    successor.settle()
    assert successor.read_status().running
    assert successor.request(cause("webhook:1:2", "webhook")) == "running"
    wait_for_end(trigger)


def test_monitor_killed_before_the_process_started_leaves_a_failure_not_a_lock(config):
    Attempts(find_folder(config)).begin(cause(), datetime.now(UTC) - timedelta(minutes=5))
    trigger = Trigger(config)
    assert trigger.read_status().running
    trigger.settle()
    status = trigger.read_status()
    assert (status.running, status.counts) == (False, {"failed": 1})


def test_schedule_is_started_without_leave_to_promote_unless_given(project):
    for action, flag in (("report", "--no-promote"), ("retrain", "--no-promote"), ("retrain-and-promote", "--promote")):
        trigger = Trigger(write_project(project, f"monitoring.on_alert={action}"))
        assert trigger._arguments(cause("schedule:x", "schedule"))[-1] == flag
    assert trigger._arguments(cause("manual:x", "manual"))[-1] == "--promote"


class EndedJobs(Cluster):
    """A cluster whose Jobs have all ended; the wire is tested in tests/unit/monitoring/test_jobs.py."""

    def create_job(self, name, arguments):
        return True

    def read_state(self, name):
        return "ended"

    def is_retraining(self):
        return False


def test_end_of_a_job_is_read_from_the_registry(project, make):
    log_bundle(*make("good"))
    config = write_project(project, "model.name=cancer", "retraining.runner=kubernetes")
    trigger = Trigger(config, EndedJobs("https://127.0.0.1:1", project))
    with open_store(config) as store:
        move_alias(store, find_version(store, "cancer", "1"), CHAMPION, "promote", "")
        assert trigger.request(cause()) == "started"
        record_event(store, "cancer", "retraining-ended", "as good", cause=cause().key, result="promoted", version=2)
    trigger.settle()
    assert trigger.request(cause("alert:y")) == "started"
    trigger.settle()
    first, second = trigger.attempts.read().attempts
    assert (first.result, first.text, first.version) == ("promoted", "as good", 2)
    assert (second.result, second.text) == ("failed", f"Job {second.job} ended without a result")
    assert trigger.request(cause()) == "duplicate"
