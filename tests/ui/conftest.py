"""The application in Streamlit's own test harness: real models, a real registry, a real model server; no browser."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests.shared import make_once
from tests.tables import MIXED_TARGET, make_mixed_table
from tests.ui.application import APP, QUICK, SECONDS, train_model


@pytest.fixture(scope="session")
def default_project(tmp_path_factory) -> Path:
    """A folder with a model of the default table; copy it."""

    def make(root: Path) -> None:
        (root / "pyproject.toml").touch()
        train_model(root, QUICK.format(name="breast-cancer", estimator="decision_tree"))

    return make_once(tmp_path_factory, "default", make)


@pytest.fixture(scope="session")
def mixed_project(tmp_path_factory) -> Path:
    """A folder with a model of every column type; copy it."""

    def make(root: Path) -> None:
        (root / "pyproject.toml").touch()
        make_mixed_table(300).to_parquet(root / "mixed.parquet")
        text = QUICK.format(name="mixed", estimator="hist_gradient_boosting")
        text += f"data: {{source: mixed.parquet, target: {MIXED_TARGET!r}, types: {{note: string}}, units: {{age: years}}}}\n"
        train_model(root, text)

    return make_once(tmp_path_factory, "mixed", make)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def start(tmp_path, monkeypatch) -> Callable[..., AppTest]:
    """Start the application in a copy of a project; environment variables as keywords."""
    for name in ("SERVE_MODELS_DIR", "SERVE_API_KEYS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("UI_MODEL_SERVER", "UI_MLFLOW_URL", "UI_MONITOR", "UI_MONITOR_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(project: Path | None = None, *arguments: str, **variables: str) -> AppTest:
        if project is not None:
            shutil.copytree(project, tmp_path, dirs_exist_ok=True)
        (tmp_path / "pyproject.toml").touch()
        monkeypatch.chdir(tmp_path)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        given = arguments or (["model.yaml"] if (tmp_path / "model.yaml").exists() else [])
        monkeypatch.setattr(sys, "argv", [str(APP), *given])
        return AppTest.from_file(APP, default_timeout=SECONDS).run()

    return run
