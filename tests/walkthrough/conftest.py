"""The user's guide, line by line: real commands in a project of their own."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import plain_environment

ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "{library}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder that counts as a repository, with a folder inside."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.fixture
def run(project) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def start(*command: str, folder: str = ".", check: bool = True, **variables: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            command,
            cwd=project / folder,
            env=plain_environment() | variables,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return start


@pytest.fixture
def without(tmp_path_factory) -> Callable[[str], dict[str, str]]:
    """Give variables under which a Python process does not find a library, as if it were not installed."""

    def hide(library: str) -> dict[str, str]:
        folder = tmp_path_factory.mktemp("without")
        (folder / "sitecustomize.py").write_text(ABSENT.format(library=library))
        return {"PYTHONPATH": str(folder)}

    return hide
