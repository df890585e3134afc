"""Tables that packages ship, the way a new user would: `mlops init`, `mlops train`, no code."""

import mlflow
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import vega_datasets
from click.testing import CliRunner
from sklearn.datasets import load_digits

from mlops_project.bundle import load_bundle
from mlops_project.cli import main
from mlops_project.runtime import Runtime

SMALL = ["tracking.enabled=false", "evaluation.bootstrap_rounds=20", "evaluation.importance_repeats=1"]
FOREST = "model.params={n_estimators: 20}"


def cars() -> pd.DataFrame:
    """Categories, text, dates, whole numbers and gaps."""
    return pd.read_json(vega_datasets.local_data.cars.filepath)


def rare_digit() -> pd.DataFrame:
    frame = load_digits(as_frame=True).frame
    return frame.assign(target=np.where(frame.pop("target") == 8, "eight", "other"))


def affairs() -> pd.DataFrame:
    """6,366 rows; 2 % have the rare class."""
    frame = sm.datasets.fair.load_pandas().data
    return frame.assign(often=frame.pop("affairs") > 6)


TABLES = {
    "mixed multiclass": (cars, "Origin", "multiclass"),
    "mixed regression": (cars, "Miles_per_Gallon", "regression"),
    "weather": (lambda: pd.read_csv(vega_datasets.local_data.seattle_weather.filepath), "weather", "multiclass"),
    "iris with names": (vega_datasets.local_data.iris, "species", "multiclass"),
    "regression": (lambda: sm.datasets.statecrime.load_pandas().data, "murder", "regression"),
    "health visits": (lambda: sm.datasets.randhie.load_pandas().data.head(4000), "mdvis", "regression"),
    "imbalanced": (affairs, "often", "binary"),
    "imbalanced digits": (rare_digit, "target", "binary"),
    "survey": (lambda: sm.datasets.anes96.load_pandas().data, "vote", "binary"),
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()

    def invoke(*arguments: str):
        done = CliRunner().invoke(main, list(arguments))
        assert done.exit_code == 0, done.output
        return done

    return invoke


def options(*settings: str) -> list[str]:
    return [part for setting in (*SMALL, *settings) for part in ("--set", setting)]


@pytest.mark.parametrize(
    ("table", "ending"), [*((table, "csv") for table in TABLES), ("mixed multiclass", "parquet"), ("imbalanced", "parquet")]
)
def test_init_and_train_make_a_checked_model_of_a_real_table(run, tmp_path, table, ending):
    make, target, task = TABLES[table]
    frame = make()
    frame.to_csv("t.csv", index=False) if ending == "csv" else frame.to_parquet("t.parquet")
    run("init", f"t.{ending}", "--target", target)
    trained = run("train", "model.yaml", *options(FOREST, "model.budget_seconds=1"))
    bundle = load_bundle(tmp_path / "artifacts" / "t")
    assert bundle.contract.task == task
    assert f"model: {bundle.path}" in trained.stdout
    if task == "regression":
        assert bundle.metadata.metrics["r2"] > -1
    else:
        assert bundle.metadata.metrics["roc_auc"] > 0.55
    report = (bundle.path / "report.html").read_text(encoding="utf-8")
    assert "equal on" in report  # the parity sentence


@pytest.mark.parametrize(
    ("estimator", "params", "calibration"),
    [
        ("random_forest", "{n_estimators: 20}", "none"),
        ("hist_gradient_boosting", "{max_iter: 10}", "isotonic"),
        ("xgboost", "{n_estimators: 10}", "none"),
        ("lightgbm", "{n_estimators: 10}", "isotonic"),
    ],
)  # test_export.py has every family, calibrated and not, on a table that is made up
def test_classes_are_answered_alike_in_mlflow_and_in_the_runtime_on_a_mixed_table(
    run, tmp_path, estimator, params, calibration
):
    cars().to_csv("cars.csv", index=False)
    run("init", "cars.csv", "--target", "Origin")
    settings = (f"model.estimator={estimator}", f"model.params={params}", f"model.calibration={calibration}")
    run("train", "model.yaml", *options(*settings))
    bundle = load_bundle(tmp_path / "artifacts" / "cars")
    rows = pd.read_parquet(bundle.path / "reference.parquet").drop(columns="Origin")
    ours = Runtime.load(bundle).predict({name: rows[name].to_numpy() for name in rows})
    theirs = mlflow.pyfunc.load_model(str(bundle.path)).predict(rows)
    assert list(theirs) == [bundle.contract.classes[index] for index in ours.indices]


@pytest.mark.parametrize("estimator", ["ridge", "hist_gradient_boosting", "random_forest"])
def test_regression_answers_alike_in_mlflow_and_in_the_runtime_on_a_mixed_table(run, tmp_path, estimator):
    cars().to_parquet("cars.parquet")
    run("init", "cars.parquet", "--target", "Miles_per_Gallon")
    run("train", "model.yaml", *options(f"model.estimator={estimator}", "model.params={}"))
    bundle = load_bundle(tmp_path / "artifacts" / "cars")
    rows = pd.read_parquet(bundle.path / "reference.parquet").drop(columns="Miles_per_Gallon")
    ours = Runtime.load(bundle).predict({name: rows[name].to_numpy() for name in rows})
    np.testing.assert_allclose(mlflow.pyfunc.load_model(str(bundle.path)).predict(rows), ours.values, rtol=1e-6)


def nasty() -> pd.DataFrame:
    """Names and labels that YAML, CSV, HTML, Markdown, plots and formats of templates might misread."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "two\nlines": rng.random(200),
            "<script>alert(1)</script>": rng.choice(["x", "y\nz", "<b>", "{{ 7*7 }}", "|"], 200),
            "q\"uo'te: #": rng.integers(0, 4, 200),
            " yes": rng.random(200) > 0.5,
            "$x^2_{a}$": rng.random(200),
            "a/b%": [None, *rng.random(199)],
            "null": pd.date_range("2026-01-01", periods=200).astype(str),
            "price": [f"$1,{100 + row % 90}" for row in range(200)],
        }
    )
    return frame.assign(**{"target: y": np.where(frame["two\nlines"] > 0.5, "no\n#1", "<yes>")})


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_table_with_nasty_names_and_labels_trains_without_editing(run, tmp_path, ending):
    frame = nasty()
    frame.to_csv("t.csv", index=False) if ending == "csv" else frame.to_parquet("t.parquet")
    run("init", f"t.{ending}", "--target", "target: y")
    run("train", "model.yaml", *options(FOREST, "evaluation.slices=['<script>alert(1)</script>']"))
    bundle = load_bundle(tmp_path / "artifacts" / "t")
    assert bundle.contract.names == tuple(name.strip() for name in frame.columns[:-1])
    assert bundle.contract.classes == ("no\n#1", "<yes>")  # the one that reads like it is positive
    report, card = ((bundle.path / name).read_text(encoding="utf-8") for name in ("report.html", "README.md"))
    assert "<script>alert" not in report + card
    assert "{{ 7*7 }}" in report


def test_parameter_that_the_library_refuses_is_the_users_error_and_names_the_setting(run, tmp_path):
    refused = CliRunner().invoke(main, ["train", *options("model.params={max_depth: -3}")])
    assert refused.exit_code == 2
    assert "model.params: RandomForestClassifier cannot be trained: The 'max_depth' parameter" in refused.stderr
    assert not (tmp_path / "artifacts").exists() or not any((tmp_path / "artifacts").iterdir())
