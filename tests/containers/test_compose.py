"""The Compose file as the walkthrough and docs/containers.md start it."""

import json
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.containers.compose import FILE, Stack, running_stack, stand_in
from tests.containers.conftest import train
from tests.containers.engine import docker
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
        wait_until(lambda: jobs_up(prometheus) == {"prometheus", "alertmanager", "mlflow-server", "model-server"}, 60)


def jobs_up(prometheus: str) -> set[str]:
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?query=up==1", timeout=10) as response:
        return {sample["metric"]["job"] for sample in json.load(response)["data"]["result"]}
