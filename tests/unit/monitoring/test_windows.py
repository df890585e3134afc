from datetime import UTC, datetime, timedelta

import pytest

from mlops_project.monitoring.windows import MARGIN, Pending, list_pending
from mlops_project.sections import PredictionLogConfig

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTINGS = PredictionLogConfig(segment_seconds=300)


def pending(*ages: tuple[float, bool], is_local: bool = True) -> Pending:
    """Return segments that were begun so many seconds ago, closed or not."""
    begun = {f"s{number}": (NOW - timedelta(seconds=age), closed) for number, (age, closed) in enumerate(ages)}
    return Pending(NOW, begun, is_local)


def seconds_back(found: Pending) -> float:
    return (NOW - MARGIN - found.find_watermark(SETTINGS)).total_seconds()


def test_all_read_is_complete_up_to_now():
    assert seconds_back(pending()) == 0
    assert pending().lag_seconds == 0


def test_oldest_segment_that_is_not_read_ends_what_is_complete():
    assert seconds_back(pending((120, False), (200, False), (5, True))) == 200


def test_segment_that_was_read_since_no_longer_counts():
    found = pending((120, False), (200, True)).without({"s1"})
    assert seconds_back(found) == 120


@pytest.mark.parametrize(("age", "closed", "back"), [(355, False, 355), (365, False, 0), (3900, True, 3900), (4000, True, 0)])
def test_segment_is_not_waited_for_for_ever(age, closed, back):
    assert seconds_back(pending((age, closed))) == back


def test_object_store_shows_no_open_segments_so_their_longest_age_is_left_out():
    assert seconds_back(pending(is_local=False)) == 360


def test_lag_is_the_age_of_the_oldest_closed_segment():
    assert pending((900, False), (30, True), (70, True)).lag_seconds == 70


def test_segments_are_listed_by_their_names_alone(tmp_path):
    segments = ("20261124T115500-host-1-1.open", "20261124T115000-host-2-3.log", "20261124T114000-host-2-2.log")
    for name in (*segments, ".id-key", "x.log"):
        (tmp_path / name).touch()
    found = list_pending(str(tmp_path), {"20261124T114000-host-2-2"})
    assert found.begun == {
        "20261124T115500-host-1-1": (datetime(2026, 11, 24, 11, 55, tzinfo=UTC), False),
        "20261124T115000-host-2-3": (datetime(2026, 11, 24, 11, 50, tzinfo=UTC), True),
    }
    assert found.is_local
    assert list_pending(str(tmp_path / "nothing"), set()).begun == {}
