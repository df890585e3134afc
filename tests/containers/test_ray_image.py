"""The image of the RayJob scores with Ray, under the limits of the RayJob's pods."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn.datasets import load_breast_cancer

from tests.containers.engine import ROOT, docker


@pytest.fixture
def pod() -> dict[str, Any]:
    """Return the pods of the workers."""
    documents = yaml.safe_load_all((ROOT / "k8s" / "score-rayjob.yaml").read_text(encoding="utf-8"))
    cluster = next(one for one in documents if one["kind"] == "RayJob")["spec"]["rayClusterSpec"]
    found: dict[str, Any] = cluster["workerGroupSpecs"][0]["template"]["spec"] | {"ray": cluster["rayVersion"]}
    return found


def as_options(pod: dict[str, Any], folder: Path) -> list[str]:
    """Return the options of ``docker run`` that say what the pod says."""
    (container,) = pod["containers"]
    context, volumes = container["securityContext"], {one["name"]: one["emptyDir"] for one in pod["volumes"]}
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert [one["mountPath"] for one in container["volumeMounts"]] == ["/tmp", "/dev/shm"]
    options = ["--read-only", "--tmpfs", "/tmp:mode=1777,exec", "--cap-drop", *context["capabilities"]["drop"]]
    options += ["--security-opt", "no-new-privileges", "--shm-size", volumes["shared-memory"]["sizeLimit"].rstrip("i").lower()]
    options += ["--memory", container["resources"]["limits"]["memory"].rstrip("i").lower()]
    options += ["--user", f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"]
    plain = [one for one in container["env"] if "value" in one and one["name"] != "MLFLOW_TRACKING_URI"]
    options += [part for one in plain for part in ("-e", f"{one['name']}={one['value']}")]
    return [*options, "-w", container["workingDir"], "-v", f"{folder}:/scored"]


def test_ray_scores_in_the_image_as_one_process_does(ray_image: str, pod: dict[str, Any], tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    load_breast_cancer(as_frame=True).data.to_parquet(tmp_path / "rows.parquet", row_group_size=100)
    script = """
set -e
python -c 'import ray; print(ray.__version__)'
wget --version >/dev/null
for engine in ray local; do
  mlops score /scored/rows.parquet -o /scored/$engine.parquet --model /opt/mlops/model --engine $engine --processes 2 --json
done"""
    done = docker("run", "--rm", *as_options(pod, tmp_path), ray_image, "sh", "-c", script, seconds=300)
    version, *summaries = done.stdout.splitlines()
    assert version == pod["ray"]
    assert [json.loads(summary)["scored"] for summary in summaries] == [569, 569]
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "local.parquet").read_bytes()
