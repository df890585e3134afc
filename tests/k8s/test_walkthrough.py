"""The guide's chapter on Kubernetes: what its commands name is in the file that they apply."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.k8s.manifests import EXAMPLES, FOLDER, ROOT, Object, build, find, load, select
from tests.k8s.network import matches
from tests.k8s.workloads import find_port_problems, find_reference_problems

GUIDE = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
SERVERS = [
    # file, Deployment, image, Service, port, NodePort
    ("mlflow-deployment.yaml", "mlflow-server", "my-mlflow-app:latest", "mlflow-service", 5000, 30500),
    ("deployment.yaml", "model-server", "projeto10-model:latest", "model-service", 8000, 30080),
]
COMMANDS = [
    "kubectl apply -f k8s/mlflow-deployment.yaml",
    "kubectl apply -f k8s/deployment.yaml",
    "kubectl rollout status deploy/mlflow-server",
    "kubectl logs -l app=mlflow-server",
    "kubectl port-forward svc/mlflow-service -n mlflow-prod 5000:5000",
    "kubectl port-forward svc/model-service -n mlflow-prod 8000:8000",
    "kubectl apply -k k8s/overlays/minikube",
    "kubectl apply -k k8s/overlays/production",
]


@pytest.mark.parametrize(("file", "deployment", "image", "service", "port", "node_port"), SERVERS)
def test_server_has_the_names_that_users_rely_on(
    file: str, deployment: str, image: str, service: str, port: int, node_port: int
):
    objects = load(FOLDER / file)
    workload, entry = find(objects, "Deployment", deployment), find(objects, "Service", service)
    assert workload["metadata"]["labels"]["app"] == workload["spec"]["template"]["metadata"]["labels"]["app"] == deployment
    container = workload["spec"]["template"]["spec"]["containers"][0]
    assert (container["name"], container["image"]) == (deployment, image)
    assert matches({"matchLabels": entry["spec"]["selector"]}, workload["spec"]["template"]["metadata"]["labels"])
    (only,) = entry["spec"]["ports"]
    assert (entry["spec"]["type"], only["port"], only["nodePort"]) == ("NodePort", port, node_port)
    assert container["ports"] == [{"name": only["targetPort"], "containerPort": port}]


def test_tracking_server_runs_twice_with_probes_on_its_port():
    spec = find(load(FOLDER / "mlflow-deployment.yaml"), "Deployment", "mlflow-server")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert spec["replicas"] == 2
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}


def test_every_file_brings_the_namespace_with_its_guard():
    for file, *_ in SERVERS:
        labels = find(load(FOLDER / file), "Namespace", "mlflow-prod")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("command", COMMANDS)
def test_guide_shows_the_command(command: str):
    assert command in GUIDE


def test_guide_names_files_that_exist():
    named = set(re.findall(r"(?<![\w/.-])(?:k8s|docs|src|tests)/[\w/.-]*\w", GUIDE))
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_guide_names_every_secret_and_key_that_production_needs():
    secrets = select([item for file in EXAMPLES for item in load(file)], "Secret")
    assert len(secrets) >= 4
    assert [name for name in names(secrets) if f"`{name}`" not in GUIDE] == []


def names(secrets: list[Object]) -> set[str]:
    return {secret["metadata"]["name"] for secret in secrets} | {key for secret in secrets for key in secret["stringData"]}


def test_own_overlay_of_the_guide_builds(tmp_path: Path):
    """The example in the guide, over a copy of the manifests: it replaces every placeholder of the production overlay."""
    (block,) = re.findall(r"```yaml\n# deploy/kustomization.yaml\n(.*?)```", GUIDE, re.DOTALL)
    shutil.copytree(FOLDER, tmp_path / "k8s")
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/kustomization.yaml").write_text(block)
    objects = build(tmp_path / "deploy")
    placeholders = r"registry\.example\.com|example-bucket|mlflow\.example\.com|example-shared-files"
    assert len(set(re.findall(placeholders, yaml.safe_dump(build(FOLDER / "overlays/production"))))) == 4
    assert re.findall(placeholders, yaml.safe_dump(objects)) == []
    assert find(objects, "PersistentVolumeClaim", "model-server-prediction-log")["spec"]["storageClassName"] == "efs"
    assert find_reference_problems(objects, select([item for file in EXAMPLES for item in load(file)], "Secret")) == []


def test_grpc_overlay_of_the_guide_opens_its_port_everywhere(tmp_path: Path):
    (block,) = re.findall(r"```yaml\n# deploy/grpc/kustomization.yaml\n(.*?)```", GUIDE, re.DOTALL)
    shutil.copytree(FOLDER, tmp_path / "k8s")
    (tmp_path / "deploy/grpc").mkdir(parents=True)
    (tmp_path / "deploy/grpc/kustomization.yaml").write_text(block)
    objects = build(tmp_path / "deploy/grpc")
    assert find_port_problems(objects) == []
    container = find(objects, "Deployment", "model-server")["spec"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["grpc"] == {"port": 8001}
    (settings,) = [item["data"] for item in objects if item["metadata"]["name"].startswith("model-server-settings-")]
    assert settings["MLOPS_SERVING__GRPC_PORT"] == "8001"
    policy = find(objects, "NetworkPolicy", "model-server")["spec"]["ingress"][0]["ports"]
    assert [port["port"] for port in policy] == [8000, 8001]
