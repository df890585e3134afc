"""Scoring by the clock and on a Ray cluster: what runs may run again, ends by itself, and costs nothing afterwards."""

import re
import shlex

import click
import pytest

from mlops_project.score import command
from tests.k8s.manifests import FOLDER, ROOT, Object, containers, find, load, ray_templates

# Fields of KubeRay's RayJob (v1) that are used, and their types; all of the file was compared with the operator's own schema.
FIELDS = {
    "suspend": bool,
    "entrypoint": str,
    "submissionMode": str,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "activeDeadlineSeconds": int,
    "backoffLimit": int,
    "submitterConfig": dict,
    "submitterPodTemplate": dict,
    "rayClusterSpec": dict,
}


@pytest.fixture(scope="module")
def ray_job() -> Object:
    return find(load(FOLDER / "score-rayjob.yaml"), "RayJob", "score-ray")


@pytest.fixture(scope="module")
def cron_job() -> Object:
    return find(load(FOLDER / "score-cronjob.yaml"), "CronJob", "score")


def read_arguments(words: list[str]) -> dict:
    assert words[:2] == ["mlops", "score"]
    return command.make_context("score", words[2:]).params


def test_night_run_is_one_at_a_time_and_goes_on_after_a_failure(cron_job: Object):
    spec = cron_job["spec"]
    assert (spec["suspend"], spec["concurrencyPolicy"]) == (True, "Forbid")
    job = spec["jobTemplate"]["spec"]
    assert job["backoffLimit"] >= 1
    assert job["activeDeadlineSeconds"] > 0
    assert job["ttlSecondsAfterFinished"] > 0
    (container,) = containers(job["template"])
    arguments = read_arguments(container["args"])
    assert arguments["engine"] == "local"
    source, target = arguments["places"]
    assert source.startswith("s3://")
    assert target.startswith("s3://")  # where finished parts outlive the pod
    assert target.endswith("/")


def test_ray_job_has_the_fields_that_kuberay_knows(ray_job: Object):
    spec = ray_job["spec"]
    assert {name: type(value) for name, value in spec.items()} == FIELDS
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode")


def test_ray_cluster_is_gone_after_the_job_whatever_happens(ray_job: Object):
    spec = ray_job["spec"]
    assert spec["shutdownAfterJobFinishes"]
    assert 0 < spec["ttlSecondsAfterFinished"] <= 3600
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["backoffLimit"] >= 1
    assert spec["submitterConfig"]["backoffLimit"] >= 1


def test_nothing_is_scored_on_the_head_and_workers_have_as_many_cpus_as_they_say(ray_job: Object):
    cluster = ray_job["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = cluster["workerGroupSpecs"]
    cpus = int(group["rayStartParams"]["num-cpus"])
    (worker,) = containers(group["template"])
    assert int(worker["resources"]["limits"]["cpu"]) == cpus
    arguments = read_arguments(shlex.split(ray_job["spec"]["entrypoint"]))
    assert (arguments["engine"], arguments["address"]) == ("ray", None)  # RAY_ADDRESS is KubeRay's
    assert arguments["processes"] == cpus * group["replicas"]
    assert all(place.startswith("s3://") for place in arguments["places"])


def test_every_node_has_the_version_of_ray_that_is_pinned(ray_job: Object):
    pinned = re.search(r"^ray==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    assert ray_job["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]
    assert f"ray[default]=={pinned[1]}" in (FOLDER / "base/score-ray/Dockerfile").read_text()
    assert len({containers(template)[0]["image"] for _, template in ray_templates(ray_job)}) == 1


def test_misspelled_argument_would_be_found(cron_job: Object):
    with pytest.raises(click.UsageError):
        read_arguments(["mlops", "score", "a", "b", "--process-count", "2"])
