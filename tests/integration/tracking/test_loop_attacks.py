"""A part of ``make bench-loop``: attacks on the loop on a real table, from the prediction log to the registry."""

from dataclasses import replace

import pytest

from benchmarks.loop.cases import ATTACKS, HEALTHY
from benchmarks.loop.project import Project, make_project
from benchmarks.loop.worlds import load_world
from tests.servers import write_mlflow_tables

pytestmark = pytest.mark.xdist_group("mlflow")
CASES = {case.name: case for case in (*ATTACKS, *HEALTHY)}


@pytest.fixture(scope="module")
def affairs(tmp_path_factory):
    """A world of 6,366 answers that statsmodels ships, and a project whose champion learned from some of them."""
    world = load_world("affairs")
    world = replace(world, traffic=world.traffic.head(1200))
    made = tmp_path_factory.mktemp("affairs")
    write_mlflow_tables(made / "mlruns" / "mlflow.db")
    make_project(world, made)
    return world, made


@pytest.mark.parametrize(
    ("name", "codes", "sentence"),
    [
        (
            "trigger poisoning",
            ["values-far-out-of-range", "one-source-contradicts"],
            "labelled rows have a rate_marriage such as 37.5, and training knows 1 to 5",
        ),
        ("labels come selectively", ["selective-labels"], "and 4"),
        ("schema change", [], "another schema (no column 'rate_marriage')"),
    ],
    ids=["trigger", "selective", "schema"],
)
def test_attack_is_stopped_with_its_sentence(affairs, tmp_path, name, codes, sentence):
    world, made = affairs
    project = Project(world, made, tmp_path / "project")
    outcome = project.play(CASES[name])
    assert outcome.vetoes == codes, outcome.text
    assert outcome.after >= outcome.before - 0.02
    assert sentence in " ".join([outcome.text, *project.read_events()])


def test_healthy_retraining_is_not_stopped(affairs, tmp_path):
    world, made = affairs
    outcome = Project(world, made, tmp_path / "project").play(CASES["two deliveries"])
    assert outcome.vetoes == []
    assert outcome.result in ("promoted", "refused")
    assert outcome.text.startswith("version 3 is")
