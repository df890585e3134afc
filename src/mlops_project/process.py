"""What a process knows of its parent."""

import multiprocessing
import os
import signal
import threading


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
