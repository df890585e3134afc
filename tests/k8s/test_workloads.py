"""The rules of ``workloads`` and ``pod_security`` hold for every file and build, and each of them can fail."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.k8s import workloads
from tests.k8s.manifests import (
    EXAMPLES,
    FOLDER,
    OVERLAYS,
    RENDERED,
    Object,
    build,
    change,
    load,
    name_of,
    pod_template,
    select,
    templates,
)
from tests.k8s.pod_security import find_violations

Rule = Callable[[Sequence[Object]], list[str]]
SETS = {name_of(path): path for path in [*RENDERED, FOLDER / "base", *OVERLAYS]}


def find_pod_security_problems(objects: Sequence[Object]) -> list[str]:
    return [f"{name}: {text}" for name, template in templates(objects) for text in find_violations(template)]


def find_local_image_problems(objects: Sequence[Object]) -> list[str]:
    return workloads.find_image_problems(objects, local=True)


RULES: list[Rule] = [
    workloads.find_selector_problems,
    workloads.find_port_problems,
    workloads.find_volume_problems,
    workloads.find_resource_problems,
    workloads.find_convention_problems,
    find_pod_security_problems,
    find_local_image_problems,
]


def read(name: str) -> list[Object]:
    return load(SETS[name]) if SETS[name].is_file() else build(SETS[name])


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.removeprefix("find_").removesuffix("_problems"))
def test_rule_holds(rule: Rule, name: str):
    assert rule(read(name)) == []


@pytest.mark.parametrize("name", [name for name in SETS if name != "overlays/production"])
def test_everything_named_is_in_the_same_file(name: str):
    """So a single file suffices for its component, and the order in which files are applied does not matter."""
    assert workloads.find_reference_problems(read(name)) == []


def test_production_needs_only_the_secrets_that_its_example_shows(production: list[Object]):
    examples = [item for file in EXAMPLES for item in load(file)]
    assert workloads.find_reference_problems(production, select(examples, "Secret")) == []


def test_production_holds_no_secret_no_node_port_no_database(production: list[Object]):
    assert select(production, "Secret", "StatefulSet") == []
    assert {service["spec"].get("type", "ClusterIP") for service in select(production, "Service")} == {"ClusterIP"}
    assert "nodePort" not in str(select(production, "Service"))


def test_production_pins_every_image(production: list[Object]):
    assert workloads.find_image_problems(production, local=False) == []


# --- each rule can fail: (rule, object, path of a field, value; None removes it) ---------------------------------------------

POD = ("spec", "template", "spec")
FIRST = (*POD, "containers", 0)
BROKEN = [
    (workloads.find_selector_problems, "Service/model-service", ("spec", "selector", "app"), "model"),
    (workloads.find_selector_problems, "PodDisruptionBudget/mlflow-server", ("spec", "selector", "matchLabels", "app"), "x"),
    (workloads.find_selector_problems, "NetworkPolicy/mlflow-server", ("spec", "podSelector", "matchLabels", "app"), "x"),
    (workloads.find_selector_problems, "Deployment/mlflow-server", ("spec", "selector", "matchLabels", "app"), "model-server"),
    (
        workloads.find_selector_problems,
        "Deployment/model-server",
        (*POD, "topologySpreadConstraints", 0, "labelSelector", "matchLabels", "app"),
        "x",
    ),
    (workloads.find_port_problems, "Service/mlflow-service", ("spec", "ports", 0, "targetPort"), 5001),
    (workloads.find_port_problems, "Service/mlflow-service", ("spec", "ports", 0, "nodePort"), 30080),
    (workloads.find_port_problems, "Service/mlflow-service", ("spec", "ports", 0, "nodePort"), 5000),
    (workloads.find_port_problems, "Deployment/model-server", (*FIRST, "readinessProbe", "httpGet", "port"), "web"),
    (workloads.find_port_problems, "Deployment/model-server", (*FIRST, "livenessProbe"), None),
    (
        workloads.find_port_problems,
        "Deployment/model-server",
        ("spec", "template", "metadata", "annotations", "prometheus.io/port"),
        "8001",
    ),
    (workloads.find_reference_problems, "Deployment/mlflow-server", (*POD, "serviceAccountName"), "default-token"),
    (workloads.find_reference_problems, "Deployment/mlflow-server", (*FIRST, "envFrom", 0, "configMapRef", "name"), "x"),
    (
        workloads.find_reference_problems,
        "Deployment/mlflow-server",
        (*FIRST, "env", 0, "valueFrom", "secretKeyRef", "key"),
        "url",
    ),
    (workloads.find_reference_problems, "PersistentVolumeClaim/mlflow-artifacts", ("metadata", "name"), "artifacts"),
    (workloads.find_reference_problems, "PersistentVolumeClaim/mlflow-artifacts", ("metadata", "namespace"), "default"),
    (
        workloads.find_reference_problems,
        "HorizontalPodAutoscaler/model-server",
        ("spec", "scaleTargetRef", "name"),
        "model-service",
    ),
    (workloads.find_reference_problems, "Service/mlflow-service", ("metadata", "name"), "model-service"),
    (workloads.find_volume_problems, "Deployment/model-server", (*FIRST, "volumeMounts", 0, "name"), "cache"),
    (workloads.find_volume_problems, "Deployment/model-server", (*FIRST, "volumeMounts"), []),
    (workloads.find_volume_problems, "Deployment/model-server", (*FIRST, "volumeMounts", 0, "mountPath"), "/models"),
    (workloads.find_resource_problems, "Deployment/model-server", (*FIRST, "resources", "limits", "memory"), None),
    (workloads.find_resource_problems, "Deployment/model-server", (*FIRST, "resources", "requests", "cpu"), "2500m"),
    (workloads.find_convention_problems, "Deployment/model-server", (*POD, "enableServiceLinks"), None),
    (workloads.find_convention_problems, "Deployment/model-server", (*POD, "automountServiceAccountToken"), True),
    (workloads.find_convention_problems, "Service/model-service", ("metadata", "labels", "app.kubernetes.io/name"), None),
    (find_local_image_problems, "Deployment/model-server", (*FIRST, "image"), "projeto10-model"),
    (find_local_image_problems, "StatefulSet/mlflow-postgresql", (*FIRST, "image"), "postgres:15"),
    (find_local_image_problems, "StatefulSet/mlflow-postgresql", (*FIRST, "image"), "postgres:latest"),
    (find_pod_security_problems, "Deployment/model-server", (*POD, "hostNetwork"), True),
    (find_pod_security_problems, "Deployment/model-server", (*POD, "securityContext", "runAsNonRoot"), None),
    (find_pod_security_problems, "Deployment/model-server", (*POD, "securityContext", "runAsUser"), 0),
    (find_pod_security_problems, "Deployment/model-server", (*POD, "securityContext", "seccompProfile"), None),
    (
        find_pod_security_problems,
        "Deployment/model-server",
        (*POD, "securityContext", "sysctls"),
        [{"name": "kernel.msgmax", "value": "1"}],
    ),
    (find_pod_security_problems, "Deployment/model-server", (*POD, "volumes", 0), {"name": "tmp", "hostPath": {"path": "/"}}),
    (find_pod_security_problems, "Deployment/model-server", (*FIRST, "securityContext", "privileged"), True),
    (find_pod_security_problems, "Deployment/model-server", (*FIRST, "securityContext", "allowPrivilegeEscalation"), None),
    (find_pod_security_problems, "Deployment/model-server", (*FIRST, "securityContext", "capabilities", "drop"), ["NET_RAW"]),
    (find_pod_security_problems, "Deployment/model-server", (*FIRST, "securityContext", "capabilities", "add"), ["SYS_TIME"]),
    (find_pod_security_problems, "Deployment/model-server", (*FIRST, "securityContext", "procMount"), "Unmasked"),
    (
        find_pod_security_problems,
        "Deployment/model-server",
        (*FIRST, "securityContext", "appArmorProfile"),
        {"type": "Unconfined"},
    ),
    (find_pod_security_problems, "Deployment/model-server", (*FIRST, "securityContext", "seLinuxOptions"), {"user": "root"}),
    (find_pod_security_problems, "Deployment/model-server", (*FIRST, "ports", 0, "hostPort"), 8000),
    (find_pod_security_problems, "Deployment/model-server", (*FIRST, "readinessProbe", "httpGet", "host"), "127.0.0.1"),
    (find_pod_security_problems, "Deployment/mlflow-server", (*POD, "initContainers", 0, "securityContext"), None),
]


@pytest.mark.parametrize(("rule", "name", "path", "value"), BROKEN, ids=range(len(BROKEN)))
def test_rule_finds_what_is_broken(minikube: list[Object], rule: Rule, name: str, path: Sequence[str | int], value: object):
    assert rule(minikube) == []
    change(minikube, name, path, value)
    assert rule(minikube)


def test_missing_object_is_found(minikube: list[Object]):
    left = [item for item in minikube if item["metadata"]["name"] != "mlflow-database"]
    assert any("Secret/mlflow-database" in text for text in workloads.find_reference_problems(left))


def test_object_that_is_there_twice_is_found(minikube: list[Object]):
    assert workloads.find_reference_problems([*minikube, minikube[-1]]) != []


def test_every_workload_is_looked_at(minikube: list[Object]):
    """A kind that ``pod_template`` does not know would pass every rule."""
    assert [item["kind"] for item in minikube if "template" in item.get("spec", {}) and pod_template(item) is None] == []
    assert not select(minikube, "Pod", "ReplicaSet", "ReplicationController", "PodTemplate")


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("*.yaml")), ids=name_of)
def test_file_is_readable_yaml_without_tabs(file: Path):
    assert "\t" not in file.read_text(encoding="utf-8")
    assert load(file)
