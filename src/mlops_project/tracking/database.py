"""The tracking server's database: make or migrate its tables once, before servers start, and wait until that is done.

``python -m mlops_project.tracking.database upgrade`` for one job, ``… wait`` for every server before it starts. Both take the
database from ``MLFLOW_BACKEND_STORE_URI``.
"""

import contextlib
import functools
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from mlops_project.command import WorkflowCommand, echo
from mlops_project.errors import ConfigError, TrackingError, explain_os
from mlops_project.storage.locks import try_lock

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

URI_VARIABLE = "MLFLOW_BACKEND_STORE_URI"
LOCK_NUMBER = 5_710_370_117_366_144_876  # of PostgreSQL's advisory locks; any number that nobody else uses
CONNECT_SECONDS = 5
POLL_SECONDS = 0.5
DEFAULT_TIMEOUT_SECONDS = 120.0
UPGRADE_COMMAND = "python -m mlops_project.tracking.database upgrade"


@dataclass(frozen=True)
class Schema:
    """Which revision of MLflow's tables a database has.

    Attributes
    ----------
    found
        None for a database without tables.
    wanted
        What the installed MLflow needs.
    is_known
        Whether the installed MLflow knows the revision that was found.
    """

    found: str | None
    wanted: str
    is_known: bool

    @property
    def is_current(self) -> bool:
        """Whether a server can start."""
        return self.found == self.wanted


class Database:
    """MLflow's database.

    Parameters
    ----------
    uri
        SQLAlchemy's.

    Attributes
    ----------
    shown
        The URI without password, for people.

    Raises
    ------
    ConfigError
        If it is no such URI, or what it needs is not installed.
    """

    def __init__(self, uri: str) -> None:
        from sqlalchemy import create_engine, make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
        from sqlalchemy.pool import NullPool

        try:
            url = make_url(uri)
            timeout = {"connect_timeout": CONNECT_SECONDS} if url.get_backend_name() == "postgresql" else {}
            self._engine: Engine = create_engine(url, poolclass=NullPool, connect_args=timeout)
        except (ArgumentError, NoSuchModuleError, ValueError) as error:
            example = "postgresql://user@host:5432/mlflow or sqlite:////folder/mlflow.db"
            raise ConfigError(f"{URI_VARIABLE} is no address of a database; expected e.g. {example}") from error
        except ModuleNotFoundError as error:
            raise ConfigError(f"{URI_VARIABLE}: {error.name} is not installed, which {url.drivername} needs") from error
        self._secret = url.password
        self.shown = url.set(query={}).render_as_string(hide_password=True)
        is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
        self._file = Path(str(url.database)) if is_file else None

    def upgrade(self, timeout_seconds: float) -> str:
        """Bring the tables to the revision that the installed MLflow needs; return what was done.

        Safe to call from several processes at once, on PostgreSQL and on SQLite: one works, the others wait for it.

        Raises
        ------
        TrackingError
            If there is no such database within the time, another process keeps the lock, or the tables cannot be migrated.
        """
        deadline = time.monotonic() + timeout_seconds
        with self._lock(deadline):
            before = self._wait_for(_is_there, deadline)
            if before.is_current:
                return f"the tables are current, revision {before.wanted}"
            self._check_known(before)
            self._migrate()
            return f"the tables were {f'at revision {before.found}' if before.found else 'made'}, now at {before.wanted}"

    def wait(self, timeout_seconds: float) -> str:
        """Return once the tables are current.

        Raises
        ------
        TrackingError
            If they are not within the time, or are a newer MLflow's; says what was found last.
        """

        def is_current(schema: Schema) -> bool:
            self._check_known(schema)
            return schema.is_current

        return f"the tables are current, revision {self._wait_for(is_current, time.monotonic() + timeout_seconds).wanted}"

    def _wait_for(self, condition: Callable[[Schema], bool], deadline: float) -> Schema:
        """Ask until the schema is as wanted; a server that is not there yet is waited for, a wrong password is not."""
        while True:
            try:
                schema = self._read_schema()
            except TrackingError as error:
                if "authentication failed" in str(error) or time.monotonic() > deadline:
                    raise
            else:
                if condition(schema):
                    return schema
                if time.monotonic() > deadline:
                    state = f"at revision {schema.found}" if schema.found else "not there"
                    message = f"the tables are {state}, MLflow needs {schema.wanted}; run {UPGRADE_COMMAND}"
                    raise TrackingError(f"{self.shown}: {message}")
            time.sleep(POLL_SECONDS)

    def _read_schema(self) -> Schema:
        from alembic.migration import MigrationContext

        scripts = _load_migrations()
        wanted = str(scripts.get_current_head())
        if self._file and not self._file.exists():  # connecting would make an empty one
            return Schema(None, wanted, is_known=True)
        with self._connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in scripts.walk_revisions()}
        return Schema(found, wanted, is_known=found is None or found in known)

    def _check_known(self, schema: Schema) -> None:
        if not schema.is_known:
            message = f"the tables are at revision {schema.found}, which the installed MLflow does not know: a newer MLflow's"
            raise TrackingError(f"{self.shown}: {message}; use that version, or go back to a backup")

    def _migrate(self) -> None:
        """Do what ``mlflow db upgrade`` does, without a command line that shows the password."""
        from mlflow.store.db import utils

        # MLflow's own command consists of these; they are private, so a new MLflow may need a change here.
        make: Callable[[Any], None] = utils._initialize_tables
        migrate: Callable[[Any], None] = utils._upgrade_db
        is_empty: Callable[[Any], bool] = utils._is_empty_database
        try:
            (make if is_empty(self._engine) else migrate)(self._engine)
        except Exception as error:
            raise self._explain(error) from error

    @contextlib.contextmanager
    def _lock(self, deadline: float) -> Iterator[None]:
        """Hold a lock that a second upgrade waits for and that ends with this process, or its connection to the server."""
        if self._file:
            with self._open_folder(self._file.parent) as descriptor:
                self._poll(lambda: try_lock(descriptor), deadline)
                yield
        elif self._engine.dialect.name == "postgresql":
            self._wait_for(_is_there, deadline)
            with self._connect() as connection:
                self._poll(
                    lambda: bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK_NUMBER})").scalar()), deadline
                )
                connection.commit()  # the lock is the session's; a transaction that stays open would hold up vacuum
                yield
        else:
            yield

    @contextlib.contextmanager
    def _open_folder(self, folder: Path) -> Iterator[int]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise TrackingError(f"{folder}: {explain_os(error)}") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _poll(self, take: Callable[[], bool], deadline: float) -> None:
        while not take():
            if time.monotonic() > deadline:
                raise TrackingError(f"{self.shown}: another upgrade is at work and was not done in time; try again when it is")
            time.sleep(POLL_SECONDS)

    @contextlib.contextmanager
    def _connect(self) -> "Iterator[Connection]":
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> TrackingError:
        """Return an error in one line, without the password and without SQLAlchemy's advice."""
        text = " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__
        for secret in (self._secret, unquote(self._secret or "")):
            text = text.replace(secret, "***") if secret else text
        return TrackingError(f"{self.shown}: {re.sub(r'://[^/@ ]*@', '://', text)[:500]}")


def _is_there(_schema: Schema) -> bool:
    return True


@functools.cache  # reading them takes a second
def _load_migrations() -> Any:
    """Return MLflow's migrations, as Alembic has them."""
    from alembic.script import ScriptDirectory

    spec = find_spec("mlflow")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("MLflow is not installed; pip install 'mlops_project[tracking]'")
    return ScriptDirectory(str(Path(spec.submodule_search_locations[0]) / "store" / "db_migrations"))


def find_database() -> Database:
    """Return the database that the environment names.

    Raises
    ------
    ConfigError
        If it names none.
    """
    uri = os.environ.get(URI_VARIABLE)
    if not uri:
        raise ConfigError(f"{URI_VARIABLE} is not set; it names the tracking server's database")
    return Database(uri)


timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=DEFAULT_TIMEOUT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the server, for another upgrade, for current tables.",
)


@click.group()
def main() -> None:
    """Make, migrate and await the tables of the tracking server's database, MLFLOW_BACKEND_STORE_URI."""


@main.command(cls=WorkflowCommand)
@timeout_option
def upgrade(timeout: float) -> None:
    """Make the tables or bring them to the installed MLflow's revision; back up before a new MLflow version."""
    database = find_database()
    echo(f"{database.shown}: {database.upgrade(timeout)}")


@main.command(cls=WorkflowCommand)
@timeout_option
def wait(timeout: float) -> None:
    """Return once the tables are what the installed MLflow needs."""
    database = find_database()
    echo(f"{database.shown}: {database.wait(timeout)}")


if __name__ == "__main__":
    main()
