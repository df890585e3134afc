"""The manifests under test: what users apply, and what kustomize makes of the sources."""

import base64
import functools
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

Object = dict[str, Any]
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "k8s"
HEADER = "# Rendered from "
NAMESPACE = "mlflow-prod"
SINGLES = sorted(file.parent for name in ("single", "batch") for file in FOLDER.glob(f"{name}/*/kustomization.yaml"))
OVERLAYS = sorted(file.parent for file in FOLDER.glob("overlays/*/kustomization.yaml"))
EXAMPLES = sorted(FOLDER.glob("overlays/*/examples/*.yaml"))
KUSTOMIZATIONS = sorted(file.parent for file in FOLDER.rglob("kustomization.yaml"))
CLUSTER_SCOPED = ("Namespace", "ClusterRole", "ClusterRoleBinding")


def name_of(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def find_rendered() -> dict[Path, Path]:
    """Return each file that says it is rendered → the folder it says it is rendered from."""
    found = {}
    for file in FOLDER.rglob("*.yaml"):
        with file.open(encoding="utf-8") as stream:
            first = stream.readline()
        if first.startswith(HEADER):
            found[file] = ROOT / first.removeprefix(HEADER).split()[0]
    return found


RENDERED = find_rendered()


def load(file: Path) -> list[Object]:
    return [document for document in yaml.load_all(file.read_text(encoding="utf-8"), Loader=Loader) if document]


@functools.cache
def build_text(folder: Path) -> str:
    """Return what ``kubectl kustomize`` makes of a folder, with no option: ``kubectl apply -k`` takes none."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is missing; it needs no cluster")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    assert not done.stderr, f"{folder} builds with a warning: {done.stderr}"
    return done.stdout


def build(folder: Path) -> list[Object]:
    """Return a fresh copy of a build's objects."""
    return [document for document in yaml.load_all(build_text(folder), Loader=Loader) if document]


def key(item: Object) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def select(objects: Sequence[Object], *kinds: str) -> list[Object]:
    return [item for item in objects if item["kind"] in kinds]


def find(objects: Sequence[Object], kind: str, name: str) -> Object:
    found = [item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{len(found)} objects are {kind}/{name}"
    return found[0]


def change(objects: Sequence[Object], name: str, path: Sequence[str | int], value: object) -> None:
    """Set a field of an object, named ``Kind/name``; a value of None removes it."""
    place: object = find(objects, *name.split("/"))
    for step in path[:-1]:
        place = place[step]  # type: ignore[index]
    if value is None:
        del place[path[-1]]  # type: ignore[attr-defined]
    else:
        place[path[-1]] = value  # type: ignore[index]


def pod_template(item: Object) -> Object | None:
    """Return the pod template of a workload, None for other kinds."""
    if item["kind"] == "CronJob":
        return dict(item["spec"]["jobTemplate"]["spec"]["template"])
    if item["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        return dict(item["spec"]["template"])
    return None


def templates(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Give (workload, pod template) of every workload."""
    for item in objects:
        template = pod_template(item)
        if template is not None:
            yield key(item), template
        if item["kind"] == "RayJob":
            yield from ray_templates(item)


def ray_templates(item: Object) -> Iterator[tuple[str, Object]]:
    """Give the pod templates of a RayJob: who submits it, the cluster's head, and its groups of workers."""
    cluster = item["spec"]["rayClusterSpec"]
    yield f"{key(item)} submitter", item["spec"]["submitterPodTemplate"]
    yield f"{key(item)} head", cluster["headGroupSpec"]["template"]
    yield from ((f"{key(item)} {group['groupName']}", group["template"]) for group in cluster["workerGroupSpecs"])


def containers(template: Object) -> list[Object]:
    """Return all containers of a pod, those that run first included."""
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def environment(objects: Sequence[Object], container: Object) -> dict[str, str]:
    """Return a container's variables; what comes from a Secret has the value that the Secret has here, or is left out."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if field in source:
                found |= _values(objects, kind, source[field]["name"])
    for entry in container.get("env", ()):
        if "value" in entry:
            found[entry["name"]] = entry["value"]
        for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            reference = entry.get("valueFrom", {}).get(field)
            if reference and reference["key"] in (values := _values(objects, kind, reference["name"])):
                found[entry["name"]] = values[reference["key"]]
    return found


def _values(objects: Sequence[Object], kind: str, name: str) -> dict[str, str]:
    matching = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return {field: text for item in matching for field, text in read_values(item).items()}


def read_values(item: Object) -> dict[str, str]:
    """Return what a ConfigMap or a Secret holds, decoded."""
    data = item.get("data", {})
    if item["kind"] == "Secret":
        data = {field: base64.b64decode(text, validate=True).decode() for field, text in data.items()}
    return data | item.get("stringData", {})
