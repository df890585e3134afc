"""What is wrong now, said once: a problem that lasts is one line in the log, not one per round."""

import logging
import threading

from mlops_project.errors import MLOpsError

logger = logging.getLogger(__name__)


class Problems:
    """The problems of a service, by what they are about. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: dict[str, str] = {}

    @property
    def current(self) -> dict[str, str]:
        """Subject → what is wrong with it."""
        with self._lock:
            return dict(self._current)

    def note(self, subject: str, error: Exception) -> None:
        """Log a problem, unless it is the same as before."""
        text = str(error) if isinstance(error, MLOpsError) else f"unexpected {type(error).__name__}: {error}"
        text = " ".join(text.split())
        with self._lock:
            known = self._current.get(subject) == text
            self._current[subject] = text
        if not known:
            logger.error("%s: %s", subject, text)

    def settle(self, subject: str) -> None:
        """Log that a problem is over, if there was one."""
        with self._lock:
            text = self._current.pop(subject, None)
        if text is not None:
            logger.info("%s: well again", subject)
