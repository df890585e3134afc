import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import psutil
import pytest

from tests.servers import find_alive, is_alive, wait_until, write_mlflow_tables

pytestmark = pytest.mark.timeout(300)  # as every test has; those that say so are started first
QUICK = ["--set", "model.estimator=logistic_regression", "--set", "model.params={}", "--set", "gates.minimum={}"]
FREE = ["--set", "serving.port=0", "--set", "stack.ui_port=0", "--set", "monitoring.port=0"]
QUICK += ["--set", "evaluation.importance_repeats=0", "--set", "evaluation.bootstrap_rounds=0"]


def read_until_up(process: "subprocess.Popen[str]") -> str:
    """Return the output up to the table of addresses."""
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("Ctrl-C"):
            return output
    return pytest.fail(f"mlops up ended with {process.wait()}:\n{output}")


@pytest.fixture
def trained_project(trained_project):
    """A project with a model and an empty registry, as after an earlier start."""
    write_mlflow_tables(trained_project / "mlruns" / "mlflow.db")
    return trained_project


@pytest.fixture
def start(project, environment):
    """Start `mlops up` and read its output until the addresses are printed."""
    started = []

    def run(port: int = 0, **variables: str) -> tuple["subprocess.Popen[str]", str]:
        process = subprocess.Popen(
            ["mlops", "up", *QUICK, "--set", f"stack.mlflow_port={port}", *FREE],
            cwd=project,
            env=environment | variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process, read_until_up(process)

    yield run
    for process in started:
        process.terminate()  # not kill: it has children to stop
        process.wait(30)
        process.stdout.close()


def test_stack_of_a_local_address_in_the_environment_trains_and_its_model_server_follows_the_champion(
    start, project, environment
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    _, output = start(port, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")  # nothing answers there until the stack is up
    assert f"http://127.0.0.1:{port}" in output
    assert "not logged" not in output
    assert (project / "mlruns" / "mlflow.db").exists()
    address = re.search(r"model server +(http://127\.0\.0\.1:\d+)", output).group(1)
    contract = json.loads((project / "artifacts/model/metadata.json").read_text())["contract"]
    row = json.dumps({feature["name"]: feature["default"] for feature in contract["features"]}).encode()

    def predict() -> str:
        with urllib.request.urlopen(urllib.request.Request(f"{address}/predict", row), timeout=5) as response:
            return response.headers["x-model-version"]

    def wait_for_version(version: str) -> None:
        for _ in range(200):
            if predict() == version:
                return
            threading.Event().wait(0.1)
        pytest.fail(f"version {version} was not served, but {predict()}")

    wait_for_version("1")
    train = ["mlops", "train", "--quiet", *QUICK, "--set", "random_state=1", "--set", "gates.tolerance=1"]
    subprocess.run(train, cwd=project, env=environment, check=True)
    wait_for_version("2")
    subprocess.run(["mlops", "rollback", *QUICK], cwd=project, env=environment, check=True, capture_output=True)
    wait_for_version("1")


def family(process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_stack_trains_serves_mlflow_and_stops_on_ctrl_c_without_leaving_a_process(start, project):
    process, output = start()
    address = re.search(r"MLflow +(http://127\.0\.0\.1:\d+)", output).group(1)
    assert "ROC AUC" in output  # there was no model, so one was trained
    with urllib.request.urlopen(f"{address}/health", timeout=5) as response:
        assert response.status == 200
    application = re.search(r"application +(http://127\.0\.0\.1:\d+)", output).group(1)
    with urllib.request.urlopen(f"{application}/_stcore/health", timeout=5) as response:
        assert response.read() == b"ok"
    monitor = re.search(r"monitor +(http://127\.0\.0\.1:\d+)", output).group(1)
    with urllib.request.urlopen(f"{monitor}/status", timeout=5) as response:
        assert json.loads(response.read())["evaluations"] == {}
    children = family(process)
    assert children
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert find_alive(children, 5) == []
    assert "stopped" in process.stdout.read()


def assert_everything_ends(children: list[psutil.Process], output: str) -> None:
    """All processes are gone, and the ports in the table of addresses are free."""
    assert len(children) >= 5
    assert find_alive(children, 20) == []
    ports = {int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", output)}
    assert len(ports) == 4
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_kill_leaves_no_process_and_no_taken_port(start, trained_project):
    process, output = start()
    children = family(process)
    process.kill()
    assert_everything_ends(children, output)


def test_impatient_ctrl_c_does_not_cut_the_end_short(start, trained_project):
    process, output = start()
    children = family(process)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        threading.Event().wait(0.1)
    rest = process.stdout.read()
    assert list(filter(is_alive, children)) == []
    assert rest.splitlines()[-1] == "stopped"
    assert process.wait(10) == 0
    assert_everything_ends(children, output)


def test_ctrl_c_while_services_start_leaves_no_process(project, trained_project, environment):
    command = ["mlops", "up", *QUICK, "--set", "stack.mlflow_port=0", *FREE]
    options = {"cwd": project, "env": environment, "text": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **options) as process:
        assert process.stderr.readline() == "starting …\n"
        while not (children := family(process)):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        children += [child for child in family(process) if child not in children]
        assert "stopped" in process.stderr.read()
        assert process.wait(30) == 0
    assert find_alive(children, 1) == []


def test_terminal_that_closes_on_a_suspended_stack_leaves_no_process(project, trained_project, environment):
    ours, theirs = os.openpty()
    command = ["mlops", "up", *QUICK, "--set", "stack.mlflow_port=0", *FREE]
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    take_terminal = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
    wrapped = [sys.executable, "-c", take_terminal, *command]
    with subprocess.Popen(wrapped, cwd=project, env=environment, **terminal) as process, contextlib.ExitStack() as at_last:
        at_last.callback(process.kill)  # a suspended one would be waited for without end
        os.close(theirs)
        output = ""
        while "Ctrl-C stops everything" not in output:
            output += os.read(ours, 65536).decode()
        children = family(process)
        process.send_signal(signal.SIGSTOP)  # what Ctrl-Z does, when a shell started it: the services go on
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, 20)
        address = re.search(r"MLflow +(http://127\.0\.0\.1:\d+)", output).group(1)
        with urllib.request.urlopen(f"{address}/health", timeout=5) as response:
            assert response.status == 200
        os.close(ours)
        assert process.wait(30) == 0
    assert_everything_ends(children, output)


def test_existing_model_is_kept_and_sigterm_stops_the_stack_as_ctrl_c_does(start, project, trained_project):
    before = (project / "artifacts" / "model" / "metadata.json").read_bytes()
    process, output = start()
    assert "ROC AUC" not in output
    children = family(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert find_alive(children, 5) == []
    assert (project / "artifacts" / "model" / "metadata.json").read_bytes() == before


def test_child_that_dies_is_reported_with_the_end_of_its_log(start, trained_project):
    process, _ = start()
    min(family(process), key=psutil.Process.create_time).kill()  # the first to be started
    assert process.wait(30) == 1
    rest = process.stdout.read()
    assert "MLflow stopped by itself (signal SIGKILL)" in rest
    assert "logs/mlflow.log" in rest


def test_taken_port_is_reported_with_the_setting_that_changes_it(project, environment):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = ["mlops", "up", *QUICK, "--set", f"stack.mlflow_port={port}", *FREE]
        done = subprocess.run(command, cwd=project, env=environment, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"port {port}, where MLflow would listen, is taken" in done.stderr
    assert f"--set stack.mlflow_port={port + 1}" in done.stderr
    assert f"MLOPS_STACK__MLFLOW_PORT={port + 1} make up" in done.stderr
    assert not (project / "artifacts").exists()  # found before anything is trained


def test_damaged_model_is_reported_and_not_replaced(project, environment):
    folder = project / "artifacts" / "model"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text("{}")
    command = ["mlops", "up", "--set", "stack.mlflow_port=0", *FREE]
    done = subprocess.run(command, cwd=project, env=environment, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "artifacts/model" in done.stderr
    assert (folder / "metadata.json").read_text() == "{}"
