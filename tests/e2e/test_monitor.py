"""A real model server, its log, and a real monitor."""

import json
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.accounts import ask_account
from tests.e2e.watching import BATCH, SEGMENTS, Traffic, ask, look, monitor, read_evaluations
from tests.servers import free_port, model_server, wait_until


@pytest.fixture
def traffic(trained_project) -> Iterator[Traffic]:
    with model_server(trained_project, *SEGMENTS) as server:
        yield Traffic(server)


def check_windows(project: Path) -> None:
    """Check that windows follow one another without overlap."""
    found = read_evaluations(project)
    assert all(then.end <= now.start for then, now in pairwise(found))


def test_clean_traffic_is_quiet(traffic):
    traffic.send(600, labels="true")
    traffic.wait_until_complete()
    done = look(traffic.server.folder, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (evaluation,) = json.loads(done.stdout)["evaluations"]
    assert evaluation["rows"] == evaluation["performance"]["labelled_rows"] == 600
    assert evaluation["alerts"] == []
    assert evaluation["last_label_at"] > evaluation["start"]
    again = look(traffic.server.folder, "--json")  # since the last evaluation, so there is nothing
    assert again.returncode == 0
    assert "0 rows" in json.loads(again.stdout)["skipped"]["breast-cancer"]


def test_shifted_traffic_is_drift_in_words_json_and_report(traffic):
    traffic.send(600, shift=1.0)
    traffic.wait_until_complete()
    project = traffic.server.folder
    shown = look(project, "--since", "1h")
    assert shown.returncode == 3, shown.stdout + shown.stderr
    assert "distance" in shown.stdout
    assert read_evaluations(project) == []  # a look keeps nothing
    assert look(project).returncode == 3
    (evaluation,) = read_evaluations(project)
    assert evaluation.drift.drifted
    assert evaluation.rows == 600
    assert "What changed first" in (project / "artifacts/monitoring/breast-cancer/report.html").read_text()


def test_labels_that_say_otherwise_are_lost_performance(traffic):
    traffic.send(600, labels="wrong")
    traffic.wait_until_complete()
    done = look(traffic.server.folder)
    assert done.returncode == 4, done.stdout + done.stderr
    assert read_evaluations(traffic.server.folder)[0].performance.lost


def test_too_few_rows_are_kept_for_the_next_window(traffic):
    traffic.send(BATCH)
    traffic.wait_until_complete()
    done = look(traffic.server.folder)
    assert done.returncode == 0
    assert "has 30 rows, 200 are needed" in done.stdout
    traffic.send(300)
    traffic.wait_until_complete()
    assert look(traffic.server.folder).returncode == 0
    assert read_evaluations(traffic.server.folder)[0].rows == 330


def test_service_killed_and_started_again_evaluates_every_row_once(traffic):
    project = traffic.server.folder
    for _ in range(4):
        with monitor(project) as (process, _):
            before = len(read_evaluations(project))
            traffic.send(300)
            wait_until(lambda: len(read_evaluations(project)) > before, 60)  # noqa: B023 - called in this round
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        traffic.send(120)
    with monitor(project) as (_, address):
        traffic.send(60)
        wait_until(lambda: traffic.sent - sum(item.rows for item in read_evaluations(project)) < 60, 60)
        wait_until(lambda: sum(ask_account(address).values()) == traffic.sent, 60)
        assert {*ask_account(address)} <= {"evaluated", "waiting"}
    check_windows(project)
    seen = sum(item.rows for item in read_evaluations(project))
    assert traffic.sent - 60 < seen <= traffic.sent


def test_alert_fires_after_two_windows_shows_in_metrics_and_survives_a_restart(traffic):
    project = traffic.server.folder

    def read_alert(address: str) -> float:
        families = text_string_to_metric_families(ask(f"{address}/metrics"))
        samples = [sample for family in families for sample in family.samples if sample.name == "mlops_monitor_alert"]
        return sum(sample.value for sample in samples if sample.labels["alert"] == "data-drift")

    with monitor(project) as (process, address):
        for count in (1, 2):
            traffic.send(120, shift=1.0)
            wait_until(lambda: len(read_evaluations(project)) >= count, 60)  # noqa: B023 - called in this round
        wait_until(lambda: read_alert(address) == 1, 10)
        page = ask(f"{address}/report/breast-cancer")
        assert "<b>Alert: " in page
        assert "The inputs changed" in page
        process.kill()
        process.wait(10)
    with monitor(project) as (process, address):
        assert read_alert(address) == 1  # from the first answer on
        status = json.loads(ask(f"{address}/status"))
        assert status["problems"] == {}
        alerts = {alert["name"]: alert["firing"] for alert in status["evaluations"]["breast-cancer"]["alerts"]}
        assert alerts["data-drift"]
        wait_until(lambda: sum(ask_account(address).values()) == traffic.sent, 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(8) == 0


def test_second_monitor_on_the_same_folder_is_refused(trained_project):
    with monitor(trained_project):
        done = look(trained_project)
        assert done.returncode == 1
        assert "another monitor works on" in done.stderr
        assert look(trained_project, "--since", "1h").returncode == 0


def test_mlflow_that_is_down_does_not_stop_the_watch_and_misses_nothing(traffic, tmp_path):
    project = traffic.server.folder
    options = ("--set", "tracking.enabled=true", "--set", "tracking.timeout_seconds=2")
    traffic.send(300)
    traffic.wait_until_complete()
    down = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    with monitor(project, *options, **down) as (_, address):
        wait_until(lambda: read_evaluations(project) != [], 60)
        wait_until(lambda: "MLflow" in json.loads(ask(f"{address}/status"))["problems"], 20)
    database = {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}
    with monitor(project, *options, **database) as (_, address):
        assert json.loads(ask(f"{address}/status"))["problems"] == {}
        wait_until(lambda: sum(ask_account(address).values()) == traffic.sent, 30)
    from mlflow import MlflowClient

    client = MlflowClient(database["MLFLOW_TRACKING_URI"])
    (run,) = client.search_runs([client.get_experiment_by_name("Projeto10_MLOps").experiment_id])
    assert run.info.run_name.startswith("monitoring breast-cancer v")
    ends = [item.value for item in client.get_metric_history(run.info.run_id, "rows")]
    assert ends == [item.rows for item in read_evaluations(project)]
