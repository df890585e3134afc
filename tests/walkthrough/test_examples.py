"""The examples' texts: every line of their blocks runs as it stands, at small size."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlops_project.cli import main
from tests.servers import BIN, free_port, plain_environment, wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {
    "MLOPS_SEARCH__TRIALS": "2",
    "MLOPS_EVALUATION__BOOTSTRAP_ROUNDS": "20",
    "MLOPS_EVALUATION__IMPORTANCE_REPEATS": "0",
    "MLOPS_GATES__BOOTSTRAP_ROUNDS": "100",
}


def read_lines(name):
    """Return the commands of an example's text, without their comments."""
    blocks = re.findall(r"^```console\n(.*?)^```", (EXAMPLES / name / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    return [line for text in blocks[0].splitlines() if (line := re.sub(r"\s+#.*", "", text))]


@pytest.mark.parametrize("name", ["votes", "cars", "weather"])
def test_every_line_of_an_examples_text_runs(name, tmp_path, monkeypatch):
    lines = read_lines(name)
    assert 10 <= len(lines) <= 11
    assert [shlex.split(line)[1] for line in lines if line.startswith("mlops")] == [
        *("init", "tune", "train", "serve", "score"),
        *(["label"] if name == "weather" else []),
        "monitor",
    ]
    shutil.copytree(EXAMPLES / name, tmp_path / name)
    (tmp_path / name / "pyproject.toml").touch()  # the project's root
    monkeypatch.chdir(tmp_path / name)
    port = str(free_port())
    for variable, value in (SMALL | {"MLOPS_SERVING__PORT": port}).items():
        monkeypatch.setenv(variable, value)
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    said, servers = {}, []
    try:
        for line in lines:
            said[line.split()[1]] = run_line(line.replace(":8000", f":{port}"), port, servers)
    finally:
        for server in servers:
            server.terminate()
            server.wait(30)
    assert "promoted" in said["train"]
    assert "rows scored by" in said["score"]
    assert "predictions" in said["monitor"]


def run_line(line, port, servers):
    """Run a line and return what it printed."""
    program, *arguments = shlex.split(line)
    if program == "pip":
        assert find_spec(arguments[-1]) is not None  # one of requirements-dev.txt
        return ""
    if program == "python":
        runpy.run_path(arguments[0])
        return ""
    if program == "curl":
        answer = subprocess.run([program, "-sS", "-f", *arguments], capture_output=True, text=True, check=True).stdout
        assert "predictions" in answer
        return answer
    if program == "kill":
        servers[-1].terminate()
        servers[-1].wait(30)
        return ""
    if arguments[-1] == "&":
        environment = plain_environment() | {name: os.environ[name] for name in (*SMALL, "MLOPS_SERVING__PORT")}
        servers.append(subprocess.Popen([BIN / program, *arguments[:-1]], env=environment, stderr=subprocess.DEVNULL))
        wait_for(f"http://127.0.0.1:{port}/ping", servers[-1])
        return ""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, f"{line}\n{done.output}"
    return done.stdout
