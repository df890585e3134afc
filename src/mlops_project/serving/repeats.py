"""Requests that are sent again under the same key: they keep their prediction id and are logged once.

All workers of a server share one table in a file: 64 bytes for each key, of which the oldest give way, so memory is bounded.
Nothing that a client sent is in it, only digests. Another server, on another machine or after a restart, knows nothing of it.
"""

import fcntl
import hashlib
import logging
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mlops_project.prediction_log.ids import IdIssuer, read_logged
from mlops_project.process import is_process_alive
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.settings import Settings
from mlops_project.serving.wires import Question

FILE = "repeats"
ENTRY = struct.Struct("<16s8s19sBIQ8x")  # digests of key and request, prediction id, state, process, nanoseconds since 1970
EMPTY, BEGUN, DONE = 0, 1, 2
PLACES = 8  # of a bucket; of those the oldest gives way
KEEP_NANOSECONDS = 24 * 3600 * 10**9
MAX_KEY_LENGTH = 255

logger = logging.getLogger(__name__)


class Claim(NamedTuple):
    """A keyed request's place in the table, its prediction id, and whether it was answered before."""

    place: int
    id: str
    repeated: bool

    @property
    def logged(self) -> bool:
        """Whether it is to be logged: sampling picked it when its id was given out, and it is not there yet."""
        return not self.repeated and read_logged(self.id)


class Repeats:
    """The requests of one worker that may come again; their table is opened with the first.

    Parameters
    ----------
    settings
        The server's.
    ids
        Gives out prediction ids.
    """

    def __init__(self, settings: Settings, ids: IdIssuer) -> None:
        self._settings, self._ids, self._opening = settings, ids, threading.Lock()
        self._table: RepeatTable | None = None

    def claim(self, question: Question, model: str, n_rows: int, *, logged: bool) -> Claim:
        """Return the id under which this request was answered before, or a new one. May run in any thread.

        Parameters
        ----------
        question
            With a key.
        model
            Name and version of what answers: another version's answer is another prediction.
        n_rows, logged
            For a new id.

        Raises
        ------
        RefusedError
            As ``RepeatTable.claim``.
        """
        with self._opening:
            if self._table is None:
                self._table = self._open()
        key = digest(16, question.key or b"", model.encode())
        request = digest(8, question.wire.encode(), str(question.hint).encode(), question.body)
        return self._table.claim(key, request, lambda: self._ids.issue(n_rows, logged=logged))

    def _open(self) -> "RepeatTable":
        serving = self._settings.serving
        try:
            return RepeatTable(self._settings.metrics_dir, serving.idempotency_keys, serving.request_seconds)
        except OSError as error:
            logger.error("%s: keys cannot be remembered: %s", self._settings.metrics_dir, error)  # noqa: TRY400 - said in full
            raise RefusedError(503, "repeat", "keys cannot be remembered now; try again later, or without one") from error

    def settle(self, claim: Claim, *, answered: bool) -> None:
        """Note that a request was logged and is answered; or that it is not."""
        if self._table is not None:
            self._table.settle(claim, answered=answered)

    def close(self) -> None:
        """Let the table go."""
        if self._table is not None:
            self._table.close()
            self._table = None


class RepeatTable:
    """Keys that came lately, and the prediction ids that their requests got. Safe to use from several threads.

    Parameters
    ----------
    folder
        Of the server, shared by its workers.
    n_keys
        How many are remembered.
    seconds
        After which a request that was begun and never answered is given up.
    """

    def __init__(self, folder: Path, n_keys: int, seconds: float) -> None:
        self._work_nanoseconds = int(seconds * 1e9)
        self._n_buckets = max(1, -(-n_keys // PLACES))
        self._lock = threading.Lock()
        self._file = (folder / FILE).open("a+b")
        size = self._n_buckets * PLACES * ENTRY.size  # the same in all workers
        try:
            if hasattr(os, "posix_fallocate"):  # a full disk is found now, not when a page is written to
                os.posix_fallocate(self._file.fileno(), 0, size)
            self._file.truncate(size)
        except OSError:
            self._file.close()
            raise
        self._map = mmap.mmap(self._file.fileno(), size)

    def claim(self, key: bytes, request: bytes, issue: Callable[[], str]) -> Claim:
        """Return the id that this key's request got, or give it a new one.

        Parameters
        ----------
        key, request
            Digests, of 16 and 8 bytes.
        issue
            Gives the new id.

        Raises
        ------
        RefusedError
            If the key came with another request before, or its request is still at work.
        """
        now = time.time_ns()
        with self._lock, _Locked(self._file.fileno()):
            first = int.from_bytes(key[:8], "little") % self._n_buckets * PLACES
            entries = [(place, ENTRY.unpack_from(self._map, place * ENTRY.size)) for place in range(first, first + PLACES)]
            for place, (known, body, raw, state, process, at) in entries:
                if known != key or state == EMPTY or now - at > KEEP_NANOSECONDS:
                    continue
                if body != request:
                    raise RefusedError(
                        422, "repeat", "this Idempotency-Key came with another request before; use a new key for each request"
                    )
                if state == DONE:
                    return Claim(place, raw.hex(), repeated=True)
                if now - at <= self._work_nanoseconds and is_process_alive(process):
                    raise RefusedError(409, "repeat", "the request with this Idempotency-Key is still at work; try again soon")
                ENTRY.pack_into(self._map, place * ENTRY.size, key, request, raw, BEGUN, os.getpid(), now)  # never answered
                return Claim(place, raw.hex(), repeated=False)
            place = min(entries, key=lambda entry: entry[1][5] if entry[1][3] else 0)[0]
            new = issue()
            ENTRY.pack_into(self._map, place * ENTRY.size, key, request, bytes.fromhex(new), BEGUN, os.getpid(), now)
            return Claim(place, new, repeated=False)

    def settle(self, claim: Claim, *, answered: bool) -> None:
        """Note that a claimed request was logged and is answered; or that it is not, so that the next one begins anew."""
        with self._lock, _Locked(self._file.fileno()):
            key, body, raw, _, _, at = ENTRY.unpack_from(self._map, claim.place * ENTRY.size)
            if raw.hex() == claim.id:
                state = DONE if answered else EMPTY
                ENTRY.pack_into(self._map, claim.place * ENTRY.size, key, body, raw, state, os.getpid(), at)

    def close(self) -> None:
        """Let the file go."""
        self._map.close()
        self._file.close()


class _Locked:
    """Keeps other processes from the table; the system gives the lock back when one dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def read_key(header: bytes, authorization: bytes, path: str) -> bytes:
    """Return the digest of an ``Idempotency-Key``; each caller and each path has keys of its own.

    Raises
    ------
    RefusedError
        If it is no such key.
    """
    if not 0 < len(header) <= MAX_KEY_LENGTH or not header.isascii() or not header.decode().isprintable():
        raise RefusedError(400, "repeat", f"Idempotency-Key: expected 1 to {MAX_KEY_LENGTH} printable characters of ASCII")
    return digest(16, header, authorization, path.encode())


def digest(size: int, *parts: bytes) -> bytes:
    """Return a digest of so many bytes; where one part ends and the next begins counts."""
    found = hashlib.blake2b(digest_size=size)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.digest()
