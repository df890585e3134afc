import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlops_project.errors import StackError
from mlops_project.tracking import server_metrics
from mlops_project.tracking.server_metrics import METRICS, RUNS, RUNS_FINISHED, TrackingMetrics, prepare_folder

START = """
import multiprocessing, sys
from mlops_project.tracking.server_metrics import RUNS, TrackingMetrics, prepare_folder

def work(how):
    folder = prepare_folder()
    metrics = TrackingMetrics(folder)
    metrics.count_request("GET", "/health", 200, 0.003)
    metrics.count_change(RUNS)
    metrics.in_flight.inc()
    if how == "answer":
        print(folder, metrics.render().decode(), sep="\\n", flush=True)
    if how == "die":
        multiprocessing.current_process().kill()

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    for how in ("die", "end", "answer"):
        worker = spawn.Process(target=work, args=(how,))
        worker.start()
        worker.join()
"""


def parse(text: bytes | str) -> dict:
    families = text_string_to_metric_families(text if isinstance(text, str) else text.decode())
    return {
        (item.name, *dict(sorted(item.labels.items())).values()): item.value for family in families for item in family.samples
    }


def test_one_process_keeps_its_numbers_in_memory(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert prepare_folder() is None
    metrics = TrackingMetrics(None)
    metrics.count_request("GET", "/health", 200, 0.003)
    metrics.count_request("GET", "/health", 200, 0.3)
    values = parse(metrics.render())
    assert values["http_requests_total", "GET", "/health", "200"] == 2
    assert values["http_request_duration_seconds_bucket", "0.005", "GET", "/health"] == 1
    assert values["http_request_duration_seconds_count", "GET", "/health"] == 2


def test_changes_are_zero_before_anything_happens_and_no_other_metric_is_there(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics = TrackingMetrics(None)
    values = parse(metrics.render())
    assert values == {
        ("mlops_requests_in_flight",): 0,
        ("mlflow_experiment_created_total",): 0,
        ("mlflow_runs_created_total",): 0,
        ("mlflow_model_versions_created_total",): 0,
        **{("mlflow_runs_finished_total", state): 0 for state in ("FINISHED", "FAILED", "KILLED")},
    }
    metrics.count_change(RUNS)
    metrics.count_change(RUNS_FINISHED, "KILLED")
    values = parse(metrics.render())
    assert values["mlflow_runs_created_total",] == values["mlflow_runs_finished_total", "KILLED"] == 1


def test_what_dead_workers_counted_stays_and_their_gauges_go(tmp_path):
    script = tmp_path / "start.py"
    script.write_text(START)
    environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    done = subprocess.run(
        [sys.executable, script], env=environment | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    folder, _, text = done.stdout.partition("\n")
    assert Path(folder).parent == tmp_path
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    values = parse(text)
    assert values["http_requests_total", "GET", "/health", "200"] == 3
    assert values["mlflow_runs_created_total",] == 3
    assert values["mlops_requests_in_flight",] == 1
    families = {family.name for family in text_string_to_metric_families(text)}
    assert families == {metric.name.removesuffix("_total") for metric in METRICS}


@pytest.fixture
def as_worker(tmp_path, monkeypatch) -> Path:
    """Make this process a worker of the one that started it; return where folders go."""

    class Parent:
        pid = os.getppid()

    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setattr(server_metrics.multiprocessing, "parent_process", Parent)
    monkeypatch.setattr(server_metrics.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_folder_is_the_same_for_all_workers_of_one_parent(as_worker):
    folder = prepare_folder()
    (folder / "counter_1.db").touch()
    assert prepare_folder() == folder
    assert (folder / "counter_1.db").exists()


def test_folders_of_servers_that_are_gone_are_removed(as_worker):
    folder = prepare_folder()
    host = folder.name.removesuffix("-".join(folder.name.split("-")[-2:]))
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    stale = [as_worker / f"{host}{gone.stdout.strip()}-77", as_worker / f"{host}{os.getppid()}-77"]  # a process id used again
    kept = [
        as_worker / f"{host}backup-1",
        as_worker / f"{host}2-999999-1",
        as_worker / "mlops-tracking-metrics-0-elsewhere-999999-1",
    ]
    for path in (*stale, *kept):
        path.mkdir()
    assert prepare_folder() == folder
    assert {path for path in as_worker.iterdir() if path.is_dir()} == {folder, *kept}


def test_folder_that_another_user_made_is_refused(as_worker, monkeypatch):
    monkeypatch.setattr(server_metrics.os, "getuid", lambda: os.geteuid() + 1)  # what is made now is not that user's
    with pytest.raises(StackError, match="belongs to user"):
        prepare_folder()


def test_place_that_cannot_be_written_is_an_error_that_names_it(as_worker, monkeypatch):
    monkeypatch.setattr(server_metrics.tempfile, "gettempdir", lambda: "/proc")
    with pytest.raises(StackError, match=r"/proc/mlops-tracking-metrics.*TMPDIR"):
        prepare_folder()


def test_folder_that_the_environment_names_wins(as_worker, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(as_worker / "given"))
    assert prepare_folder() == as_worker / "given"
    assert (as_worker / "given").is_dir()
