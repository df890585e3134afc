"""Asking MLflow again while it restarts, so that hours of training are not lost."""

import time
from collections.abc import Callable
from typing import TypeVar

from mlops_project.errors import TrackingError

PATIENCE_SECONDS, PAUSE_SECONDS = 60.0, 1.0  # how long to try again, and between two tries

T = TypeVar("T")


def retry(work: Callable[[], T]) -> T:
    """Call ``work`` until MLflow answers, for at most ``PATIENCE_SECONDS``; it may be called again after it was half done.

    Raises
    ------
    TrackingError
        If MLflow does not answer for so long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return work()
        except TrackingError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(PAUSE_SECONDS)
