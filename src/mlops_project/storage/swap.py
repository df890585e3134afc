"""Two directories change places in one step, where the file system can; else in two that can be finished later."""

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
RENAME_SWAP = 2  # macOS sys/stdio.h


def swap(folder: Path, target: Path) -> None:
    """Put a directory in another's place, whose content then is gone or has the first one's name.

    Raises
    ------
    OSError
        If the target cannot be replaced.
    """
    try:
        exchange(folder, target)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV):
            raise
        target.rename(name_previous(target))
        folder.rename(target)
        shutil.rmtree(name_previous(target), ignore_errors=True)


def exchange(folder: Path, target: Path) -> None:
    """Exchange two directories in one step.

    Raises
    ------
    OSError
        If the operating system or the file system cannot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        failed = libc.renamex_np(os.fsencode(folder), os.fsencode(target), ctypes.c_uint(RENAME_SWAP))
    elif hasattr(libc, "renameat2"):
        failed = libc.renameat2(AT_FDCWD, os.fsencode(folder), AT_FDCWD, os.fsencode(target), ctypes.c_uint(RENAME_EXCHANGE))
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def name_previous(target: Path) -> Path:
    """Return what the target is called between the two steps."""
    return target.with_name(f".{target.name}.previous")
