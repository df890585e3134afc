"""Kubernetes' own schemas, in several versions, and checkov."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.k8s.manifests import (
    EXAMPLES,
    FOLDER,
    KUSTOMIZATIONS,
    NAMESPACE,
    RENDERED,
    ROOT,
    SINGLES,
    Object,
    build,
    build_text,
    load,
    ray_templates,
)

# The oldest in which all that is used works without a feature gate (preStop.sleep, HPA by container), up to the newest.
VERSIONS = ("1.30", "1.32", "1.34", "1.35", "1.36", "1.37")
FILES = [*RENDERED, *EXAMPLES]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Write the objects of every file in the repository and of every build, each once; give the file and how many there are.

    Many builds share an object, and the validator reads a version's whole schema for each.
    """
    objects = [item for file in FILES for item in load(file)]
    objects += [item for source in KUSTOMIZATIONS for item in build(source)]
    objects = [part for item in objects for part in take_apart(item)]
    distinct = {json.dumps(item, sort_keys=True, default=str): item for item in objects}
    file = tmp_path_factory.mktemp("builds") / "objects.yaml"
    file.write_text(yaml.dump_all(distinct.values(), Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
    return file, len(distinct)


def take_apart(item: Object) -> list[Object]:
    """Return what Kubernetes itself knows: of a RayJob, whose schema KubeRay brings (test_batch.py), its pods; of a route none.

    The schema of routes comes with the Gateway API (test_gateway.py).
    """
    if item["kind"] == "HTTPRoute":
        return []
    if item["kind"] != "RayJob":
        return [item]
    parts = enumerate(ray_templates(item))
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"ray-{place}", "namespace": NAMESPACE, **template["metadata"]},
            "spec": template["spec"],
        }
        for place, (_, template) in parts
    ]


def validate(program: Path, version: str, file: Path) -> "subprocess.CompletedProcess[str]":
    command = [program, "--kubernetes-version", version, "--strict", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", VERSIONS)
def test_manifest_is_valid_in_version(version: str, tool: Callable[[str], Path], written: tuple[Path, int]):
    file, n_objects = written
    done = validate(tool("kubernetes-validate"), version, file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARN" not in done.stdout + done.stderr, "a kind without a schema is not checked"
    assert sum(line.startswith("INFO") for line in done.stdout.splitlines()) == n_objects


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("minAvailable: 1", "minAvailable: [1]"),  # a wrong type
        ("maxUnavailable: 0", "maxUnavailables: 0"),  # an unknown field
        ("kind: PodDisruptionBudget", "kind: PodDisruptionBudgets"),
    ],
)
def test_what_is_invalid_is_found(version: str, right: str, wrong: str, tool: Callable[[str], Path], tmp_path: Path):
    text = build_text(FOLDER / "single/model-server")
    assert right in text
    valid, changed = (list(yaml.safe_load_all(item)) for item in (text, text.replace(right, wrong)))
    (broken,) = [item for item in changed if item not in valid]
    file = tmp_path / "broken.yaml"
    file.write_text(yaml.safe_dump(broken))
    done = validate(tool("kubernetes-validate"), version, file)
    assert done.returncode != 0 or "WARN" in done.stdout + done.stderr


def find_failures(program: Path, folder: Path, skipped: bool = True) -> set[str]:
    """Return checkov's findings in a folder, ``CHECK in FILE``."""
    options = ["--config-file", ROOT / ".checkov.yaml"] if skipped else ["--framework", "kubernetes", "--skip-download"]
    command = [program, *options, "--directory", folder, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    reports = json.loads(done.stdout)
    reports = reports if isinstance(reports, list) else [reports]
    assert any(report.get("summary", {}).get("passed") for report in reports), "nothing was checked"
    assert not any(report.get("summary", {}).get("parsing_errors") for report in reports)
    failures = [failure for report in reports for failure in report["results"]["failed_checks"]]
    return {
        f"{failure['check_id']} {failure['check_name']} in {failure['file_path']} {failure['resource']}" for failure in failures
    }


def test_checkov_finds_nothing_unexplained(tool: Callable[[str], Path], tmp_path: Path):
    for source in [*SINGLES, FOLDER / "overlays/minikube", FOLDER / "overlays/production"]:
        objects = [part for item in build(source) for part in take_apart(item)]
        (tmp_path / f"{source.name}.yaml").write_text(yaml.dump_all(objects))
    assert find_failures(tool("checkov"), tmp_path) == set()


def test_checkov_finds_what_is_unsafe(tool: Callable[[str], Path], tmp_path: Path):
    text = build_text(FOLDER / "single/model-server")
    assert "readOnlyRootFilesystem: true" in text
    (tmp_path / "unsafe.yaml").write_text(text.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"))
    assert {failure.partition(" ")[0] for failure in find_failures(tool("checkov"), tmp_path)} == {"CKV_K8S_22"}


def test_every_skipped_check_has_a_reason_and_something_to_skip(tool: Callable[[str], Path], tmp_path: Path):
    file = ROOT / ".checkov.yaml"
    lines = [line for line in file.read_text().splitlines() if "- CKV_" in line]
    assert all("#" in line for line in lines)
    for source in [FOLDER / "overlays/minikube", FOLDER / "overlays/production"]:
        (tmp_path / f"{source.name}.yaml").write_text(build_text(source))
    found = {failure.partition(" ")[0] for failure in find_failures(tool("checkov"), tmp_path, skipped=False)}
    skipped = {name for name in yaml.safe_load(file.read_text())["skip-check"] if name.startswith("CKV_K8S")}
    assert skipped <= found, f"no longer needed: {skipped - found}"
