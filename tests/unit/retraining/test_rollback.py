from datetime import UTC, datetime, timedelta

import pytest

from mlops_project.retraining.attempts import Watch
from mlops_project.retraining.rollback import find_watched, is_look_due
from mlops_project.sections import MonitoringConfig
from mlops_project.tracking.registry import Move, Version

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def move(action: str, source: int | None, target: int, *, hours_ago: float = 1, cause: str = "", alias="champion") -> Move:
    at = (NOW - timedelta(hours=hours_ago)).isoformat()
    return Move(at=at, model="m", alias=alias, action=action, source=source, target=target, user="u", reason="r", cause=cause)


def champion(number: int) -> Version:
    return Version("m", number, ("champion",), "run", "", "", {}, "", "", None, "")


def test_promotion_by_a_retraining_is_watched_for_some_hours():
    moves = [move("promote", None, 1, hours_ago=50), move("promote", 1, 2, cause="alert:x")]
    assert find_watched(moves, champion(2), NOW, watch_hours=24) is moves[1]
    assert find_watched(moves, champion(2), NOW, watch_hours=1) is None
    assert find_watched(moves, champion(2), NOW, watch_hours=0) is None
    assert find_watched([*moves, move("register", 2, 3, alias="challenger")], champion(2), NOW, watch_hours=24) is moves[1]


@pytest.mark.parametrize(
    ("last", "number"),
    [
        (move("promote", 1, 2), 2),  # by a person
        (move("force", 1, 2, cause="x"), 2),
        (move("rollback", 2, 1), 1),
        (move("promote", None, 2, cause="x"), 2),  # nothing to go back to
        (move("promote", 1, 2, cause="x"), 5),  # moved on by other means
    ],
)
def test_other_champions_are_not_watched(last, number):
    assert find_watched([last], champion(number), NOW, watch_hours=24) is None


def test_model_without_champion_is_not_watched():
    assert find_watched([], None, NOW, watch_hours=24) is None
    assert find_watched([move("promote", 1, 2, cause="x")], None, NOW, watch_hours=24) is None


def test_each_look_is_on_twice_the_rows_of_the_one_before_until_all_rows_are_seen():
    settings, looks = MonitoringConfig(min_labels=100, label_rows=1000), []
    watch = Watch(version=2, looks=0, rows=0)
    for rows in [*range(0, 1001, 10), *[1000] * 5]:
        if is_look_due(watch, rows, settings):
            looks.append(rows)
            watch = Watch(version=2, looks=watch.looks + 1, rows=rows)
    assert looks == [100, 200, 400, 800, 1000]
