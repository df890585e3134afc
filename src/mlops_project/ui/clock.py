"""Times as the visitor's browser has them, beside UTC."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from mlops_project.ui.format import format_moment
from mlops_project.ui.language import Translate


def find_zone() -> ZoneInfo | None:
    """Return the browser's time zone; None if it does not say, or this machine does not know it."""
    name = st.context.timezone
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def to_local(text: str, zone: ZoneInfo | None) -> str:
    """Return when it was by the visitor's clock, as ``format_moment`` writes it; empty if that is UTC, or nobody knows.

    Parameters
    ----------
    text
        ISO 8601; without an offset it is UTC.
    zone
        From ``find_zone``.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    instant = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if zone is None:
        return ""
    local = instant.astimezone(zone)
    return format_moment(local.isoformat()) if local.utcoffset() else ""


def write_moment(text: str, t: Translate, *, minutes: bool = False) -> str:
    """Return an instant in UTC and, where the visitor's clock shows another time, in local time: ``… UTC (12:30 here)``.

    Parameters
    ----------
    text
        ISO 8601; without an offset it is UTC.
    t
        The visitor's language.
    minutes
        Whether to leave seconds out.
    """
    length = 16 if minutes else 19
    shown, local = format_moment(text)[:length], to_local(text, find_zone())[:length]
    if not local:
        return f"{shown} UTC"
    same_day = local[:10] == shown[:10] and len(local) > 10
    return f"{shown} UTC ({t('here', time=local[11:] if same_day else local)})"


def list_moment(title: str, text: str, t: Translate) -> dict[str, str]:
    """Return an instant as cells of a table's row: UTC under ``title``, and local time beside it if that is another."""
    zone = find_zone()
    local = to_local(text, zone)
    return {title: format_moment(text)} | ({t("local.time"): local} if local else {})
