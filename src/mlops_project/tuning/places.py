"""Where trials are kept, and how those who search together there keep out of each other's way.

Whoever searches holds a lock of its own for as long as it lives: closing a file, or the end of a connection, gives it back,
also after kill -9. So a trial whose process is gone is known at once, without clocks or signs of life.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from mlops_project.errors import ConfigError, StackError
from mlops_project.formats import without_credentials
from mlops_project.storage.locks import locked, try_lock

POSTGRESQL = ("postgresql://", "postgresql+psycopg://")
TRIES = 3  # two that make the tables at the same time: one of them finds them there


class Place(Protocol):
    """Where the trials of one search are kept.

    Attributes
    ----------
    storage
        Of Optuna.
    worker
        Who this process is among those that search together.
    """

    storage: BaseStorage
    worker: int

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """Let one of those who search together in, and the others wait."""

    def is_alive(self, worker: int) -> bool:
        """Whether a worker's process runs."""

    def close(self) -> None:
        """Stop being one of them."""


def open_place(storage: str, folder: Path, key: str) -> Place:
    """Open the place that ``search.storage`` names; default a file in ``folder``.

    Raises
    ------
    ConfigError
        If it is none that can be used.
    StackError
        If the database does not answer.
    """
    if storage.startswith(POSTGRESQL):
        return DatabasePlace(storage, key)
    if "://" in storage:
        shown = without_credentials(storage)
        raise ConfigError(f"search.storage: {shown!r} is wrong, expected a file or postgresql://user@host/database")
    return FilePlace(Path(storage) if storage else folder / "trials.jsonl", key)


class Journal(JournalFileBackend):
    """Optuna's journal under a lock that ends with its process, mended where a killed process left half a line.

    Optuna's own lock files outlive their process, and half a line spoils the one that is written behind it.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(str(file))
        self._journal, self._locks = file, file.with_name(f".{file.name}.lock")

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override] # a generator, as theirs
        """Yield the entries from a number on."""
        with locked(self._locks):
            found = list(super().read_logs(log_number_from))
        yield from found

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries."""
        with locked(self._locks):
            with self._journal.open("r+b") as stream:
                stream.truncate(_find_end(stream))
            super().append_logs(logs)


def _find_end(stream: IO[bytes], step: int = 4096) -> int:
    """Return where the last whole line ends."""
    end = stream.seek(0, 2)
    while end:
        start = max(0, end - step)
        stream.seek(start)
        found = stream.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class FilePlace:
    """Trials in a journal file, which processes of one machine share."""

    def __init__(self, file: Path, key: str) -> None:
        self._locks = file.with_name(f".{file.name}.workers") / key
        self._locks.mkdir(parents=True, exist_ok=True)
        self.storage: BaseStorage = JournalStorage(Journal(file))
        self.worker = secrets.randbelow(2**31 - 1) + 1
        self._own = self._name(self.worker).open("ab")
        try_lock(self._own)

    def _name(self, worker: int) -> Path:
        return self._locks / str(worker)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let one of those who search together in, and the others wait."""
        with locked(self._locks / "ask"):
            yield

    def is_alive(self, worker: int) -> bool:
        """Whether a worker's process runs."""
        if worker == self.worker:
            return True
        try:
            with self._name(worker).open("rb") as stream:
                if not try_lock(stream):
                    return True
        except FileNotFoundError:
            return False
        self._name(worker).unlink(missing_ok=True)
        return False

    def close(self) -> None:
        """Stop being one of them."""
        self._name(self.worker).unlink(missing_ok=True)
        self._own.close()


class DatabasePlace:
    """Trials in PostgreSQL, which processes of any machine share; a session's advisory lock says that its process lives."""

    def __init__(self, url: str, key: str) -> None:
        self._space = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big", signed=True)
        self.worker = secrets.randbelow(2**31 - 1) + 1
        storage = _open_database(url)
        self.storage: BaseStorage = storage
        self._engine = storage.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._own = self._engine.connect()
        for name, seconds in (("idle", 30), ("interval", 10), ("count", 3)):  # a machine that lost its power is noticed
            self._own.exec_driver_sql(f"SET tcp_keepalives_{name} = {seconds}")
        self._own.exec_driver_sql("SELECT pg_advisory_lock(%s::int, %s::int)", (self._space, self.worker))

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let one of those who search together in, and the others wait."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_lock(%s::int, 0)", (self._space,))
            try:
                yield
            finally:
                connection.exec_driver_sql("SELECT pg_advisory_unlock(%s::int, 0)", (self._space,))

    def is_alive(self, worker: int) -> bool:
        """Whether a worker's process runs."""
        held = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND objid = %s::bigint "
            "AND classid = %s::bigint AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with self._engine.connect() as connection:
            return bool(connection.exec_driver_sql(held, (worker, self._space % 2**32)).scalar())

    def close(self) -> None:
        """Stop being one of them."""
        self._own.exec_driver_sql("SELECT pg_advisory_unlock(%s::int, %s::int)", (self._space, self.worker))
        self._own.close()
        self._engine.dispose()


def _open_database(url: str) -> RDBStorage:
    shown = without_credentials(url)
    for last in range(TRIES - 1, -1, -1):
        try:
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except ImportError as error:
            raise ConfigError(f"search.storage: {shown} needs a driver; pip install 'mlops_project[postgres]'") from error
        except Exception as error:
            if not last:
                reason = without_credentials(" ".join(str(error).split()))[:300]
                raise StackError(f"search.storage: {shown} cannot be used: {reason}") from error
    raise AssertionError
