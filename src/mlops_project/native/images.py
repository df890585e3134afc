"""Ensembles in files that the workers of a server map: one builds them, all read them in place, and memory holds them once.

A file is mapped with a shared lock. Who leaves it last finds that nobody else has it locked, and removes it.
"""

import contextlib
import fcntl
import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from mlops_project.storage.locks import try_lock

SUFFIX, PART_SUFFIX = ".trees", ".trees-part"
LEAST_BYTES = 256 << 10  # smaller ones are built as quickly as they are mapped
FREE_BYTES = 1 << 30  # of the disk, or half of it, is left to others


class Image:
    """A mapped file.

    Attributes
    ----------
    address, n_bytes
        Where it is in memory, until it is closed, and its size.
    """

    def __init__(self, file: Path, mapped: mmap.mmap) -> None:
        self._file, self._mapped = file, mapped
        self.address, self.n_bytes = int(np.frombuffer(mapped, np.uint8).ctypes.data), len(mapped)

    def close(self) -> None:
        """Leave the file; remove it if no other process has it mapped."""
        self._mapped.close()
        with contextlib.suppress(OSError), self._file.open("rb") as stream:
            if try_lock(stream):
                self._file.unlink()


class Images:
    """The files of one model's ensembles.

    Parameters
    ----------
    folder
        Where they are. Files of other users, or that others may write, are not read.
    key
        Names the model; ``keep`` is for one process at a time that has this key.
    most_bytes
        Of all files in the folder.
    """

    def __init__(self, folder: Path, key: str, most_bytes: int) -> None:
        self._folder, self._key, self._most = folder, key, most_bytes

    def open(self, number: int) -> Image | None:
        """Return the model's ensemble of this number; None if it is not kept."""
        file = self._name(number)
        with contextlib.suppress(OSError, ValueError), _open_own(file, os.O_RDONLY) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)  # waits only for whoever removes it
            found = os.fstat(stream.fileno())
            if found.st_nlink and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
                return Image(file, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))  # which keeps the lock
        return None

    def keep(self, number: int, n_bytes: int, write: Callable[[int], object]) -> Image | None:
        """Keep an ensemble and return it; None if it is small, or there is no room for it.

        Parameters
        ----------
        write
            Gets the address where it writes ``n_bytes``.
        """
        part = self._name(number).with_suffix(PART_SUFFIX)
        try:
            if n_bytes < LEAST_BYTES or not self._has_room(n_bytes):
                return None
            part.unlink(missing_ok=True)  # of a process that was killed
            with _open_own(part, os.O_RDWR | os.O_CREAT | os.O_EXCL) as stream:
                os.posix_fallocate(stream.fileno(), 0, n_bytes)  # else a full disk would end the process while it writes
                with mmap.mmap(stream.fileno(), n_bytes) as mapped:
                    write(int(np.frombuffer(mapped, np.uint8).ctypes.data))
            part.rename(self._name(number))
        except (OSError, AttributeError):  # macOS has no posix_fallocate
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            return None
        return self.open(number)

    def _name(self, number: int) -> Path:
        return self._folder / f"{self._key}.{number}{SUFFIX}"

    def _has_room(self, n_bytes: int) -> bool:
        kept = sum(file.stat().st_size for file in self._folder.glob(f"*{SUFFIX}"))
        disk = shutil.disk_usage(self._folder)
        return kept + n_bytes <= self._most and disk.free - n_bytes >= min(FREE_BYTES, disk.total // 2)


def _open_own(file: Path, flags: int) -> IO[bytes]:
    return os.fdopen(os.open(file, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "rb")
