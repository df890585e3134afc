"""The single files are what their sources make today, and kustomize builds every folder as it is."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.k8s.manifests import (
    FOLDER,
    KUSTOMIZATIONS,
    OVERLAYS,
    RENDERED,
    SINGLES,
    Object,
    build,
    find,
    key,
    load,
    name_of,
    select,
)

WALKTHROUGH = [
    "deployment.yaml",
    "mlflow-deployment.yaml",
    "monitor-deployment.yaml",
    "monitoring/prometheus-config.yaml",
    "monitoring/prometheus-grafana-deployment.yaml",
    "ui-deployment.yaml",
]
BATCH = ["score-cronjob.yaml", "score-rayjob.yaml"]  # of k8s/batch; no part of the base

MAX_ANNOTATION_BYTES = 256 * 1024  # of all annotations of an object, in Kubernetes
# prometheus-config.yaml holds copies of the defaults under other names, which win over them (docs/monitoring.md).
EDITED = ["ConfigMap/alertmanager-config", "ConfigMap/prometheus-config"]


def difference(committed: list[Object], fresh: list[Object]) -> list[str]:
    """Return the names of the objects that are not in both, or not the same."""
    sides = [{key(item): item for item in side} for side in (committed, fresh)]
    return sorted(name for name in sides[0].keys() | sides[1].keys() if sides[0].get(name) != sides[1].get(name))


def test_walkthrough_files_are_the_rendered_ones():
    assert sorted(map(name_of, RENDERED)) == sorted(WALKTHROUGH + BATCH)


@pytest.mark.parametrize("file", RENDERED, ids=name_of)
def test_single_file_equals_a_fresh_rendering(file: Path):
    assert difference(load(file), build(RENDERED[file])) == [], "run make manifests"


def test_difference_is_found_whether_changed_added_or_removed(minikube: list[Object]):
    changed = yaml.safe_load(yaml.safe_dump(minikube))
    changed[3]["metadata"]["labels"]["app"] = "other"
    assert difference(minikube, changed) == [key(minikube[3])]
    assert difference(minikube, minikube[1:]) == difference(minikube[1:], minikube) == [key(minikube[0])]


def test_every_single_folder_is_rendered_once():
    assert Counter(RENDERED.values()) == Counter(SINGLES)


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=name_of)
def test_folder_builds_without_options(folder: Path):
    assert build(folder)


@pytest.mark.parametrize("folder", [*SINGLES, FOLDER / "base", *OVERLAYS], ids=name_of)
def test_build_holds_the_namespace_first(folder: Path):
    assert key(build(folder)[0]) == "Namespace/mlflow-prod"


def test_objects_that_two_single_files_share_are_the_same():
    """So files may be applied in any order, and again: none takes back what another did."""
    seen: dict[str, Object] = {}
    for file in RENDERED:
        for item in load(file):
            assert seen.setdefault(key(item), item) == item, f"{key(item)} differs in {name_of(file)}"


def test_single_files_together_are_the_base_and_what_people_edit():
    together = {key(item): item for file in RENDERED if name_of(file) not in BATCH for item in load(file)}
    assert difference(list(together.values()), build(FOLDER / "base")) == EDITED


@pytest.mark.parametrize("folder", OVERLAYS, ids=name_of)
def test_overlay_holds_no_copy(folder: Path):
    """Its own files are patches: what they say, the base does not say already, and they create no object."""
    base = {key(item): item for item in build(FOLDER / "base")}
    patches = [file for file in folder.glob("*.yaml") if file.name != "kustomization.yaml"]
    for item in (document for file in patches for document in load(file) if isinstance(document, dict)):
        assert key(item) in base, f"{key(item)} is new"
        if "$patch" not in item:
            assert not covers(base[key(item)].get("spec"), item["spec"]), f"{key(item)} says what the base says"
    assert {key(item).rpartition("-settings-")[0] or key(item) for item in build(folder)} <= {
        name.rpartition("-settings-")[0] or name for name in base
    }


def covers(whole: object, part: object) -> bool:
    """Whether everything in ``part`` is in ``whole`` too."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and covers(whole[name], value) for name, value in part.items())
    if isinstance(whole, list) and isinstance(part, list):
        return all(any(covers(entry, wanted) for entry in whole) for wanted in part)
    return whole == part


def test_covers_sees_what_is_new():
    base = {"replicas": 2, "ports": [{"port": 1, "name": "a"}]}
    assert covers(base, {"ports": [{"port": 1}]})
    assert not covers(base, {"ports": [{"port": 2}]})
    assert not covers(base, {"replicas": 2, "paused": True})


def find_unrepeatable(objects: list[Object]) -> list[str]:
    """Return what ``kubectl apply`` could not apply twice: it keeps a copy of the object in an annotation."""
    fixed = [key(item) for item in objects if {"uid", "resourceVersion", "generateName"} & item["metadata"].keys()]
    return fixed + [key(item) for item in objects if len(json.dumps(item)) > MAX_ANNOTATION_BYTES * 0.9]


@pytest.mark.parametrize("file", RENDERED, ids=name_of)
def test_file_can_be_applied_again(file: Path):
    assert find_unrepeatable(load(file)) == []


def test_what_cannot_be_applied_again_is_found(minikube: list[Object]):
    assert find_unrepeatable(minikube) == []
    minikube[1]["metadata"]["generateName"] = "x-"
    find(minikube, "Secret", "mlflow-server")["data"]["flask-secret-key"] = "x" * 262144
    assert find_unrepeatable(minikube) == [key(minikube[1]), "Secret/mlflow-server"]


def test_secrets_are_data_so_that_a_second_apply_changes_nothing(minikube: list[Object]):
    secrets = select(minikube, "Secret")
    assert len(secrets) >= 5
    assert [key(secret) for secret in secrets if "stringData" in secret] == []


@pytest.mark.parametrize("file", RENDERED, ids=name_of)
def test_file_says_how_to_remove_it_without_the_namespace(file: Path):
    head = [line for line in file.read_text(encoding="utf-8").splitlines()[:3] if line.startswith("# ")]
    assert "DO NOT `kubectl delete -f` this file" in head[1]
    objects = load(file)
    assert len([item for item in objects if item["kind"] == "Namespace"]) == 1
    found = re.search(r": kubectl delete (\S+) (.*) -n mlflow-prod$", head[2])
    components = re.fullmatch(r"-l 'app.kubernetes.io/component in \(([a-z,-]+)\)'", found[2])
    if components is None:
        assert found[1] == "cm"
        assert sorted(found[2].split()) == sorted(item["metadata"]["name"] for item in select(objects, "ConfigMap"))
        return
    chosen = [item for item in objects if item["metadata"]["labels"].get(COMPONENT) in components[1].split(",")]
    assert {item["kind"] for item in chosen} <= set(KINDS) | {
        "PersistentVolumeClaim",
        "ClusterRole",
        "ClusterRoleBinding",
        "RayJob",
    }
    assert set(KINDS.values()) | ({"rayjob"} if select(objects, "RayJob") else set()) == set(found[1].split(","))
    left = [key(item) for item in objects if item not in chosen]
    assert set(left) <= {"Namespace/mlflow-prod", "PersistentVolumeClaim/model-server-prediction-log"}


COMPONENT = "app.kubernetes.io/component"
KINDS = dict.fromkeys(  # kubectl's category `all` holds these
    ("Deployment", "StatefulSet", "DaemonSet", "Service", "Job", "CronJob", "HorizontalPodAutoscaler"), "all"
) | {
    "ConfigMap": "cm",
    "Secret": "secret",  # pragma: allowlist secret
    "ServiceAccount": "sa",
    "NetworkPolicy": "netpol",
    "PodDisruptionBudget": "pdb",
    "Role": "role",
    "RoleBinding": "rolebinding",
}
