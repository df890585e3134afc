"""What `mlops train` says on the terminal about a table of one's own."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import joblib
import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import mlops_project as mlops
from mlops_project.bundle import load_bundle
from mlops_project.cli import main
from mlops_project.tables.known_rows import read_known_rows

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


def count_sides() -> Counter[tuple[int, int]]:
    """Return how often the model in place knows each row on each side."""
    known = read_known_rows(load_bundle(Path("artifacts/model")))
    return Counter(zip(known.digests.tolist(), known.sides.tolist(), strict=True))


def test_training_says_which_class_is_the_positive_one_and_keeps_it(train):
    assert (
        "positive class: 'Churned' (20 % of the held-out rows), it reads like it; change it with decision.positive" in train()
    )
    assert "positive class: 'Stayed' (80 % of the held-out rows), as the configuration says" in train(
        "--set", "decision.positive=Stayed"
    )
    kept = train()
    assert "warning: the positive class stays 'Stayed', as in the model before; by itself it would be 'Churned'" in kept
    assert load_bundle(Path("artifacts/model")).contract.classes == ("Churned", "Stayed")
    assert "positive class: 'Churned'" in train("--set", "data.positive_class=Churned")


def test_threshold_is_chosen_told_and_kept(train):
    said = train("--set", "decision.threshold={cost: {false_positive: 1, false_negative: 6}}")
    assert "on (least cost, a wrong yes costs 1 and a wrong no 6)" in said
    assert "chosen on 120 training rows (24 positive), each answered by a model that had not seen it: expected cost 0." in said
    assert "expected cost" in said.partition("on the same rows")[0]
    bundle = load_bundle(Path("artifacts/model"))
    metadata, threshold = bundle.metadata, bundle.contract.threshold
    assert metadata.format_version == 4
    assert metadata.threshold_choice.chosen.threshold == threshold
    assert metadata.metrics["expected_cost"] <= metadata.threshold_choice.without["expected_cost"] + 0.2
    assert threshold < 0.5
    rows = pd.read_parquet(bundle.path / "reference.parquet")
    model = mlops.load(bundle)
    said = model.predict(rows) == "Churned"
    assert (said == (model.predict_proba(rows)["Churned"] >= threshold)).all()
    assert (joblib.load(bundle.path / "model.joblib").predict(rows[["age", "visits"]]) == model.predict(rows)).all()
    assert (mlflow.pyfunc.load_model(str(bundle.path)).predict(rows[["age", "visits"]]) == model.predict(rows)).all()


def test_without_a_threshold_the_bundle_is_written_as_before(train):
    train()
    written = json.loads(Path("artifacts/model/metadata.json").read_text())
    assert written["format_version"] == 2
    assert "decision" not in written["contract"]


def test_training_ends_with_commands_that_name_the_file(train):
    said = train()
    assert "report: " in said
    *_, head, serve, purpose, ask, _, up, _ = said.splitlines()
    assert (head, serve, up) == ("next:", "  mlops serve people.yaml", "  mlops up people.yaml")
    assert purpose == "      answer requests; try it at http://127.0.0.1:8000/docs"
    request = "artifacts/model/serving_input_example.json"
    assert ask == f"  curl http://127.0.0.1:8000/invocations -H content-type:application/json -d @{request}"
    assert json.loads(Path(request).read_text())["dataframe_split"]["columns"] == ["age", "visits"]


def test_rows_that_were_held_out_stay_so_when_the_table_grows(train):
    train()
    table, before = pd.read_csv("people.csv"), count_sides()
    more = table.assign(age=table["age"] + 0.01).iloc[:60]
    pd.concat([more, table]).to_csv("people.csv", index=False)
    said = train()
    assert "warning: the table has 60 rows that the last model does not know; the others stay on their side" in said
    after = count_sides()
    assert not before - after
    assert after.total() == 210
    assert "does not know" not in train()  # the same table again: nothing to tell, and the same sides
    assert count_sides() == after
    assert "does not know" not in train("--set", "random_state=7")
