"""``make demo`` up to the first window, then Ctrl-C. The whole takes minutes, and ``test_loop.py`` proves the same loop."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers import find_alive, plain_environment

pytestmark = pytest.mark.timeout(300)  # as every test has; those that say so are started first
SCRIPT = Path(__file__).parents[2] / "examples" / "demo" / "demo.py"


@pytest.fixture
def start(tmp_path):
    """Start the demo in a folder of the test's, in a session of its own as a terminal does."""
    started = []

    def run(folder: Path) -> "subprocess.Popen[str]":
        command = [sys.executable, str(SCRIPT), "--folder", str(folder)]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=plain_environment() | {"PYTHONUNBUFFERED": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def find_processes(folder: Path) -> list[str]:
    found = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [" ".join(words) for words in found if any(str(folder) in word for word in words)]


def test_demo_tells_what_it_does_and_ctrl_c_leaves_no_process(start, tmp_path):
    folder = tmp_path / "demo"
    process, said = start(folder), []
    for line in process.stdout:
        said.append(line)
        if "predictions per second" in line:
            second = start(folder)  # must not delete what the first works on
        if "window of" in line:
            break
    assert process.poll() is None, "".join(said)
    assert "runs in demo; stop it first" in second.communicate(timeout=60)[0]
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)  # people press it twice
    text = "".join(said) + process.communicate(timeout=60)[0]
    assert process.returncode == 1
    for part in ("version 1 is champion", "starting MLflow", "1. ordinary traffic", "; live roc_auc", "stopped; what"):
        assert part in text
    assert find_processes(folder) == []


def test_killed_demo_leaves_no_process(start, tmp_path):
    folder = tmp_path / "demo"
    process = start(folder)
    for line in process.stdout:
        if "predictions per second" in line:
            break
    processes = psutil.Process(process.pid).children(recursive=True)
    assert len(processes) >= 6  # the services and the traffic
    process.kill()
    assert find_alive(processes, 20) == []
    assert find_processes(folder) == []


def test_folder_of_something_else_is_left_alone(start, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").touch()
    process = start(folder)
    assert "holds something else than a demo" in process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert [file.name for file in folder.iterdir()] == ["cat.jpg"]
