"""The user's guide, line by line: real commands in a project of their own."""

import subprocess
from collections.abc import Callable
from functools import partial
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


# A forest and an evaluation of a size that commands are tried with.
QUICK = {f"MLOPS_EVALUATION__{name}": "0" for name in ("IMPORTANCE_REPEATS", "BOOTSTRAP_ROUNDS")}
QUICK |= {"MLOPS_MODEL__PARAMS__N_ESTIMATORS": "20"}


def make_project(folder: Path) -> Path:
    """Make it count as a repository, with a folder inside."""
    (folder / ".git").mkdir()
    (folder / "notebooks").mkdir()
    return folder


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder that counts as a repository."""
    return make_project(tmp_path)


def run_in(
    project: Path, *command: str, folder: str = ".", check: bool = True, **variables: str
) -> "subprocess.CompletedProcess[str]":
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


@pytest.fixture
def run(project) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    return partial(run_in, project)


@pytest.fixture
def without(tmp_path_factory) -> Callable[[str], dict[str, str]]:
    """Give variables under which a Python process does not find a library, as if it were not installed."""

    def hide(library: str) -> dict[str, str]:
        folder = tmp_path_factory.mktemp("without")
        (folder / "sitecustomize.py").write_text(ABSENT.format(library=library))
        return {"PYTHONPATH": str(folder)}

    return hide
