"""The user's guide, line by line: real commands in a project of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
NO_MLFLOW = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mlflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_", "PYTEST_"))}
    return kept | {"PATH": f"{BIN}{os.pathsep}{kept['PATH']}"}


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder that counts as a repository, with a folder inside."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.fixture
def run(project, environment) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def start(*command: str, folder: str = ".", check: bool = True, **variables: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            command, cwd=project / folder, env=environment | variables, capture_output=True, text=True, timeout=200, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return start


@pytest.fixture
def without_mlflow(tmp_path_factory) -> dict[str, str]:
    """Variables under which a Python process finds no MLflow, as if it were not installed."""
    folder = tmp_path_factory.mktemp("no_mlflow")
    (folder / "sitecustomize.py").write_text(NO_MLFLOW)
    return {"PYTHONPATH": str(folder)}
