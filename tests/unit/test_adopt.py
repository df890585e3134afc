"""Models that others have stored become bundles; pickles only where somebody says so."""

import pickle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from click.testing import CliRunner
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlops_project.adopt import adopt, command, configure
from mlops_project.bundle import load_bundle
from mlops_project.errors import BundleError, TrackingError
from mlops_project.handover.foreign import load_foreign
from mlops_project.runtime import Runtime
from tests.servers import write_mlflow_tables

QUICK = ("evaluation.bootstrap_rounds=0", "evaluation.importance_repeats=0", "evaluation.baselines=false")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"id": range(160), "age": rng.integers(18, 80, 160), "city": rng.choice(["Recife", "Natal"], 160)})
    return frame.assign(churned=np.where(frame["age"] + rng.normal(0, 9, 160) > 50, "yes", "no"))


@pytest.fixture(scope="module")
def theirs(rows):
    features = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(handle_unknown="ignore"), ["city"]))
    return make_pipeline(features, LogisticRegression()).fit(rows[["age", "city"]], rows["churned"])


@pytest.fixture
def project(tmp_path, monkeypatch, rows) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    rows.to_csv("rows.csv", index=False)
    return tmp_path


def settings(*more: str) -> list[str]:
    return [part for setting in (*QUICK, *more) for part in ("--set", setting)]


def test_version_of_the_registry_becomes_a_bundle_that_answers_alike(project, theirs, rows, monkeypatch):
    import mlflow

    write_mlflow_tables(project / "mlruns" / "mlflow.db")
    address = f"sqlite:///{project}/mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow.set_tracking_uri(address)
    experiment = mlflow.create_experiment("theirs", artifact_location=str(project / "stored"))
    with mlflow.start_run(experiment_id=experiment):
        mlflow.sklearn.log_model(theirs, name="model", registered_model_name="their-model", pip_requirements=[])
    done = CliRunner().invoke(command, ["models:/their-model/1", "rows.csv", "--target", "churned", "-o", "ours", *settings()])
    assert done.exit_code == 0, done.output
    assert "answered by: an exact graph" in done.output
    assert "if the model has learned from rows of this table" in " ".join(done.output.split())
    bundle = load_bundle("ours")
    assert (bundle.metadata.name, bundle.metadata.engine, bundle.contract.names) == ("their-model", "onnx", ("age", "city"))
    assert "columns that the pipeline does not read were left out: 'id'" in " ".join(done.output.split())
    ours = Runtime.load(bundle).predict({name: rows[name].to_numpy() for name in bundle.contract.names})
    np.testing.assert_allclose(ours.probabilities, theirs.predict_proba(rows), atol=1e-9)
    with pytest.raises(TrackingError, match="models:/their-model/9"):
        adopt("models:/their-model/9", configure("models:/their-model/9", "rows.csv", "churned", overrides=QUICK))
    (folder,) = {file.parent for file in (project / "stored").rglob("MLmodel")}  # as mlflow.sklearn.save_model writes it
    np.testing.assert_array_equal(load_foreign(folder, (), trust_code=False).predict(rows), theirs.predict(rows))
    assert configure("models/theirs", "rows.csv", "churned").model.name == "theirs"


def test_pickle_needs_a_word_and_never_runs_without(project, theirs):
    Path("bomb.pkl").write_bytes(pickle.dumps(Bomb(project / "mark")))
    done = CliRunner().invoke(command, ["bomb.pkl", "rows.csv", "--target", "churned"])
    assert done.exit_code == 2
    assert "runs whatever code its maker wrote into it" in " ".join(done.output.split())
    assert not Path("mark").exists()
    joblib.dump(theirs, "theirs.joblib")
    assert type(load_foreign(Path("theirs.joblib"), (), trust_code=True)) is type(theirs)


def test_file_of_skops_is_read_by_the_list_of_trusted_types(project):
    from tests.custom_steps import Rule

    Path("rule.skops").write_bytes(skops.io.dumps(Rule(0.5)))
    with pytest.raises(BundleError, match=r"not trusted here: tests\.custom_steps\.Rule"):
        load_foreign(Path("rule.skops"), (), trust_code=True)
    assert load_foreign(Path("rule.skops"), ("tests.custom_steps.Rule",), trust_code=False).bound == 0.5


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("flavors: {sklearn: {pickled_model: ../../model.pkl}}", "outside of it"),
        ("flavors: {lightgbm: {}, python_function: {}}", "was logged as lightgbm, python_function, not with mlflow.sklearn"),
        ("[", "no MLmodel that can be read"),
        ("flavors: [sklearn]", "was logged as sklearn"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(tmp_path, description, said):
    (tmp_path / "MLmodel").write_text(description)
    with pytest.raises(BundleError, match=said):
        load_foreign(tmp_path, (), trust_code=True)


def test_what_is_no_model_is_said(tmp_path, tiny_bundle):
    with pytest.raises(BundleError, match="no such model"):
        load_foreign(tmp_path / "nothing.skops", (), trust_code=False)
    (tmp_path / "model.txt").touch()
    with pytest.raises(BundleError, match="ends in"):
        load_foreign(tmp_path / "model.txt", (), trust_code=False)
    with pytest.raises(BundleError, match="is a bundle already"):
        load_foreign(tiny_bundle.path, (), trust_code=False)
