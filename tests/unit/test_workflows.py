"""GitHub's workflows: jobs call make, actions are pinned, and nobody may do more than the job needs."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
OTHERS = ("sudo apt-get ", "gh release create ", "mkdir -p ", "cp ")  # what is GitHub's or the machine's own


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request):
    return yaml.safe_load(request.param.read_text(encoding="utf-8"))


def list_steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_jobs_call_make_targets_that_exist(workflow):
    lines = [line.strip() for step in list_steps(workflow) if "run" in step for line in step["run"].splitlines()]
    for line in lines:
        if line.startswith(OTHERS):
            continue
        words = [word for word in line.split(" >")[0].split() if not word.startswith("-") and "=" not in word]
        assert words[0] == "make", line
        for target in words[1:]:
            assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), line


def test_actions_are_pinned_by_commit_with_their_release_beside(workflow):
    for step in list_steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+(/[\w.-]+)*@[0-9a-f]{40}", step["uses"]), step


def test_jobs_read_only_unless_they_say_otherwise_and_end_in_time(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_promotion_waits_for_a_person_and_asks_the_gate_again():
    jobs = yaml.safe_load((ROOT / ".github/workflows/model.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["promote"]["needs"] == "train"
    assert jobs["promote"]["environment"] == "production"
    trained = [step["run"] for step in jobs["train"]["steps"] if "run" in step]
    assert trained == ["make model-train", "make model-gate"]
    recipe = re.search(r"^model-promote:.*\n\t(.*)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    assert "--force" not in recipe[1]
    steps = [step for step in jobs["promote"]["steps"] if "run" in step]
    assert [step["run"] for step in steps] == ["make model-approve", "make model-promote"]
    assert steps[0]["if"] == "vars.APPROVAL == 'required'"
