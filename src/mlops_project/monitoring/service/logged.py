"""What of the evaluations is logged to MLflow: figures of every window, and when alerts of the champion began and ended."""

import math
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from mlops_project.config import Config
from mlops_project.monitoring.alerts import TITLES, find_changes
from mlops_project.monitoring.results import Evaluation
from mlops_project.tracking.evaluations import Logged, log_windows
from mlops_project.tracking.events import EventKind


def log_evaluations(config: Config, history: Sequence[Evaluation], page: bytes) -> None:
    """Log each version's windows to its run in MLflow, the newest version's with the report."""
    newest = next((item for item in reversed(history) if item.champion), history[-1])
    shown = [item for item in history if item.champion]
    changes = {item.end: _find_events(before, item) for before, item in pairwise([None, *shown]) if item}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        report.write_bytes(page)
        for version in dict.fromkeys(item.version for item in history):
            logged = [
                Logged(item.end, _find_figures(item), changes.get(item.end, []) if item.champion else [])
                for item in history
                if item.version == version
            ]
            log_windows(config, newest.model, version, logged, report if version == newest.version else None)


def _find_events(before: Evaluation | None, now: Evaluation) -> list[tuple[EventKind, str]]:
    changes = find_changes(before, now)
    events: list[tuple[EventKind, str]] = [("alert", f"{TITLES[alert.name]}: {alert.reason}") for alert in changes.began]
    events += [("alert", f"{TITLES[alert.name]}, now also {', '.join(causes)}") for alert, causes in changes.grown]
    return events + [("recovered", f"{TITLES[alert.name]}: no longer so") for alert in changes.over]


def _find_figures(evaluation: Evaluation) -> dict[str, float]:
    """Return what is logged of a window: metrics with their intervals, drift, alerts that fire."""
    figures = {"rows": float(evaluation.rows), "alerts": float(len(evaluation.firing))}
    performance = evaluation.performance
    for value in (*performance.live, *performance.estimated, *performance.counted):
        for name, number in (("", value.value), ("_low", value.low), ("_high", value.high)):
            figures[f"{value.source}_{value.name}{name}"] = number
    if evaluation.drift.features:
        figures["drift_share"] = evaluation.drift.share
        figures["drifted_features"] = float(sum(feature.drifted for feature in evaluation.drift.features))
    if evaluation.drift.domain:
        figures["domain_auc"] = evaluation.drift.domain.auc
    if evaluation.performance.label_coverage is not None:
        figures["label_coverage"] = evaluation.performance.label_coverage
    return {name: number for name, number in figures.items() if math.isfinite(number)}
