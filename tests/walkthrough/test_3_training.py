import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import pytest
from mlflow import MlflowClient
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler

from mlops_project.train import train
from mlops_project.utils import load_config
from tests.walkthrough.conftest import make_project, run_in

TRAIN = (sys.executable, "-m", "mlops_project.train")
QUICK = ("--set", "model.params={n_estimators: 20}", "--set", "evaluation.importance_repeats=0")
UNTRACKED = (*TRAIN, *QUICK, "--set", "tracking.enabled=false")


class Trained(NamedTuple):
    """What a training said, and the model it left."""

    done: "subprocess.CompletedProcess[str]"
    model: Path

    @property
    def metadata(self) -> dict[str, Any]:
        return json.loads((self.model / "metadata.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Trained]:
    """The same training as scripts start it, once for each way of saying what came of it."""
    found = {}
    for option in ("--json", "--quiet"):
        root = make_project(tmp_path_factory.mktemp("trained"))
        found[option] = Trained(run_in(root, *UNTRACKED, option), root / "artifacts" / "model")
    return found


def test_default_training_prints_exports_and_logs_as_the_guide_says(run, project):
    done = run(*TRAIN, folder="notebooks")  # any working directory inside the repository
    for words in ("accuracy", "precision", "recall", "F1", "ROC AUC", "malignant", "benign", "macro avg", "support"):
        assert words in done.stdout
    model = project / "artifacts" / "model"
    assert {"model.joblib", "MLmodel", "metadata.json", "model.onnx"} <= {file.name for file in model.iterdir()}
    metadata = json.loads((model / "metadata.json").read_text())
    assert metadata["metrics"]["roc_auc"] > 0.98
    assert (metadata["train_rows"], metadata["test_rows"]) == (455, 114)
    pipeline = joblib.load(model / "model.joblib")
    (scaler_name, scaler), (classifier_name, classifier) = pipeline.steps
    assert (scaler_name, classifier_name) == ("scaler", "clf")
    assert isinstance(scaler, StandardScaler)
    assert not scaler.with_mean
    assert isinstance(classifier, RandomForestClassifier)
    assert (classifier.n_estimators, classifier.n_jobs) == (200, 1)
    assert (project / "mlruns" / "mlflow.db").exists()
    assert "version 1 of breast-cancer" in done.stdout
    assert "gate: promoted" in done.stdout


@pytest.mark.xdist_group("scripts")
def test_same_training_twice_gives_the_same_metrics_and_model(trained):
    first, second = (training.metadata for training in trained.values())
    assert json.loads(trained["--json"].done.stdout)["metrics"] == first["metrics"] == second["metrics"]
    for file in ("model.onnx", "plots/roc.png"):
        assert first["files"][file] == second["files"][file]


def test_training_without_mlflow_finishes_and_says_what_was_not_logged(run, project, without):
    done = run(*TRAIN, *QUICK, **without("mlflow"))
    assert "not logged: MLflow is not installed; pip install 'mlops_project[tracking]'" in done.stdout
    assert (project / "artifacts" / "model" / "model.onnx").exists()
    assert not (project / "mlruns").exists()
    later = run("mlops", "log", check=False)
    assert later.returncode == 1
    assert "holds no MLflow model; train again to log it" in later.stderr


def test_training_without_the_artifact_stores_library_finishes_and_says_so(run, project, without):
    (project / "mlruns").mkdir()
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    client.create_experiment("Projeto10_MLOps", artifact_location="s3://bucket/runs")
    done = run(*TRAIN, *QUICK, **without("boto3"))
    assert ": boto3 is not installed, which this MLflow store needs; log it later with: mlops log" in done.stdout


def test_training_with_the_server_down_finishes_and_can_be_logged_later(run, project):
    done = run(*TRAIN, *QUICK, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "not logged: http://127.0.0.1:9: no answer from the tracking server" in done.stdout
    assert f"log it later with: mlops log {project / 'artifacts' / 'model'}" in done.stdout
    later = run("mlops", "log", "artifacts/model", MLFLOW_EXPERIMENT_NAME="later")
    assert "version 1 of breast-cancer" in later.stdout
    assert "version 1 promoted" in run("mlops", "promote", "artifacts/model/config.yaml").stdout


@pytest.mark.xdist_group("scripts")
@pytest.mark.parametrize(("option", "expected"), [("--quiet", ""), ("--json", "{")])
def test_scripts_get_nothing_or_json_and_no_progress(trained, option, expected):
    done = trained[option].done
    assert done.stderr == ""
    assert done.stdout[:1] == expected
    if expected:
        assert json.loads(done.stdout)["not_logged"] == "tracking.enabled is false"


def test_without_reference_rows_the_bundle_holds_nobodys_row(project, monkeypatch):
    monkeypatch.chdir(project)
    overrides = [value for option, value in itertools.pairwise(QUICK) if option == "--set"]
    train(load_config(overrides=[*overrides, "tracking.enabled=false", "export.reference_rows=0"]))
    model = project / "artifacts" / "model"
    assert not (model / "reference.parquet").exists()
    example = json.loads((model / "input_example.json").read_text())
    row = dict(zip(example["columns"], example["data"][0], strict=True))
    contract = json.loads((model / "metadata.json").read_text())["contract"]
    assert all(row[item["name"]] == item["default"] for item in contract["features"])
