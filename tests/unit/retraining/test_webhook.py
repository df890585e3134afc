import json

import pytest

from mlops_project.retraining.webhook import WebhookError, parse_webhook


def alert(status="firing", fingerprint="aaaabbbb11112222", **labels) -> dict:
    return {
        "status": status,
        "labels": labels,
        "annotations": {"summary": "it lost performance"},
        "startsAt": "2026-11-24T10:00:00.123Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": fingerprint,
    }


def notification(*alerts: dict, **changes) -> bytes:
    whole = {"version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "retrain", "truncatedAlerts": 0}
    return json.dumps(whole | {"alerts": alerts} | changes).encode()


def test_firing_alert_for_this_model_becomes_a_cause_known_by_fingerprint_and_start():
    (cause,) = parse_webhook(notification(alert(retrain="true", model="cancer", alertname="ModelLost")), "cancer")
    assert cause.kind == "webhook"
    assert cause.key == "webhook:aaaabbbb11112222:2026-11-24T10:00:00.123Z"
    assert cause.reason == "ModelLost since 2026-11-24T10:00:00.123Z: it lost performance"


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ({"retrain": "true"}, True),
        ({"retrain": "true", "model": "cancer"}, True),
        ({"retrain": "true", "model": "other"}, False),
        ({"retrain": "false", "model": "cancer"}, False),
        ({"alert": "performance-loss", "model": "cancer"}, True),
        ({"alert": "data-drift", "model": "other"}, False),
        ({"alert": "data-drift"}, False),
        ({"alert": "data-quality", "model": "cancer"}, False),
        ({"alertname": "DiskFull", "model": "cancer"}, False),
    ],
)
def test_only_alerts_that_are_meant_count(labels, counts):
    assert bool(parse_webhook(notification(alert(**labels)), "cancer")) is counts


def test_resolved_alerts_do_not_count():
    assert parse_webhook(notification(alert("resolved", retrain="true")), "cancer") == ()
    assert parse_webhook(notification(), "cancer") == ()


def test_what_people_wrote_cannot_break_a_command_line():
    hostile = alert(retrain="true") | {"annotations": {"summary": "a\x00b\n--force" + "x" * 5000}}
    (cause,) = parse_webhook(notification(hostile), "cancer")
    assert cause.reason.isprintable()
    assert len(cause.reason) <= 500


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        notification(version="3"),
        notification(alerts="none"),
        notification({"status": "firing"}),
        notification(alert(fingerprint="../../etc", retrain="true")),
        notification(alert(retrain="true") | {"startsAt": "yesterday\x00"}),
        notification(alert(retrain="true") | {"status": "burning"}),
        notification(alert(retrain=1)),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(body):
    with pytest.raises(WebhookError, match=r"expected a notification of Alertmanager \(webhook, version 4\)"):
        parse_webhook(body, "cancer")
