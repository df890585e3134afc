"""Telling: an event → the outbox, for every receiver that asks for such. Whatever goes wrong is logged, and stops nothing."""

import logging
import sqlite3
from collections.abc import Callable, Iterable

from mlops_project.config import Config
from mlops_project.notifications.news import News, write_body
from mlops_project.notifications.outbox import Change, Message, Outbox
from mlops_project.notifications.sender import Settings, start_sender

logger = logging.getLogger(__name__)


def find_settings(config: Config) -> Settings:
    """Return what a sender needs to know."""
    return Settings(config.notifications_dir / config.model.name, config.root, config.notifications)


def tell(config: Config, *news: News) -> None:
    """Put events into the outbox, and see to it that they are sent. Never raises, and never waits for a receiver."""
    if config.notifications.targets and news:
        _write(config, lambda _: news)


def tell_alerts(config: Config, model: str, firing: dict[str, str], write: Callable[[dict[str, str]], Iterable[News]]) -> None:
    """Tell which alerts began and which are over since receivers were told last. Never raises.

    Parameters
    ----------
    firing
        Alerts that fire now → what there is to know of each.
    write
        Alerts that receivers know to be on, and what of each → the events.
    """
    if not config.notifications.targets:
        return

    def build(change: Change) -> list[News]:
        before = change.read_told(model)
        if before == firing:
            return []
        change.note_told(model, firing)
        return list(write(before))

    _write(config, build)


def _write(config: Config, build: Callable[[Change], Iterable[News]]) -> None:
    settings, messages = find_settings(config), list[Message]()
    try:
        with Outbox(settings.folder).change() as change:
            messages = [message for news in build(change) for message in address(config, news)]
            dropped = change.add(messages, config.notifications.max_waiting)
        if dropped:
            said = "%d notifications were dropped: more than notifications.max_waiting (%d) waited for a receiver"
            logger.warning(said, dropped, config.notifications.max_waiting)
        if messages:
            start_sender(settings)
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        logger.warning("nobody can be notified: %s: %s", settings.folder, error)


def address(config: Config, news: News) -> list[Message]:
    """Return an event's message for each receiver that asks for such."""
    return [
        Message(news.id, name, news.title, write_body(news, target.format))
        for name, target in config.notifications.targets.items()
        if not target.events or news.kind in target.events
    ]
