"""``mlflow server --app-name mlops``: metrics around MLflow's own application, right across workers."""

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from tests.servers import TrackingServer, find_alive, free_port, plain_environment, start_tracking_server, wait_until

ONE_RUN_AT_A_TIME = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "1", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "1"}
on_server, on_private = (pytest.mark.xdist_group(name) for name in ("tracking-server", "tracking-private"))  # started once
ADMIN = {
    "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "hunter2-hunter2",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "hunter2-key",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[TrackingServer]:
    """Two workers, each with two database connections."""
    folder, temporary = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("tmp")
    options = ("--app-name", "mlops", "--workers", "2")
    with start_tracking_server(folder, *options, **ONE_RUN_AT_A_TIME, TMPDIR=str(temporary)) as running:
        yield running


def ask(server: TrackingServer, path: str, body: Any = None, *, method: str = "", **headers: str) -> tuple[int, bytes]:
    """Send one request on a connection of its own, so that any worker may get it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        data = None if body is None else json.dumps(body)
        kind = {"Content-Type": "application/json"} if data else {}
        connection.request(method or ("POST" if data else "GET"), path, data, kind | headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def call(server: TrackingServer, path: str, body: Any) -> Any:
    status, answer = ask(server, f"/api/2.0/mlflow/{path}", body)
    assert status == 200, answer
    return json.loads(answer)


def create_run(server: TrackingServer) -> str:
    return str(call(server, "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"])


def find_workers(server: TrackingServer) -> list[int]:
    """Return the ids of uvicorn's workers."""
    workers = []
    for child in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if "spawn_main" in " ".join(child.cmdline()):
                workers.append(child.pid)
    return workers


@on_server
def test_metrics_are_there_from_the_start(server):
    metrics = server.read_metrics()
    for name in ("mlflow_experiment_created_total", "mlflow_runs_created_total", "mlflow_model_versions_created_total"):
        assert (name,) in metrics
    for state in ("FINISHED", "FAILED", "KILLED"):
        assert ("mlflow_runs_finished_total", ("status", state)) in metrics


@on_server
@pytest.mark.parametrize(("path", "status"), [("/api/2.0/mlflow/experiments/get?experiment_id=0", 403), ("/", 403)])
def test_foreign_host_is_refused_and_counted(server, path, status):
    key = ("http_requests_total", ("method", "GET"), ("path", path.partition("?")[0]), ("status", "403"))
    before = server.read_metrics().get(key, 0)
    assert ask(server, path, Host="evil.example")[0] == status
    wait_until(lambda: server.read_metrics().get(key, 0) == before + 1, 10)


@on_server
@pytest.mark.parametrize("path", ["/metrics", "/health"])
def test_foreign_host_may_scrape_and_probe(server, path):
    assert ask(server, path, Host="10.1.2.3:5000")[0] == 200


@on_server
def test_neither_ids_nor_random_paths_become_series(server):
    ask(server, "/health")
    words = [uuid.uuid4().hex for _ in range(500)]
    forms = [
        "/{}",
        "/api/2.0/mlflow/{}",
        "/api/2.0/mlflow-artifacts/artifacts/0/{}/artifacts/x",
        "/static-files/{}.js",
        "/{}/../x",
    ]
    ways = ["GET", "PUT", "BREW"]

    def send(number: int) -> None:
        ask(server, forms[number % len(forms)].format(words[number]), method=ways[number % len(ways)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(20)))
        few = len(server.read_metrics())
        list(pool.map(send, range(20, 500)))
    metrics = server.read_metrics()
    assert len(metrics) - few < 40  # a route's status that had not been seen yet, with its histogram
    assert not [key for key in metrics if any(word in str(key) for word in words)]
    assert {dict(key[1:])["method"] for key in metrics if key[0] == "http_requests_total"} <= {
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "other",
    }
    assert sum(value for key, value in metrics.items() if key[0] == "http_requests_total" and ("path", "other") in key) >= 200


@on_server
def test_run_that_ends_twice_counts_once(server):
    finished = ("mlflow_runs_finished_total", ("status", "FAILED"))
    before = server.read_metrics()
    run_id = create_run(server)
    for _ in range(3):
        call(server, "runs/update", {"run_id": run_id, "status": "FAILED"})
    after = server.read_metrics()
    assert after[finished] == before[finished] + 1
    assert after["mlflow_runs_created_total",] == before["mlflow_runs_created_total",] + 1


@on_server
def test_what_fails_creates_nothing_that_counts(server):
    name = uuid.uuid4().hex
    before = server.read_metrics()
    assert ask(server, "/ajax-api/2.0/mlflow/experiments/create", {"name": name})[0] == 200
    assert ask(server, "/ajax-api/2.0/mlflow/experiments/create", {"name": name})[0] == 400
    after = server.read_metrics()
    assert after["mlflow_experiment_created_total",] == before["mlflow_experiment_created_total",] + 1


@on_server
def test_requests_that_need_two_connections_do_not_wait_for_each_other(server):
    runs = [create_run(server) for _ in range(12)]
    begun = time.monotonic()
    body = {"metrics": [{"key": "loss", "value": 1.0, "timestamp": 1, "step": 0}], "params": [{"key": "p", "value": "1"}]}
    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(lambda run_id: call(server, "runs/log-batch", {"run_id": run_id, **body}), runs))
    assert time.monotonic() - begun < 25  # SQLAlchemy gives up after 30


@on_server
def test_counters_stay_when_workers_die(server):
    def create(number: int) -> None:
        call(server, "experiments/create", {"name": f"{number} {uuid.uuid4().hex}"})

    def count() -> float:
        return server.read_metrics()["mlflow_experiment_created_total",]

    before = count()
    for number in range(10):
        create(number)
    assert count() == before + 10
    old = find_workers(server)
    assert len(old) == 2
    for worker in old:  # uvicorn looks for dead workers twice a second and starts new ones
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda gone=worker: gone not in find_workers(server) and len(find_workers(server)) == 2, 60)
    wait_until(lambda: is_answering(server), 60)
    assert count() == before + 10
    create(10)
    assert count() == before + 11
    assert server.read_metrics()["mlops_requests_in_flight",] == 1  # the one that asks


def test_workers_of_a_killed_supervisor_end(tmp_path):
    with start_tracking_server(tmp_path, "--app-name", "mlops", "--workers", "2") as server:
        workers = [psutil.Process(pid) for pid in find_workers(server)]
        assert len(workers) == 2
        workers[0].parent().kill()
        assert find_alive(workers, 20) == []


def is_answering(server: TrackingServer) -> bool:
    try:
        return ask(server, "/health")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


@on_server
def test_client_that_leaves_in_the_middle_of_an_upload_is_counted_and_nothing_hangs(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/left.bin")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"x" * 1000)
    wait_until(lambda: server.read_metrics()["mlops_requests_in_flight",] == 2, 10)
    connection.close()
    wait_until(lambda: server.read_metrics()["mlops_requests_in_flight",] == 1, 10)
    statuses = {
        dict(key[1:])["status"]
        for key in server.read_metrics()
        if key[0] == "http_requests_total" and ("method", "PUT") in key and "artifacts" in str(key)
    }
    assert "499" in statuses


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[TrackingServer]:
    """A server with users and passwords."""
    folder = tmp_path_factory.mktemp("guarded")
    settings = folder / "auth.ini"
    settings.write_text(f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/users.db\n")
    variables = ADMIN | {"MLFLOW_AUTH_CONFIG_PATH": str(settings)}
    with start_tracking_server(folder, "--app-name", "mlops-basic-auth", **variables) as running:
        yield running


def test_users_need_a_password_and_prometheus_does_not(guarded):
    path = "/api/2.0/mlflow/experiments/create"
    password = base64.b64encode(b"admin:hunter2-hunter2").decode()
    assert ask(guarded, path, {"name": "guarded"})[0] == 401
    assert ask(guarded, path, {"name": "guarded"}, Authorization=f"Basic {password}")[0] == 200
    assert ask(guarded, path, {"name": "guarded"}, Authorization=f"Basic {password}", Host="evil.example")[0] == 403
    assert ask(guarded, "/health")[0] == 200
    assert ask(guarded, "/metrics", Host="10.1.2.3:5000")[0] == 200
    metrics = guarded.read_metrics()
    assert metrics["mlflow_experiment_created_total",] == 1
    assert metrics["http_requests_total", ("method", "POST"), ("path", path), ("status", "401")] == 1


@pytest.fixture(scope="module")
def private(tmp_path_factory) -> Iterator[TrackingServer]:
    """A server with users and our defaults."""
    folder = tmp_path_factory.mktemp("private")
    with start_tracking_server(folder, "--app-name", "mlops-basic-auth", **ADMIN) as running:
        yield running


OPEN = {"/health", "/static-files/<path:path>", "/metrics"}  # what answers without a password


def list_routes() -> list[tuple[str, str]]:
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import app

    from mlops_project.tracking.server_routes import _flask_rules, _native_rules

    rules = [*_native_rules(app), *_flask_rules(flask_app)]
    return sorted({(method, rule) for rule, methods in rules for method in (methods or {"GET"}) - {"HEAD", "OPTIONS"}})


@on_private
@pytest.mark.filterwarnings("ignore:starlette.middleware.wsgi is deprecated")  # MLflow's own import
def test_no_route_answers_without_a_password(private):
    routes = list_routes()
    assert len(routes) > 100
    told = {}
    for method, rule in routes:
        if rule in OPEN:
            continue
        path = re.sub(r"<[^>]*>", "x", rule)
        status, _ = ask(private, path, {} if method in ("POST", "PATCH", "PUT") else None, method=method)
        if status not in (401, 403):
            told[method, rule] = status
    assert told == {}
    assert ask(private, "/api/3.0/mlflow/server-info/")[0] in (401, 403, 404)
    admin = base64.b64encode(b"admin:hunter2-hunter2").decode()
    status, answer = ask(private, "/ajax-api/3.0/mlflow/server-info", Authorization=f"Basic {admin}")
    assert (status, "store_type" in json.loads(answer)) == (200, True)


@on_private
def test_users_do_not_see_what_others_made(private):
    admin = {"Authorization": "Basic " + base64.b64encode(b"admin:hunter2-hunter2").decode()}
    users = {}
    for name in ("ana", "bob"):
        password = f"hunter2-{name}-hunter2"
        assert ask(private, "/api/2.0/mlflow/users/create", {"username": name, "password": password}, **admin)[0] == 200
        users[name] = {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
    made = ask(private, "/api/2.0/mlflow/experiments/create", {"name": "of-ana"}, **users["ana"])[1]
    experiment = json.loads(made)["experiment_id"]
    made = ask(private, "/api/2.0/mlflow/runs/create", {"experiment_id": experiment}, **users["ana"])[1]
    run = json.loads(made)["run"]["info"]["run_id"]
    file = f"{experiment}/{run}/artifacts/secret.txt"
    for api in ("api", "ajax-api"):
        assert ask(private, f"/{api}/2.0/mlflow-artifacts/artifacts/{file}", {"a": 1}, method="PUT", **users["ana"])[0] == 200
    paths = [f"/{api}/2.0/mlflow-artifacts/artifacts/{file}" for api in ("api", "ajax-api")]
    paths += [f"/get-artifact?run_uuid={run}&path=secret.txt", f"/{'api'}/2.0/mlflow/runs/get?run_id={run}"]
    paths += [f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}", f"/api/2.0/mlflow/artifacts/list?run_id={run}"]
    paths += [f"/api/2.0/mlflow-artifacts/artifacts?path={experiment}/{run}/artifacts"]
    answers = {path: [ask(private, path, **users[name])[0] for name in ("ana", "bob")] for path in paths}
    assert set(map(tuple, answers.values())) == {(200, 403)}, answers
    found = json.loads(ask(private, "/api/2.0/mlflow/experiments/search", {"max_results": 100}, **users["bob"])[1])
    assert "of-ana" not in [item["name"] for item in found.get("experiments", ())]


def test_missing_secret_key_ends_the_server_with_one_message(tmp_path):
    command = ["mlflow", "server", "--app-name", "mlops-basic-auth", "--port", str(free_port()), "--workers", "2"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    environment = plain_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    output = done.stdout + done.stderr
    assert "MLFLOW_FLASK_SERVER_SECRET_KEY" in output
    killed = output.count("] died")  # workers that were too slow to say that they live: uvicorn starts others
    assert output.count("A static secret key needs to be set") <= 2 + killed  # one per worker, and no second attempt
    assert "Traceback" not in output


def test_server_without_a_place_for_its_metrics_says_so(tmp_path):
    command = ["mlflow", "server", "--app-name", "mlops", "--port", str(free_port()), "--workers", "2"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    environment = plain_environment() | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PROMETHEUS_MULTIPROC_DIR": "/proc/metrics",
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "/proc/metrics, where the workers' metrics go" in done.stdout + done.stderr
