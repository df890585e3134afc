"""Real MLflow stores (SQLite and a server), and small real bundles to log into them."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from mlops_project.bundle import Bundle, load_bundle
from mlops_project.config import Config, read_config
from tests import servers
from tests.integration.tracking.production import write_project
from tests.integration.tracking.rolled import World, copy_project
from tests.integration.tracking.stores import FaultyProxy, write_config
from tests.shared import make_once


@pytest.fixture(autouse=True)
def no_tracking_variables(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Callable[[str], Path]:
    """Train each recipe once; the directory must not be changed."""
    from mlops_project.train import train

    def get(recipe: str) -> Path:
        def make(root: Path) -> None:
            train(read_config(write_config(root, recipe), root=root, overrides=["tracking.enabled=false"], env={}))

        return make_once(tmp_path_factory, f"recipe-{recipe}", make) / "artifacts" / "model"

    return get


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory) -> Path:
    """An MLflow database with its tables; copy it."""
    file = tmp_path_factory.mktemp("database") / "mlflow.db"
    servers.write_mlflow_tables(file)
    return file


@pytest.fixture
def project(tmp_path, fresh_database) -> Path:
    """An empty project with an embedded store."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(fresh_database, tmp_path / "mlruns" / "mlflow.db")
    return tmp_path


@pytest.fixture
def make(project, trained) -> Callable[[str], tuple[Bundle, Config]]:
    """Put a recipe's bundle into the project, as training does, and return it with its configuration."""

    def build(recipe: str) -> tuple[Bundle, Config]:
        config = read_config(write_config(project, recipe), root=project, env={})
        shutil.rmtree(config.model_dir, ignore_errors=True)
        shutil.copytree(trained(recipe), config.model_dir)
        return load_bundle(config.model_dir), config

    return build


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory, fresh_database) -> Iterator[str]:
    """Address of a real tracking server."""
    root = tmp_path_factory.mktemp("server")
    shutil.copy(fresh_database, root / "mlflow.db")
    with servers.tracking_server(root) as address:
        yield address


@pytest.fixture
def proxy(tracking_server) -> Iterator[FaultyProxy]:
    faulty = FaultyProxy(tracking_server)
    yield faulty
    faulty.close()


@pytest.fixture(params=["sqlite", "server"])
def any_store(request, monkeypatch) -> str:
    """Run the test against the embedded store and against a server, in an experiment of its own."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("tracking_server"))
    return request.param


@pytest.fixture(scope="session")
def rolled(tmp_path_factory, fresh_database):
    """A project with a champion and a challenger that passed the gate, made once; tests copy its database and model."""
    from mlops_project.train import train

    def make(root):
        (root / "mlruns").mkdir()
        shutil.copy(fresh_database, root / "mlruns" / "mlflow.db")
        config = write_project(root)
        with mock.patch.dict(os.environ):
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            train(config)
            World.register(config, "better")

    return make_once(tmp_path_factory, "rolled", make)


@pytest.fixture
def start(tmp_path, rolled, monkeypatch):
    monkeypatch.setattr("mlops_project.canary.guard.LABEL_REST", 0.0)  # labels are read at each look, however soon it is

    def build(*overrides: str) -> World:
        copy_project(rolled, tmp_path)
        world = World(tmp_path, *overrides)
        assert world.look().state == "running"
        return world

    return build
