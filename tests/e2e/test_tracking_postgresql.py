"""Two tracking servers on one PostgreSQL, as two replicas are: what fifty clients log at once is all there afterwards."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow import MlflowClient
from mlflow.entities import Param
from mlflow.exceptions import RestException

from tests.servers import PostgreSQL, TrackingServer, plain_environment, postgresql_server, start_tracking_server

pytestmark = pytest.mark.xdist_group("postgresql")  # they share the servers
N_RUNS, N_STEPS = 50, 3
MODEL = "cancer"
REPLICA = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "hunter2-shared-by-all-replicas", "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "5"}
REPLICA |= {"MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "5"}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="module")
def replicas(postgresql, tmp_path_factory) -> Iterator[list[TrackingServer]]:
    """One server with one worker and one with two, on one database and one folder of artifacts."""
    database = postgresql.create_database("mlflow")
    stored = tmp_path_factory.mktemp("stored")
    upgrade = [sys.executable, "-m", "mlops_project.tracking.database", "upgrade"]
    subprocess.run(upgrade, env=plain_environment() | {"MLFLOW_BACKEND_STORE_URI": database}, check=True, capture_output=True)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                start_tracking_server(
                    tmp_path_factory.mktemp("replica"),
                    *("--app-name", "mlops", "--workers", workers, "--artifacts-destination", str(stored)),
                    database=database,
                    **REPLICA,
                )
            )
            for workers in ("1", "2")
        ]


@pytest.fixture(autouse=True)
def plain_client(monkeypatch):
    """A client as it is without any setting."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)


def log_run(client: MlflowClient, experiment: str, number: int) -> tuple[str, int]:
    """Log one run with parameters, metrics, a file and a model version; return its id and the version."""
    run = client.create_run(experiment, tags={"number": str(number)})
    client.log_batch(run.info.run_id, params=[Param(f"p{index}", str(number + index)) for index in range(3)])
    for step in range(N_STEPS):
        client.log_metric(run.info.run_id, "loss", number * 100 + step, step=step)
    client.log_text(run.info.run_id, f"run {number}", "notes/note.txt")
    version = client.create_model_version(MODEL, f"{run.info.artifact_uri}/notes", run.info.run_id)
    client.set_terminated(run.info.run_id)
    return run.info.run_id, int(version.version)


def log_runs(replicas: list[TrackingServer], experiment: str, done: threading.Semaphore) -> list[tuple[str, int]]:
    """Log all runs at once, every second one with the other server; ``done`` is released for each."""
    clients = [MlflowClient(replica.address, replica.address) for replica in replicas]

    def log(number: int) -> tuple[str, int]:
        logged = log_run(clients[number % 2], experiment, number)
        done.release()
        return logged

    with ThreadPoolExecutor(N_RUNS) as pool:
        return list(pool.map(log, range(N_RUNS)))


def prepare(replica: TrackingServer, name: str) -> tuple[MlflowClient, str]:
    client = MlflowClient(replica.address, replica.address)
    with contextlib.suppress(RestException):  # the other test made it
        client.create_registered_model(MODEL)
    return client, client.create_experiment(name)


def check(client: MlflowClient, logged: list[tuple[str, int]]) -> None:
    """Assert that everything the clients logged is there, asking one of the servers."""
    assert len({run for run, _ in logged}) == len({version for _, version in logged}) == N_RUNS
    for number, (run_id, version) in enumerate(logged):
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert run.data.params == {f"p{index}": str(number + index) for index in range(3)}
        history = [(item.step, item.value) for item in client.get_metric_history(run_id, "loss")]
        assert history == [(step, number * 100 + step) for step in range(N_STEPS)]
        assert [item.path for item in client.list_artifacts(run_id, "notes")] == ["notes/note.txt"]
        assert client.get_model_version(MODEL, str(version)).run_id == run_id


def sum_counters(replicas: list[TrackingServer]) -> dict[str, float]:
    metrics = [replica.read_metrics() for replica in replicas]
    names = {
        "experiments": ("mlflow_experiment_created_total",),
        "runs": ("mlflow_runs_created_total",),
        "finished": ("mlflow_runs_finished_total", ("status", "FINISHED")),
        "versions": ("mlflow_model_versions_created_total",),
    }
    return {name: sum(own[key] for own in metrics) for name, key in names.items()}


def test_fifty_runs_at_once_are_all_there_and_counted(replicas):
    client, experiment = prepare(replicas[0], "together")
    before = sum_counters(replicas)
    logged = log_runs(replicas, experiment, threading.Semaphore(0))
    check(client, logged)
    assert len(client.search_runs([experiment], max_results=1000)) == N_RUNS
    after = sum_counters(replicas)
    assert after == before | {name: before[name] + N_RUNS for name in ("runs", "finished", "versions")}


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_nothing_is_lost_when_the_database_restarts(replicas, postgresql, mode):
    client, experiment = prepare(replicas[0], f"restarted {mode}")
    done = threading.Semaphore(0)

    def restart() -> None:
        for _ in range(N_RUNS // 5):
            assert done.acquire(timeout=60)
        postgresql.restart(mode)

    with ThreadPoolExecutor(1) as pool:
        restarted = pool.submit(restart)
        logged = log_runs(replicas, experiment, done)
        restarted.result()
    check(client, logged)
    # A request whose answer got lost is sent again: at most one such run without data per client, never one too few.
    extra = [run for run in client.search_runs([experiment], max_results=1000) if run.info.run_id not in dict(logged)]
    assert all(run.info.status == "RUNNING" and not run.data.metrics for run in extra)
    assert "503" in {label for replica in replicas for key in replica.read_metrics() for pair in key[1:] for label in pair}
