"""What there is to tell, and how it is written: as an event, for a chat, for a mail."""

import hashlib
import html
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from mlops_project.names import show
from mlops_project.sections.notifications import EventName

TYPES: dict[EventName | Literal["test"], str] = {
    "registered": "model.registered",
    "promoted": "model.promoted",
    "rolled-back": "model.rolled_back",
    "refused": "model.refused",
    "approval-wanted": "model.approval_wanted",
    "approved": "model.approved",
    "rollout-step": "model.rollout_step",
    "rollout-ended": "model.rollout_ended",
    "alert": "model.alert",
    "recovered": "model.recovered",
    "test": "test",
}
MAX_TITLE, MAX_TEXT = 180, 4000  # characters: a mail's subject; receivers are asked to expect 20 kB


class News(msgspec.Struct, frozen=True, kw_only=True):
    """One event.

    Attributes
    ----------
    kind, model
        What happened to which registered model.
    title, text
        In one line, and why, in words.
    at
        When; ISO 8601 with a time zone.
    key
        The same for the same event, however often it is told.
    data
        More of it, as JSON takes it, such as ``version``.
    """

    kind: EventName | Literal["test"]
    model: str
    title: str
    text: str
    at: str
    key: str
    data: Mapping[str, Any] = {}

    @property
    def id(self) -> str:
        """The event's id, by which receivers drop repeats: no dots, and the same in every process."""
        return "msg_" + hashlib.sha256("\0".join((self.kind, self.model, self.key)).encode()).hexdigest()[:32]


def write_body(news: News, form: Literal["json", "slack", "email"]) -> bytes:
    """Return the body of a message."""
    title, text = show(news.title, MAX_TITLE), show(news.text, MAX_TEXT)
    if form == "slack":
        return msgspec.json.encode({"text": f"*{_escape_slack(title)}*\n{_escape_slack(text)}"})
    event: dict[str, Any] = {
        "type": TYPES[news.kind],
        "timestamp": news.at,
        "data": {"model": news.model, "title": title, "text": text, **news.data},
    }
    if form == "email":
        event |= {
            "subject": title,
            "text": f"{title}\n\n{text}\n",
            "html": f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(text)}</p>\n",
        }
    return msgspec.json.encode(event)


def _escape_slack(text: str) -> str:
    """Escape what Slack reads as a link or as a call of everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
