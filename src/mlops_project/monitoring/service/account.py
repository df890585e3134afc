"""The account of predicted rows that the monitor keeps: in windows, waiting for one, missing by reason. Shown and counted."""

import threading
from collections.abc import Iterable
from typing import Any

from mlops_project.monitoring.account import Losses, find_losses, write_notes
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.service import metrics as exporter
from mlops_project.monitoring.service.metrics import MonitorMetrics
from mlops_project.prediction_log.missing import ANY_MODEL, Ledger, Rows
from mlops_project.storage.directory import Directory


class Account:
    """What became of every row that was read. Safe to read from several threads.

    Parameters
    ----------
    store
        ``monitoring_dir``.
    metrics
        Shows the figures.
    """

    def __init__(self, store: Directory, metrics: MonitorMetrics) -> None:
        self._ledger, self._metrics = Ledger(store), metrics
        self._lock = threading.Lock()
        self._evaluated: dict[str, dict[str, int]] = {}
        self._waiting: dict[str, dict[str, int]] = {}
        self._missing: Rows | None = None

    def refresh(self, touched: Iterable[str] = ()) -> None:
        """Read what was noted as missing, and count what is new."""
        self._ledger.refresh(touched)
        total, before = self._ledger.total(), self._missing or {}
        for model, counts in total.items():
            for reason, rows in counts.items():
                more = rows - before.get(model, {}).get(reason, 0)
                self._metrics.add(exporter.MISSING_ROWS, max(0, more), model, reason)
        with self._lock:
            self._missing = total

    def find_losses(self, model: str) -> Losses:
        """Return which rows of a model are in no window."""
        with self._lock:
            return find_losses(self._missing or {}, model)

    def restore(self, model: str, evaluations: Iterable[Evaluation]) -> None:
        """Count the rows of all kept evaluations of a model, in place of what was counted before."""
        counts: dict[str, int] = {}
        for item in evaluations:
            counts[item.version] = counts.get(item.version, 0) + item.rows
        with self._lock:
            self._evaluated[model] = counts
        for version, rows in counts.items():
            self._metrics.put(exporter.EVALUATED, rows, model, version)

    def add(self, evaluation: Evaluation) -> None:
        """Count the rows of a new evaluation."""
        with self._lock:
            counts = self._evaluated.setdefault(evaluation.model, {})
            counts[evaluation.version] = counts.get(evaluation.version, 0) + evaluation.rows
        self._metrics.add(exporter.EVALUATED, evaluation.rows, evaluation.model, evaluation.version)

    def note_waiting(self, model: str, version: str, rows: int) -> None:
        """Show how many rows of a version were read and wait for their window."""
        with self._lock:
            waiting = self._waiting.setdefault(model, {})
            waiting.pop(version, None)
            waiting |= {version: rows} if rows else {}
        self._metrics.put(exporter.WAITING, rows, model, version)

    def write_notes(self, model: str) -> list[str]:
        """Return sentences on a model's rows that are in no window; none if all are."""
        with self._lock:
            evaluated = sum(self._evaluated.get(model, {}).values())
        return write_notes(self.find_losses(model), evaluated)

    def describe(self) -> dict[str, Any]:
        """Return model → its rows ``evaluated`` and ``waiting`` by version, ``missing`` by reason; empty name: of any model."""
        with self._lock:
            missing = self._missing or {}
            models = sorted({*self._evaluated, *self._waiting, *missing})
            return {
                model: {
                    "evaluated": dict(self._evaluated.get(model, {})),
                    "waiting": dict(self._waiting.get(model, {})),
                    "missing": dict(missing.get(model, {})),
                }
                for model in models
            } | ({ANY_MODEL: {"missing": dict(missing[ANY_MODEL])}} if ANY_MODEL in missing else {})
