"""Every alert fires when it should, keeps quiet when it should not, and says what to do."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from mlops_project.monitoring.results import AlertName
from mlops_project.retraining.webhook import parse_webhook
from tests.monitoring.files import ROOT, RULE_FILES, RULE_TESTS, Json, read_alerts, read_rules, read_yaml
from tests.monitoring.programs import run

ALERT_IN_TEST = re.compile(r'ALERTS\{alertname="(\w+)"')
REQUIRED = ["HighCPUUsage", "HighMemoryUsage", "HighModelLatency", "MLflowServerDown", "ModelServerDown", "PodCrashLooping"]


def test_rules_are_valid():
    done = run("promtool", "check", "rules", "--lint-fatal", *RULE_FILES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_promtool_confirms(path: Path):
    done = run("promtool", "test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def find_tested(fires: bool) -> set[str]:
    """Return the alerts that some test sees firing, or sees keeping quiet."""
    checks = [check for path in RULE_TESTS for test in read_yaml(path)["tests"] for check in test["promql_expr_test"]]
    return {ALERT_IN_TEST.search(check["expr"])[1] for check in checks if bool(check["exp_samples"]) == fires}


def test_every_alert_is_seen_firing_and_not_firing():
    names = {alert["alert"] for alert in read_alerts()}
    assert find_tested(fires=True) == names
    assert find_tested(fires=False) == names


def test_every_alert_of_the_monitor_has_a_rule():
    rules = {alert["alert"]: alert["expr"] for alert in read_alerts()}
    asked = set(re.findall(r'mlops_monitor_alert\{alert="([\w-]+)"', " ".join(rules.values())))
    by_rows = {"rows-missing"}  # RowsMissing counts them itself
    assert "RowsMissing" in rules
    assert asked | by_rows == set(get_args(AlertName))


def test_every_rule_of_the_walkthrough_is_there():
    assert {alert["alert"] for alert in read_alerts()}.issuperset(REQUIRED)


@pytest.mark.parametrize("change", [{"for": "9d"}, {"expr": "vector(1)", "for": "0s"}], ids=["never fires", "always fires"])
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_promtool_finds_alerts_that_are_wrong(path: Path, change: Json, tmp_path):
    """Each file has tests that fail if its alerts never fire, and some that fail if they always do."""
    document = read_yaml(path)
    for name in document["rule_files"]:
        rules = read_yaml(path.parent / name)
        for group in rules["groups"]:
            group["rules"] = [rule | change if "alert" in rule else rule for rule in group["rules"]]
        (tmp_path / Path(name).name).write_text(yaml.safe_dump(rules), encoding="utf-8")
    document["rule_files"] = [Path(name).name for name in document["rule_files"]]
    (tmp_path / path.name).write_text(yaml.safe_dump(document), encoding="utf-8")
    done = run("promtool", "test", "rules", tmp_path / path.name)
    assert done.returncode == 1
    assert "FAILED" in done.stdout + done.stderr


@pytest.mark.parametrize("alert", read_alerts(), ids=lambda alert: alert["alert"])
def test_alert_says_what_to_do(alert: Json):
    assert set(alert) == {"alert", "expr", "for", "labels", "annotations"}
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    page, anchor = alert["annotations"]["runbook_url"].split("#")
    assert anchor == alert["alert"].lower()
    headings = re.findall(r"^## (\w+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert alert["alert"] in headings, f"{page} has no heading {alert['alert']}"


def test_every_page_of_the_runbooks_is_about_an_alert_that_exists():
    for page in (ROOT / "docs/runbooks").glob("*.md"):
        headings = re.findall(r"^## (\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        own = [
            alert["alert"]
            for alert in read_alerts()
            if alert["annotations"]["runbook_url"].startswith(f"docs/runbooks/{page.name}#")
        ]
        assert headings == list(dict.fromkeys(own))


def firing_copy(path: Path, folder: Path) -> Path:
    """Write a test file that expects no alert wherever one fires: promtool then prints what it got, texts filled in."""
    document = read_yaml(path)
    document["rule_files"] = [str((path.parent / name).resolve()) for name in document["rule_files"]]
    for case in document["tests"]:
        firing = [check for check in case.pop("promql_expr_test") if check["exp_samples"]]
        case["alert_rule_test"] = [
            {"eval_time": check["eval_time"], "alertname": ALERT_IN_TEST.search(check["expr"])[1], "exp_alerts": []}
            for check in firing
        ]
    copy = folder / path.name
    copy.write_text(yaml.safe_dump(document), encoding="utf-8")
    return copy


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_texts_of_firing_alerts_are_filled_in(path: Path, tmp_path):
    """No template refers to a label that the alert does not have."""
    copy = firing_copy(path, tmp_path)
    done = run("promtool", "test", "rules", copy)
    output = done.stdout + done.stderr
    assert output.count("Annotations:{") >= sum(len(case["alert_rule_test"]) for case in read_yaml(copy)["tests"]) > 0, output
    for mistake in ("<no value>", "error expanding", "%!", "  of", "of  ", "in  "):
        assert mistake not in output.replace("\n", "¶"), output


def test_monitor_takes_the_alerts_that_ask_for_retraining():
    """The label is on measured loss alone; what Alertmanager sends of it is a cause for the model of its label."""
    (alert,) = [alert for alert in read_alerts() if alert["labels"].get("retrain") == "true"]
    assert alert["alert"] == "ModelPerformanceLoss"
    labels = alert["labels"] | {"alertname": alert["alert"], "model": "breast-cancer"}
    sent = {"status": "firing", "labels": labels, "fingerprint": "f1", "startsAt": "2026-11-02T03:00:00Z"}
    body = json.dumps({"version": "4", "alerts": [sent | {"annotations": {"summary": "worse"}}]}).encode()
    assert [cause.kind for cause in parse_webhook(body, "breast-cancer")] == ["webhook"]
    assert parse_webhook(body, "iris") == ()


def test_recording_rules_are_named_level_metric_operation():
    names = [rule["record"] for rule in read_rules() if "record" in rule]
    assert all(re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", name) for name in names), names
