"""Appends records to the prediction log: one ``writev`` each, before the response leaves.

So ``kill -9`` loses no prediction that was acknowledged.

Each process writes a segment of its own, ``<time>-<host>-<process>-<n>.open``, and renames it to ``.log`` when it is full or
old. A segment's writer holds a lock on it; one without a lock was left by a process that died, and is closed by the next.
"""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mlops_project.prediction_log.records import pack
from mlops_project.sections import PredictionLogConfig

OPEN, CLOSED = ".open", ".log"
MAX_PIECES = 1024  # of one writev, Linux's IOV_MAX
DAY_SECONDS = 86400.0


class LogWriter:
    """A process's end of the log. Not for several threads at once.

    Parameters
    ----------
    folder
        Where the segments are.
    settings
        Sizes, ages, retention.

    Attributes
    ----------
    records, bytes, lost
        Written and lost since the start.
    """

    def __init__(self, folder: Path, settings: PredictionLogConfig) -> None:
        self.folder, self.settings = folder, settings
        self.records = self.bytes = self.lost = 0
        self._file: Path | None = None
        self._descriptor = -1
        self._size = 0
        self._opened_at = 0.0
        self._segments = 0
        self._host = socket.gethostname().partition(".")[0] or "host"

    def append(self, about: bytes, request: bytes, response: bytes) -> bool:
        """Write a record; False if it could not be written whole, and then nothing of it stays.

        Parameters
        ----------
        about
            JSON of ``records.About``.
        """
        return self._write(pack(about, request, response), 1)

    def append_all(self, records: Sequence[tuple[bytes, bytes, bytes]]) -> list[bool]:
        """Write several records in one go, each as ``append`` does; return which could be written."""
        pieces = [piece for record in records for piece in pack(*record)]
        if len(pieces) <= MAX_PIECES and self._write(pieces, len(records)):
            return [True] * len(records)
        return [self.append(*record) for record in records]

    def _write(self, pieces: list[bytes], n_records: int) -> bool:
        length = sum(map(len, pieces))
        try:
            if self._file is None or self._size + length > self.settings.segment_bytes:
                self._start_segment()
            written = os.writev(self._descriptor, pieces)
        except OSError:
            written = 0
        if written != length:
            if written:  # the disk was full in the middle of it
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
            self.lost += n_records == 1  # several are tried again one by one
            return False
        self._size += length
        self.records += n_records
        self.bytes += length
        return True

    def _start_segment(self) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._segments += 1
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        file = self.folder / f"{stamp}-{self._host}-{os.getpid()}-{self._segments}{OPEN}"
        unlocked = file.with_suffix(".new")
        descriptor = os.open(unlocked, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unlocked.rename(file)
        self._file, self._descriptor, self._size, self._opened_at = file, descriptor, 0, time.monotonic()

    def close(self) -> None:
        """Close the segment that is being written, if any."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            if self._size:
                self._file.rename(self._file.with_suffix(CLOSED))
            else:
                self._file.unlink()
        os.close(self._descriptor)
        self._file = None

    def tick(self) -> None:
        """Close an old segment. To be called about once a second."""
        if self._file is not None and time.monotonic() - self._opened_at > self.settings.segment_seconds:
            self.close()


def close_abandoned(folder: Path) -> int:
    """Close the segments of writers that died; return how many there were."""
    found = 0
    for file in folder.glob(f"*{OPEN}"):
        with contextlib.suppress(OSError), file.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while the writer lives
            file.rename(file.with_suffix(CLOSED))
            found += 1
    return found


def delete_old(folder: Path, settings: PredictionLogConfig) -> int:
    """Delete closed segments beyond the retention time or size, oldest first; return the bytes deleted."""
    segments = sorted(folder.glob(f"*{CLOSED}"))
    sizes = {}
    for file in segments:
        with contextlib.suppress(OSError):
            sizes[file] = file.stat()
    total, deleted = sum(stat.st_size for stat in sizes.values()), 0
    oldest = time.time() - settings.retention_days * DAY_SECONDS
    for file, stat in sizes.items():
        if stat.st_mtime < oldest or total - deleted > settings.max_bytes:
            with contextlib.suppress(OSError):
                file.unlink()
                deleted += stat.st_size
    return deleted
