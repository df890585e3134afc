from datetime import datetime, timedelta

import msgspec
import pytest

from mlops_project.config import Config
from mlops_project.sections import MonitoringConfig, PredictionLogConfig
from mlops_project.ui.language import Translate
from mlops_project.ui.monitoring.evaluations import (
    describe_window,
    find_changes_of_version,
    find_first_changes,
    is_stale,
    judge_level,
    link_report,
    list_features,
    list_points,
    list_scores,
    list_shares,
)
from tests.evaluations import NOON, make_alert, make_drift, make_evaluation, make_feature, make_performance


def drifted(name: str, **options):
    return make_feature(name, shift=1.0, **options)


def test_no_evaluation_is_told_from_a_quiet_one():
    assert judge_level(None) == ("none", None)
    assert judge_level(make_evaluation()) == ("quiet", None)


@pytest.mark.parametrize(
    ("names", "windows", "level", "first"),
    [
        (["data-drift"], 1, "changed", "data-drift"),
        (["data-drift"], 2, "drift", "data-drift"),
        (["data-quality"], 3, "drift", "data-quality"),
        (["performance-loss", "data-drift"], 2, "loss", "performance-loss"),
        (["estimated-loss"], 2, "loss", "estimated-loss"),
    ],
)
def test_level_is_that_of_the_gravest_alert(names, windows, level, first):
    found, alert = judge_level(make_evaluation(alerts=[make_alert(name, windows=windows) for name in names]))
    assert (found, alert.name) == (level, first)


def test_alert_that_fires_counts_before_one_that_does_not_yet():
    alerts = [make_alert("performance-loss", windows=1), make_alert("data-drift", windows=5)]
    level, alert = judge_level(make_evaluation(alerts=alerts))
    assert (level, alert.name) == ("drift", "data-drift")


@pytest.mark.parametrize(("minutes", "stale"), [(0, False), (120, False), (124, True), (10_000, True)])
def test_evaluation_is_stale_after_two_windows_and_the_time_to_read_the_log(minutes, stale):
    config = Config(monitoring=MonitoringConfig(every_minutes=60), prediction_log=PredictionLogConfig(segment_seconds=60))
    evaluation = make_evaluation()
    now = datetime.fromisoformat(evaluation.evaluated_at) + timedelta(minutes=minutes)
    assert is_stale(evaluation, config, now) is stale


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (9, ("2026-11-24 11:59:51", "12:00:00")),
        (3600, ("2026-11-24 11:00", "12:00")),
        (86400, ("2026-11-23 12:00", "2026-11-24 12:00")),
    ],
)
def test_window_is_told_as_shortly_as_it_can_be(seconds, words):
    start = (NOON - timedelta(seconds=seconds)).isoformat()
    assert describe_window(msgspec.structs.replace(make_evaluation(), start=start)) == words


def test_line_breaks_where_a_version_begins_or_a_value_is_missing():
    evaluations = [
        make_evaluation(0),
        make_evaluation(1),
        make_evaluation(2, performance=make_performance(None, None)),
        make_evaluation(3),
        make_evaluation(4, version="4"),
        make_evaluation(5, version="4"),
    ]
    points = list_points(evaluations)
    for source in ("live", "estimated"):
        runs = points[points["source"] == source]["run"].tolist()
        assert [runs.index(run) for run in runs] == [0, 0, 2, 3, 3]


def test_only_the_metric_that_is_watched_now_is_followed():
    other = msgspec.structs.replace(make_performance(), metric="accuracy")
    assert len(list_points([make_evaluation(0, performance=other), make_evaluation(1)])) == 2
    assert list_points([make_evaluation(performance=make_performance(None, None))]).empty


def test_shares_follow_the_windows():
    evaluations = [make_evaluation(0), make_evaluation(1, drift=make_drift([drifted("age", weight=0.4)]))]
    shares = list_shares(evaluations)
    assert shares["share"].tolist() == [0, 0.4]
    assert shares["drifted"].tolist() == [False, True]
    assert (shares["end"] - shares["start"]).tolist() == [3_600_000, 3_600_000]


def test_version_changes_are_marked_from_the_evaluations():
    marks = find_changes_of_version([make_evaluation(0), make_evaluation(1, version="4"), make_evaluation(2, version="4")])
    assert [(mark.at, mark.version, mark.kind) for mark in marks] == [(NOON, "4", "promoted")]


def test_first_changes_are_of_the_newest_version_earliest_first():
    evaluations = [
        make_evaluation(0, drift=make_drift([drifted("load")]), version="2"),
        make_evaluation(1, drift=make_drift([make_feature("age"), drifted("load")])),
        make_evaluation(2, drift=make_drift([drifted("age"), drifted("income"), make_feature("load")])),
    ]
    assert list(find_first_changes(evaluations).items()) == [
        ("load", NOON.isoformat()),
        ("age", (NOON + timedelta(hours=1)).isoformat()),
        ("income", (NOON + timedelta(hours=1)).isoformat()),
    ]


def test_features_have_columns_for_their_kinds_alone():
    t = Translate("en")
    numbers = list_features([drifted("age"), make_feature("load")], {"age": "2026-11-24T11:00:00+00:00"}, t)
    assert numbers["First changed"].tolist() == ["2026-11-24 11:00", ""]
    assert numbers["Changed"].tolist() == ["yes", ""]
    assert "Out of range" in numbers
    assert "Unseen" not in numbers
    assert "Out of range" not in list_features([make_feature("city", kind="category")], {}, t)
    assert list(list_scores([drifted("yes")], t)) == ["Feature", "Changed", "Distance", "Tolerated"]


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, ""),
        ({"UI_MONITOR": "http://monitor:8002"}, ""),  # a name that only containers know
        ({"UI_MONITOR": "http://127.0.0.1:8002/"}, "http://127.0.0.1:8002/report/a%20b"),
        ({"UI_MONITOR": "http://localhost:8002"}, "http://localhost:8002/report/a%20b"),
        ({"UI_MONITOR": "http://monitor:8002", "UI_MONITOR_URL": "https://m.example"}, "https://m.example/report/a%20b"),
        ({"UI_MONITOR_URL": "javascript:alert(1)"}, ""),
    ],
)
def test_report_is_linked_only_where_a_browser_finds_it(environment, address):
    assert link_report(environment, "a b") == address
