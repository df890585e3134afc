"""An outbox of tests, its receivers as the configuration has them, and a sender that starts anew as often as a test likes."""

from pathlib import Path
from typing import Any

import msgspec

from mlops_project.notifications.news import News, write_body
from mlops_project.notifications.outbox import Message, Outbox, TargetState
from mlops_project.notifications.secrets import create_secret
from mlops_project.notifications.sender import Sender, Settings
from mlops_project.sections import NotificationsConfig

SECRET, KEPT = create_secret(), "kept.txt"  # a secret, and the file that holds it
AT = "2026-11-30T12:00:00+00:00"


def write_news(key: str = "1", **changes: Any) -> News:
    given = {"kind": "promoted", "model": "churn", "title": f"event {key}", "text": "why", "at": AT, "key": key}
    return News(**given | changes)


class Post:
    """An outbox and its receivers, as the configuration has them."""

    def __init__(self, root: Path, targets: dict[str, dict[str, Any]], **settings: Any) -> None:
        (root / KEPT).write_text(SECRET)
        given = {"targets": targets, "allow": ["127.0.0.0/8"], "timeout_seconds": 5.0} | settings
        self.settings = Settings(root / "outbox", root, msgspec.convert(given, NotificationsConfig))
        self.outbox = Outbox(self.settings.folder)

    def add(self, *keys: str) -> list[str]:
        news = [write_news(key) for key in keys]
        messages = [
            Message(item.id, name, item.title, write_body(item, target.format))
            for item in news
            for name, target in self.settings.notifications.targets.items()
        ]
        with self.outbox.change() as change:
            change.add(messages, self.settings.notifications.max_waiting)
        return [item.id for item in news]

    def send(self) -> None:
        """Send as a sender does that was just started, whatever was to wait."""
        with self.outbox.change() as change:
            change.hurry()
        Sender(self.settings).send_due()

    def state(self, name: str = "ops") -> TargetState:
        return next(state for state in self.outbox.read() if state.target == name)
