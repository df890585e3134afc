"""Locks between processes of one machine (``flock``): closing the file, or the end of the process, gives them back."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def try_lock(file: int | IO[bytes]) -> bool:
    """Lock an open file, or its descriptor, if no other process has locked it; return whether that was done."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(file: Path) -> bool:
    """Whether another process has a file locked; False if it cannot be opened."""
    try:
        with file.open("rb") as stream:
            return not try_lock(stream)
    except OSError:
        return False


def wait_for_lock(file: int | IO[bytes]) -> None:
    """Lock an open file, or its descriptor, when no other process has it locked any more."""
    fcntl.flock(file, fcntl.LOCK_EX)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock on a file, which is made if need be, while the block runs; wait for it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as stream:
        wait_for_lock(stream)
        yield
