"""Files that appear whole: a reader, or a kill at any moment, finds the old content or the new one."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

DEVICES = Path("/dev")


def sync(path: Path) -> None:
    """Bring a file, or a folder's names, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def name_unfinished(file: Path) -> str:
    """Return the name that a file has while this process writes it, and no other process of any machine."""
    return f".{file.name}.{os.uname().nodename}-{os.getpid()}.tmp"


@contextlib.contextmanager
def replacing(file: Path, temporary_name: str | None = None) -> Iterator[BinaryIO]:
    """Give a stream that becomes the file when the block ends well; whatever was there before is replaced.

    Parameters
    ----------
    temporary_name
        Of the file until then, in the same folder; hidden, and the same for every process, unless it is given.
    """
    if file.parent == DEVICES or (file.exists() and not file.is_file()):  # /dev/stdout, a pipe: nothing is to be replaced
        with file.open("wb") as stream:
            yield stream
        return
    temporary = file.with_name(temporary_name or f".{file.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(file.parent)
