"""What `mlops train` says on the terminal about a table of one's own."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mlops_project.bundle import load_bundle
from mlops_project.cli import main

SETTINGS = """
data: {source: people.csv, target: status}
model: {name: people, estimator: decision_tree, params: {max_depth: 3}}
evaluation: {importance_repeats: 0, bootstrap_rounds: 20}
tracking: {enabled: false}
"""


@pytest.fixture
def train(tmp_path, monkeypatch) -> Callable[..., str]:
    """Train on 150 people, of whom a fifth churned, and return what was printed."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    age = rng.normal(50, 10, 150).round(1)
    status = np.where(np.argsort(np.argsort(age + rng.normal(0, 4, 150))) < 30, "Churned", "Stayed")
    pd.DataFrame({"age": age, "visits": rng.integers(0, 9, 150), "status": status}).to_csv("people.csv", index=False)
    Path("people.yaml").write_text(SETTINGS)

    def run(*options: str) -> str:
        done = CliRunner().invoke(main, ["train", "people.yaml", *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_training_says_which_class_is_the_positive_one_and_keeps_it(train):
    assert "positive class: 'Churned' (20 % of the held-out rows); change it with data.positive_class" in train()
    assert "positive class: 'Stayed' (80 % of the held-out rows), as data.positive_class says" in train(
        "--set", "data.positive_class=Stayed"
    )
    kept = train()
    assert "warning: the positive class stays 'Stayed', as in the model before; by itself it would be 'Churned'" in kept
    assert load_bundle(Path("artifacts/model")).contract.classes == ("Churned", "Stayed")
    assert "positive class: 'Churned'" in train("--set", "data.positive_class=Churned")


def test_training_ends_with_commands_that_name_the_file(train):
    said = train()
    assert "report: " in said
    *_, head, serve, purpose, ask, _, up, _ = said.splitlines()
    assert (head, serve, up) == ("next:", "  mlops serve people.yaml", "  mlops up people.yaml")
    assert purpose == "      answer requests; try it at http://127.0.0.1:8000/docs"
    request = "artifacts/model/serving_input_example.json"
    assert ask == f"  curl http://127.0.0.1:8000/invocations -H content-type:application/json -d @{request}"
    assert json.loads(Path(request).read_text())["dataframe_split"]["columns"] == ["age", "visits"]
