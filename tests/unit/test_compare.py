"""Two trained models side by side: the same rows, paired differences, and what cannot be compared."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import mlops_project as mlops
from mlops_project.bundle import load_bundle
from mlops_project.cli import main
from mlops_project.modeling.comparing import _correct
from mlops_project.modeling.differences import list_tables, write_page
from tests.shared import make_once

QUICK = {
    "tracking__enabled": False,
    "evaluation": {"bootstrap_rounds": 100, "importance_repeats": 0, "baselines": False},
    "data": {"source": "people.csv", "target": "churned"},
}


def write_people(folder: Path) -> None:
    """Write 800 people; whoever lives in Ulm answers to another rule."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"age": rng.normal(50, 10, 800), "spent": rng.gamma(2, 9, 800), "city": rng.choice(["Bonn", "Ulm"], 800)}
    )
    odds = np.where(frame["city"] == "Ulm", frame["age"] - 50, 50 - frame["age"]) / 3 + rng.normal(0, 1, 800)
    frame["churned"] = np.where(odds > 0.8, "yes", "no")
    frame.to_csv(folder / "people.csv", index=False)
    (folder / "pyproject.toml").touch()


def fit(folder: Path, name: str, **settings) -> None:
    file = folder / f"{name}.yaml"
    file.write_text("{}")
    chosen = {**QUICK, **settings, "data": QUICK["data"] | settings.get("data", {})}
    mlops.train(file, progress=False, model__name=name, paths__exported_model_dir=str(folder / name), **chosen)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    def make(folder: Path) -> None:
        write_people(folder)
        fit(
            folder,
            "a",
            model__estimator="logistic_regression",
            decision__threshold={"cost": {"false_positive": 1, "false_negative": 3}},
        )
        fit(folder, "b", model={"estimator": "decision_tree", "params": {"max_depth": 3}}, data={"drop": ["spent"]})
        fit(folder, "other", model__estimator="ridge", data={"target": "age"})

    return make_once(tmp_path_factory, "compare", make)


@pytest.fixture(scope="module")
def found(folder):
    return mlops.compare(folder / "a", folder / "b", config=folder / "a.yaml")


def test_metrics_are_those_of_both_on_the_same_rows(folder, found):
    assert found.rows == 160
    pairs = {pair.name: pair for pair in found.metrics}
    for name, side in (("a", "a"), ("b", "b")):
        metadata = load_bundle(folder / name).metadata
        for metric in ("roc_auc", "recall", "log_loss"):
            assert getattr(pairs[metric], side) == pytest.approx(metadata.metrics[metric])
    for pair in found.metrics:
        assert pair.low <= pair.difference <= pair.high
    assert pairs["roc_auc"].better == "b"
    assert "expected_cost" in pairs  # of both, by the costs of A
    assert any("wrong answers cost what A says" in note for note in found.notes)


def test_slices_rows_importance_and_settings_tell_where_they_differ(found):
    assert {"age", "city"} <= {item.column for item in found.slices}
    assert all(item.p_value < 0.05 for item in found.slices)
    changed = found.changed
    assert changed.mended > changed.broken
    assert changed.p_value < 0.05
    assert 0 < len(changed.shown) <= 10
    by = [abs(row.by) for row in changed.shown]
    assert by == sorted(by, reverse=True)
    assert all(row.a != row.b for row in changed.shown)
    columns = {pair.name: pair for pair in found.importance}
    assert columns["spent"].b is None
    assert columns["city"].b > columns["city"].a
    assert found.settings["estimator"] == ("logistic_regression", "decision_tree")
    assert found.settings["threshold"][1] is None
    assert "only A reads 'spent'" in found.notes


def test_a_model_beside_itself_differs_in_nothing(folder):
    found = mlops.compare(folder / "b", folder / "b", config=folder / "b.yaml")
    assert {pair.better for pair in found.metrics} == {""}
    assert (found.slices, found.changed.rows, found.settings, found.notes) == ((), 0, {}, ())


def test_models_of_other_questions_are_set_beside_each_other_by_their_own_figures(folder):
    found = mlops.compare(folder / "a", folder / "other", config=folder / "a.yaml")
    assert (found.rows, found.metrics) == (0, ())
    assert "the task of A is 'binary', of B 'regression'" in found.notes[0]
    assert "B by itself, on its own 160 held-out rows: mae" in found.notes[2]


def test_rows_that_the_other_may_have_learned_are_not_compared(folder, tmp_path):
    fit(folder, "c", model={"estimator": "decision_tree", "params": {"max_depth": 3}}, random_state=7)
    found = mlops.compare(folder / "b", folder / "c", config=folder / "b.yaml")
    assert 0 < found.rows < 80  # a fifth of a fifth of 800, or so
    assert sum("are not among the other's, and left out" in note for note in found.notes) == 2


def test_command_prints_tables_of_a_terminal_a_page_and_json(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    page = tmp_path / "page.html"
    done = CliRunner().invoke(main, ["compare", "a", "b", "a.yaml", "--html", str(page)])
    assert done.exit_code == 0, done.output
    for title in ("Metrics", "Slices that differ", "Rows that changed sides", "Importance", "Settings that differ"):
        assert f"\n{title}\n" in done.stdout
        assert f"<h2>{title}</h2>" in page.read_text()
    told = json.loads(CliRunner().invoke(main, ["compare", "a", "b", "a.yaml", "--json"]).stdout)
    assert {item["name"] for item in told["metrics"]} >= {"accuracy", "expected_cost"}


def test_page_and_notebook_escape_what_names_hold(found):
    from msgspec.structs import replace

    hostile = replace(found, a="<script>x</script>", settings={"<b>": ("<i>", 1)})
    for text in (write_page(hostile), hostile._repr_html_()):
        assert "<script>" not in text
        assert "<i>" not in text
    assert len(list_tables(found)) == 5


def test_probabilities_of_chance_are_corrected_over_all_slices():
    assert _correct(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert _correct(np.array([])).tolist() == []
