import msgspec
import pytest

from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.reasons import ENGLISH, FORMATS, SEPARATORS, Words, say, shorten_list
from mlops_project.monitoring.results import Alert, Reason
from mlops_project.sections import MonitoringConfig
from tests.evaluations import make_drift, make_feature, make_performance, say_so


def test_reason_is_said_with_its_values():
    moved = Reason(kind="score-moved", values={"name": "yes", "distance": 0.12345, "threshold": 0.1})
    reason = Reason(kind="scores-moved", values={"named": (moved, moved)})
    assert say(reason) == "the scores moved: yes (0.123, tolerated 0.100), yes (0.123, tolerated 0.100)"


def test_every_reason_has_its_own_words_and_they_are_joined():
    few = Reason(kind="live-few", values={"rows": 1234, "needed": 5000})
    assert say(few, Reason(kind="estimate-nothing")).split("; ") == [
        "1,234 labelled rows",
        "live metrics need 5,000 (monitoring.min_labels)",
        "nothing estimated: no metric that the window and the held-out rows define",
    ]


def test_values_are_no_templates():
    assert say(say_so("{rows} {0} {")) == "{rows} {0} {"


def test_kind_of_a_later_release_is_named():
    assert say(Reason(kind="of-tomorrow", values={"x": 1})) == "of-tomorrow"


@pytest.mark.parametrize("kind", ENGLISH)
def test_every_field_has_a_form_that_there_is(kind):
    forms = {form for _, _, form, _ in Words(ENGLISH).parse(ENGLISH[kind]) if form}
    assert forms <= {*FORMATS, *SEPARATORS, "metric"}


def test_reasons_survive_their_file():
    values = {"named": (Reason(kind="score-moved", values={"name": "é", "distance": 1.0, "threshold": 0.5}),)}
    alert = Alert(
        name="prediction-drift",
        windows=1,
        firing=False,
        since="2026-11-24T12:00:00+00:00",
        reason="",
        reasons=(Reason(kind="scores-moved", values=values),),
    )
    assert msgspec.json.decode(msgspec.json.encode(alert), type=Alert) == alert


def test_alert_of_an_earlier_release_is_still_read():
    text = b'{"name":"data-drift","windows":2,"firing":true,"since":"2026-11-24T12:00:00+00:00","reason":"age changed"}'
    alert = msgspec.json.decode(text, type=Alert)
    assert (alert.reason, alert.reasons) == ("age changed", ())


def test_alert_says_in_words_what_it_holds_as_data():
    features = [make_feature("age", shift=1, quality=("gaps",))]
    lost = msgspec.structs.replace(make_performance(0.8, lost=True), estimated_lost=True, estimated_reason=say_so("estimated"))
    drift = make_drift(features, scores=[make_feature("yes", shift=1)])
    alerts = decide_alerts(drift, lost, [], MonitoringConfig(), "2026-11-24T11:00:00+00:00")
    assert len(alerts) == 5
    assert all(alert.reasons and alert.reason == say(*alert.reasons) for alert in alerts)


@pytest.mark.parametrize(("count", "said"), [(3, "0; 1; 2"), (5, "0; 1; 2 and 2 more")])
def test_long_lists_are_shortened(count, said):
    assert say(*shorten_list([say_so(str(number)) for number in range(count)], "more-clauses")) == said
