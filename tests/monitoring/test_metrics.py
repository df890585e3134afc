"""Whatever a rule or a dashboard asks for exists: in this code, in a recording rule, or in an exporter we run."""

import re

import pytest

from mlops_project.monitoring.service.metrics import METRICS as MONITOR_METRICS
from mlops_project.serving.metrics import METRICS as SERVER_METRICS
from mlops_project.tracking.server_metrics import METRICS as TRACKING_METRICS
from tests.monitoring.files import DASHBOARDS, EXPORTERS, queries, read_dashboard, read_rules, substitute

# Written by programs that are not ours; test_stack.py finds each in a real one's answer.
PROMETHEUS = {
    "up",
    "scrape_samples_post_metric_relabeling",
    "prometheus_config_last_reload_successful",
    "prometheus_notifications_dropped_total",
    "prometheus_rule_evaluation_failures_total",
    "prometheus_tsdb_compactions_failed_total",
    "prometheus_tsdb_head_samples_appended_total",
    "prometheus_tsdb_head_series",
    "prometheus_tsdb_storage_blocks_bytes",
    "prometheus_tsdb_wal_writes_failed_total",
}
ALERTMANAGER = {"alertmanager_config_last_reload_successful", "alertmanager_notifications_failed_total"}
NODE_EXPORTER = {
    "node_cpu_seconds_total",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "node_load1",
    "node_load15",
    "node_load5",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
}
# Reasons and failures: kube-state-metrics and the kubelet have them once there is one, so no healthy sample holds them.
WHEN_SOMETHING_FAILED = {"kube_pod_container_status_waiting_reason", "kube_pod_container_status_last_terminated_reason"}

FUNCTIONS = {
    "abs",
    "absent",
    "avg_over_time",
    "histogram_quantile",
    "increase",
    "max_over_time",
    "predict_linear",
    "rate",
    "time",
    "timestamp",
    "topk",
    "vector",
}
NOT_METRICS = FUNCTIONS | {"and", "avg", "by", "count", "group_left", "ignoring", "max", "min", "on", "or", "sum", "unless"}


def names_in(expression: str) -> set[str]:
    """Return the metrics of an expression: words that are no functions and no labels."""
    bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|"[^"]*"', " ", expression)
    bare = re.sub(r"\b(by|on|group_left|without|ignoring)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\boffset\s+\w+", " ", bare)
    return set(re.findall(r"\b[A-Za-z_][\w:]*", bare)) - NOT_METRICS


def own_metrics() -> set[str]:
    names = set()
    for metric in (*SERVER_METRICS, *TRACKING_METRICS, *MONITOR_METRICS):
        names |= (
            {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")} if metric.kind == "histogram" else {metric.name}
        )
    return names


def exported_metrics() -> set[str]:
    return {
        line.split()[2]
        for file in EXPORTERS.glob("*.txt")
        for line in file.read_text().splitlines()
        if line.startswith("# TYPE")
    }


KNOWN = {
    *own_metrics(),
    *exported_metrics(),
    *(PROMETHEUS | ALERTMANAGER | NODE_EXPORTER | WHEN_SOMETHING_FAILED),
    "ALERTS",
    *(rule["record"] for rule in read_rules() if "record" in rule),
}


def asked() -> list[tuple[str, str]]:
    rules = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in read_rules()]
    marks = [
        (f"{path.stem}: {mark['name']}", substitute(mark["target"]["expr"]))
        for path in DASHBOARDS
        for mark in read_dashboard(path)["annotations"]["list"]
    ]
    return rules + marks + [tuple(query) for path in DASHBOARDS for query in queries(path)]


@pytest.mark.parametrize(("place", "expression"), asked())
def test_every_metric_exists(place: str, expression: str):
    found = names_in(expression)
    assert found, place
    assert not found - KNOWN, place


def test_every_recording_rule_is_used():
    used = set().union(*(names_in(expression) for _, expression in asked()))
    assert not {rule["record"] for rule in read_rules() if "record" in rule} - used


def test_a_metric_that_nobody_writes_is_found():
    expression = 'sum by (job) (rate(http_request_total{job="a"}[5m])) / on (pod) group_left max(up)'
    assert names_in(expression) - KNOWN == {"http_request_total"}
