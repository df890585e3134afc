"""A roll-out, decided on a real registry from a real log, round by round."""

import json
import os
import random
import shutil
from datetime import UTC, datetime, timedelta
from unittest import mock

import msgspec
import pytest
from click.testing import CliRunner

from mlops_project.bundle import load_bundle
from mlops_project.cli import main
from mlops_project.monitor import Monitor
from mlops_project.prediction_log.records import About
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.promote import promote
from mlops_project.tracking import registry, rollouts
from mlops_project.tracking.approvals import record_approval
from mlops_project.tracking.events import read_history
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from mlops_project.train import train
from tests.integration.tracking.production import write_project
from tests.integration.tracking.stores import reseal
from tests.shared import make_once

pytestmark = pytest.mark.xdist_group("mlflow")
SETTINGS = (
    "serving.challenger=canary",
    "rollout.steps=[0.3, 0.6]",
    "rollout.step_minutes=0",
    "rollout.max_failures=0.05",
    "rollout.max_loss=0.05",
)


@pytest.fixture(scope="session")
def rolled(tmp_path_factory, fresh_database):
    """A project with a champion and a challenger that passed the gate, made once; tests copy its database and model."""

    def make(root):
        (root / "mlruns").mkdir()
        shutil.copy(fresh_database, root / "mlruns" / "mlflow.db")
        config = write_project(root)
        with mock.patch.dict(os.environ):
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            train(config)
            World.register(config, "better")

    return make_once(tmp_path_factory, "rolled", make)


class World:
    """A project in which version 2 may be rolled out; what servers would log is written by hand."""

    def __init__(self, root, *overrides: str) -> None:
        self.config = write_project(root, *SETTINGS, *overrides)
        self.restart()
        self._random, self._count = random.Random(1), 0
        self._start = datetime.now(UTC)

    @staticmethod
    def register(config, verdict: str) -> int:
        """Register the same model again, sealed at another time, as one of which the gate says this."""
        bundle = load_bundle(config.model_dir)
        (bundle.path / "tracking.json").unlink()
        number = log_bundle(reseal(bundle, created_at=datetime.now(UTC).isoformat()), config).model_version
        with open_store(config) as store:
            registry.note_verdict(store, registry.find_version(store, "world", str(number)), verdict, "it is good")
        return number

    def add_version(self, verdict: str = "better") -> int:
        return self.register(self.config, verdict)

    def look(self) -> rollouts.Rollout | None:
        self.monitor.watcher.read_log()
        self.monitor.check_rollout()
        return self.monitor.guard.rollout

    def restart(self) -> None:
        """Start another monitor, as after a kill."""
        self.monitor = Monitor(self.config, str(self.config.prediction_log_dir))

    def serve(
        self, n_requests: int, *, fails: float = 0.0, slow: float = 0.0, wrong: float = 0.0, labels: bool = False, keys: int = 0
    ) -> None:
        """Answer requests as servers would; what the shares say befalls those that are drawn for the challenger."""
        rollout = self.monitor.guard.rollout
        writer = LogWriter(self.config.prediction_log_dir, self.config.prediction_log)
        for _ in range(n_requests):
            self._count += 1
            drawn = self._random.random() < rollout.share
            failed = drawn and self._random.random() < fails
            took = 900_000 if drawn and self._random.random() < slow else 100 + self._random.randrange(900)
            instant = self._start + timedelta(milliseconds=5 * self._count)
            key = f"{round(instant.timestamp() * 1000):012x}{self._count:026x}"
            about = About(
                key,
                round(instant.timestamp() * 1e9),
                model="world",
                version=str(rollout.champion if failed or not drawn else rollout.version),
                wire="native",
                role="canary" if drawn and not failed else "champion",
                rollout=rollout.id,
                step=rollout.step,
                microseconds=took,
                failed=str(rollout.version) if failed else "",
                unit=f"{self._random.randrange(keys):016x}" if keys else "",
            )
            row = {"a": self._random.choice([-1.5, 1.5]), "b": 0.0, "c": 0.0}
            assert writer.append(msgspec.json.encode(about), json.dumps(row).encode(), b"", rows=1)
            if labels:
                right = (row["a"] > 0) != (drawn and self._random.random() < wrong)
                said = About(key, time_ns=about.time_ns + 1, kind="label")
                assert writer.append(msgspec.json.encode(said), json.dumps("yes" if right else "no").encode(), b"")
        writer.close()

    def champion(self) -> int:
        with open_store(self.config) as store:
            return registry.find_champion(store, "world").number

    def story(self) -> list[str]:
        with open_store(self.config) as store:
            return [item.result for item in read_history(store, "world") if getattr(item, "kind", "") == "rollout"]

    def command(self, *arguments: str) -> str:
        names = [f"--set={item}" for item in SETTINGS]
        found = CliRunner().invoke(main, ["rollout", *arguments, str(self.config.file), *names], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output


def copy_project(rolled, target) -> None:
    (target / "mlruns").mkdir()
    shutil.copy(rolled / "mlruns" / "mlflow.db", target / "mlruns" / "mlflow.db")
    shutil.copytree(rolled / "artifacts", target / "artifacts")


@pytest.fixture
def start(tmp_path, rolled):
    def build(*overrides: str) -> World:
        copy_project(rolled, tmp_path)
        world = World(tmp_path, *overrides)
        assert world.look().state == "running"
        return world

    return build


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
    assert world.look().step == 1


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
        assert rollouts.find_served(rollouts.read_tags(store, "world"), datetime.now(UTC)).share == 0.6
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
