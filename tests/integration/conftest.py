"""Real services on loopback, one per test process: PostgreSQL from the system's packages, S3 from moto."""

from collections.abc import Iterator

import pytest

from tests.servers import PostgreSQL, postgresql_server


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
def s3_endpoint() -> Iterator[str]:
    """Address of a local S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
