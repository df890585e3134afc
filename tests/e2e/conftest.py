"""Whole processes, as a user starts them."""

import shutil
from pathlib import Path

import pytest

from tests.servers import plain_environment, s3_endpoint
from tests.shared import make_once

__all__ = ["s3_endpoint"]


@pytest.fixture
def environment() -> dict[str, str]:
    return plain_environment()


@pytest.fixture
def project(tmp_path) -> Path:
    """An empty project folder."""
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


@pytest.fixture(scope="session")
def trained_artifacts(tmp_path_factory) -> Path:
    """A small trained model, made once; copy it."""
    from mlops_project.config import read_config
    from mlops_project.train import train

    def make(root: Path) -> None:
        file = root / "model.yaml"
        file.write_text("model: {estimator: decision_tree}\nevaluation: {bootstrap_rounds: 0, importance_repeats: 0}\n")
        train(read_config(file, root=root, overrides=["tracking.enabled=false"], env={}))

    return make_once(tmp_path_factory, "trained", make) / "artifacts"


@pytest.fixture
def trained_project(project, trained_artifacts) -> Path:
    """The project folder with a model in it."""
    shutil.copytree(trained_artifacts, project / "artifacts")
    return project
