"""The stand-in for PostgreSQL's image does what the official one's documentation says: tests prove the same with either."""

import time
from pathlib import Path

import pytest

from tests.containers.engine import Container, container, docker
from tests.servers import wait_until

IMAGE = "mlops-test-postgresql"
PASSWORD = {"POSTGRES_PASSWORD": "hunter2"}
FOLDER = Path(__file__).parent / "stand-ins"


@pytest.fixture(scope="module")
def image(engine: None) -> str:
    docker("build", "-t", IMAGE, "-f", str(FOLDER / "postgresql.Dockerfile"), str(FOLDER), seconds=600)
    return IMAGE


def ask(server: Container, query: str, *, user: str = "postgres", database: str = "") -> str:
    """Ask over TCP once the database is made: until then the server listens on its socket only."""
    command = ["psql", "-h", "127.0.0.1", "-U", user, "-d", database or user, "-At", "-c", query]
    deadline = time.monotonic() + 60
    while True:
        done = server.execute(*command, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
        assert time.monotonic() < deadline, done.stderr + server.read_log()
        assert server.inspect()["State"]["Running"], server.read_log()
        time.sleep(0.2)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--user", "postgres"),
        ("--user", "12345:12345", "--tmpfs", "/var/lib/postgresql/data:uid=12345,gid=12345"),
        ("-e", "PGDATA=/var/lib/postgresql/data/pgdata"),
        ("-e", "PGDATA=/srv/elsewhere"),
        ("--user", "12345", "-e", "PGDATA=/tmp/deep/er"),
        ("--read-only", "--tmpfs", "/tmp", "--tmpfs", "/var/run/postgresql:mode=3777", "--user", "999:999"),
    ],
    ids=lambda options: " ".join(options) or "as it is",
)
def test_database_is_made_for_every_user_and_folder(image, options):
    with container(image, *options, variables=PASSWORD) as server:
        folder = next((part.removeprefix("PGDATA=") for part in options if "PGDATA" in part), "/var/lib/postgresql/data")
        assert ask(server, "SHOW data_directory") == folder
        assert server.execute("stat", "-c", "%u", folder).stdout.strip() != "0"


def test_user_database_arguments_and_scripts_are_taken(image, tmp_path):
    (tmp_path / "1.sql").write_text("CREATE TABLE made (a int);")
    (tmp_path / "2.sh").write_text("psql -c 'INSERT INTO made VALUES (7)'")
    (tmp_path / "password").write_text("hunter2\n")
    tmp_path.chmod(0o755)
    variables = {
        "POSTGRES_USER": "ana",
        "POSTGRES_DB": "runs",
        "POSTGRES_PASSWORD_FILE": "/docker-entrypoint-initdb.d/password",
    }
    variables["POSTGRES_INITDB_ARGS"] = "--data-checksums"
    command = ("-c", "max_connections=17")
    with container(image, "-v", f"{tmp_path}:/docker-entrypoint-initdb.d:ro", variables=variables, command=command) as server:
        assert ask(server, "SELECT a FROM made", user="ana", database="runs") == "7"
        assert ask(server, "SHOW max_connections", user="ana", database="runs") == "17"
        assert ask(server, "SHOW data_checksums", user="ana", database="runs") == "on"


def test_others_need_the_password_and_it_is_in_no_file(image):
    with container(image, variables=PASSWORD) as server:
        ask(server, "SELECT 1")
        (address,) = server.execute("hostname", "-i").stdout.split()
        query = ("psql", "-h", address, "-U", "postgres", "-Atc", "SELECT 1")
        assert "password" in server.execute(*query, "-w", check=False).stderr
        assert server.execute("env", "PGPASSWORD=hunter2", *query).stdout == "1\n"
        assert server.execute("sh", "-c", "grep -rl hunter2 /tmp /var/lib/postgresql", check=False).stdout == ""


@pytest.mark.parametrize("both", [False, True])
def test_missing_or_double_password_ends_it_with_a_reason(image, both):
    variables = PASSWORD | {"POSTGRES_PASSWORD_FILE": "/etc/hostname"} if both else {}
    settings = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    done = docker("run", "--rm", *settings, image, check=False)
    assert done.returncode == 1
    assert "POSTGRES_PASSWORD" in done.stderr


def test_other_commands_and_questions_run_as_they_are(image):
    assert docker("run", "--rm", image, "echo", "hello").stdout == "hello\n"
    assert docker("run", "--rm", image, "--version").stdout.startswith("postgres (PostgreSQL)")
    assert docker("run", "--rm", "-e", "POSTGRES_HOST_AUTH_METHOD=trust", image, "sh", "-c", "id -u").stdout == "0\n"


def test_stop_does_not_wait_for_clients_and_the_next_start_keeps_the_rows(image):
    docker("volume", "create", "stand-in-rows")
    try:
        mount = ("-v", "stand-in-rows:/var/lib/postgresql/data")
        with container(image, *mount, variables=PASSWORD) as server:
            ask(server, "CREATE TABLE kept AS SELECT 1 AS a")
            docker("exec", "-d", server.name, "psql", "-h", "127.0.0.1", "-U", "postgres", "-c", "SELECT pg_sleep(600)")
            others = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
            wait_until(lambda: ask(server, others) == "1", 20)
            assert server.stop() < 10  # SIGINT: PostgreSQL's fast shutdown; SIGTERM would wait for the client
            assert server.inspect()["State"]["ExitCode"] == 0
        with container(image, *mount) as server:  # without a password: it counts when the database is made
            assert ask(server, "SELECT a FROM kept") == "1"
    finally:
        docker("volume", "rm", "-f", "stand-in-rows", check=False)
