"""The outbox: messages that wait for their receivers, on disk, so that a kill at any moment loses none.

One SQLite file. A message waits in it until its receiver has taken it: what a killed sender was at is sent again. Ids of
messages that were taken are kept for a while, so that the same event is not told twice.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

logger = logging.getLogger(__name__)

FILE, LOCK_FILE = "outbox.db", "sender.lock"
FORMAT = 1
BUSY_SECONDS = 2.0  # that a writer waits for another one: a training must not be held up
KEPT_DAYS, KEPT_ENDED = 14, 5000  # messages that were taken or given up: their ids, and what became of them
DAY = 86_400.0  # seconds
Result = Literal["delivered", "dropped", "given-up"]
SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id TEXT NOT NULL, target TEXT NOT NULL, title TEXT NOT NULL, body BLOB NOT NULL,
    created REAL NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    result TEXT NOT NULL DEFAULT '', problem TEXT NOT NULL DEFAULT '', ended REAL,
    PRIMARY KEY (id, target)
);
CREATE INDEX IF NOT EXISTS waiting ON messages (result, target, due);
CREATE TABLE IF NOT EXISTS counts (
    target TEXT NOT NULL, result TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (target, result)
);
CREATE TABLE IF NOT EXISTS alerts (model TEXT NOT NULL, name TEXT NOT NULL, told TEXT NOT NULL, PRIMARY KEY (model, name));
"""


class Message(NamedTuple):
    """What is posted.

    Attributes
    ----------
    id, target
        The event's id, and the receiver's name in the configuration.
    title
        In one line, for people.
    body
        The same bytes at each attempt.
    attempts
        How many there were, the one that is made now included.
    """

    id: str
    target: str
    title: str
    body: bytes
    attempts: int = 0


class TargetState(NamedTuple):
    """How a receiver stands.

    Attributes
    ----------
    target
        Its name.
    waiting, oldest
        How many messages wait, and since when the oldest does; seconds since 1970, None if none waits.
    delivered, dropped, given_up
        How many ever were taken, were dropped because too many waited, and were not taken after all attempts.
    problem
        What went wrong last with a message that waits or was given up; empty if nothing did.
    """

    target: str
    waiting: int
    oldest: float | None
    delivered: int
    dropped: int
    given_up: int
    problem: str


class Outbox:
    """One folder's messages. Every method opens the file anew: several processes and threads may use it.

    Parameters
    ----------
    folder
        On a local disk; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / FILE

    @contextlib.contextmanager
    def change(self) -> Iterator["Change"]:
        """Give what can be changed, in one transaction.

        Raises
        ------
        sqlite3.Error, OSError
            If the file cannot be written, or another process keeps it for ``BUSY_SECONDS``.
        """
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield Change(connection)
            connection.commit()

    def read(self) -> tuple[TargetState, ...]:
        """Return how each receiver stands that a message was ever for, by name."""
        if not self.file.exists():
            return ()
        with self._open() as connection:
            counts = connection.execute("SELECT target, result, number FROM counts").fetchall()
            rows = connection.execute(
                "SELECT target, count(*), min(created) FROM messages WHERE result = '' GROUP BY target"
            ).fetchall()
            problems = dict(
                connection.execute(
                    "SELECT target, problem FROM messages WHERE problem != '' AND result != 'delivered' ORDER BY created"
                ).fetchall()
            )
        waiting = {target: (number, oldest) for target, number, oldest in rows}
        ended = {(target, result): number for target, result, number in counts}
        return tuple(
            TargetState(
                target=target,
                waiting=waiting.get(target, (0, None))[0],
                oldest=waiting.get(target, (0, None))[1],
                delivered=ended.get((target, "delivered"), 0),
                dropped=ended.get((target, "dropped"), 0),
                given_up=ended.get((target, "given-up"), 0),
                problem=problems.get(target, ""),
            )
            for target in sorted({*waiting, *(target for target, _ in ended)})
        )

    def find_due(self, targets: Sequence[str]) -> float | None:
        """Return when the next message for one of these receivers is due; seconds since 1970, None if none waits."""
        if not self.file.exists():
            return None
        with self._open() as connection:
            query = "SELECT min(due) FROM messages WHERE result = '' AND target = ?"
            found = [connection.execute(query, (target,)).fetchone()[0] for target in targets]
        return min((due for due in found if due is not None), default=None)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.file, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            try:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # busy, read-only, full: the file itself is sound
                    raise
                self._put_aside(error)
                raise
            if version > FORMAT:
                raise sqlite3.NotSupportedError(
                    f"{self.file} is of format {version}, known here: {FORMAT}; update mlops_project"
                )
            if version < FORMAT:
                connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
            yield connection

    def _put_aside(self, error: sqlite3.Error) -> None:
        aside = self.file.with_name(f"{FILE}.damaged")
        with contextlib.suppress(OSError):
            self.file.replace(aside)
        said = "%s cannot be read (%s): notifications begin anew, the damaged file is kept as %s"
        logger.error(said, self.file, error, aside.name)


class Change:
    """What can be changed in one transaction; made by ``Outbox.change``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, messages: Sequence[Message], most_waiting: int) -> int:
        """Add messages that are not known yet, and drop the oldest beyond ``most_waiting`` of a receiver; return how many."""
        now, dropped = time.time(), 0
        old = self._connection.execute(
            "SELECT id, target FROM messages WHERE result = '' AND created < ?", (now - KEPT_DAYS * DAY,)
        ).fetchall()
        for identifier, target in old:  # its receiver is in the configuration no longer
            self.end(identifier, target, "dropped", f"nobody sent it for {KEPT_DAYS} days")
        for message in messages:
            self._connection.execute(
                "INSERT OR IGNORE INTO messages (id, target, title, body, created, due) VALUES (?, ?, ?, ?, ?, ?)",
                (message.id, message.target, message.title, message.body, now, now),
            )
        for target in dict.fromkeys(message.target for message in messages):
            surplus = self._connection.execute(
                "SELECT id FROM messages WHERE result = '' AND target = ? ORDER BY created DESC, rowid DESC LIMIT -1 OFFSET ?",
                (target, most_waiting),
            ).fetchall()
            for (identifier,) in surplus:
                self.end(identifier, target, "dropped", f"more than {most_waiting} messages waited")
            dropped += len(surplus)
        return dropped

    def take(self, target: str) -> Message | None:
        """Return the receiver's message that is due for longest, and count the attempt; None if none is due."""
        row = self._connection.execute(
            "SELECT id, title, body, attempts + 1 FROM messages WHERE result = '' AND target = ? AND due <= ? "
            "ORDER BY due, rowid LIMIT 1",
            (target, time.time()),
        ).fetchone()
        if row is None:
            return None
        identifier, title, body, attempts = row
        self._connection.execute("UPDATE messages SET attempts = ? WHERE id = ? AND target = ?", (attempts, identifier, target))
        return Message(identifier, target, title, body, attempts)

    def hurry(self) -> None:
        """Let everything that waits be due now."""
        self._connection.execute("UPDATE messages SET due = min(due, ?) WHERE result = ''", (time.time(),))

    def postpone(self, message: Message, seconds: float, problem: str) -> None:
        """Note why an attempt failed, and when the next one is due."""
        self._connection.execute(
            "UPDATE messages SET due = ?, problem = ? WHERE id = ? AND target = ? AND result = ''",
            (time.time() + seconds, problem, message.id, message.target),
        )

    def end(self, identifier: str, target: str, result: Result, problem: str = "") -> None:
        """Note what became of a message, and count it; forget what ended long ago."""
        now = time.time()
        ended = self._connection.execute(
            "UPDATE messages SET result = ?, problem = ?, ended = ?, body = x'' WHERE id = ? AND target = ? AND result = ''",
            (result, problem, now, identifier, target),
        )
        if not ended.rowcount:
            return
        self._connection.execute(
            "INSERT INTO counts VALUES (?, ?, 1) ON CONFLICT (target, result) DO UPDATE SET number = number + 1",
            (target, result),
        )
        self._connection.execute(
            "DELETE FROM messages WHERE result != '' AND (ended < ? OR rowid IN "
            "(SELECT rowid FROM messages WHERE result != '' ORDER BY ended DESC LIMIT -1 OFFSET ?))",
            (now - KEPT_DAYS * DAY, KEPT_ENDED),
        )

    def read_told(self, model: str) -> dict[str, str]:
        """Return which alerts of a model receivers know to be on, and what of each they were told."""
        return dict(self._connection.execute("SELECT name, told FROM alerts WHERE model = ?", (model,)).fetchall())

    def note_told(self, model: str, told: dict[str, str]) -> None:
        """Note which alerts receivers know to be on from now."""
        self._connection.execute("DELETE FROM alerts WHERE model = ?", (model,))
        self._connection.executemany("INSERT INTO alerts VALUES (?, ?, ?)", [(model, *item) for item in told.items()])
