"""Telling stops nothing, whatever goes wrong; alerts are told when they begin, grow and end, and not in between."""

import json
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import yaml

from mlops_project.config import read_config
from mlops_project.errors import ConfigError
from mlops_project.modeling.origin import public_settings
from mlops_project.monitoring.results import Alert, Drift, Evaluation, Performance
from mlops_project.monitoring.service.metrics import MonitorMetrics
from mlops_project.monitoring.service.notifier import Notifier
from mlops_project.notifications import telling
from mlops_project.notifications.outbox import Outbox
from mlops_project.notifications.telling import find_settings, tell
from tests.outboxes import KEPT, SECRET, write_news
from tests.receivers import receiving


@pytest.fixture
def quiet(monkeypatch) -> list[object]:
    """No sender is started; returns for what one would have been."""
    started: list[object] = []
    monkeypatch.setattr(telling, "start_sender", started.append)
    return started


def configure(tmp_path, url="https://hooks.example.com/x", **target):
    (tmp_path / KEPT).write_text(SECRET)
    settings = {"targets": {"ops": {"url": url, "secret": KEPT} | target}, "allow": ["127.0.0.1"]}
    file = tmp_path / "churn.yaml"
    file.write_text(yaml.safe_dump({"model": {"name": "churn"}, "notifications": settings}))
    return read_config(file, root=tmp_path, env={})


def list_waiting(config) -> list[dict]:
    with Outbox(find_settings(config).folder)._open() as connection:
        return [json.loads(body) for (body,) in connection.execute("SELECT body FROM messages ORDER BY rowid")]


def test_event_goes_to_receivers_that_ask_for_it(tmp_path, quiet):
    config = configure(tmp_path, events=["promoted", "alert"])
    tell(config, write_news("1"), write_news("2", kind="registered"), write_news("3", kind="alert"))
    assert [item["type"] for item in list_waiting(config)] == ["model.promoted", "model.alert"]
    tell(config, write_news("4", kind="registered"))
    assert len(quiet) == 1


def test_nothing_is_written_where_nobody_is_to_be_told(tmp_path, quiet):
    (tmp_path / "m.yaml").write_text("")
    tell(read_config(tmp_path / "m.yaml", root=tmp_path, env={}), write_news())
    assert [path.name for path in tmp_path.iterdir()] == ["m.yaml"]


def test_outbox_that_cannot_be_written_is_logged_and_stops_nothing(tmp_path, quiet, caplog):
    config = configure(tmp_path)
    folder = find_settings(config).folder
    folder.parent.mkdir(parents=True)
    folder.write_text("a file")
    tell(config, write_news())
    assert "nobody can be notified: " in caplog.text
    folder.unlink()
    folder.mkdir()
    (folder / "outbox.db").write_bytes(b"no database" * 1000)
    tell(config, write_news())
    tell(config, write_news())
    assert len(list_waiting(config)) == 1


def test_sender_that_cannot_be_started_stops_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    config = configure(tmp_path)
    tell(config, write_news())
    assert "nobody can be notified: " in caplog.text
    assert len(list_waiting(config)) == 1


def test_telling_waits_for_no_receiver(tmp_path):
    with receiving() as slow:
        slow.answers = ["hang"]
        config = configure(tmp_path, slow.url)
        started = time.monotonic()
        tell(config, write_news())
        seconds = time.monotonic() - started
        slow.wait(1)
        assert not slow.released.is_set()
    assert seconds < 10


ENDS = """
import sys
from pathlib import Path
from mlops_project.config import read_config
from mlops_project.notifications.telling import tell
from tests.outboxes import write_news
tell(read_config(Path(sys.argv[1]), root=Path(sys.argv[1]).parent, env={}), write_news())
"""


def test_command_ends_before_its_sender_without_a_word(tmp_path):
    with receiving() as receiver:
        config = configure(tmp_path, receiver.url)
        command = [sys.executable, "-W", "always", "-c", ENDS, str(config.file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
        receiver.wait(1)
    assert (done.stdout, done.stderr) == ("", "")


def test_dropped_messages_are_said(tmp_path, quiet, caplog):
    config = configure(tmp_path)
    few = msgspec.structs.replace(config.notifications, max_waiting=2)
    changed = msgspec.structs.replace(config, notifications=few)
    changed.__dict__.update(file=config.file, root=config.root)
    tell(changed, *(write_news(str(number)) for number in range(5)))
    assert "3 notifications were dropped: more than notifications.max_waiting (2) waited" in caplog.text


def evaluate(*alerts: Alert, end: str = "2026-11-30T13:00:00+00:00") -> Evaluation:
    return Evaluation(
        model="churn",
        version="3",
        start="2026-11-30T12:00:00+00:00",
        end=end,
        evaluated_at=end,
        rows=500,
        drift=Drift(rows=500, reference_rows=500, features=(), share=0.0, drifted=False, prediction_drifted=False, reason=""),
        performance=Performance(metric="roc_auc"),
        alerts=alerts,
    )


def alarm(name="data-drift", *told: str, firing=True) -> Alert:
    return Alert(name=name, windows=2, firing=firing, since="2026-11-30T11:00:00+00:00", reason="it moved", told=told)


def test_alerts_are_told_when_they_begin_grow_and_end_and_not_in_between(tmp_path, quiet):
    config = configure(tmp_path)
    metrics = MonitorMetrics(config.monitoring)

    def watch(evaluation: Evaluation) -> list[tuple[str, str]]:
        """Show an evaluation to a monitor that was just started, twice; return all that was told until now."""
        metrics.show(evaluation)
        for _ in range(2):
            notifier = Notifier(config, metrics)
            notifier.update()
            notifier.update()
        return [(item["type"], item["data"]["title"]) for item in list_waiting(config)] if quiet else []

    assert watch(evaluate(alarm("data-quality", firing=False))) == []
    began = ("model.alert", "churn version 3: the inputs changed")
    assert watch(evaluate(alarm("data-drift", "age"), end="2026-11-30T14:00:00+00:00")) == [began]
    assert watch(evaluate(alarm("data-drift", "age"), end="2026-11-30T15:00:00+00:00")) == [began]
    grew = ("model.alert", "churn version 3: the inputs changed, now also income")
    grown = evaluate(alarm("data-drift", "age", "income"), end="2026-11-30T16:00:00+00:00")
    assert watch(grown) == [began, grew]
    lost = ("model.alert", "churn version 3: the model lost performance")
    over = ("model.recovered", "churn version 3: no longer so: the inputs changed")
    assert watch(evaluate(alarm("performance-loss"), end="2026-11-30T17:00:00+00:00")) == [began, grew, lost, over]
    assert watch(evaluate(alarm("performance-loss"), end="2026-11-30T18:00:00+00:00")) == [began, grew, lost, over]
    again = evaluate(alarm("performance-loss"), alarm("data-drift", "age"), end="2026-11-30T19:00:00+00:00")
    assert watch(again)[4:] == [began]
    told = list_waiting(config)[-1]["data"]
    assert (told["alert"], told["version"], told["causes"], told["window"]["rows"]) == ("data-drift", "3", ["age"], 500)


def test_monitor_shows_what_waits_and_was_lost(tmp_path, quiet):
    config = configure(tmp_path)
    metrics = MonitorMetrics(config.monitoring)
    tell(config, write_news("1"), write_news("2"))
    with Outbox(find_settings(config).folder).change() as change:
        change.end(write_news("1").id, "ops", "given-up", "it answers 500")
    Notifier(config, metrics).update()
    page = metrics.render().decode()
    assert 'mlops_notifications_waiting{target="ops"} 1.0' in page
    assert 'mlops_notifications_total{result="given-up",target="ops"} 1.0' in page


def test_addresses_and_receivers_of_a_configuration_are_not_in_the_bundle_nor_taken_from_one(tmp_path):
    config = configure(tmp_path, "https://hooks.example.com/secret-path")
    assert "secret-path" not in json.dumps(public_settings(config))
    (tmp_path / "metadata.json").write_text("{}")
    (tmp_path / "config.yaml").write_text((tmp_path / "churn.yaml").read_text())
    assert read_config(tmp_path / "config.yaml", root=tmp_path, env={}).notifications.targets == {}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("{ops: {url: 'ftp://x/'}}", "an https:// address"),
        ("{ops: {url: 'https://user:password@x/'}}", "without user and password"),
        ("{ops: {url: 'https://x/', secret: whsec_abc}}", "does not belong into a configuration"),
        ("{ops: {url: 'https://x/', events: [promote]}}", "did you mean 'promoted'"),
        ("{ops: {url: 'https://x/', format: teams}}", "one of json, slack, email"),
        ("{ops: {link: 'https://x/'}}", "notifications.targets.ops.link: unknown key"),
        ("{ops: 1}", "expected a section with: url, format"),
    ],
)
def test_mistake_in_a_receiver_is_named_with_what_is_expected(setting, said, tmp_path):
    (tmp_path / "m.yaml").write_text(f"notifications: {{targets: {setting}}}")
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "m.yaml", root=tmp_path, env={})
    assert said in str(caught.value)
