"""What happens to a model in the registry reaches a real receiver, sent by a process that the commands leave behind."""

import json

import pytest
from standardwebhooks import Webhook

from mlops_project.approve import approve
from mlops_project.config import read_config
from mlops_project.modeling.gate import Decision
from mlops_project.notifications import sender
from mlops_project.notifications.outbox import Outbox
from mlops_project.notifications.secrets import create_secret
from mlops_project.notifications.telling import find_settings
from mlops_project.promote import promote, rollback, tell_refusal
from mlops_project.tracking import registry
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from tests.integration.tracking.stores import reseal
from tests.receivers import Receiver, receiving

pytestmark = pytest.mark.xdist_group("mlflow")
SECRET, PLACE = create_secret(), "env:OPS_SECRET"


@pytest.fixture
def receiver():
    with receiving() as found:
        yield found
    for child in sender._children:
        child.wait(60)
    sender._children.clear()


@pytest.fixture
def told(make, receiver, monkeypatch):
    """The project with a receiver, and its bundle."""
    bundle, plain = make("good")
    monkeypatch.setenv("OPS_SECRET", SECRET)
    target = {"url": receiver.url, "secret": PLACE}
    settings = ["gates.approval=required", f"notifications.targets.ops={json.dumps(target)}", "notifications.allow=[127.0.0.1]"]
    return bundle, read_config(plain.file, root=plain.root, overrides=settings, env={})


def read(receiver: Receiver, number: int) -> list[dict]:
    return [Webhook(SECRET).verify(got.body, got.headers) for got in receiver.wait(number)]


def test_every_step_of_a_version_is_told_once_in_its_order(told, receiver, monkeypatch):
    bundle, config = told
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    log_bundle(bundle, config)
    promote(config, "1", force=True, reason="first")
    promote(config, "1", force=True, reason="first")  # asked for again: it is known to wait
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    approve(config, "1", reason="read")
    promote(config, "1", force=True, reason="first")
    (bundle.path / "tracking.json").unlink()
    log_bundle(reseal(bundle, created_at="2026-01-01T00:00:02+00:00"), config)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "eve")
    approve(config, "2")
    promote(config, "2", force=True, reason="second")
    rollback(config, reason="complaints")
    approve(config, "2", refuse=True, reason="complaints")
    events = read(receiver, 9)
    assert [(item["type"].removeprefix("model."), item["data"]["version"], item["data"]["user"]) for item in events] == [
        ("registered", 1, "bob"),
        ("approval_wanted", 1, "bob"),
        ("approved", 1, "ana"),
        ("promoted", 1, "ana"),
        ("registered", 2, "ana"),
        ("approved", 2, "eve"),
        ("promoted", 2, "eve"),
        ("rolled_back", 1, "eve"),
        ("refused", 2, "eve"),
    ]
    assert events[3]["data"]["title"] == "cancer: version 1 is champion"
    assert events[7]["data"]["title"] == "cancer: back to version 1, was version 2"
    assert (events[7]["data"]["text"], events[7]["data"]["previous_version"]) == ("complaints", 2)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == len(receiver.got)


def test_refusal_of_the_gate_is_told_once_and_what_passes_is_none(told, receiver):
    bundle, config = told
    log_bundle(bundle, config)
    with open_store(config) as store:
        version = registry.find_version(store, "cancer", "1")
        for decision in (
            Decision(promote=False, verdict="worse", reason="worse: ROC AUC 0.7"),
            Decision(promote=False, verdict="worse", reason="worse: ROC AUC 0.7"),
            Decision(promote=False, verdict="identical", reason="as the champion"),
            Decision(promote=True, verdict="better", reason="better"),
        ):
            tell_refusal(store, version, decision)
        registry.finish_move(store, registry.read_moves(store, "cancer")[0])  # a move that was told
    events = read(receiver, 2)
    assert [(item["type"], item["data"]["title"]) for item in events] == [
        ("model.registered", "cancer: version 1 is registered"),
        ("model.refused", "cancer: the gate refused version 1"),
    ]
    for child in sender._children:
        child.wait(60)
    (state,) = Outbox(find_settings(config).folder).read()
    assert (state.delivered, state.waiting, len(receiver.got)) == (2, 0, 2)


def test_receiver_that_is_down_stops_no_promotion(told, receiver):
    bundle, config = told
    receiver.close()
    log_bundle(bundle, config)
    with open_store(config) as store:
        assert [move.action for move in registry.read_moves(store, "cancer")] == ["register"]
    for child in sender._children:
        child.kill()
        child.wait()
    (state,) = Outbox(find_settings(config).folder).read()
    assert state.waiting == 1
