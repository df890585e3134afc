"""What a roll-out goes by, on a real registry and a real log: labels, estimates, neither; and what is said of it."""

import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.canary import outcomes
from mlops_project.canary.guard import Guard
from mlops_project.notifications.outbox import Outbox
from mlops_project.notifications.telling import find_settings
from mlops_project.tracking import registry, rollouts
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from tests.integration.tracking.production import write_project
from tests.integration.tracking.rolled import SETTINGS, World, copy_project
from tests.integration.tracking.stores import reseal

pytestmark = pytest.mark.xdist_group("mlflow")


def read_bundles(world) -> dict:
    bundle = load_bundle(world.config.model_dir)
    return {"2": bundle, "1": bundle}


def test_only_one_variants_labels_of_a_time_do_not_count(start, monkeypatch):
    world = start()
    world.serve(600, labels=True)
    rollout, bundles = world.look(), read_bundles(world)
    whole = outcomes.read_labelled(world.monitor.watcher.reader, "world", rollout, bundles, bundles["1"])
    assert sum(len(part.ids) for part in whole) == 600
    monkeypatch.setattr(outcomes, "MAX_LABELLED", 150)
    ours, theirs = outcomes.read_labelled(world.monitor.watcher.reader, "world", rollout, bundles, bundles["1"])
    assert len(theirs.ids) == 150  # of three times as many
    begin = min(theirs.ids)[:12]  # its millisecond, which is what the log keeps
    assert sorted(ours.ids) == sorted(key for key in whole[0].ids if key[:12] >= begin)
    assert 30 < len(ours.ids) < 100


def test_only_one_variants_estimates_of_a_time_do_not_count(start, monkeypatch):
    world = start()
    world.serve(600)
    rollout, bundles = world.look(), read_bundles(world)
    monkeypatch.setattr(outcomes, "MAX_ESTIMATED", 100)
    known, now = outcomes.find_calibrators(bundles), datetime.now(UTC) + timedelta(days=1)
    ours, theirs = outcomes.read_estimated(world.monitor.watcher.reader, "world", rollout, bundles, known, now)
    assert 100 <= len(theirs.ids) < 110  # those of its last millisecond as well
    assert 20 < len(ours.ids) < 80
    assert max(ours.ids)[:12] <= max(theirs.ids)[:12]


def test_model_without_labels_is_judged_by_estimates_and_by_nothing_if_a_label_ever_came(start):
    world = start()
    world.serve(1000)
    climbed = world.look()
    assert (climbed.share, "wrong answers as estimated without labels" in climbed.said) == (0.6, True), climbed.said
    world.serve(5, labels=True)
    world.serve(900)
    waits = world.look()
    assert (waits.state, waits.step) == ("running", 1)
    assert "wrong answers by labels: not yet shown to be at most 5.00% more" in waits.said


def test_labels_are_waited_for_if_they_are_required_and_not_if_they_only_refute(start):
    world = start("rollout.evidence=required")
    world.serve(1000)
    assert "wrong answers by labels: not yet shown to be at most 8.33% more than the champion's; 0 of its" in world.look().said
    world.config = write_project(world.config.root, *SETTINGS, "rollout.evidence=until-refuted")
    world.restart()
    climbed = world.look()
    assert (climbed.share, "(rollout.evidence: until-refuted)" in climbed.said) == (0.6, True), climbed.said


def test_key_column_that_the_model_has_not_is_said(start):
    world = start("rollout.key_column=customer")
    assert "rollout.key_column 'customer' is no column of the model, so no request takes part" in world.look().said


def test_bundle_that_is_not_to_be_had_lets_the_roll_out_wait_and_is_said(start):
    world = start()
    world.serve(1000)
    guard = Guard(world.config, world.monitor.watcher.reader, lambda *_: None)
    world.monitor.watcher.read_log()
    waits = guard.check()
    assert (waits.step, "the bundle of version 2 is not to be had, so nothing is known of answers" in waits.said) == (0, True)


def test_version_that_answers_another_question_is_not_rolled_out_and_it_is_said(start):
    world = start()
    world.command("abort")
    assert world.look().state == "aborted"
    bundle = load_bundle(world.config.model_dir)
    (bundle.path / "tracking.json").unlink()
    other = msgspec.structs.replace(bundle.contract, target="down")
    number = log_bundle(reseal(bundle, contract=other), world.config).model_version
    world.command("start", "--version", str(number))
    done = world.look()
    assert (done.state, done.version) == ("ended", number)
    assert done.said.startswith("it cannot be rolled out: its target was 'up' and is 'down' now")
    with open_store(world.config) as store:
        assert rollouts.find_served(rollouts.read_tags(store, "world"), datetime.now(UTC)) is None
        assert registry.find_champion(store, "world").number == 1


def test_clock_of_the_monitor_that_is_far_ahead_takes_the_requests_away_until_it_is_right_again(start):
    world = start()
    world.monitor.guard.check(datetime.now(UTC) + timedelta(hours=1))
    with open_store(world.config) as store:
        assert rollouts.find_served(rollouts.read_tags(store, "world"), datetime.now(UTC)) is None
        shown = " ".join(world.command("status").split())
        assert re.search(r"clock is 3\d+ s ahead of this machine's; the champion answers everything until they agree", shown)
        assert world.look().state == "running"
        assert rollouts.find_served(rollouts.read_tags(store, "world"), datetime.now(UTC)).share == 0.3


def test_steps_and_the_end_are_told_to_the_receivers_of_notifications_once(start, monkeypatch):
    monkeypatch.setattr("mlops_project.notifications.telling.start_sender", lambda _: None)  # they stay in the outbox
    monkeypatch.setenv("OPS_URL", "https://hooks.example.com")
    target = json.dumps({"url": "env:OPS_URL", "format": "json", "secret": "env:OPS_SECRET"})
    world = start(f"notifications.targets.ops={target}")
    world.serve(1000, labels=True)
    world.look()
    world.serve(600, fails=0.5)
    world.restart()
    assert world.look().state == "back"
    world.look()
    with sqlite3.connect(Outbox(find_settings(world.config).folder).file) as connection:
        bodies = [json.loads(body) for (body,) in connection.execute("SELECT body FROM messages ORDER BY created, rowid")]
    told = [(body["type"], body["data"]["result"], body["data"]["share"]) for body in bodies]
    assert told == [
        ("model.rollout_step", "started", 0.3),
        ("model.rollout_step", "climbed", 0.6),
        ("model.rollout_ended", "back", 0.0),
    ]
    assert bodies[-1]["data"]["title"] == "world: version 2 went back in its roll-out, and version 1 answers everything"
    assert "requests that it could not answer" in bodies[-1]["data"]["text"]
    assert bodies[-1]["data"]["user"] == "mlops monitor"


def test_status_says_why_no_roll_out_begins(tmp_path, rolled):
    copy_project(rolled, tmp_path)
    world = World(tmp_path)

    def say() -> str:
        return " ".join(world.command("status").split())

    assert "there was no roll-out yet; the monitor begins with version 2 in its next round: the gate says better" in say()
    assert world.add_version("worse") == 3
    assert "no roll-out yet; the gate refused version 3: it is good" in say()
    assert world.add_version("") == 4
    assert "nobody asked the gate about version 4; `mlops promote --dry-run` does" in say()
    assert world.add_version() == 5
    world.look()
    world.command("abort")
    assert world.look().state == "aborted"
    assert "another one: version 5 was rolled out before; `mlops rollout start --version 5` begins again" in say()
