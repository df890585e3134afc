"""Whole processes, as a user starts them."""

import os
import shutil
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture
def environment() -> dict[str, str]:
    """The variables of a user's shell, without ours and MLflow's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_", "PYTEST_"))}
    return kept | {"PATH": f"{BIN}{os.pathsep}{kept['PATH']}"}


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

    root = tmp_path_factory.mktemp("trained")
    file = root / "model.yaml"
    file.write_text("model: {estimator: decision_tree}\nevaluation: {bootstrap_rounds: 0, importance_repeats: 0}\n")
    train(read_config(file, root=root, overrides=["tracking.enabled=false"], env={}))
    return root / "artifacts"


@pytest.fixture
def trained_project(project, trained_artifacts) -> Path:
    """The project folder with a model in it."""
    shutil.copytree(trained_artifacts, project / "artifacts")
    return project
