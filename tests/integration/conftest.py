"""Real services on loopback, one per test process: PostgreSQL from the system's packages, S3 from moto."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_port


def _run_as() -> dict[str, str]:
    """PostgreSQL does not run as root: become its own user then."""
    if os.getuid() != 0:
        return {}
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("running as root, and there is no user postgres to run PostgreSQL as")
    return {"user": "postgres", "group": "postgres"}


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of an empty database of a real PostgreSQL server."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = programs[-1] / "initdb" if programs else shutil.which("initdb")
    if not found:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)")
    bin_folder, identity, port = Path(found).parent, _run_as(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    folder.chmod(0o777)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": folder, **identity}
    data = folder / "data"
    initialise = [bin_folder / "initdb", "-D", data, "-U", "mlops", "-A", "trust", "-N", "--locale=C", "-E", "UTF8"]
    subprocess.run(initialise, check=True, **quiet)
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    control = [bin_folder / "pg_ctl", "-D", data, "-w", "-l", folder / "server.log"]
    subprocess.run([*control, "-o", options, "start"], check=True, **quiet)
    try:
        yield f"postgresql://mlops@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, **quiet)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a local S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
