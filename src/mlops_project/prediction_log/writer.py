"""Appends records to the prediction log: one ``writev`` each, before the response leaves.

So ``kill -9`` loses no prediction that was acknowledged.

Each process writes a segment of its own, named as ``sequence`` says and ending in ``.open``, and renames it to ``.log`` when it
is full or old. A segment's writer holds a lock on it; one without a lock was left by a process that died, and is closed by the
next.

A segment that is deleted while it is written is written again, from what its open file still holds, within a second.
"""

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mlops_project.prediction_log.records import MARKER_BYTES, SegmentReader, pack
from mlops_project.prediction_log.segments import CLOSED, NEW, OPEN
from mlops_project.prediction_log.sequence import draw_writer
from mlops_project.sections import PredictionLogConfig
from mlops_project.storage.locks import wait_for_lock

MAX_RECORDS = 256  # of one writev, four pieces each: Linux's IOV_MAX is 1024
COPY_BYTES = 1 << 20

Change = Literal["deleted", "moved", "changed"]

logger = logging.getLogger(__name__)


class LogWriter:
    """A process's end of the log. Safe to use from several threads.

    Parameters
    ----------
    folder
        Where the segments are.
    settings
        Sizes, ages, retention.

    Attributes
    ----------
    records, bytes, rows
        Written since the start; rows are those of predictions that somebody got.
    unlogged
        Rows that somebody got and that could not be written.
    lost, missing
        Records that could not be written; records that were, and are gone because someone changed or deleted the segment.
    changes
        How often the open segment was ``deleted``, ``moved`` away or ``changed`` by someone else.
    """

    def __init__(self, folder: Path, settings: PredictionLogConfig) -> None:
        self.folder, self.settings = folder, settings
        self.records = self.bytes = self.rows = self.unlogged = self.lost = self.missing = 0
        self.changes: Counter[Change] = Counter()
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._descriptor = -1
        self._size = 0
        self._opened_at = 0.0
        self._segments = self._in_segment = 0
        self._writer, self._begun = draw_writer(), (0, 0)  # rows and unlogged ones before the open segment
        self._told = 0  # unlogged rows, by the name of the last segment that was closed
        self._is_stuck = False
        self._marker = secrets.token_bytes(MARKER_BYTES)
        self._host = socket.gethostname().partition(".")[0] or "host"

    def append(self, about: bytes, request: bytes, response: bytes, rows: int = 0) -> bool:
        """Write a record; False if it could not be written whole, and then nothing of it stays.

        Parameters
        ----------
        about
            JSON of ``records.About``.
        rows
            Rows of a prediction that somebody gets; 0 for labels and shadows.
        """
        with self._lock:
            return self._write([(about, request, response)], rows)

    def append_all(self, records: Sequence[tuple[bytes, bytes, bytes]], rows: Sequence[int] = ()) -> list[bool]:
        """Write several records in one go, each as ``append`` does; return which could be written."""
        with self._lock:
            if len(records) <= MAX_RECORDS and self._write(records, sum(rows)):
                return [True] * len(records)
            counts = rows or [0] * len(records)
            return [self._write([record], count) for record, count in zip(records, counts, strict=True)]

    def _write(self, records: Sequence[tuple[bytes, bytes, bytes]], rows: int) -> bool:
        pieces = self._pack(records)
        length = sum(map(len, pieces))
        written = 0
        try:
            if self._file is None or self._size + length > self.settings.segment_bytes:
                self._start_segment()
                pieces = self._pack(records)  # their numbers begin anew
            if not self._is_stuck:
                written = os.writev(self._descriptor, pieces)
        except OSError:
            written = 0
        if written != length:
            if written:  # the disk was full in the middle of it
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
            self.lost += len(records) == 1  # several are tried again one by one
            return False
        self._size += length
        self._in_segment += len(records)
        self.records += len(records)
        self.rows += rows
        self.bytes += length
        return True

    def _pack(self, records: Sequence[tuple[bytes, bytes, bytes]]) -> list[bytes]:
        pieces: list[bytes] = []
        for number, (about, request, response) in enumerate(records, self._in_segment):
            pieces += pack(about, request, response, self._marker, number)
        return pieces

    def _start_segment(self) -> None:
        self._close()
        if not self._is_stuck:
            self._begun = self.rows, self.unlogged
            self._file, self._descriptor = self._create()
            self._opened_at = time.monotonic()
            self._size = self._in_segment = 0

    def _create(self) -> tuple[Path, int]:
        """Make a segment and lock it; return its file and descriptor."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self._segments += 1
        rows, unlogged = self._begun
        name = f"{stamp}-{self._host}-{os.getpid()}-{self._segments}-w{self._writer}-r{rows}-u{unlogged}"
        file = self.folder / f"{name}{OPEN}"
        unlocked = file.with_suffix(NEW)
        descriptor = os.open(unlocked, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            wait_for_lock(descriptor)
            unlocked.rename(file)
        except OSError:
            os.close(descriptor)
            raise
        return file, descriptor

    def close(self) -> None:
        """Close the segment that is being written, if any, and tell of the rows that could not be written."""
        with self._lock:
            self._close()
            if self._is_stuck:
                self.missing += self._in_segment
                self._let_go()
            self._tell()

    def _close(self) -> None:
        self._check()
        if self._file is None or self._is_stuck:
            return
        with contextlib.suppress(OSError):
            if self._size or self._begun[1] > self._told:  # an empty one tells by its name of rows that are not there
                self._file.rename(self._file.with_suffix(CLOSED))
                self._told = self._begun[1]
            else:
                self._file.unlink()
        self._let_go()

    def _tell(self) -> None:
        """Leave an empty segment whose name says how many rows could not be written: perhaps no other one follows."""
        if self._file is None and self.unlogged > self._told:
            with contextlib.suppress(OSError):
                self._start_segment()
                self._close()

    def _let_go(self) -> None:
        os.close(self._descriptor)
        self._file, self._is_stuck = None, False

    def tick(self) -> None:
        """See that the segment is still there, and close an old one. To be called about once a second."""
        with self._lock:
            self._check()
            if self._file is not None and time.monotonic() - self._opened_at > self.settings.segment_seconds:
                self._close()
                self._tell()

    # --- what others do to the segment ---

    def _check(self) -> None:
        """Go on in a new segment if someone deleted, moved or changed this one."""
        change = self._find_change() if self._file is not None else None
        if change is None:
            return
        if not self._is_stuck:
            self.changes[change] += 1
        if change == "deleted":
            self._rescue()
        elif change == "moved":
            logger.error("the open segment %s was moved away; a new one is begun in %s", self._file, self.folder)
            self._let_go()
        else:
            self._count_missing()

    def _find_change(self) -> Change | None:
        assert self._file is not None
        own = os.fstat(self._descriptor)
        if not own.st_nlink:
            return "deleted"
        try:
            there = self._file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return "moved"
        except OSError:  # who may not look may still write
            there = own
        if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
            return "moved"
        return None if own.st_size == self._size else "changed"

    def _rescue(self) -> None:
        """Write the records of a deleted segment into a new one: the open file still holds them."""
        gone, was_stuck = self._file, self._is_stuck
        try:
            file, descriptor = self._create_copy()
        except OSError as error:
            self._is_stuck = True
            if not was_stuck:
                said = "the open segment %s was deleted and cannot be written again now: %s; until then nothing can be logged"
                logger.error(said, gone, error.strerror)  # noqa: TRY400 - said in full
            return
        os.close(self._descriptor)
        self._file, self._descriptor, self._is_stuck = file, descriptor, False
        self._size = os.fstat(descriptor).st_size
        logger.error("the open segment %s was deleted; its %d records are written again, to %s", gone, self._in_segment, file)

    def _create_copy(self) -> tuple[Path, int]:
        file, descriptor = self._create()
        try:
            place = 0
            while data := os.pread(self._descriptor, COPY_BYTES, place):
                place += os.write(descriptor, data)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                file.unlink()
            raise
        return file, descriptor

    def _count_missing(self) -> None:
        """Count the records that are no longer in a segment that someone wrote to, and close it."""
        assert self._file is not None
        with os.fdopen(os.dup(self._descriptor), "rb") as stream:
            stream.seek(0)
            whole = sum(1 for _ in SegmentReader(stream))
        missing = max(0, self._in_segment - whole)
        self.missing += missing
        said = "someone changed the open segment %s: %d of its %d records are lost"
        logger.error(said, self._file, missing, self._in_segment)
        with contextlib.suppress(OSError):
            self._file.rename(self._file.with_suffix(CLOSED))
        self._let_go()
