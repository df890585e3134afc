"""The Compose file as the walkthrough and docs/containers.md start it."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
import yaml

from mlops_project.config import read_config
from tests.containers.compose import FILE, Stack, running_stack, stand_in
from tests.containers.conftest import train
from tests.containers.engine import ROOT, docker
from tests.servers import wait_until

SERVICES = yaml.safe_load(FILE.read_text())["services"]


def registered(address: str) -> list[str]:
    with urllib.request.urlopen(f"{address}/api/2.0/mlflow/model-versions/search", timeout=10) as response:
        return [version["version"] for version in json.load(response).get("model_versions", [])]


def served_version(address: str) -> str:
    with urllib.request.urlopen(f"{address}/models", timeout=10) as response:
        return str(json.load(response)["models"][0]["version"])


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "profiles", [(), ("serving",), ("postgresql", "s3"), ("serving", "ui", "postgresql", "s3", "monitoring")]
)
def test_file_is_valid_with_every_profile(profiles: tuple[str, ...]) -> None:
    stack = Stack("mlops-config", *[part for profile in profiles for part in ("--profile", profile)])
    shown = set(stack.run("config", "--services").split())  # Compose 1 lists those of other profiles too
    assert {name for name, it in SERVICES.items() if "profiles" not in it or set(it["profiles"]) & set(profiles)} <= shown


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_service_checks_its_health_and_restarts(name: str) -> None:
    service = SERVICES[name]
    if name == "s3-bucket":  # ends by itself
        assert service["restart"] == "on-failure"
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    image, _, tag = service["image"].partition(":")
    assert tag, f"{image}: no version"
    for port in service.get("ports", ()):
        assert port.startswith("${BIND:-127.0.0.1}:"), "open on this machine only, unless asked"


def mounts(name: str) -> dict[str, str]:
    """Return what a service mounts, path → volume (with `:ro` where it may only read)."""
    parts = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", text).split(":") for text in SERVICES[name]["volumes"]]
    return {path: ":".join([source, *mode]) for source, path, *mode in parts}


def test_monitor_reads_what_the_others_write() -> None:
    monitor, variables = mounts("monitor"), SERVICES["monitor"]["environment"]
    assert monitor["/var/lib/mlops/predictions"] == mounts("model-server")["/var/lib/mlops/predictions"]
    assert monitor[variables["MLOPS_PATHS__SERVED_MODELS_DIR"]] == f"{mounts('sync')['/models']}:ro"
    assert monitor[variables["MLOPS_PATHS__MONITORING_DIR"]] == "monitoring"
    assert monitor["/config/configs.yaml"] == "./configs.yaml:ro"
    assert SERVICES["monitor"]["command"] == ["mlops", "monitor", "/config/configs.yaml"]
    settings = {name: text for name, text in variables.items() if not text.startswith("${")}
    config = read_config(FILE.with_name("configs.yaml"), root=Path("/config"), env=settings)
    assert config.monitoring.host == "0.0.0.0"
    assert str(config.monitoring.port) == SERVICES["ui"]["environment"]["UI_MONITOR"].rpartition(":")[2] == "8002"


def test_alertmanager_and_monitor_have_the_same_token() -> None:
    tokens = [SERVICES[name]["environment"]["MONITOR_WEBHOOK_TOKEN"] for name in ("monitor", "alertmanager")]
    assert tokens[0] == tokens[1]
    config = yaml.safe_load((ROOT / "k8s/base/monitoring/files/alertmanager/alertmanager.yml").read_text())
    (hook,) = next(item for item in config["receivers"] if item["name"] == "monitor")["webhook_configs"]
    file = hook["http_config"]["authorization"]["credentials_file"]
    folder, _, name = file.rpartition("/")
    assert mounts("alertmanager")[folder] == f"{mounts('alertmanager')['/alertmanager']}:ro"
    assert f">/alertmanager/{name} " in SERVICES["alertmanager"]["command"][0]


@pytest.mark.parametrize("services", [(), ("mlflow",)])
def test_up_starts_a_tracking_server_that_a_training_run_logs_to(image: str, exported: Path, services: tuple[str, ...]) -> None:
    with running_stack("mlops-tracking", services=services) as stack:
        assert stack.run("ps", "--services").split()
        stack.wait_until_healthy("mlflow")
        address = stack.service("mlflow").address(5000)
        train(exported, MLFLOW_TRACKING_URI=address, MLFLOW_EXPERIMENT_NAME="Projeto10_MLOps")
        assert registered(address) == ["1"]
        stack.run("down")  # volumes stay
        stack.run("up", "-d")
        stack.wait_until_healthy("mlflow")
        assert registered(stack.service("mlflow").address(5000)) == ["1"]


def test_serving_profile_follows_the_registry(image: str, exported: Path) -> None:
    with running_stack("mlops-serving", "--profile", "serving") as stack:
        stack.wait_until_healthy("mlflow", "model-server", "sync")
        server = stack.service("model-server").address(8000)
        baked_in = served_version(server)
        train(exported, MLFLOW_TRACKING_URI=stack.service("mlflow").address(5000))
        wait_until(lambda: served_version(server) == "1", 60)
        assert baked_in != "1"


def test_everything_runs_wired(image: str, exported: Path) -> None:
    """On PostgreSQL and S3, watched by Prometheus. Grafana joins where its image can be had: Debian has no package of it."""
    for name in ("postgresql", "s3", "prometheus", "alertmanager"):
        stand_in(SERVICES[name]["image"], name)
    names = [
        name for name in SERVICES if name != "grafana" or docker("pull", SERVICES[name]["image"], check=False).returncode == 0
    ]
    with running_stack("mlops-full", "--env-file", str(FILE.with_name("compose.full.env")), services=tuple(names)) as stack:
        stack.wait_until_healthy(*(name for name in names if name != "s3-bucket"), seconds=240)
        train(exported, MLFLOW_TRACKING_URI=stack.service("mlflow").address(5000))
        wait_until(lambda: served_version(stack.service("model-server").address(8000)) == "1", 60)
        query = "PGPASSWORD=$POSTGRES_PASSWORD psql -h 127.0.0.1 -U mlflow -Atc 'SELECT count(*) FROM model_versions'"
        assert stack.service("postgresql").execute("sh", "-c", query).stdout == "1\n"
        assert stack.service("mlflow").execute("find", "/mlruns", "-type", "f").stdout == "", "files belong into S3"
        prometheus = stack.service("prometheus").address(9090)
        jobs = {"prometheus", "alertmanager", "mlflow-server", "model-server", "monitor"}
        wait_until(lambda: jobs_up(prometheus) == jobs, 60)
        labels = {"alertname": "ModelPerformanceLoss", "severity": "critical", "retrain": "true", "model": "breast-cancer"}
        tell(stack.service("alertmanager").address(9093), labels)
        wait_until(lambda: "notification of Alertmanager: off" in stack.service("monitor").read_log(), 90)


def tell(alertmanager: str, labels: dict[str, str]) -> None:
    """Give Alertmanager an alert, as Prometheus does."""
    body = json.dumps([{"labels": labels}]).encode()
    request = urllib.request.Request(f"{alertmanager}/api/v2/alerts", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200


def jobs_up(prometheus: str) -> set[str]:
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?query=up==1", timeout=10) as response:
        return {sample["metric"]["job"] for sample in json.load(response)["data"]["result"]}
