"""The files under test: rules, configuration and dashboards, as Compose and Kubernetes mount them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
PROMETHEUS = K8S / "base/monitoring/files/prometheus"
ALERTMANAGER = K8S / "base/monitoring/files/alertmanager/alertmanager.yml"
PROVISIONING = K8S / "base/monitoring/files/grafana/provisioning"
EXPORTERS = Path(__file__).with_name("exporters")
RULE_FILES = sorted(PROMETHEUS.glob("*.rules.yml"))
RULE_TESTS = sorted(Path(__file__).parent.glob("rules/*.yaml"))
DASHBOARDS = sorted((K8S / "monitoring/dashboards").glob("*.json"))

# What Grafana puts in for its variables, when nothing else is chosen.
VARIABLES = {"namespace": "mlflow-prod", "pod": ".*", "model": ".*", "metric": ".*"}

# WALKTHROUGH section 8, word for word.
WALKTHROUGH = [
    'rate(http_requests_total{job="mlflow-server"}[5m])',
    'rate(http_requests_total{job="mlflow-server",status=~"4..|5.."}[5m])',
    'histogram_quantile(0.95, rate(http_request_duration_seconds_bucket{job="mlflow-server"}[5m]))',
    "mlflow_experiment_created_total",
    'rate(http_requests_total{job="model-server"}[5m])',
    'sum(rate(http_requests_total{job="model-server"}[5m])) by (status)',
    'rate(http_requests_total{job="model-server",path="/invocations"}[5m])',
    "histogram_quantile(0.95, rate(mlflow_model_request_duration_seconds_bucket[5m]))",
    'rate(http_requests_total{job="model-server",status=~"4..|5.."}[5m])',
    "rate(mlflow_predictions_total[5m])",
    'rate(container_cpu_usage_seconds_total{namespace="mlflow-prod"}[5m])',
    'container_memory_usage_bytes{namespace="mlflow-prod"}',
    'count(kube_pod_info{namespace="mlflow-prod"})',
    'rate(node_cpu_seconds_total{mode!="idle"}[5m])',
    'sum(rate(http_requests_total{job="mlflow-server",status="200"}[5m]))'
    ' / sum(rate(http_requests_total{job="mlflow-server"}[5m])) * 100',
    'sum(rate(http_requests_total{job="model-server",path="/invocations"}[5m])) by (status)',
    'sum(container_memory_usage_bytes{namespace="mlflow-prod"}) by (pod)',
]

Json = dict[str, Any]


class Query(NamedTuple):
    """An expression that a dashboard asks, variables put in."""

    place: str
    expression: str


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_rules() -> list[Json]:
    """Return all rules, alerting and recording."""
    return [rule for path in RULE_FILES for group in read_yaml(path)["groups"] for rule in group["rules"]]


def read_alerts() -> list[Json]:
    return [rule for rule in read_rules() if "alert" in rule]


def read_dashboard(path: Path) -> Json:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def panels(dashboard: Json) -> list[Json]:
    """Return the panels that show something: all but the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def substitute(expression: str) -> str:
    """Put values in for a dashboard's variables; a KeyError names one that nobody knows."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: VARIABLES[found[1]], expression)


def queries(path: Path) -> Iterator[Query]:
    """Give every expression of a dashboard's panels."""
    for panel in panels(read_dashboard(path)):
        for target in panel["targets"]:
            yield Query(f"{path.stem}: {panel['title']}, {target['refId']}", substitute(target["expr"]))
