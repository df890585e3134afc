from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest

from mlops_project.monitoring.alerts import decide_alerts, find_changes
from mlops_project.monitoring.results import Reason
from mlops_project.sections import MonitoringConfig
from tests.evaluations import make_alert, make_drift, make_evaluation, make_feature, make_performance, say_so

SETTINGS = MonitoringConfig(consecutive=3)
DRIFTED = make_drift([make_feature("age", shift=1)])
QUIET = make_drift([make_feature("age")])


def follow(drifts, settings=SETTINGS, performance=None):
    """Evaluate windows one after the other; return their evaluations."""
    evaluations = []
    for hour, drift in enumerate(drifts):
        start = make_evaluation(hour).start
        alerts = decide_alerts(drift, performance or make_performance(), evaluations, settings, start)
        evaluations.append(make_evaluation(hour, drift=drift, alerts=alerts))
    return evaluations


def test_alert_fires_from_the_last_of_so_many_windows_in_a_row_on():
    evaluations = follow([QUIET, DRIFTED, DRIFTED, DRIFTED, DRIFTED])
    assert [[(alert.windows, alert.firing) for alert in item.alerts] for item in evaluations] == [
        [],
        [(1, False)],
        [(2, False)],
        [(3, True)],
        [(4, True)],
    ]
    assert {alert.since for item in evaluations[1:] for alert in item.alerts} == {evaluations[1].start}


def test_quiet_window_in_between_starts_the_count_anew():
    evaluations = follow([DRIFTED, DRIFTED, QUIET, DRIFTED, DRIFTED])
    assert not any(item.firing for item in evaluations)
    assert evaluations[-1].alerts[0].windows == 2
    assert evaluations[-1].alerts[0].since == evaluations[3].start


def test_one_window_is_enough_where_the_settings_say_so():
    (evaluation,) = follow([DRIFTED], MonitoringConfig(consecutive=1))
    assert [alert.name for alert in evaluation.firing] == ["data-drift"]


def test_no_earlier_evaluation_of_this_version_starts_the_count_anew():
    (alert,) = decide_alerts(DRIFTED, make_performance(), [], SETTINGS, "2026-11-24T11:00:00+00:00")
    assert (alert.windows, alert.firing, alert.since) == (1, False, "2026-11-24T11:00:00+00:00")


def test_each_kind_of_wrong_is_an_alert_of_its_own_the_gravest_first_with_its_reason():
    features = [make_feature("age", shift=1), make_feature("bmi", quality=("5% missing, 0.5% in the reference",))]
    drift = make_drift(features, scores=[make_feature("yes", shift=1)], reason="age changed")
    lost = make_performance(0.8, lost=True)
    alerts = decide_alerts(drift, lost, [], SETTINGS, "2026-11-24T11:00:00+00:00")
    assert [alert.name for alert in alerts] == ["performance-loss", "data-drift", "prediction-drift", "data-quality"]
    reasons = {alert.name: alert.reason for alert in alerts}
    assert reasons["performance-loss"] == lost.reason
    assert reasons["data-drift"] == "age changed"
    assert "yes" in reasons["prediction-drift"]
    assert reasons["data-quality"] == "bmi: 5% missing, 0.5% in the reference"


def test_reason_of_a_loss_is_the_part_that_says_it():
    reasons = {"live_reason": say_so("few labels; more are needed"), "estimated_reason": say_so("estimated: lost")}
    performance = msgspec.structs.replace(make_performance(), estimated_lost=True, **reasons)
    (alert,) = decide_alerts(QUIET, performance, [], SETTINGS, "2026-11-24T11:00:00+00:00")
    assert (alert.name, alert.reason) == ("estimated-loss", "estimated: lost")


def test_drift_that_the_rows_together_show_is_told_before_the_few_features_that_are_not_enough():
    few = Reason(kind="few-features-drifted", values={"drifted": 1, "features": 9, "share": 0.01, "limit": 0.05, "named": ()})
    together = Reason(kind="rows-told-apart", values={"auc": 0.7, "threshold": 0.6, "names": "age"})
    drift = msgspec.structs.replace(DRIFTED, reasons=(together, few))
    (alert,) = decide_alerts(drift, make_performance(), [], SETTINGS, "2026-11-24T11:00:00+00:00")
    assert alert.reasons == (together,)
    assert "under the 5% that matter" not in alert.reason


def test_many_faulty_features_are_named_in_part():
    drift = make_drift([make_feature(f"x{number}", quality=("null",)) for number in range(9)])
    (alert,) = decide_alerts(drift, make_performance(), [], SETTINGS, "2026-11-24T11:00:00+00:00")
    assert alert.reason == "x0: null; x1: null; x2: null and 6 more"


@pytest.mark.parametrize(
    ("before", "now", "began", "over"),
    [
        ([], ["data-drift"], ["data-drift"], []),
        (["data-drift"], ["data-drift"], [], []),
        (["data-drift"], [], [], ["data-drift"]),
        (["data-drift"], ["data-quality"], ["data-quality"], ["data-drift"]),
    ],
)
def test_change_is_what_fires_now_and_did_not_or_did_and_does_not(before, now, began, over):
    then = make_evaluation(0, alerts=[make_alert(name) for name in before])
    changes = find_changes(then, make_evaluation(1, alerts=[make_alert(name) for name in now]))
    assert [alert.name for alert in changes.began] == began
    assert [alert.name for alert in changes.over] == over


def test_alert_that_does_not_fire_yet_is_no_change():
    assert find_changes(None, make_evaluation(alerts=[make_alert(windows=1)])) == ((), (), ())


def test_a_change_that_stands_does_not_hide_the_next_one():
    both = make_drift([make_feature("age", shift=1), make_feature("bmi", shift=1)])
    found = follow([DRIFTED, DRIFTED, DRIFTED, both, both, both, DRIFTED, both])
    told = [find_changes(*pair).grown for pair in pairwise(found)]
    assert [[causes for _, causes in grown] for grown in told] == [[], [], [], [], [("bmi",)], [], []]
    assert [alert.told for one in found for alert in one.alerts][2:6] == [("age",), ("age",), ("age",), ("age", "bmi")]
    earlier = msgspec.structs.replace(found[3], alerts=[make_alert()])  # of an earlier release: it does not say what was told
    assert find_changes(earlier, found[4]).grown == ()


def test_a_fault_that_stands_does_not_hide_another_feature_s():
    def look(*names):
        return make_drift([make_feature(name, quality=("null",)) for name in names])

    found = follow([look("bmi")] * 3 + [look("bmi", "age")] * 3)
    assert [causes for _, causes in find_changes(found[-2], found[-1]).grown] == [("age: said",)]


def test_lost_metric_counts_for_a_window_only_if_labels_came_since():
    lost = make_performance(lost=True)
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    delivery = [noon] * 100  # one delivery, on which every later window looks back

    def look(previous, came):
        (alert,) = decide_alerts(make_drift(), lost, previous, MonitoringConfig(), "2026-11-24T12:00:00+00:00", came=came)
        return alert

    first = look([], delivery)
    again = look([make_evaluation(alerts=(first,), performance=lost)], delivery)
    few = look([make_evaluation(alerts=(again,), performance=lost)], [*delivery[5:], *[noon + timedelta(hours=1)] * 5])
    more = look([make_evaluation(alerts=(few,), performance=lost)], [*delivery[15:], *[noon + timedelta(hours=2)] * 15])
    assert [alert.windows for alert in (first, again, few, more)] == [1, 1, 1, 2]
    assert [alert.firing for alert in (first, again, few, more)] == [False, False, False, True]
