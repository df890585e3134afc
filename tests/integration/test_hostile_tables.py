"""Tables that are legal and hard on side models: training ends with a model, and says what it goes without."""

import json

import mlflow
import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.monitoring.estimate import Estimator
from mlops_project.reference.profile import load_reference
from mlops_project.runtime import Runtime
from mlops_project.train import train
from tests.servers import write_mlflow_tables

QUICK = """
evaluation: {bootstrap_rounds: 20, importance_repeats: 1, importance_rows: 50}
gates: {bootstrap_rounds: 100}
"""
FOREST = "model: {name: m, estimator: random_forest, params: {n_estimators: 5, max_depth: 3, n_jobs: 1}}"
AUTO = "model: {name: m, estimator: auto, params: {n_estimators: 5, max_iter: 20, n_jobs: 1}}"


@pytest.fixture
def fit(tmp_path, capfd):
    def run(frame: pd.DataFrame, model: str = FOREST, data: str = "", **settings: str):
        (tmp_path / "pyproject.toml").touch()
        frame.to_csv(tmp_path / "t.csv", index=False)
        (tmp_path / "m.yaml").write_text(f"{QUICK}{model}\ndata: {{source: t.csv, target: y{data}}}\n")
        overrides = [f"{key}={value}" for key, value in {"tracking.enabled": "false", **settings}.items()]
        capfd.readouterr()
        trained = train(read_config(tmp_path / "m.yaml", root=tmp_path, env={}, overrides=overrides))
        assert capfd.readouterr() == ("", "")  # libraries print nothing
        bundle = load_bundle(trained.bundle.path)
        Runtime.load(bundle).predict({name: [value] for name, value in bundle.contract.example_row().items()})
        return trained, bundle

    return run


def draw(n_rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=n_rows).round(3), "b": rng.normal(size=n_rows).round(3)})
    return frame.assign(y=(3 * frame["a"] + rng.normal(size=n_rows)).round(3))


def test_largest_numbers_that_are_legal_leave_every_side_model_whole(fit):
    frame = draw(1100).assign(when=range(1100))
    frame.loc[[400, 1090], "a"] = 3e38  # one to learn from, one held out
    trained, bundle = fit(frame, data=", time: when")
    profile = load_reference(bundle)
    assert profile.features[0].largest == 3e38
    Estimator(profile.performance, bundle.contract, seed=0)
    assert [item.name for item in bundle.metadata.baselines] == ["dummy", "linear"]
    assert not any("left out" in note for note in trained.warnings)


def test_huge_number_in_the_target_gives_a_model_that_can_be_read(fit):
    frame = draw(120)
    frame.loc[3, "y"] = 1e300
    frame = pd.concat([frame] * 9).reset_index(drop=True).assign(a=lambda rows: rows["a"] + rows.index / 1e4)
    trained, bundle = fit(frame, AUTO)
    assert bundle.metadata.choice.reason.startswith("none could be fitted")
    assert any(note.startswith("the model of the error's size was left out") for note in trained.warnings)
    profile = load_reference(bundle)
    assert profile.performance.error_model is None
    Estimator(profile.performance, bundle.contract, seed=0)  # the monitor copes with what is there


def test_class_with_few_rows_one_column_and_few_rows_train(fit):
    frame = draw(60)[["a"]].assign(y=["rare"] * 5 + ["x", "z"] * 27 + ["x"])
    trained, bundle = fit(frame, AUTO, **{"evaluation.cv_folds": "2"})
    folds = json.loads((bundle.path / "cross_validation.json").read_text())
    assert [set(fold["baselines"]) for fold in folds] == [{"dummy", "linear"}] * 2
    assert bundle.metadata.estimator == trained.bundle.metadata.choice.candidates[bundle.metadata.choice.chosen].estimator
    _, bundle = fit(draw(20)[["a", "y"]], AUTO)
    assert bundle.metadata.choice.folds == 5


def test_column_that_is_empty_in_the_training_rows_alone(fit):
    frame = draw(100).assign(late=[np.nan] * 85 + [1.5] * 15, when=pd.date_range("2026-01-01", periods=100).astype(str))
    trained, bundle = fit(frame, AUTO, ", time: when")
    assert "late" in bundle.contract.names
    assert len(bundle.metadata.baselines) == 2
    assert trained.bundle.metadata.choice.folds == 5


def test_choice_stands_in_mlflow_and_the_bundle_holds_the_chosen_estimator(fit, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_mlflow_tables(tmp_path / "mlruns" / "mlflow.db")
    trained, bundle = fit(draw(120), AUTO, **{"tracking.enabled": "true"})
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    data = client.get_run(trained.run.run_id).data
    assert bundle.metadata.config["model"]["estimator"] == data.params["model.estimator"] == "auto"
    assert data.params["chosen.estimator"] == data.tags["estimator"] == bundle.metadata.estimator == "ridge"
    losses = {name: value for name, value in data.metrics.items() if name.startswith("tried_")}
    assert min(losses, key=losses.get) == "tried_ridge_rmse"
    assert trained.decision.verdict == "first"
    assert msgspec.to_builtins(bundle.metadata.choice)["candidates"][0]["estimator"] == "ridge"
