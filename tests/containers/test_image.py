"""The image in its roles, as the walkthrough starts them, in a real Docker engine."""

import json
import os
import re
import time
import urllib.request
from pathlib import Path

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.runtime import Runtime
from tests.containers.conftest import train
from tests.containers.engine import Container, container, docker

MEGABYTE = 1_000_000
PORT_5000, PORT_8000 = ("-p", "127.0.0.1:0:5000"), ("-p", "127.0.0.1:0:8000")
TRACKING = {
    "MLFLOW_BACKEND_STORE_URI": "sqlite:////mlruns/mlflow.db",
    "MLFLOW_DEFAULT_ARTIFACT_ROOT": "file:///mlruns/artifacts",
}


def ask(url: str, body: object) -> dict[str, object]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, object] = json.load(response)
        return answer


def example_body(model: Path) -> dict[str, object]:
    row = load_bundle(model).contract.example_row()
    return {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}


def size_bytes(image: str) -> int:
    return int(docker("image", "inspect", "-f", "{{.Size}}", image).stdout)


def test_no_setting_serves_the_model_that_was_baked_in(image: str) -> None:
    with container(image, *PORT_8000) as server:
        assert server.wait_for(f"{server.address(8000)}/ping", 30) == b"\n"
        lines = server.read_log().splitlines()
        assert lines[0] == (
            "role: model server, because neither SERVE_MODEL nor MLFLOW_BACKEND_STORE_URI is set; the model is /opt/mlops/model"
        )
        models = json.loads(server.wait_for(f"{server.address(8000)}/models"))["models"]
        assert [(model["name"], model["engine"]) for model in models] == [("breast-cancer", "trees")]  # built into it
        assert server.memory_bytes() < 130 * 2**20
        assert server.stop() < 5
        assert server.inspect()["State"]["ExitCode"] == 0


def test_model_server_answers_as_the_mounted_model_does(image: str, exported: Path) -> None:
    model = exported / "artifacts/model"
    variables = {"SERVE_MODEL": "1", "SERVE_MODEL_PATH": "/model"}
    with container(image, *PORT_8000, "-v", f"{model}:/model:ro", variables=variables) as server:
        server.wait_for(f"{server.address(8000)}/ping", 30)
        runtime = Runtime.load(model)
        expected = runtime.predict({name: [value] for name, value in runtime.contract.example_row().items()}).indices
        answer = ask(f"{server.address(8000)}/invocations", example_body(model))
        assert answer == {"predictions": [runtime.contract.classes[index] for index in expected]}
        assert server.execute("sh", "-c", "ls /var/lib/mlops/predictions | wc -l").stdout.strip() != "0"
        assert server.read_log().startswith("role: model server, because SERVE_MODEL=1; the model is /model\n")


@pytest.mark.parametrize(("mode", "message"), [(0o755, "no model is there"), (0o000, "cannot be read by user 1000")])
def test_model_server_says_what_is_wrong_with_a_mount(image: str, tmp_path: Path, mode: int, message: str) -> None:
    tmp_path.chmod(mode)
    options = ("-v", f"{tmp_path}:/model:ro", "-e", "SERVE_MODEL=1", "-e", "SERVE_MODEL_PATH=/model")
    done = docker("run", "--rm", *options, image, check=False)
    assert done.returncode == 2
    assert f"error: /model: {message}" in done.stderr


def test_tracking_server_records_a_training_run(image: str, exported: Path, writable: Path) -> None:
    with container(image, *PORT_5000, "-v", f"{writable}:/mlruns:rw", variables=TRACKING) as server:
        address = server.address(5000)
        server.wait_for(f"{address}/health")
        assert server.read_log().startswith("role: tracking server, because MLFLOW_BACKEND_STORE_URI is set; ")
        train(exported, MLFLOW_TRACKING_URI=address, MLFLOW_EXPERIMENT_NAME="Projeto10_MLOps")
        runs = ask(f"{address}/api/2.0/mlflow/runs/search", {"experiment_ids": ["1"]})["runs"]
        assert [run["info"]["status"] for run in runs] == ["FINISHED"]  # type: ignore[attr-defined]
        assert list((writable / "artifacts").rglob("model.onnx")), "the files did not reach the mounted folder"
        metrics = server.wait_for(f"{address}/metrics").decode()
        assert re.search(r"^mlflow_runs_created_total 1\.0$", metrics, re.MULTILINE)
        assert re.search(r'^mlflow_runs_finished_total\{status="FINISHED"\} 1\.0$', metrics, re.MULTILINE)
        assert server.memory_bytes() < 900 * 2**20
        assert server.stop() < 10
        assert server.inspect()["State"]["ExitCode"] == 0
    with container(image, *PORT_5000, "-v", f"{writable}:/mlruns:rw", variables=TRACKING) as server:  # nothing was lost
        server.wait_for(f"{server.address(5000)}/health")
        assert len(ask(f"{server.address(5000)}/api/2.0/mlflow/runs/search", {"experiment_ids": ["1"]})["runs"]) == 1  # type: ignore[arg-type]


def test_tracking_server_says_how_to_make_a_mount_writable(image: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # belongs to whoever runs the tests
    if os.getuid() == 1000:
        os.chmod(tmp_path, 0o555)  # noqa: PTH101
    settings = [part for name, value in TRACKING.items() for part in ("-e", f"{name}={value}")]
    done = docker("run", "--rm", "-v", f"{tmp_path}:/mlruns:rw", *settings, image, check=False)
    assert done.returncode == 2
    assert 'docker run --user "$(id -u):$(id -g)"' in done.stderr


def test_tracking_server_runs_as_any_user(image: str, tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    folder.mkdir()
    user = f"{os.getuid()}:{os.getgid()}"
    with container(image, *PORT_5000, "--user", user, "-v", f"{folder}:/mlruns:rw", variables=TRACKING) as server:
        server.wait_for(f"{server.address(5000)}/health")
        assert (folder / "mlflow.db").stat().st_uid == os.getuid()


@pytest.mark.parametrize(("variables", "port", "path"), [({}, 8000, "/ready"), (TRACKING, 5000, "/health")])
def test_roles_run_on_a_read_only_root(image: str, variables: dict[str, str], port: int, path: str) -> None:
    options = (
        "-p",
        f"127.0.0.1:0:{port}",
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
    )
    if port == 5000:
        options += ("--tmpfs", "/mlruns:mode=1777")
    with container(image, *options, variables=variables) as server:
        server.wait_for(f"{server.address(port)}{path}")
        assert server.execute("touch", "/opt/venv/file", check=False).returncode != 0
        assert server.stop() < 10


def test_user_interface_answers_from_the_model_that_was_baked_in(image: str) -> None:
    options = ("-p", "127.0.0.1:0:8501", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")
    with container(image, *options, variables={"SERVE_UI": "1"}) as server:
        assert server.wait_for(f"{server.address(8501)}/_stcore/health", 60) == b"ok"
        assert server.read_log().startswith("role: user interface, because SERVE_UI=1; ")
        wait_for_health(server, "healthy")
        assert server.stop() < 10


def test_health_check_follows_the_server(image: str) -> None:
    options = ("--health-interval", "1s", "--health-timeout", "2s", "--health-retries", "1", "--health-start-period", "0s")
    with container(image, *options) as server:
        wait_for_health(server, "healthy")
        docker("kill", "--signal", "STOP", server.name)
        wait_for_health(server, "unhealthy")
        docker("kill", "--signal", "CONT", server.name)
        wait_for_health(server, "healthy")


def wait_for_health(server: Container, wanted: str) -> None:
    deadline = time.monotonic() + 40
    while server.inspect()["State"]["Health"]["Status"] != wanted:
        assert time.monotonic() < deadline, server.inspect()["State"]["Health"]
        time.sleep(0.3)


def test_command_replaces_the_server(image: str) -> None:
    done = docker("run", "--rm", image, "mlops", "--version")
    assert done.stdout.startswith("mlops, version")
    assert docker("run", "--rm", image, "id", "-u").stdout == "1000\n"


def test_image_holds_what_it_needs_and_no_more(image: str) -> None:
    assert size_bytes(image) <= 1310 * MEGABYTE
    script = "command -v gcc cc make git; find / -xdev -path '*/.cache/pip'; find /opt /root /tmp /src -name '*.whl'; exit 0"
    assert docker("run", "--rm", "--entrypoint", "sh", image, "-c", script).stdout == ""


def test_serve_image_is_small_and_answers(serve_image: str) -> None:
    assert size_bytes(serve_image) <= 370 * MEGABYTE  # cryptography, for signatures, is 17 of them
    heavy = ("mlflow", "pandas", "sklearn", "scipy")
    script = f"from importlib.util import find_spec; print([name for name in {heavy} if find_spec(name)])"
    assert docker("run", "--rm", serve_image, "python", "-c", script).stdout == "[]\n"
    script = "from mlops_project.native.library import load_library; print(load_library() is not None)"
    assert docker("run", "--rm", serve_image, "python", "-c", script).stdout == "True\n"
    with container(serve_image, *PORT_8000) as server:
        server.wait_for(f"{server.address(8000)}/ready", 30)
        assert b"Swagger" in server.wait_for(f"{server.address(8000)}/docs")
        assert server.stop() < 5


def test_serve_image_says_that_it_is_no_tracking_server(serve_image: str) -> None:
    done = docker("run", "--rm", "-e", "MLFLOW_BACKEND_STORE_URI=sqlite:////mlruns/mlflow.db", serve_image, check=False)
    assert done.returncode == 2
    assert "the tracking server needs the full image" in done.stderr
