"""An alert of the monitor reaches a real receiver when it begins, and once, whatever restarts in between."""

import msgspec
from standardwebhooks import Webhook

from mlops_project.monitor import Monitor
from mlops_project.notifications import sender
from mlops_project.sections import NotificationsConfig
from tests.integration.watched import World, ago
from tests.outboxes import KEPT, SECRET
from tests.receivers import receiving


def notify(world: World, url: str) -> None:
    """Let the world's monitor tell a receiver what one window shows."""
    (world.config.root / KEPT).write_text(SECRET)
    targets = {"ops": {"url": url, "secret": KEPT, "events": ["alert", "recovered"]}}
    told = msgspec.convert({"targets": targets, "allow": ["127.0.0.1"]}, NotificationsConfig)
    soon = msgspec.structs.replace(world.config.monitoring, consecutive=1)
    config = msgspec.structs.replace(world.config, notifications=told, monitoring=soon)
    config.__dict__.update(file=world.config.file, root=world.config.root)
    world.config = config


def test_alert_is_told_once_by_whichever_monitor_comes_to_it(world):
    with receiving() as receiver:
        notify(world, receiver.url)
        for minutes in (10, 8):
            world.monitor = Monitor(world.config, str(world.log))
            world.log_rows(ago(minutes))
            assert world.look()[-1].firing
            world.look()
        first = world.monitor.watcher.store.read("world")[0]
        receiver.wait(len(first.firing))
        for child in sender._children:
            child.wait(60)
    events = [Webhook(SECRET).verify(got.body, got.headers) for got in receiver.got]
    assert {event["data"]["alert"] for event in events} == {alert.name for alert in first.firing}
    assert {(event["type"], event["data"]["model"], event["data"]["window"]["end"]) for event in events} == {
        ("model.alert", "world", first.end)
    }
    assert len(events) == len(first.firing)
    (state,) = world.status["notifications"]
    assert (state["target"], state["waiting"], state["delivered"]) == ("ops", 0, len(events))
