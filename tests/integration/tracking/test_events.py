import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from mlops_project.cli import main
from mlops_project.promote import promote, rollback
from mlops_project.tracking import events, registry
from mlops_project.tracking.events import EVENT_TAG, find_end, read_events, read_history, record_event
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store

pytestmark = pytest.mark.xdist_group("mlflow")
START = datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.fixture
def config(make):
    bundle, config = make("good")
    log_bundle(bundle, config)
    return config


def test_event_is_read_as_it_was_recorded(config, any_store, make, monkeypatch):
    log_bundle(*make("good"))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    with open_store(config) as store:
        made = record_event(
            store, "cancer", "retraining-ended", 'worse: "ünïcode" →\n so be it', version=1, cause="alert:x", result="refused"
        )
        read = read_events(store, "cancer")[-1]
    assert read == made
    assert (read.kind, read.version, read.user, read.cause, read.result) == ("retraining-ended", 1, "ana", "alert:x", "refused")
    assert read.text == 'worse: "ünïcode" → so be it'


def test_longest_text_fits_into_a_tag_and_is_cut(config):
    with open_store(config) as store:
        event = record_event(store, "cancer", "alert", '"\\' * 3000, cause="c" * 200, user="u" * 100)
        assert read_events(store, "cancer") == [event]
        (tag,) = [value for key, value in store.client.get_registered_model("cancer").tags.items() if EVENT_TAG in key]
    assert len(event.text) == 1000
    assert event.text.endswith("…")
    assert len(tag) < 5000


def test_moves_and_events_are_one_story_in_the_order_of_time(config):
    with open_store(config) as store:
        record_event(store, "cancer", "recovered", "long after", at=datetime.now(UTC) + timedelta(days=1))
        record_event(store, "cancer", "alert", "long before", at=START - timedelta(days=1000))
        story = [getattr(item, "kind", "move") for item in read_history(store, "cancer")]
        assert registry.read_moves(store, "cancer")[0].action == "register"
    assert story == ["alert", "move", "recovered"]


def test_end_of_a_retraining_is_found_by_its_cause_and_time(config):
    with open_store(config) as store:
        for hour, result in enumerate(("failed", "refused")):
            record_event(
                store, "cancer", "retraining-ended", "", cause="alert:x", result=result, at=START + timedelta(hours=hour)
            )
        found = [find_end(store, "cancer", "alert:x", (START + timedelta(minutes=m)).isoformat()) for m in (0, 60, 61)]
        assert find_end(store, "cancer", "alert:y", START.isoformat()) is None
    assert [event and event.result for event in found] == ["refused", "refused", None]


def test_oldest_events_are_deleted_and_moves_never(config, monkeypatch):
    monkeypatch.setattr(events, "KEPT_EVENTS", 5)
    monkeypatch.setattr(events, "SPARE_EVENTS", 2)
    with open_store(config) as store:
        for number in range(8):
            record_event(store, "cancer", "alert", str(number))
        assert [event.text for event in read_events(store, "cancer")] == ["3", "4", "5", "6", "7"]
        assert len(registry.read_moves(store, "cancer")) == 1


def test_writers_at_the_same_time_lose_nothing(config, project):
    program = (  # imports first, so that what is slow happens once
        "import os, sys; from pathlib import Path\n"
        "from mlops_project.config import read_config\n"
        "from mlops_project.tracking.events import record_event\n"
        "from mlops_project.tracking.store import open_store\n"
        "import mlflow.store.tracking.sqlalchemy_store, mlflow.store.model_registry.sqlalchemy_store\n"
        "config = read_config(Path(sys.argv[1]), root=Path(sys.argv[2]), env={})\n"
        "writers = []\n"
        "for writer in range(3):\n"
        "    writers.append(os.fork())\n"
        "    if not writers[-1]:\n"
        "        with open_store(config) as store:\n"
        "            for number in range(10): record_event(store, 'cancer', 'alert', f'{writer} {number}')\n"
        "        os._exit(0)\n"
        "sys.exit(any([os.waitpid(writer, 0)[1] for writer in writers]))\n"
    )
    subprocess.run([sys.executable, "-c", program, config.file, project], check=True, timeout=120)
    with open_store(config) as store:
        texts = {event.text for event in read_events(store, "cancer")}
    assert texts == {f"{writer} {number}" for writer in range(3) for number in range(10)}


def test_history_tells_moves_and_events_as_one_table_and_as_json(config, project, monkeypatch):
    monkeypatch.chdir(project)
    promote(config, "1", force=True, reason="a start")
    with open_store(config) as store:
        record_event(store, "cancer", "alert", "performance-loss since 10:00", version=1)
        record_event(store, "cancer", "retraining-ended", "version 2 is worse", version=2, result="refused")
    table = CliRunner().invoke(main, ["history", str(config.file)]).stdout.splitlines()
    told = [line.strip().split(maxsplit=2)[2] for line in table if line.strip().startswith("20")]
    assert [line.split()[1] for line in told] == ["registered", "promoted", "alert", "retraining-ended"]
    assert "by force: a start" in told[1]
    assert told[3].rstrip().endswith("refused: version 2 is worse")
    story = json.loads(CliRunner().invoke(main, ["history", str(config.file), "--json"]).stdout)
    assert [item["kind"] for item in story] == ["registered", "promoted", "alert", "retraining-ended"]
    assert [item.get("action") for item in story] == ["register", "force", None, None]
    assert story[3]["result"] == "refused"
    assert {item["model"] for item in story} == {"cancer"}


def test_rolled_back_is_told_as_such(config, make):
    promote(config, "1", force=True, reason="a start")
    log_bundle(*make("better"))
    promote(config, "2", force=True, reason="a mistake")
    rollback(config)
    story = json.loads(CliRunner().invoke(main, ["history", str(config.file), "--json"]).stdout)
    assert [item["kind"] for item in story][-1] == "rolled-back"
