"""The database command on real SQLite files and a real PostgreSQL."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from click.testing import CliRunner, Result

from mlops_project.errors import ConfigError, TrackingError
from mlops_project.tracking.database import CONNECT_SECONDS, LOCK_NUMBER, Database, main
from tests.servers import free_port, plain_environment

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path) -> str:
    """URI of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/made/mlflow.db"
    return str(request.getfixturevalue("postgresql").create_database(uuid.uuid4().hex))


@pytest.fixture
def current(tmp_path, fresh_database) -> Path:
    """A SQLite database with current tables."""
    return Path(shutil.copy(fresh_database, tmp_path / "mlflow.db"))


@pytest.fixture
def run(monkeypatch) -> Callable[..., Result]:
    def invoke(uri: str, *arguments: str) -> Result:
        monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", uri)
        return CliRunner().invoke(main, arguments)

    return invoke


def revision(uri: str) -> str:
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())


def newest_revision(uri: str) -> str:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    return str(ScriptDirectory.from_config(_get_alembic_config(uri)).get_current_head())


def start(uri: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mlops_project.tracking.database", *arguments]
    environment = plain_environment() | {"MLFLOW_BACKEND_STORE_URI": uri}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_older_tables_are_migrated_and_their_rows_stay(empty, run):
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    alembic = _get_alembic_config(empty)
    older = list(ScriptDirectory.from_config(alembic).walk_revisions())[-10].revision  # the tenth that MLflow ever had
    if empty.startswith("sqlite"):
        Path(empty.removeprefix("sqlite:///")).parent.mkdir()
    engine = sqlalchemy.create_engine(empty, poolclass=sqlalchemy.NullPool)
    Base.metadata.create_all(engine)
    command.upgrade(alembic, older)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'old', 'active')")
    waited = run(empty, "wait", "--timeout", "0")
    assert waited.exit_code == 1
    assert f"the tables are at revision {older}, MLflow needs" in waited.stderr
    assert "tracking.database upgrade" in waited.stderr
    upgraded = run(empty, "upgrade")
    assert upgraded.exit_code == 0, upgraded.output
    assert f"were at revision {older}, now at {revision(empty)}" in upgraded.stdout
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT name FROM experiments WHERE experiment_id = 7").scalar() == "old"


def test_of_two_upgrades_at_once_one_makes_the_tables_and_later_ones_leave_them_alone(empty, run):
    processes = [start(empty, "wait"), start(empty, "upgrade"), start(empty, "upgrade")]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sum(f"the tables were made, now at {revision(empty)}" in output for output, _ in outputs) == 1
    assert "hunter2" not in str(outputs)
    assert "the tables are current" in run(empty, "upgrade").stdout
    assert run(empty, "wait", "--timeout", "0").exit_code == 0


def test_upgrade_waits_for_a_server_that_is_not_there_yet(postgresql, run):
    uri = postgresql.create_database(uuid.uuid4().hex)
    with sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{newest_revision(uri)}')")
    postgresql.stop()
    process = start(uri, "upgrade")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(4)
    finally:
        postgresql.start()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "the tables are current" in output


def test_upgrade_that_another_one_keeps_out_says_so(postgresql, run):
    uri = postgresql.create_database(uuid.uuid4().hex)
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK_NUMBER})")
        done = run(uri, "upgrade", "--timeout", "0.1")
    assert done.exit_code == 1
    assert "another upgrade is at work" in done.stderr


@pytest.mark.parametrize("action", ["upgrade", "wait"])
def test_wrong_password_ends_it_at_once_in_one_line_without_the_password(postgresql, run, action):
    begun = time.monotonic()
    done = run(postgresql.address("postgres", "hunter2@wrong"), action)
    assert time.monotonic() - begun < 20  # and not the 120 s that it waits for a server
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "password authentication failed" in done.stderr
    assert "hunter2" not in done.output


@pytest.mark.parametrize("action", ["upgrade", "wait"])
def test_server_that_does_not_come_is_one_line_after_the_time(run, action):
    uri = f"postgresql://mlops:hunter2@127.0.0.1:{free_port()}/mlflow"
    begun = time.monotonic()
    done = run(uri, action, "--timeout", "1")
    assert 1 <= time.monotonic() - begun < 1 + CONNECT_SECONDS + 10
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "Connection refused" in done.stderr
    assert "hunter2" not in done.output


@pytest.mark.parametrize("action", ["upgrade", "wait"])
def test_tables_of_a_newer_mlflow_are_left_alone(current, run, action):
    with sqlite3.connect(current) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    connection.close()
    done = run(f"sqlite:///{current}", action)
    assert done.exit_code == 1
    assert "ffffffffffff, which the installed MLflow does not know" in done.stderr


def test_file_that_is_no_database_is_one_line(tmp_path, run):
    (tmp_path / "mlflow.db").write_text("this is not a database, but it is long enough to be read as one" * 20)
    done = run(f"sqlite:///{tmp_path}/mlflow.db", "upgrade", "--timeout", "0")
    assert done.exit_code == 1
    assert "file is not a database" in done.stderr
    assert done.stderr.count("\n") == 1


def test_folder_that_cannot_be_made_is_one_line(run):
    done = run("sqlite:////proc/made/mlflow.db", "upgrade")
    assert done.exit_code == 1
    assert done.stderr == "error: /proc/made: No such file or directory; mend the name, or make its folder first\n"


def test_waiting_makes_no_file(tmp_path, run):
    done = run(f"sqlite:///{tmp_path}/mlflow.db", "wait", "--timeout", "0")
    assert done.exit_code == 1
    assert "the tables are not there" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri", ["hunter2", "postgres+hunter2://x/y", "postgresql://u:hunter2@h:port/db", "nosuch://u:hunter2@h/d"]
)
def test_address_that_is_none_is_the_users_error_and_is_not_repeated(run, uri):
    done = run(uri, "upgrade")
    assert done.exit_code == 2
    assert "postgresql://user@host:5432/mlflow" in done.stderr
    assert "hunter2" not in done.output


def test_driver_that_is_missing_is_named(run):
    done = run("mysql+pymysql://u:hunter2@h/d", "wait")
    assert done.exit_code == 2
    assert "pymysql is not installed" in done.stderr


def test_variable_that_is_not_set_is_named(run):
    assert "MLFLOW_BACKEND_STORE_URI is not set" in run("", "wait").stderr


def test_library_raises_what_the_command_prints(tmp_path):
    with pytest.raises(ConfigError):
        Database("nonsense")
    with pytest.raises(TrackingError, match="not there"):
        Database(f"sqlite:///{tmp_path}/mlflow.db").wait(0)
    assert os.listdir(tmp_path) == []
