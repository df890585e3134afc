"""A real Prometheus and Alertmanager watch the real servers: all is found, every question has an answer, an alert arrives."""

import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring import stack
from tests.monitoring.conftest import Stack
from tests.monitoring.files import DASHBOARDS, ROOT, WALKTHROUGH, queries, read_dashboard, read_rules, substitute
from tests.monitoring.files import PROMETHEUS as PROMETHEUS_FILES
from tests.monitoring.stack import open_relabelling
from tests.monitoring.test_metrics import ALERTMANAGER, NODE_EXPORTER, PROMETHEUS
from tests.servers import wait_until

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("monitoring")]

EXPECTED_JOBS = {
    *(
        "prometheus",
        "mlflow-server",
        "model-server",
        "monitor",
        "alertmanager",
        "node-exporter",
        "kube-state-metrics",
        "cadvisor",
        "kubelet",
    )
}
# Series per target of a job: what docs/monitoring.md says, with room for a machine that has more processors or disks.
MOST_SERIES = {
    "mlflow-server": 800,
    "model-server": 600,
    "monitor": 300,
    "node-exporter": 800,
    "cadvisor": 200,
    "kube-state-metrics": 300,
}


def wait_for_answers(prometheus: stack.Prometheus, expressions: dict[str, str], seconds: float) -> None:
    """Ask until each expression has had at least one sample."""
    deadline = time.monotonic() + seconds
    open_ = dict(expressions)
    while True:
        open_ = {place: expression for place, expression in open_.items() if not prometheus.query(expression)}
        if not open_:
            return
        assert time.monotonic() < deadline, "\n".join(f"no data: {place}: {text}" for place, text in open_.items())
        time.sleep(1)


def test_all_targets_are_up_and_no_other_is_there(running: Stack):
    targets = running.prometheus.targets()
    assert {target["labels"]["job"] for target in targets} == EXPECTED_JOBS
    assert {target["health"] for target in targets} == {"up"}
    assert len(targets) == len(EXPECTED_JOBS)  # the pod with two containers is there once


def test_pods_carry_their_names_and_nodes(running: Stack):
    (target,) = [target for target in running.prometheus.targets() if target["labels"]["job"] == "model-server"]
    assert target["labels"] == {
        "job": "model-server",
        "instance": f"127.0.0.1:{running.model_port}",
        "namespace": "mlflow-prod",
        "pod": "model-server-7f6d9c8b5-4jw2t",
        "node": "minikube",
    }


def test_every_expression_of_the_walkthrough_has_data(running: Stack):
    wait_for_answers(running.prometheus, {text: text for text in WALKTHROUGH}, 90)


def test_every_panel_has_data(running: Stack):
    wait_for_answers(running.prometheus, dict(query for path in DASHBOARDS for query in queries(path)), 90)


def test_every_recording_rule_has_data(running: Stack):
    wait_for_answers(running.prometheus, {rule["record"]: rule["record"] for rule in read_rules() if "record" in rule}, 60)


def test_names_that_others_write_are_really_theirs(running: Stack):
    names = PROMETHEUS | ALERTMANAGER | NODE_EXPORTER
    wait_for_answers(running.prometheus, {name: name for name in names}, 60)


def test_every_rule_is_evaluated_without_error(running: Stack):
    rules = [rule for group in running.prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(read_rules())
    assert not [rule["name"] for rule in rules if rule["health"] == "err"]


def test_labels_of_described_pods_stand_for_themselves(running: Stack):
    """kube-state-metrics and the kubelet speak about other pods: their labels are not those of the scraped target."""
    assert not running.prometheus.query('{__name__=~"kube_.*|container_.*|kubelet_.*",exported_namespace!=""}')
    assert {item["metric"]["pod"] for item in running.prometheus.query("kube_pod_info")} >= {
        "mlflow-postgresql-0",
        "grafana-84b6d5c7f-m3x8d",
    }


def test_cadvisor_keeps_this_namespace_and_what_is_asked_for(running: Stack):
    names = {item["metric"]["__name__"] for item in running.prometheus.query('{job="cadvisor",__name__=~"container_.*"}')}
    assert "container_cpu_usage_seconds_total" in names
    assert "container_memory_cache" not in names
    namespaces = {
        item["metric"].get("namespace") for item in running.prometheus.query('{job="cadvisor",__name__=~"container_.*"}')
    }
    assert namespaces == {"mlflow-prod"}


def test_sum_over_a_pod_counts_each_container_once(running: Stack):
    """A kubelet also tells of the pod as a whole and of its pause container."""
    written = (ROOT / "tests/monitoring/exporters/cadvisor.txt").read_text(encoding="utf-8")
    samples = [
        sample
        for family in text_string_to_metric_families(written)
        for sample in family.samples
        if sample.name == "container_memory_usage_bytes" and sample.labels["namespace"] == "mlflow-prod"
    ]
    assert {sample.labels["container"] for sample in samples} >= {"", "POD", "model-server"}
    expected: Counter[str] = Counter()
    for sample in samples:
        expected[sample.labels["pod"]] += sample.value if sample.labels["container"] not in ("", "POD") else 0
    found = running.prometheus.query('sum(container_memory_usage_bytes{namespace="mlflow-prod"}) by (pod)')
    assert {item["metric"]["pod"]: float(item["value"][1]) for item in found} == expected
    counted = running.prometheus.query('count by (__name__) ({job="cadvisor",container=~"(POD)?",__name__=~"container_.*"})')
    assert {item["metric"]["__name__"].split("_")[1] for item in counted} == {"network"}


def test_series_are_few(running: Stack):
    wait_until(lambda: bool(running.prometheus.query("mlflow_runs_created_total > 3")), 60)
    wait_until(lambda: bool(running.prometheus.query("mlops_monitor_feature_drift")), 60)
    counts = {
        item["metric"]["job"]: int(item["value"][1])
        for item in running.prometheus.query('count by (job) ({__name__=~".+",job!=""})')
    }
    print("series by job:", counts, "in all:", running.prometheus.query("prometheus_tsdb_head_series")[0]["value"][1])
    assert {job: counts[job] for job in MOST_SERIES if counts[job] > MOST_SERIES[job]} == {}


def test_patched_retention_keeps_configuration_data_and_size_limit(running: Stack):
    """Prometheus runs here with the manifest's command and the arguments that the walkthrough's patch puts in."""
    flags = running.prometheus.get("status/flags")
    assert flags["storage.tsdb.retention.time"] == "1y"  # 365 days, as Prometheus writes it
    assert flags["storage.tsdb.retention.size"] in ("8GB", "8GiB")  # by version; both are 2**33 bytes
    assert flags["config.file"] == str(running.folder / "prometheus.yml")
    assert flags["storage.tsdb.path"] == str(running.folder / "data")
    assert len(running.prometheus.get("rules")["groups"]) > 1


def test_metric_relabel_configs_drop_series(running: Stack):
    """The block of the comment, for a metric that nothing else here asks for; then taken back."""
    name = "mlops_last_reload_timestamp_seconds"
    file = running.folder / "prometheus.yml"
    before = file.read_text(encoding="utf-8")
    example = open_relabelling((PROMETHEUS_FILES / "prometheus.yml").read_text(encoding="utf-8"))
    (pods,) = [job for job in yaml.safe_load(example)["scrape_configs"] if job["job_name"] == "pods"]
    rules = [rule | {"regex": name} for rule in pods["metric_relabel_configs"]]
    wait_for_answers(running.prometheus, {name: name}, 60)
    config = yaml.safe_load(before)
    for job in config["scrape_configs"]:
        if job["job_name"] == "pods":
            job["metric_relabel_configs"] = rules
    try:
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        running.prometheus_process.send_signal(signal.SIGHUP)
        wait_until(lambda: not running.prometheus.query(name), 60)
        assert running.prometheus.query('up{job="model-server"} == 1')
    finally:
        file.write_text(before, encoding="utf-8")
        running.prometheus_process.send_signal(signal.SIGHUP)
    wait_for_answers(running.prometheus, {name: name}, 60)


def test_alert_that_asks_for_retraining_reaches_people_and_the_monitor(running: Stack):
    """The monitor takes it with the token from the file, and says that it may not act: its ``on_alert`` is ``report``."""
    labels = {"alertname": "ModelPerformanceLoss", "severity": "critical", "retrain": "true", "model": "breast-cancer"}
    stack.tell(running.alertmanager_port, labels)
    wait_until(lambda: labels in [alert["labels"] for note in running.notifications for alert in note["alerts"]], 60)
    log = running.folder / "monitor.log"
    wait_until(lambda: "notification of Alertmanager: off" in log.read_text(encoding="utf-8"), 60)


def healthy(alerts: dict[str, str]) -> dict[str, str]:
    """Leave out what the state of this machine may justly raise."""
    return {
        name: state for name, state in alerts.items() if name not in ("HighCPUUsage", "HighMemoryUsage", "NodeDiskAlmostFull")
    }


def has_notification(running: Stack, status: str) -> Callable[[], bool]:
    def look() -> bool:
        return any(
            alert["labels"]["alertname"] == "ModelServerDown" and alert["status"] == status
            for note in running.notifications
            for alert in note["alerts"]
        )

    return look


def test_alert_reaches_the_receiver_and_is_taken_back(running: Stack):
    """The model server stops, somebody is told; it comes back, somebody is told."""
    wait_until(lambda: bool(running.prometheus.query('up{job="model-server"} == 1')), 60)
    wait_until(lambda: not healthy(running.prometheus.alerts()), 60)
    running.notifications.clear()

    running.servers.close()
    wait_until(has_notification(running, "firing"), 90)
    marks = [substitute(mark["target"]["expr"]) for path in DASHBOARDS for mark in read_dashboard(path)["annotations"]["list"]]
    wait_for_answers(running.prometheus, {text: text for text in marks if text.startswith("ALERTS")}, 30)
    (alert,) = [
        alert for note in running.notifications for alert in note["alerts"] if alert["labels"]["alertname"] == "ModelServerDown"
    ][:1]
    assert alert["labels"] == {"alertname": "ModelServerDown", "job": "model-server", "severity": "critical"}
    assert alert["annotations"]["runbook_url"] == "docs/runbooks/servers.md#modelserverdown"

    ready = f"http://127.0.0.1:{running.model_port}/ping"
    running.servers.enter_context(stack.process(running.folder, "model-again", running.model_command, ready))
    wait_until(has_notification(running, "resolved"), 120)
