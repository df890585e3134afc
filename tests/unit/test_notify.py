"""``mlops notify``: a receiver is tried, what waits is shown and sent, a secret is made."""

import json

import pytest
import yaml
from click.testing import CliRunner
from standardwebhooks import Webhook

from mlops_project.cli import main
from mlops_project.config import read_config
from mlops_project.doctor import examine
from mlops_project.notifications import telling
from mlops_project.notifications.telling import tell
from tests.outboxes import write_news
from tests.receivers import receiving

MADE = "ops.secret"


@pytest.fixture
def receiver():
    with receiving() as found:
        yield found


@pytest.fixture
def ask(tmp_path, receiver, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(telling, "start_sender", lambda _: None)
    run = CliRunner().invoke
    assert run(main, ["notify", "--new-secret", "ops.secret"]).exit_code == 0
    targets = {"ops": {"url": receiver.url, "secret": MADE}, "chat": {"url": receiver.url, "format": "slack"}}
    settings = {"targets": targets, "allow": ["127.0.0.1"]}
    (tmp_path / "churn.yaml").write_text(yaml.safe_dump({"model": {"name": "churn"}, "notifications": settings}))
    return lambda *words: run(main, ["notify", "churn.yaml", *words])


def test_secret_is_for_its_owner_and_never_replaced(ask, tmp_path):
    assert (tmp_path / "ops.secret").stat().st_mode & 0o777 == 0o600
    again = CliRunner().invoke(main, ["notify", "--new-secret", "ops.secret"])
    assert (again.exit_code, "is not replaced" in again.stderr) == (2, True)


def test_every_receiver_is_tried_and_one_that_does_not_take_it_is_named(ask, receiver, tmp_path):
    done = ask("--test")
    assert done.exit_code == 0, done.output
    assert [line.split(" taken after ")[0] for line in done.stdout.splitlines()] == ["chat:", "ops:"]
    event = Webhook((tmp_path / "ops.secret").read_text().strip()).verify(receiver.got[1].body, receiver.got[1].headers)
    assert (event["type"], event["data"]["model"]) == ("test", "churn")
    receiver.answers = [403]
    one = ask("--test", "--target", "chat")
    assert (one.exit_code, one.stdout) == (1, "chat: not taken: it answers 403\n")
    unknown = ask("--test", "--target", "nobody")
    assert (unknown.exit_code, "notifications.targets has no 'nobody'; there are: chat, ops" in unknown.stderr) == (2, True)
    nobody = CliRunner().invoke(main, ["notify", "--test"])
    assert (nobody.exit_code, "notifications.targets is empty" in nobody.stderr) == (2, True)


def test_what_waits_is_shown_and_sent(ask, receiver, tmp_path):
    assert ask().stdout == "nothing was sent yet\n"
    config = read_config(tmp_path / "churn.yaml", root=tmp_path, env={})
    tell(config, write_news("1"))
    assert "ops: 1 waiting since " in ask().stdout
    receiver.answers = [500, 500]
    refused = ask("--send", "0.1")
    assert refused.exit_code == 1
    assert "last problem: it answers 500" in refused.stdout
    checks = {check.name: check for check in examine(config) if check.name.startswith("notifications")}
    assert (checks["notifications to ops"].status, "it answers 500" in checks["notifications to ops"].seen) == ("note", True)
    assert ask("--send", "30").exit_code == 0
    states = json.loads(ask("--json").stdout)
    assert [(item["target"], item["waiting"], item["delivered"]) for item in states] == [("chat", 0, 1), ("ops", 0, 1)]
    (tmp_path / "ops.secret").unlink()
    checks = {check.name: check for check in examine(config) if check.name.startswith("notifications")}
    assert [checks[f"notifications to {name}"].status for name in ("ops", "chat")] == ["problem", "ok"]
