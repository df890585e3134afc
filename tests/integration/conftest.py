"""Real services on loopback, one per test process: PostgreSQL from the system's packages, S3 from moto."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.watched import World, make_world
from tests.servers import PostgreSQL, postgresql_server, s3_endpoint
from tests.shared import make_once

__all__ = ["s3_endpoint"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with postgresql_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> str:
    """SQLAlchemy URL of a real PostgreSQL server, without the password: that is in ``PGPASSWORD``."""
    monkeypatch.setenv("PGPASSWORD", postgresql.password)
    return f"postgresql://{postgresql.user}@127.0.0.1:{postgresql.port}/postgres"


@pytest.fixture(scope="session")
def trained_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "watched", make_world)


@pytest.fixture
def world(trained_world: Path, tmp_path: Path) -> Iterator[World]:
    """A project of its own, whose monitor is stepped by hand; whatever a test did to it, every row is accounted for."""
    shutil.copytree(trained_world, tmp_path / "project")
    world = World(tmp_path / "project")
    yield world
    world.check_account()
