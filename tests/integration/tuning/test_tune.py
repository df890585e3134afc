"""`mlops tune`: what it prints, writes, logs and trains."""

import contextlib
import json
import time

import pytest
import yaml
from click.testing import CliRunner

import mlops_project as mlops
from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.tracking.store import open_store
from mlops_project.train import read_rows
from mlops_project.tune import command
from mlops_project.tuning.follow import Follower, describe_progress
from mlops_project.tuning.search import Progress, search
from mlops_project.tuning.trials import Trial
from tests.integration.tuning.searches import CONFIG
from tests.servers import free_port, write_mlflow_tables


@pytest.fixture
def run(project, monkeypatch):
    monkeypatch.chdir(project)
    write_mlflow_tables(project / "mlruns" / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*options):
        done = CliRunner().invoke(command, ["model.yaml", *options], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done

    return invoke


@contextlib.contextmanager
def open_runs(project):
    """Give a function that lists the runs in MLflow: of searches, and of trials by their names."""
    with open_store(read_config(project / "model.yaml", root=project, env={})) as store:
        experiment = store.client.get_experiment_by_name(store.experiment).experiment_id

        def find():
            runs = store.client.search_runs([experiment])
            parents = [run for run in runs if "mlops.search" in run.data.tags]
            return parents, {run.data.tags["mlops.trial"]: run for run in runs if "mlops.trial" in run.data.tags}, store.client

        yield find


def test_best_parameters_are_written_logged_and_trained_and_a_search_goes_on(run, project):
    whole = ("--set", "search.pruning=false")  # every trial ends as it was begun
    done = run("--train", *whole)
    assert "gate: " in done.stdout
    assert "6 trials in 5 folds of 240 training rows" in done.stdout
    best = yaml.safe_load((project / "model.tuned.yaml").read_text())
    assert best["model"]["params"].keys() == {"min_samples_leaf", "max_depth", "ccp_alpha"}
    assert best["data"] == yaml.safe_load(CONFIG)["data"]
    bundle = load_bundle(project / "artifacts" / "model")
    assert "plots/search_history.png" in bundle.metadata.files
    assert "Every trial by its score" in (bundle.path / "report.html").read_text()
    assert mlops.tune(project / "model.yaml", search__pruning=False).found.resumed == 6  # from Python it is the same search
    found = json.loads(run("--json", "--set", "search.trials=8", *whole).stdout)
    assert (len(found["trials"]), found["resumed"]) == (8, 6)
    assert found["best"]["loss"] == min(trial["loss"] for trial in found["trials"] if trial["loss"] is not None)
    assert found["best"]["loss"] <= found["start"]["loss"]
    with open_runs(project) as find:
        (parent,), trials, client = find()
        assert parent.info.run_id == found["run"]
        assert trials.keys() == {"start", *map(str, range(8))}
        assert {trial.data.tags["mlflow.parentRunId"] for trial in trials.values()} == {found["run"]}
        logged = trials["0"].data
        names = {"log_loss", "log_loss_median", "log_loss_spread", "log_loss_low", "log_loss_high", "log_loss_fold", "seconds"}
        assert logged.metrics.keys() == names
        assert len(client.get_metric_history(trials["0"].info.run_id, "log_loss_fold")) == found["folds"]
        assert logged.params["estimator"] == "decision_tree"
        files = {file.path for file in client.list_artifacts(found["run"])}
        assert files == {"report.html", "charts"}
        assert "charts/search_history.png" in {file.path for file in client.list_artifacts(found["run"], "charts")}
        assert parent.data.metrics["best_log_loss"] == pytest.approx(found["best"]["loss"])
        assert {run.info.status for run in (parent, *trials.values())} == {"FINISHED"}


def test_trials_are_in_mlflow_while_the_search_goes_on(run, project):
    seen = []

    class Looking(Follower):
        def begin_trial(self, asked):
            super().begin_trial(asked)
            if asked.number == 3:
                with open_runs(project) as find:
                    seen.append(wait_until_running(find, "3"))

    config = read_config(project / "model.yaml", root=project, overrides=["search.pruning=false"], env={})
    with contextlib.closing(Looking(config, "log_loss", lambda _: None)) as follower:
        search(*read_rows(config), config, follower)
    (parent, trials), *_ = seen
    assert parent == "RUNNING"
    assert trials == {"start": "FINISHED", "0": "FINISHED", "1": "FINISHED", "2": "FINISHED", "3": "RUNNING"}


def wait_until_running(find, name):
    """Return the states of the search's run and of its trials, once MLflow shows one of them."""
    end = time.monotonic() + 60
    while True:
        (parent,), trials, _ = find()
        if name in trials:
            return parent.info.status, {key: trial.info.status for key, trial in trials.items()}
        assert time.monotonic() < end
        time.sleep(0.02)


def test_mlflow_that_is_down_stops_no_search_and_gets_the_trials_later(run, project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    done = run("--set", "search.trials=3")
    assert "not logged: http://127.0.0.1:" in done.stdout
    assert "written: model.tuned.yaml" in done.stdout
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    found = json.loads(run("--set", "search.trials=3", "--json").stdout)
    assert found["resumed"] == 3
    with open_runs(project) as find:
        (parent,), trials, _ = find()
        assert parent.info.run_id == found["run"]
        assert trials.keys() == {"start", "0", "1", "2"}


def test_progress_fits_beside_a_bar_in_80_columns():
    trial = Trial(number=1, estimator="ridge", params={}, state="complete", loss=0.123456, interval=(0.1, 0.2))
    assert describe_progress(Progress(12, 50, trial, 3, 192.4)) == "12 of 50: best 0.1235 (0.1000 to 0.2000), 3:12 left"
    assert describe_progress(Progress(0, 50, None, 0, 0.2)) == "0 of 50, 0:00 left"
    money = Trial(number=1, estimator="ridge", params={}, state="complete", loss=12345.67, interval=(12000, 13000))
    assert len(describe_progress(Progress(99, 100, money, 3, 3599))) <= 59
