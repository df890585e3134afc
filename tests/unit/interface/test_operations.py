"""Judging, comparing, scoring and the registry from Python."""

import shutil

import numpy as np
import pandas as pd
import polars as pl
import pytest

import mlops_project as mlops
from mlops_project.errors import BundleError, ConfigError, ContractError, DataError, TrackingError
from tests.servers import write_mlflow_tables
from tests.unit.interface.conftest import build_table


def test_rows_with_labels_judge_a_model(model, project):
    table = build_table()
    found = mlops.evaluate(model, pl.from_pandas(table))
    assert found.metrics["accuracy"] == pytest.approx((model.predict(table) == table["churned"]).mean())
    assert found.intervals
    assert "ROC AUC" in found._repr_html_()
    renamed = table.rename(columns={"churned": "left"})
    assert mlops.evaluate(project / "artifacts" / "people", renamed, "left").metrics == found.metrics
    rows, labels = table.drop(columns="churned"), table["churned"]
    assert mlops.evaluate(model, pl.from_pandas(rows), labels.tolist()).metrics == found.metrics
    assert mlops.evaluate(model, rows.to_numpy(object), labels.to_numpy(object)).metrics == found.metrics


def test_labels_that_do_not_fit_are_refused(model):
    table = build_table(50)
    with pytest.raises(DataError, match=r"no column 'chrned'; did you mean 'churned'\?"):
        mlops.evaluate(model, table, "chrned")
    with pytest.raises(DataError, match="1 of 50 rows have no 'churned'"):
        mlops.evaluate(model, table.assign(churned=table["churned"].where(table.index > 0)))
    with pytest.raises(DataError, match="X_test has 50 rows and y_test 49"):
        mlops.evaluate(model, table, table["churned"][1:])
    with pytest.raises(ContractError, match="labels that the model does not know, such as 'maybe'"):
        mlops.evaluate(model, table.assign(churned="maybe"))


def test_frames_are_compared_with_a_model_or_with_each_other(model, project):
    table = build_table()
    moved = table.assign(age=table["age"] + 40)
    assert not mlops.drift(table, model).drifted
    found = mlops.drift(moved, model)
    assert {item.name for item in found.features if item.drifted} == {"age"}
    assert "<td>age</td><td>yes</td>" in found._repr_html_()
    assert mlops.drift(pl.from_pandas(moved), project / "artifacts" / "people") == found
    assert mlops.drift(moved[[*model.contract.names]].to_numpy(object), model) == found
    both = mlops.drift(moved, table, drop=("churned",))
    assert [item.name for item in both.features if item.drifted] == ["age"]
    assert mlops.drift(project / "people.parquet", project / "people.parquet", drop=("churned",)).drifted is False


def test_contributions_add_up_to_the_probability(model, people):
    rows = people.dropna().head(3)
    parts = model.explain(rows, budget_seconds=0.01)
    assert [*parts] == [*model.contract.names, "(base)"]
    assert parts.index.equals(rows.index)
    assert parts.sum(axis=1).to_numpy() == pytest.approx(model.predict_proba(rows)["yes"].to_numpy())
    other = model.explain(pl.from_pandas(rows), class_name="no", budget_seconds=0.01)
    assert isinstance(other, pl.DataFrame)
    assert other.sum_horizontal().to_numpy() == pytest.approx(model.predict_proba(rows)["no"].to_numpy())
    with pytest.raises(ContractError, match="no class is called 'nope'"):
        model.explain(rows, class_name="nope")


def test_file_is_scored_as_frames_are(model, project, tmp_path):
    done = mlops.score(project / "people.parquet", tmp_path / "out.parquet", model.bundle, keep=(), processes=1)
    assert done.outcome.scored == 240
    scored = pd.read_parquet(tmp_path / "out.parquet")
    assert [*scored[next(name for name in scored if name.startswith("predicted"))]] == [*model.predict(build_table())]


def test_registered_versions_are_promoted_rolled_back_and_told(model, project, tmp_path, monkeypatch):
    write_mlflow_tables(tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model.bundle.path, tmp_path / "first")  # a bundle keeps the version that it was registered as
    first = mlops.load(tmp_path / "first").bundle
    assert mlops.log(first, gates__promote_after_training=False).version == 1
    mlops.promote(first, version=1, force=True, reason="the first")
    other = mlops.train(project / "artifacts" / "people", paths__exported_model_dir=tmp_path / "other", random_state=2)
    assert mlops.log(other.bundle, gates__promote_after_training=False).decision is None
    mlops.promote(other.bundle, version=2, force=True, reason="a test")
    assert mlops.load("models:/people@champion").version == "2"
    assert mlops.rollback(other.bundle).target == 1
    with pytest.raises(TrackingError, match="first champion"):
        mlops.rollback(other.bundle)
    moves = [(item.action, item.target) for item in mlops.history(other.bundle) if getattr(item, "alias", "") == "champion"]
    assert moves == [("force", 1), ("force", 2), ("rollback", 1)]


def test_folder_is_explained_as_a_loaded_model_is(model, project, people):
    ours, theirs = mlops.explain(project / "artifacts" / "people", people.head(2)), model.explain(people.head(2))
    assert list(ours) == list(theirs)
    np.testing.assert_allclose(ours, theirs, atol=0.05)  # both are sampled, as long as time allows
    np.testing.assert_allclose(ours.sum(axis=1), theirs.sum(axis=1), atol=1e-9)


def test_bundle_without_reference_rows_explains_nothing(project, tmp_path, people):
    folder = project / "artifacts" / "people"
    bare = mlops.train(folder, paths__exported_model_dir=tmp_path / "bare", export__reference_rows=0)
    with pytest.raises(BundleError, match="keeps no reference rows"):
        mlops.load(bare.bundle).explain(people)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_scored_rows_say_how_sure_the_model_is_where_that_is_asked_for(model, people, tmp_path, monkeypatch, ending):
    monkeypatch.chdir(tmp_path)
    source, out = tmp_path / "in.parquet", tmp_path / f"out.{ending}"
    people.assign(abstain="mine").to_parquet(source, index=False)
    read = pd.read_csv if ending == "csv" else pd.read_parquet
    mlops.score(source, out, model.bundle, processes=1)
    assert (read(out)["abstain"] == "mine").all()
    mlops.score(source, out, model.bundle, processes=1, uncertainty=True)
    scored, members = read(out), model.predict_set(people)
    assert scored["abstain"].tolist() == model.abstains(people).tolist()
    assert scored[["possible no", "possible yes"]].to_numpy().tolist() == members.to_numpy().tolist()
    with pytest.raises(ConfigError, match="'abstain' is the name of a column that scoring adds"):
        mlops.score(source, out, model.bundle, processes=1, uncertainty=True, keep=("abstain",))


def test_scored_rows_have_reasons_and_the_threshold_that_is_asked_for(model, people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, out, again = tmp_path / "in.parquet", tmp_path / "out.parquet", tmp_path / "again.parquet"
    rows = people.head(40)
    rows.to_parquet(source, index=False)
    mlops.score(source, out, model.bundle, processes=1, explain=True, threshold=0.2)
    scored, names = pd.read_parquet(out), [f"reason {name}" for name in model.contract.names]
    added = scored["mean answer"] + scored[names].sum(axis=1)
    np.testing.assert_allclose(added, scored["probability yes"], atol=1e-9)
    assert scored["predicted churned"].tolist() == np.where(scored["probability yes"] >= 0.2, "yes", "no").tolist()
    assert scored["predicted churned"].tolist() != model.predict(rows).tolist()
    mlops.score(source, again, model.bundle, processes=1, explain=True, threshold=0.2)
    assert again.read_bytes() == out.read_bytes()
