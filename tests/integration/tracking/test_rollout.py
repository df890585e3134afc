"""A roll-out, decided on a real registry from a real log, round by round."""

from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from mlops_project.cli import main
from mlops_project.promote import promote
from mlops_project.tracking import registry, rollouts
from mlops_project.tracking.approvals import record_approval
from mlops_project.tracking.store import open_store
from tests.integration.tracking.rolled import SETTINGS, World, copy_project

pytestmark = pytest.mark.xdist_group("mlflow")


def test_healthy_challenger_climbs_and_becomes_champion_and_every_step_is_in_the_trail(start):
    world = start()
    assert (world.look().share, world.champion()) == (0.3, 1)
    world.serve(1000, labels=True)
    assert world.look().share == 0.6, world.look().said
    world.serve(800, labels=True)
    done = world.look()
    assert (done.state, world.champion()) == ("promoted", 2), done.said
    assert world.story() == ["started", "climbed", "promoted"]
    assert world.look() == done
    assert "champion 0.00% of" in done.said
    with open_store(world.config) as store:
        (move,) = (item for item in registry.read_moves(store, "world") if item.alias == "champion" and item.target == 2)
    assert (move.action, move.cause, move.user) == ("promote", f"rollout:{done.id}", "mlops monitor")


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"fails": 0.4}, "requests that it could not answer"),
        ({"slow": 0.5}, "slow answers"),
        ({"wrong": 0.4, "labels": True}, "wrong answers by labels"),
    ],
    ids=["fails", "slow", "wrong"],
)
def test_challenger_that_does_worse_goes_back_and_is_not_tried_again(start, faults, said):
    world = start()
    world.serve(300, labels="labels" in faults)  # what is slow is learned from these
    world.look()
    world.serve(900, **faults)
    world.restart()  # a new monitor finds the same in the log
    done = world.look()
    assert (done.state, done.share, world.champion()) == ("back", 0.0, 1), done.said
    assert said in done.said
    assert world.look().id == done.id
    assert world.story() == ["started", "back"]
    assert world.add_version() == 3
    assert (world.look().version, world.look().state) == (3, "running")


def test_too_few_requests_leave_it_where_it_is_and_it_says_what_is_missing(start):
    world = start()
    world.serve(40)
    stays = world.look()
    assert (stays.state, stays.step) == ("running", 0)
    assert "needed if all is well" in stays.said
    world.monitor.guard.check(datetime.now(UTC) + timedelta(minutes=2))  # that nothing changed is recorded now and then
    assert "needed if all is well" in " ".join(world.command("status").split())


def test_keys_count_once_however_much_they_ask(start):
    world = start()
    world.serve(900, keys=10)
    assert world.look().step == 0
    world.serve(1200, keys=10**9)
    climbed = world.look()
    assert climbed.step == 1, climbed.said


def test_time_that_is_over_takes_it_back_but_a_pause_does_not_count(start):
    world = start("rollout.max_hours=1")
    paused = datetime.now(UTC)
    world.command("pause", "--reason", "a campaign")
    assert (world.look().state, world.look().share) == ("paused", 0.3)
    world.serve(1000)
    world.monitor.watcher.read_log()
    guard = world.monitor.guard
    assert guard.check(paused + timedelta(hours=2)).state == "paused"
    world.command("resume")
    resumed = guard.check(paused + timedelta(hours=2))
    assert (resumed.state, resumed.step) == ("running", 0)
    assert guard.check(paused + timedelta(hours=2, seconds=1)).state == "running"
    with open_store(world.config) as store:
        later = paused + timedelta(hours=2, seconds=2)
        assert rollouts.find_served(rollouts.read_tags(store, "world"), later).share == 0.6
    assert guard.check(paused + timedelta(hours=9)).state == "back"
    assert world.story() == ["started", "paused", "resumed", "climbed", "back"]


def test_abort_takes_the_requests_away_before_the_monitor_looks(start):
    world = start()
    with open_store(world.config) as store:
        tags = rollouts.read_tags(store, "world")
        assert rollouts.find_served(tags, datetime.now(UTC)).share == 0.3
        assert rollouts.find_served(tags, datetime.now(UTC) + timedelta(seconds=rollouts.GUARD_SECONDS)) is None
        world.command("abort", "--reason", "complaints")
        assert rollouts.find_served(rollouts.read_tags(store, "world"), datetime.now(UTC)) is None
    done = world.look()
    assert (done.state, done.said) == ("aborted", "by hand: complaints")
    assert done.trail[-1].user != "mlops monitor"


def test_person_may_finish_it_at_once_and_start_it_again(start):
    world = start()
    world.command("abort")
    assert world.look().state == "aborted"
    world.command("start", "--version", "2", "--reason", "mended")
    again = world.look()
    assert (again.state, again.version, again.said) == ("running", 2, "by hand: mended")
    world.command("promote", "--reason", "it is urgent")
    assert (world.look().state, world.champion()) == ("promoted", 2)
    assert world.story() == ["started", "aborted", "started", "promoted"]


def test_champion_that_changes_in_the_middle_or_a_version_that_is_deleted_ends_it(start):
    world = start()
    world.add_version("worse")
    promote(world.config, "3", force=True, reason="by hand")
    done = world.look()
    assert (done.state, done.said) == ("ended", "it was compared with version 1, and version 3 is champion by now")
    world.command("start", "--version", "2")
    assert world.look().state == "running"
    with open_store(world.config) as store:
        store.client.delete_model_version("world", "2")
    assert (world.look().state, world.look().said) == ("ended", "version 2 was deleted")


@pytest.mark.parametrize("killed_in", ["set_registered_model_alias", "set_registered_model_tag"])
def test_kill_between_steps_is_finished_by_the_next_monitor(start, monkeypatch, killed_in):
    world = start("rollout.steps=[0.5]")
    world.serve(1000)
    from mlflow import MlflowClient

    done = []

    def kill(self, name, key, *value):  # the move is recorded first: the second tag would be the roll-out's own state
        done.append(key)
        if killed_in == "set_registered_model_alias" or len(done) == 2:
            raise KeyboardInterrupt
        real(self, name, key, *value)

    real = getattr(MlflowClient, killed_in)
    monkeypatch.setattr(MlflowClient, killed_in, kill)
    with pytest.raises(KeyboardInterrupt):
        world.look()
    monkeypatch.undo()
    world.restart()
    assert (world.look().state, world.champion()) == ("promoted", 2)
    assert world.story() == ["started", "promoted"]


def test_version_that_waits_for_its_approval_gets_no_request_and_one_whose_approval_is_taken_back_no_further_one(
    tmp_path, rolled, monkeypatch
):
    copy_project(rolled, tmp_path)
    world = World(tmp_path, "gates.approval=required")
    assert world.look() is None
    options = [f"--set={item}" for item in (*SETTINGS, "gates.approval=required")]
    start = ["rollout", "start", str(world.config.file), "--version", "2", *options]
    refused = CliRunner().invoke(main, start)
    assert refused.exit_code == 1
    assert "cannot be rolled out" in refused.output
    with open_store(world.config) as store:  # whoever writes the order into the registry himself gets no further
        rollouts.write_order(store, "world", "start", version=2)
    assert world.look() is None
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    with open_store(world.config) as store:
        record_approval(store, registry.find_version(store, "world", "2"), "approved", "I looked at it")
    assert world.look().state == "running"
    with open_store(world.config) as store:
        record_approval(store, registry.find_version(store, "world", "2"), "refused", "on second thoughts")
    assert world.look().state == "ended"
