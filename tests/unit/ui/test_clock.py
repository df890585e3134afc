from zoneinfo import ZoneInfo

import pytest

from mlops_project.ui import clock
from mlops_project.ui.language import Translate

RECIFE = ZoneInfo("America/Recife")


@pytest.mark.parametrize(
    ("text", "zone", "local"),
    [
        ("2026-11-23T10:30:05+00:00", RECIFE, "2026-11-23 07:30:05"),
        ("2026-11-23T10:30:00", RECIFE, "2026-11-23 07:30"),
        ("2026-11-23T10:30:00", ZoneInfo("UTC"), ""),
        ("2026-11-23T10:30:00", None, ""),
        ("", RECIFE, ""),
    ],
)
def test_local_time_is_the_visitors(text, zone, local):
    assert clock.to_local(text, zone) == local


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-23T10:30:00", "2026-11-23 10:30 UTC (07:30 here)"),
        ("2026-11-23T01:30:00", "2026-11-23 01:30 UTC (2026-11-22 22:30 here)"),
    ],
)
def test_day_is_told_where_it_is_another(monkeypatch, text, shown):
    monkeypatch.setattr(clock, "find_zone", lambda: RECIFE)
    assert clock.write_moment(text, Translate("en")) == shown


def test_table_has_no_second_column_where_both_are_one(monkeypatch):
    monkeypatch.setattr(clock, "find_zone", lambda: None)
    assert clock.list_moment("When", "2026-11-23T10:30:00", Translate("en")) == {"When": "2026-11-23 10:30"}
