"""Prometheus, Alertmanager and Grafana take their files, on Kubernetes and under Compose."""

import json
import re

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from mlops_project.sections import MonitoringConfig
from tests.k8s.manifests import build, find, read_values
from tests.monitoring.files import ALERTMANAGER, DASHBOARDS, K8S, PROMETHEUS, PROVISIONING, ROOT, read_yaml
from tests.monitoring.programs import run
from tests.monitoring.stack import derive_prometheus, open_relabelling

SINGLE = K8S / "single"


def test_prometheus_takes_the_kubernetes_configuration(tmp_path):
    """Debian's build knows no Kubernetes, so the discovery is replaced; all the rest is as it ships."""
    addresses = dict.fromkeys(("prometheus", "alertmanager", "kube-state-metrics", "cadvisor", "kubelet"), "127.0.0.1:1")
    file = derive_prometheus(tmp_path, addresses, pods=[])
    done = run("promtool", "check", "config", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rules found") == 5


def relabel(labels: dict[str, str], rules: list[dict]) -> dict[str, str] | None:
    """Apply rules as Prometheus does, of the actions that ours take: None for a series that is dropped."""
    for rule in rules:
        value = ";".join(labels.get(name, "") for name in rule.get("source_labels", ()))
        if rule["action"] == "labeldrop":
            labels = {name: text for name, text in labels.items() if not re.fullmatch(rule["regex"], name)}
        elif bool(re.fullmatch(rule["regex"], value)) != (rule["action"] == "keep"):
            return None
    return labels


def test_kubelets_series_of_whole_pods_and_pause_containers_are_dropped_but_the_networks():
    jobs = {job["job_name"]: job for job in read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    written = text_string_to_metric_families((ROOT / "tests/monitoring/exporters/cadvisor.txt").read_text(encoding="utf-8"))
    kept = [
        (sample.name, labels)
        for family in written
        for sample in family.samples
        if (labels := relabel({"__name__": sample.name, **sample.labels}, jobs["cadvisor"]["metric_relabel_configs"]))
    ]
    assert {name for name, labels in kept if labels["container"] in ("", "POD")} == {"container_network_receive_bytes_total"}
    names = {"cpu_usage_seconds_total", "memory_usage_bytes", "memory_working_set_bytes", "oom_events_total"}
    assert {f"container_{name}" for name in names} <= {name for name, labels in kept if labels["container"] == "model-server"}
    assert len({tuple(sorted(labels.items())) for _, labels in kept}) == len(kept)  # no two series became one


def test_prometheus_takes_the_compose_configuration():
    done = run("promtool", "check", "config", PROMETHEUS / "prometheus-compose.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rules found") == 5


def test_compose_differs_in_what_is_found_and_nothing_else():
    kubernetes, compose = (read_yaml(PROMETHEUS / f"{name}.yml") for name in ("prometheus", "prometheus-compose"))
    assert {key: value for key, value in kubernetes.items() if key != "scrape_configs"} == {
        key: value for key, value in compose.items() if key != "scrape_configs"
    }
    assert [job["job_name"] for job in compose["scrape_configs"]] == [
        "prometheus",
        "alertmanager",
        "mlflow-server",
        "model-server",
        "monitor",
    ]


def test_alertmanager_takes_its_configuration():
    done = run("amtool", "check-config", ALERTMANAGER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanager_takes_every_channel_that_is_commented_out(tmp_path):
    """What the file shows as an example works when its comment signs are taken away."""
    lines = ALERTMANAGER.read_text(encoding="utf-8").splitlines()
    opened = [line[1:] if line.startswith("#  ") else line for line in lines]
    assert opened != lines
    file = tmp_path / "alertmanager.yml"
    file.write_text("\n".join(opened), encoding="utf-8")
    done = run("amtool", "check-config", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 receivers" in done.stdout


@pytest.mark.parametrize("opened", [False, True], ids=["as it ships", "with the channels of its comments"])
@pytest.mark.parametrize("labels", [
    ("severity=critical",), ("severity=warning",), ("severity=critical", "retrain=true"), ("severity=warning", "retrain=true"),
])  # fmt: skip
def test_alert_reaches_people_and_the_monitor_only_where_retraining_may_help(opened: bool, labels: tuple[str, ...], tmp_path):
    lines = ALERTMANAGER.read_text(encoding="utf-8").splitlines()
    file = tmp_path / "alertmanager.yml"
    text = "\n".join(line[1:] if opened and line.startswith("#  ") else line for line in lines)
    file.write_text(text, encoding="utf-8")
    done = run("amtool", "config", "routes", "test", f"--config.file={file}", *labels)
    critical = labels[0] == "severity=critical"
    people = (["email", "slack"] if critical else ["slack"]) if opened else ["none"]
    assert done.stdout.strip().split(",") == [*(["monitor"] if "retrain=true" in labels else []), *people]


def test_alertmanager_shows_the_monitor_a_token_from_a_file():
    config = read_yaml(ALERTMANAGER)
    (hook,) = next(item["webhook_configs"] for item in config["receivers"] if item["name"] == "monitor")
    assert hook["http_config"] == {"authorization": {"credentials_file": "/etc/alertmanager/monitor/webhook-token"}}
    assert hook["url"] == f"http://monitor:{MonitoringConfig().port}/alerts"
    assert "development-only" not in ALERTMANAGER.read_text(encoding="utf-8")


def test_amtool_refuses_a_receiver_that_is_not_there(tmp_path):
    file = tmp_path / "alertmanager.yml"
    file.write_text(ALERTMANAGER.read_text(encoding="utf-8").replace("receiver: none", "receiver: nobody", 1), encoding="utf-8")
    assert run("amtool", "check-config", file).returncode == 1


def mounted(folder: str) -> tuple[str, ...]:
    """Return the ConfigMaps that a single file's build has."""
    return tuple(item["metadata"]["name"] for item in build(SINGLE / folder) if item["kind"] == "ConfigMap")


def test_the_two_single_files_share_no_configmap():
    """Applying the deployment again must not undo what was edited in prometheus-config.yaml."""
    assert not set(mounted("monitoring-config")) & set(mounted("monitoring"))


@pytest.mark.parametrize(("workload", "edited", "shipped"), [
    ("prometheus", "prometheus-config", ["prometheus-defaults"]),
    ("alertmanager", "alertmanager-config", ["alertmanager-defaults"]),
    ("grafana", "grafana-dashboard-mlflow", ["grafana-dashboards", "grafana-model-dashboards"]),
])  # fmt: skip
def test_what_the_user_makes_wins_and_may_be_missing(workload: str, edited: str, shipped: list[str]):
    objects = build(SINGLE / "monitoring")
    volumes = find(objects, "Deployment", workload)["spec"]["template"]["spec"]["volumes"]
    (sources,) = [item["projected"]["sources"] for item in volumes if shipped[0] in str(item.get("projected"))]
    ours = [{"configMap": {"name": name}} for name in shipped]
    assert sources == [*ours, {"configMap": {"name": edited, "optional": True}}]  # the later one wins
    assert edited not in mounted("monitoring")


def test_edited_and_shipped_configuration_start_out_the_same():
    edited = {item["metadata"]["name"]: item for item in build(SINGLE / "monitoring-config")}
    shipped = {item["metadata"]["name"]: item for item in build(SINGLE / "monitoring")}
    for name in ("prometheus", "alertmanager"):
        assert edited[f"{name}-config"]["data"] == shipped[f"{name}-defaults"]["data"]


def test_prometheus_configmap_holds_every_rule_file():
    data = find(build(SINGLE / "monitoring"), "ConfigMap", "prometheus-defaults")["data"]
    assert set(data) == {"prometheus.yml", *(path.name for path in PROMETHEUS.glob("*.rules.yml"))}


def test_patched_args_leave_configuration_and_data():
    """`kubectl patch` replaces the whole list `args`; what must stay is in `command`."""
    container = find(build(SINGLE / "monitoring"), "Deployment", "prometheus")["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["--storage.tsdb.retention.time=30d"]
    assert container["command"][0] == "/bin/prometheus"
    assert {"--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"} < set(container["command"])
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert {"/etc/prometheus", "/prometheus"} < set(mounts)


def test_metric_relabel_configs_added_to_the_rendered_file_are_taken():
    """The block that the file shows in a comment, its comment signs taken away where it stands in the ConfigMap."""
    opened = open_relabelling((K8S / "monitoring/prometheus-config.yaml").read_text(encoding="utf-8"))
    (config,) = [item for item in yaml.safe_load_all(opened) if item["metadata"]["name"] == "prometheus-config"]
    jobs = {job["job_name"]: job for job in yaml.safe_load(config["data"]["prometheus.yml"])["scrape_configs"]}
    assert jobs["pods"]["metric_relabel_configs"] == [
        {"source_labels": ["__name__"], "action": "drop", "regex": "mlops_request_rows_bucket"}
    ]


def test_objects_fit_into_what_kubectl_apply_annotates():
    """`kubectl apply` keeps a copy of each object in an annotation, which may hold 262,144 bytes."""
    for item in build(SINGLE / "monitoring"):
        assert len(json.dumps(item)) < 240_000, item["metadata"]["name"]


def test_role_of_kube_state_metrics_is_what_it_is_told_to_watch():
    objects = build(SINGLE / "monitoring")
    arguments = find(objects, "Deployment", "kube-state-metrics")["spec"]["template"]["spec"]["containers"][0]["args"]
    (resources,) = [
        argument.removeprefix("--resources=").split(",") for argument in arguments if argument.startswith("--resources=")
    ]
    rules = find(objects, "Role", "kube-state-metrics")["rules"]
    assert sorted(resource for rule in rules for resource in rule["resources"]) == sorted(resources)
    assert all(rule["verbs"] == ["list", "watch"] for rule in rules)


def test_grafana_finds_the_data_source_and_the_dashboards_where_they_are_mounted():
    (source,) = read_yaml(PROVISIONING / "datasources/prometheus.yaml")["datasources"]
    (provider,) = read_yaml(PROVISIONING / "dashboards/files.yaml")["providers"]
    objects = build(SINGLE / "monitoring")
    container = find(objects, "Deployment", "grafana")["spec"]["template"]["spec"]["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert provider["options"]["path"] == mounts["dashboards"]
    name, port = source["url"].removeprefix("http://").split(":")
    assert find(objects, "Service", name)["spec"]["ports"][0]["port"] == int(port)
    data = [find(objects, "ConfigMap", f"grafana-{name}")["data"] for name in ("dashboards", "model-dashboards")]
    assert data[0] | data[1] == {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS}


def test_grafana_asks_for_the_documented_password():
    objects = build(SINGLE / "monitoring")
    assert read_values(find(objects, "Secret", "grafana-admin")) == {"admin-user": "admin", "admin-password": "admin123456789"}
    spec = find(objects, "Deployment", "grafana")["spec"]["template"]["spec"]
    (volume,) = [item for item in spec["volumes"] if item["name"] == "admin"]
    names = [source["secret"]["name"] for source in volume["projected"]["sources"]]
    assert names == ["grafana-admin", "grafana-admin-own"]
    variables = {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]}
    assert variables["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/etc/grafana/admin/admin-password"
    assert variables["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


def test_data_of_grafana_ends_with_the_pod():
    """Grafana keeps the first password in its database: with a lasting one, a new Secret would change nothing."""
    volumes = find(build(SINGLE / "monitoring"), "Deployment", "grafana")["spec"]["template"]["spec"]["volumes"]
    (data,) = [item for item in volumes if item["name"] == "data"]
    assert "emptyDir" in data
