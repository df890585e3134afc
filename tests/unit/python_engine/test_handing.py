"""Pipelines without an exact graph become bundles, and answer as they did in the notebook."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import mlops_project as mlops
from mlops_project.bundle import load_bundle
from mlops_project.errors import BundleError, ExportError
from mlops_project.runtime import Runtime
from tests.custom_steps import Clip, Rule
from tests.unit.python_engine.conftest import QUICK, build_rows

TRUSTED = ["tests.custom_steps.*"]


def hand_over(tmp_path, model, X, y, **options):
    given = {"path": tmp_path / "model", "name": "own", "export__engine": "python"} | QUICK | options
    return mlops.export(model, X[:110], y[:110], X[110:], y[110:], **given)


def test_bundle_says_which_engine_answers_and_what_has_to_be_trusted(clipped):
    metadata = clipped.metadata
    assert (metadata.engine, metadata.format_version, metadata.estimator) == ("python", 3, "LogisticRegression")
    assert metadata.python.types == ("tests.custom_steps.Clip",)
    assert "model.onnx" not in metadata.files
    assert {"model.skops", "MLmodel", "profile.json", "report.html"} <= {*metadata.files}
    report = (clipped.path / "report.html").read_text(encoding="utf-8")
    assert "the pipeline itself, in a process of its own" in report
    assert "tests.custom_steps.Clip" in report
    assert "equal on 160 rows" in report


def test_loaded_model_answers_as_the_pipeline_does(clipped):
    rows = build_rows().drop(columns="y")
    pipeline = make_pipeline(Clip(), LogisticRegression()).fit(rows[:110], build_rows()["y"][:110])
    model = mlops.load(clipped, proof__trusted_types=TRUSTED)
    np.testing.assert_allclose(model.predict_proba(rows), pipeline.predict_proba(rows), atol=1e-12)
    assert [*model.predict(rows)] == [*pipeline.predict(rows)]
    assert np.isfinite(model.explain(rows.head(1), budget_seconds=0.2).to_numpy()).all()


def test_bundle_is_scored_from_file_to_file_by_several_processes(clipped, tmp_path):
    rows = pd.concat([build_rows()] * 3, ignore_index=True)
    rows.drop(columns="y").to_parquet(tmp_path / "rows.parquet")
    done = mlops.score(tmp_path / "rows.parquet", tmp_path / "out.csv", clipped, processes=1, proof__trusted_types=TRUSTED)
    model = mlops.load(clipped, proof__trusted_types=TRUSTED)
    assert done.outcome.scored == len(rows)
    assert [*pd.read_csv(tmp_path / "out.csv")["predicted y"]] == [*model.predict(rows)]


def test_bundle_of_this_process_needs_no_setting_and_arrays_with_bare_rules_are_taken(tmp_path):
    rows = build_rows()
    bundle = hand_over(tmp_path, Rule(0.5), rows[["x", "z"]].to_numpy(), rows["y"])
    assert (bundle.metadata.estimator, bundle.contract.classes) == ("Rule", ("no", "yes"))
    model = mlops.load(bundle)
    frame = pd.DataFrame({"x0": [0.4, 0.6], "x1": [0.0, 1.0]})
    assert [*model.predict(frame)] == ["no", "yes"]
    assert model.predict_proba(frame).to_numpy().tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_numbers_are_predicted(tmp_path):
    rows = build_rows()
    X = rows[["x", "n"]]
    model = make_pipeline(Clip(), LinearRegression()).fit(X, rows["z"])
    bundle = hand_over(tmp_path, model, X, rows["z"])
    np.testing.assert_allclose(mlops.load(bundle).predict(X), model.predict(X), atol=1e-12)


def test_auto_prefers_the_exact_graph_and_says_why_there_is_none(tmp_path):
    rows = build_rows()
    X = rows[["x", "n"]]
    exact = hand_over(tmp_path, LogisticRegression().fit(X, rows["y"]), X, rows["y"], export__engine="auto")
    assert exact.metadata.engine == "onnx"
    own = hand_over(
        tmp_path, make_pipeline(Clip(), LogisticRegression()).fit(X, rows["y"]), X, rows["y"], export__engine="auto"
    )
    assert own.metadata.engine == "python"
    assert "Clip" in own.metadata.python.reason


def test_refusals_name_the_cure(tmp_path):
    rows = build_rows()
    X, y = rows[["x", "n"]], rows["y"]
    with pytest.raises(ExportError, match=r"Clip.*export\.engine: python"):
        hand_over(tmp_path, make_pipeline(Clip(), LogisticRegression()).fit(X, y), X, y, export__engine="onnx")
    with pytest.raises(ExportError, match="exists only in this script or notebook"):
        hand_over(tmp_path, make_pipeline(FunctionTransformer(lambda x: x * 2), LogisticRegression()).fit(X, y), X, y)
    with pytest.raises(ExportError, match=r"predict\(X\), got dict"):
        hand_over(tmp_path, {}, X, y)
    assert not (tmp_path / "model").exists()


def test_runtime_of_graphs_and_an_edited_file_refuse(clipped, tmp_path):
    with pytest.raises(BundleError, match=r"no exact graph.*mlops\.load"):
        Runtime.load(clipped)
    import shutil

    copy = shutil.copytree(clipped.path, tmp_path / "copy")
    (copy / "model.skops").write_bytes(b"PK" + (copy / "model.skops").read_bytes())
    with pytest.raises(BundleError, match="sha256"):
        load_bundle(copy)


def test_mlflow_loads_the_same_pipeline_and_answers_alike(clipped):
    import mlflow.pyfunc

    rows = build_rows().drop(columns="y").head(40)
    expected = mlops.load(clipped, proof__trusted_types=TRUSTED).predict(rows)
    assert [*mlflow.pyfunc.load_model(str(clipped.path)).predict(rows)] == [*expected]
