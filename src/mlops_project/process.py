"""What a process asks of its parent and of the C library."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

M_MMAP_THRESHOLD = -3  # malloc.h of glibc
LARGE_BYTES = 1 << 20


def end_with_parent() -> None:
    """Send this process SIGTERM when the one that made it with ``multiprocessing`` is gone; a first process has none.

    uvicorn's workers outlive a supervisor that was killed, and keep its port.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


def return_large_blocks() -> None:
    """Make glibc hand back every freed block of a megabyte at once; by default it raises that bound to the largest it saw."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def is_process_alive(process: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
