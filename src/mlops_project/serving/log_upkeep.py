"""What keeps a worker's prediction log in order: the key of its ids, changes of its files, what is past retention."""

import logging
import os
import random
from typing import get_args

from mlops_project.prediction_log.ids import KEY_VARIABLE, IdIssuer, keep_key, load_key
from mlops_project.prediction_log.overdue import Overdue
from mlops_project.prediction_log.segments import UNREAD_PATIENCE_SECONDS, close_abandoned, delete_old
from mlops_project.prediction_log.writer import Change, LogWriter
from mlops_project.serving import metrics as names
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.settings import Settings

RETENTION_SECONDS = 60.0

logger = logging.getLogger(__name__)


class LogUpkeep:
    """Looks after the log of one worker, in the server's own thread.

    Parameters
    ----------
    settings, metrics
        The server's.

    Attributes
    ----------
    ids
        Gives out prediction ids by the folder's key.
    """

    def __init__(self, settings: Settings, metrics: ServerMetrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._next_cleaning = 0.0
        self._missing = 0
        self._unread = Overdue(UNREAD_PATIENCE_SECONDS)
        self._keeps_key = not os.environ.get(KEY_VARIABLE)
        self.ids = IdIssuer(self._load_key())
        metrics.put(names.LOG_MAX, settings.log.max_bytes)

    def _load_key(self) -> bytes:
        try:
            return load_key(self._settings.log_dir)
        except OSError as error:
            said = "%s: %s, so labels for predictions of this run will be refused after it; make it readable and writable"
            logger.error(said, self._settings.log_dir, error.strerror)  # noqa: TRY400 - said in full
            return random.SystemRandom().randbytes(32)

    def tick(self, log: LogWriter, now: float) -> None:
        """Do what is due about once a second: close old segments; every ``RETENTION_SECONDS``, delete those past retention."""
        log.tick()
        self.count_changes(log)
        self._keep_key()
        if now >= self._next_cleaning:
            self._next_cleaning = now + RETENTION_SECONDS
            self._clean()

    def count_changes(self, log: LogWriter) -> None:
        """Write what happened to the log's files into the metrics."""
        for change in get_args(Change):
            self._metrics.put(names.LOG_CHANGES, log.changes[change], change)
        self._metrics.add(names.LOG_LOST, log.missing - self._missing)
        self._missing = log.missing

    def _clean(self) -> None:
        folder, settings = self._settings.log_dir, self._settings.log
        close_abandoned(folder)
        kept = delete_old(folder, settings, self._unread)
        if kept.deleted_unread:
            self._metrics.add(names.LOG_UNREAD_DELETED, kept.deleted_unread)
            logger.error("%s: %d segments were deleted that no monitor had read", folder, kept.deleted_unread)
        self._metrics.put(names.LOG_UNREAD, kept.unread_bytes)
        self._metrics.put(names.LOG_OVERDUE, kept.overdue_bytes)

    def _keep_key(self) -> None:
        """Write the key of the ids again if its file is gone; take the one of a folder that was put in its place."""
        if not self._keeps_key:
            return
        try:
            key = keep_key(self._settings.log_dir, self.ids.key)
        except OSError:  # logged at the start, or the alert PredictionLogLoss fires
            return
        if key != self.ids.key:
            said = "%s holds another key for ids by now; labels for those given out so far will be refused after a restart"
            logger.error(said, self._settings.log_dir)
            self.ids.adopt(key)
