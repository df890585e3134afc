"""Temporary folders that end with their process: one that was killed leaves its own, and the next one removes it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlops_project.storage.locks import is_locked, try_lock

OWNER = "owner.lock"  # locked as long as the process lives that made the folder


@contextlib.contextmanager
def own_folder(prefix: str) -> Iterator[Path]:
    """Make a folder that only this user may enter, and remove it at the end; remove those of processes that were killed.

    Parameters
    ----------
    prefix
        Of the folders' names, which nobody else uses.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    folder, process = Path(tempfile.mkdtemp(prefix=prefix)), os.getpid()
    try:
        with (folder / f".{OWNER}").open("ab") as stream:
            try_lock(stream)
            Path(stream.name).rename(folder / OWNER)  # nobody finds it before it is locked
            yield folder
    finally:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        own = not folder.is_symlink() and folder.stat().st_uid == os.geteuid()
        return own and (folder / OWNER).exists() and not is_locked(folder / OWNER)
    return False
