"""Rows that `mlops score --log` logged, and labels of `mlops label`, as the monitor reads them."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from mlops_project import label
from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.errors import DataError
from mlops_project.monitor import Monitor, evaluate_once
from mlops_project.prediction_log.ingest import ingest
from mlops_project.prediction_log.reader import LogReader, Window
from mlops_project.score import command as score_command
from mlops_project.scoring import inputs
from mlops_project.scoring.batch import Options, score_table
from mlops_project.sections import ServingConfig
from mlops_project.train import train

CONFIG = """
data: {source: table.csv, target: churned}
model: {name: churn, estimator: decision_tree, params: {max_depth: 3}}
evaluation: {bootstrap_rounds: 0, importance_repeats: 0}
gates: {minimum: {}}
tracking: {enabled: false}
"""
ROWS = 240


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A model of numbers with gaps, whole numbers, truth values, categories and dates, and rows to score."""
    root, rng = tmp_path_factory.mktemp("score-log"), np.random.default_rng(3)
    (root / "pyproject.toml").touch()
    frame = pd.DataFrame(
        {
            "amount": np.where(rng.random(ROWS) < 0.2, np.nan, rng.normal(10, 3, ROWS)),
            "visits": rng.integers(0, 9, ROWS),
            "member": rng.random(ROWS) < 0.5,
            "city": rng.choice(["Köln", "Bonn", None], ROWS),
            "since": pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 9**7, ROWS), "s"),
        }
    )
    frame["churned"] = np.where((frame["visits"] > 4) ^ (rng.random(ROWS) < 0.1), "yes", "no")
    frame.to_csv(root / "table.csv", index=False)
    (root / "model.yaml").write_text(CONFIG)
    train(read_config(root / "model.yaml", root=root, env={}))
    frame.insert(0, "customer", [f"c{row:03}" for row in range(ROWS)])
    frame.to_parquet(root / "rows.parquet", index=False)
    return root


def read_log(root, bundle):
    """Return the log's reader after the closed segments were read, and its rows."""
    ingest(root / "log", str(root / "store"), lambda *_: bundle, ServingConfig())
    files = sorted((root / "store" / "log").rglob("*.parquet"))
    rows = pd.concat([pq.ParquetFile(file).read().to_pandas() for file in files], ignore_index=True)
    return LogReader(str(root / "store")), rows


def test_logged_rows_are_read_by_the_monitor_with_the_answers_and_ids_of_the_output(project, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "UNIT_ROWS", 50)
    bundle = load_bundle(project / "artifacts" / "model")
    place, options = str(project / "rows.parquet"), Options(log_folder=tmp_path / "log")
    done = score_table(place, str(tmp_path / "out.parquet"), bundle, options)
    scored = pd.read_parquet(tmp_path / "out.parquet")
    assert scored["prediction id"].is_unique
    reader, rows = read_log(tmp_path, bundle)
    now = datetime.now(UTC)
    assert reader.count(Window("churn", now - timedelta(hours=1), now + timedelta(hours=1))).rows == ROWS
    rows["id"] = rows["mlops.id"] + "." + rows["mlops.row"].astype(str)
    rows = rows.set_index("id").loc[scored["prediction id"]].reset_index()
    assert len(rows) == done.outcome.scored == ROWS
    for name in ("amount", "visits", "member"):
        np.testing.assert_array_equal(rows[name], scored[name].astype(float))
    assert rows["city"].fillna("").tolist() == scored["city"].fillna("").tolist()
    assert (rows["since"].dt.tz_convert(None) == scored["since"]).all()
    classes = np.array(bundle.contract.class_names)
    assert classes[rows["mlops.prediction"].astype(int)].tolist() == scored["predicted churned"].tolist()
    assert not rows["mlops.recomputed"].any()


def test_threshold_of_a_run_is_logged_with_its_rows(project, tmp_path):
    bundle, options = load_bundle(project / "artifacts" / "model"), Options(log_folder=tmp_path / "log", threshold=0.9)
    score_table(str(project / "rows.parquet"), str(tmp_path / "out.parquet"), bundle, options)
    _, rows = read_log(tmp_path, bundle)
    assert (rows["mlops.threshold"] == 0.9).all()
    answers = dict(zip(rows["mlops.id"] + "." + rows["mlops.row"].astype(str), rows["mlops.prediction"], strict=True))
    scored = pd.read_parquet(tmp_path / "out.parquet")
    no, yes = bundle.contract.class_names
    named = [bundle.contract.class_names[int(answers[key])] for key in scored["prediction id"]]
    assert named == scored["predicted churned"].tolist() == np.where(scored[f"probability {yes}"] >= 0.9, yes, no).tolist()


def test_rows_that_were_logged_just_now_are_evaluated_at_once(project, tmp_path):
    settings = [f"paths.prediction_log_dir={tmp_path / 'log'}", f"paths.monitoring_dir={tmp_path / 'store'}"]
    config = read_config(project / "model.yaml", root=project, overrides=settings, env={})
    bundle, options = load_bundle(project / "artifacts" / "model"), Options(log_folder=tmp_path / "log")
    score_table(str(project / "rows.parquet"), str(tmp_path / "out.parquet"), bundle, options)
    evaluations, skipped = evaluate_once(Monitor(config, str(tmp_path / "log")), None, act=False)
    assert (skipped, [found.rows for found in evaluations]) == ({}, [ROWS])
    evaluations, skipped = evaluate_once(Monitor(config, str(tmp_path / "log")), None, act=False)
    assert evaluations == []
    assert "0 rows" in skipped["churn"]


class _InterruptedError(Exception):
    pass


def test_interrupted_run_logs_every_row_once_under_the_ids_of_the_output(project, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "UNIT_ROWS", 50)
    bundle = load_bundle(project / "artifacts" / "model")
    arguments = (str(project / "rows.parquet"), str(tmp_path / "out.parquet"), bundle, Options(log_folder=tmp_path / "log"))

    def stop(_) -> None:
        raise _InterruptedError

    with pytest.raises(_InterruptedError):
        score_table(*arguments, stop)
    (note,) = (tmp_path / ".out.parquet.parts" / "notes").glob("*.json")
    note.unlink()  # killed between the segment and the note
    read_log(tmp_path, bundle)  # the monitor was there meanwhile
    score_table(*arguments)
    _, rows = read_log(tmp_path, bundle)
    logged = set(rows["mlops.id"] + "." + rows["mlops.row"].astype(str))
    assert len(rows) == ROWS
    assert logged == set(pd.read_parquet(tmp_path / "out.parquet")["prediction id"])


def test_rows_of_a_run_that_a_bad_row_stopped_are_logged_once_when_it_has_been_mended(project, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "UNIT_ROWS", 50)
    bundle = load_bundle(project / "artifacts" / "model")
    good = pd.read_parquet(project / "rows.parquet")
    place, options = tmp_path / "rows.parquet", Options(log_folder=tmp_path / "log", on_bad_rows="stop")
    (tmp_path / "log").mkdir()
    for gone in (170, 230):
        good.assign(visits=good["visits"].where(good.index != gone)).to_parquet(place, index=False)
        with pytest.raises(DataError, match=f"row {gone + 1}"):
            score_table(str(place), str(tmp_path / "out.parquet"), bundle, options)
    assert not [*(tmp_path / "log").glob("*.log"), *(tmp_path / "log").glob("*.new")]
    good.to_parquet(place, index=False)
    held: list[int] = []
    score_table(
        str(place), str(tmp_path / "out.parquet"), bundle, options, lambda _: held.append(len([*tmp_path.glob("log/*.new")]))
    )
    assert set(held) == {1}  # windows wait
    _, rows = read_log(tmp_path, bundle)
    assert sorted(rows["mlops.id"] + "." + rows["mlops.row"].astype(str)) == sorted(
        pd.read_parquet(tmp_path / "out.parquet")["prediction id"]
    )


def run(command, project, *arguments):
    return CliRunner().invoke(command, [*map(str, arguments), str(project / "model.yaml")], catch_exceptions=False)


@pytest.mark.parametrize("by", ["id", "key"])
def test_labels_find_their_predictions(project, tmp_path, monkeypatch, by):
    monkeypatch.chdir(tmp_path)
    settings = ("--set", f"paths.prediction_log_dir={tmp_path / 'log'}", "--model", project / "artifacts" / "model")
    result = run(score_command, project, *settings, "--log", "-o", "out.parquet", project / "rows.parquet")
    assert result.exit_code == 0, result.output
    truth = pd.read_parquet("out.parquet")[["customer", "prediction id", "churned"]].sample(100, random_state=0)
    truth.loc[truth.index[:7], "churned"] = None
    if by == "id":
        truth.to_csv("labels.csv", index=False)
        options = ()
    else:
        truth = truth.drop(columns="prediction id")
        truth.loc[truth.index[9], "customer"] = "nobody"
        truth.to_csv("labels.csv", index=False)
        options = ("--key", "customer", "--scored", "out.parquet")
    done = run(label.command, project, *settings, *options, "--json", "labels.csv")
    expected = {"labels": 93 - len(options) // 4, "empty": 7, "unmatched": len(options) // 4}
    assert json.loads(done.stdout) == expected, done.output
    bundle = load_bundle(project / "artifacts" / "model")
    reader, _ = read_log(tmp_path, bundle)
    labelled = reader.newest_labelled("churn", bundle.version, 1000).to_pandas()
    assert len(labelled) == expected["labels"]
    ids = labelled["mlops.id"] + "." + labelled["mlops.row"].astype(str)
    known = pd.read_parquet("out.parquet").set_index("prediction id")["churned"]
    assert [json.loads(text) for text in labelled["mlops.label"]] == known.loc[ids].tolist()


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("prediction id,churned\nabc,yes\n", (), "label 1: 'abc': no prediction has this id"),
        ("prediction id,churned\nabc,yess\n", (), "'yess' is none of no, yes; did you mean 'yes'"),
        ("id,churned\nabc,yes\n", (), "no column 'prediction id'"),
        ("id,churned\nabc,yes\n", ("--key", "id"), "--key and --scored go together"),
    ],
)
def test_labels_that_fit_nothing_are_refused_and_none_is_written(project, tmp_path, monkeypatch, content, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text(content)
    settings = ("--set", f"paths.prediction_log_dir={tmp_path / 'log'}", "--model", project / "artifacts" / "model")
    result = run(label.command, project, *settings, *options, "labels.csv")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list((tmp_path / "log").glob("*.log"))
