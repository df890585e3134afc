"""`mlops tune` on real Optuna, SQLite and MLflow."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from mlops_project.config import read_config
from mlops_project.errors import ConfigError
from mlops_project.modeling.search_spaces import SPACES, Range, find_edges, read_space
from mlops_project.tune import command, tune
from tests.servers import plain_environment

CONFIG = """
data: {source: table.csv, target: y, time: when}
model: {name: tuned, estimator: decision_tree, params: {min_samples_leaf: 3}}
tune: {trials: 6, space: {max_depth: {low: 1, high: 4}}}
evaluation: {bootstrap_rounds: 0, importance_repeats: 0}
gates: {minimum: {}}
"""
ROWS = 300


@pytest.fixture
def project(tmp_path):
    rng, days = np.random.default_rng(0), pd.date_range("2026-01-01", periods=ROWS)
    frame = pd.DataFrame({"a": rng.normal(size=ROWS), "b": rng.normal(size=ROWS), "when": days})
    frame["y"] = np.where((frame["a"] > 0) ^ (rng.random(ROWS) < 0.1), "yes", "no")
    frame.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "model.yaml").write_text(CONFIG)
    return tmp_path


def read(project, *overrides):
    return read_config(project / "model.yaml", root=project, overrides=overrides, env={})


def test_best_parameters_are_written_logged_trained_and_a_search_goes_on(project, monkeypatch):
    monkeypatch.chdir(project)
    done = CliRunner().invoke(command, ["model.yaml", "--train"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "gate: " in done.output
    best = yaml.safe_load((project / "model.tuned.yaml").read_text())
    assert best["model"]["params"].keys() == {"min_samples_leaf", "max_depth"}
    assert best["data"] == yaml.safe_load(CONFIG)["data"]
    again = CliRunner().invoke(command, ["model.yaml", "--json", "--set", "tune.trials=8"], catch_exceptions=False)
    found = json.loads(again.stdout)
    assert (len(found["trials"]), found["resumed"]) == (8, 6)
    assert found["best"]["loss"] == min(trial["loss"] for trial in found["trials"] if trial["loss"] is not None)
    assert found["best"]["loss"] <= found["start"]
    from mlops_project.tracking.store import open_store

    with open_store(read(project)) as store:
        experiment = store.client.get_experiment_by_name(store.experiment).experiment_id
        runs = store.client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{found['run']}'")
    assert sorted(int(run.data.tags["mlops.trial"]) for run in runs) == list(range(8))
    names = {name for run in runs for name in run.data.metrics}
    assert names == {"log_loss", "log_loss_median", "log_loss_spread", "seconds"}


def test_held_out_rows_change_nothing(project):
    first = tune(read(project))
    frame = pd.read_csv(project / "table.csv")
    last = slice(ROWS - 60, ROWS)  # the newest fifth is held out
    frame.loc[frame.index[last], "y"] = frame["y"][last].to_numpy()[::-1]
    frame.loc[frame.index[last], ["a", "b"]] = frame[["a", "b"]][last].to_numpy()[::-1] / 2
    frame.to_csv(project / "table.csv", index=False)
    second = tune(read(project))
    assert second.key != first.key  # it was another search
    assert second.start == first.start
    assert [(trial.params, trial.loss) for trial in second.trials] == [(trial.params, trial.loss) for trial in first.trials]


def test_killed_search_goes_on(project):
    arguments = [sys.executable, "-m", "mlops_project.tune", "model.yaml", "--json", "--set", "tracking.enabled=false"]
    arguments += ["--set", "tune.trials=40"]
    file, finished = project / "artifacts" / "tuning" / "trials.db", 0
    with subprocess.Popen(arguments, cwd=project, env=plain_environment(), stdout=subprocess.DEVNULL) as run:
        end = time.monotonic() + 120
        while finished < 3:
            assert time.monotonic() < end
            time.sleep(0.02)
            finished = count_finished(file)
        os.kill(run.pid, signal.SIGKILL)
    done = subprocess.run(arguments, cwd=project, env=plain_environment(), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert 3 <= found["resumed"] < 40
    assert sum(trial["state"] in ("complete", "pruned") for trial in found["trials"]) == 40


def count_finished(file) -> int:
    import sqlite3

    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            return connection.execute("select count(*) from trials where state in ('COMPLETE', 'PRUNED')").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        if "connection" in locals():
            connection.close()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{max_deph: [1]}", r"tune.space.max_deph: decision_tree has no such parameter; did you mean 'max_depth'"),
        ("{max_depth: 3}", r"tune.space.max_depth: 3 is wrong, expected a list"),
        ("{max_depth: {low: 3, high: 1}}", r"with low below high"),
        ("{max_depth: {low: 0, high: 1, log: true}}", r"above 0 if log"),
        ("{criterion: [nonsense]}", r"no trial could be finished: model.params: DecisionTreeClassifier cannot be trained"),
    ],
)
def test_space_that_cannot_be_searched_is_named(project, space, message):
    with pytest.raises(ConfigError, match=message):
        tune(read(project, f"tune.space={space}", "tune.trials=1"))


def test_best_value_at_an_end_of_its_range_is_said():
    space = {"C": Range(0.01, 100.0, log=True), "depth": Range(1, 8), "kind": ("a", "b")}
    assert find_edges(space, {"C": 1.0, "depth": 4, "kind": "a"}) == []
    assert find_edges(space, {"C": 99.0, "depth": 1, "kind": "a"}) == [
        "the best C (99) lies at the upper end of its range, 0.01 to 100",
        "the best depth (1) lies at the lower end of its range, 1 to 8",
    ]


@pytest.mark.parametrize("estimator", sorted(SPACES))
def test_space_of_every_estimator_names_parameters_that_it_has(estimator):
    from mlops_project.contract import Contract
    from mlops_project.modeling.pipeline import list_params

    kind = Contract((), "y", "regression" if estimator in ("ridge", "elastic_net") else "binary", classes=(0, 1))
    assert SPACES[estimator].keys() <= set(list_params(estimator, kind))
    assert read_space({}, estimator, ()) == SPACES[estimator]
