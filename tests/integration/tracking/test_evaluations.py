from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlops_project.errors import TrackingError
from mlops_project.tracking.evaluations import Logged, log_windows
from mlops_project.tracking.events import read_events
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from tests.servers import free_port

pytestmark = pytest.mark.xdist_group("mlflow")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ALERT = ("alert", "the inputs changed:\n age")


def make_window(hour: int, *events) -> Logged:
    return Logged((NOON + timedelta(hours=hour)).isoformat(), {"rows": 100.0 + hour, "drift_share": 0.1}, events)


@pytest.fixture
def config(make):
    return make("good")[1]


def read(config, name="rows"):
    """Return the runs' names, and step, hour and value of one metric of the first of them."""
    with open_store(config) as store:
        experiment = store.client.get_experiment_by_name(store.experiment).experiment_id
        runs = store.client.search_runs([experiment], "tags.`mlops.monitoring` LIKE '%'")
        points = store.client.get_metric_history(runs[-1].info.run_id, name)
        names = [run.info.run_name for run in reversed(runs)]
    return names, [(point.step, (point.timestamp / 1000 - NOON.timestamp()) / 3600, point.value) for point in points]


def test_windows_are_steps_of_one_run_per_version_however_often_they_are_logged(config, any_store):
    assert log_windows(config, "cancer", "1", [make_window(0), make_window(1)]) == 2
    assert log_windows(config, "cancer", "1", [make_window(0), make_window(1), make_window(2)]) == 1
    assert log_windows(config, "cancer", "1", [make_window(2)]) == 0
    assert log_windows(config, "cancer", "2", [make_window(3)]) == 1
    names, points = read(config)
    assert names == ["monitoring cancer v1", "monitoring cancer v2"]
    assert points == [(0, 0.0, 100.0), (1, 1.0, 101.0), (2, 2.0, 102.0)]


def test_report_of_the_newest_window_takes_the_place_of_the_last(config, any_store, tmp_path):
    report = tmp_path / "report.html"
    for hour in range(2):
        report.write_text(f"hour {hour}")
        log_windows(config, "cancer", "1", [make_window(hour)], report)
    with open_store(config) as store:
        experiment = store.client.get_experiment_by_name(store.experiment).experiment_id
        (run,) = store.client.search_runs([experiment], "tags.`mlops.monitoring` = 'cancer'")
        path = store.client.download_artifacts(run.info.run_id, "report.html", str(tmp_path))
        assert Path(path).read_text() == "hour 1"


def test_crash_before_the_mark_logs_the_same_again_and_changes_nothing(config, make, monkeypatch):
    log_bundle(*make("good"))

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_tag", die)
        with pytest.raises(KeyboardInterrupt):
            log_windows(config, "cancer", "1", [make_window(0, ALERT)])
    log_windows(
        config, "cancer", "1", [make_window(0, ALERT), make_window(1, ("recovered", "the inputs changed: no longer so"))]
    )
    assert read(config)[1] == [(0, 0.0, 100.0), (1, 1.0, 101.0)]
    with open_store(config) as store:
        events = [(event.kind, event.version, event.at[11:13]) for event in read_events(store, "cancer")]
    assert events == [("alert", 1, "12"), ("recovered", 1, "13")]


def test_two_alerts_of_one_window_are_two_events(config, make):
    log_bundle(*make("good"))
    log_windows(config, "cancer", "1", [make_window(0, ALERT, ("alert", "the data is faulty: null"))])
    with open_store(config) as store:
        assert len(read_events(store, "cancer")) == 2


@pytest.mark.parametrize("version", ["1", "aaaabbbb1111"])
def test_model_that_is_not_registered_is_logged_without_events(config, version):
    assert log_windows(config, "o'clock", version, [make_window(0, ALERT)]) == 1
    assert log_windows(config, "o'clock", version, [make_window(0, ALERT)]) == 0
    assert read(config)[0] == [f"monitoring o'clock v{version}"]


def test_server_that_is_down_is_an_error_and_the_windows_are_logged_later(config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        with pytest.raises(TrackingError, match="no answer from the tracking server"):
            log_windows(config, "cancer", "1", [make_window(0)])
    assert log_windows(config, "cancer", "1", [make_window(0), make_window(1)]) == 2
