"""Evaluations, shaped for the Monitoring page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Literal
from urllib.parse import quote, urlsplit

import pandas as pd

from mlops_project.config import Config
from mlops_project.monitoring.report.summary import format_minute
from mlops_project.monitoring.results import Alert, Evaluation, FeatureDrift, MetricValue, Performance, Source
from mlops_project.ui.language import Translate

MONITOR_VARIABLE, BROWSER_VARIABLE = "UI_MONITOR", "UI_MONITOR_URL"
GRACE_SECONDS = 60.0  # for reading the log and evaluating
SHORT = timedelta(minutes=10)  # shorter windows are shown with seconds
Level = Literal["none", "quiet", "changed", "drift", "loss"]


def judge_level(evaluation: Evaluation | None) -> tuple[Level, Alert | None]:
    """Return how severe the newest window is, and its most severe alert."""
    if evaluation is None:
        return "none", None
    if not evaluation.alerts:
        return "quiet", None
    if not evaluation.firing:
        return "changed", evaluation.alerts[0]
    first = evaluation.firing[0]  # the most severe comes first
    return ("loss" if first.name in ("performance-loss", "estimated-loss") else "drift"), first


def is_stale(evaluation: Evaluation, config: Config, now: datetime) -> bool:
    """Whether the newest evaluation is older than two windows, plus the time until the log's segment is closed.

    Parameters
    ----------
    evaluation
        The newest one.
    config
        For the lengths of windows and segments.
    now
        With a time zone.
    """
    patience = 120 * config.monitoring.every_minutes + config.prediction_log.segment_seconds + GRACE_SECONDS
    return (now - datetime.fromisoformat(evaluation.evaluated_at)).total_seconds() > patience


def describe_window(evaluation: Evaluation, zone: tzinfo = UTC) -> tuple[str, str]:
    """Return when a window began and ended in a time zone; the day only once."""
    start, end = (datetime.fromisoformat(instant).astimezone(zone) for instant in (evaluation.start, evaluation.end))
    clock = "%H:%M:%S" if end - start < SHORT else "%H:%M"
    day = "%Y-%m-%d "
    return start.strftime(day + clock), end.strftime(clock if end.date() == start.date() else day + clock)


def find_watched(performance: Performance, source: Source) -> MetricValue | None:
    """Return the watched metric, live or estimated; None if it is not known."""
    values = performance.live if source == "live" else performance.estimated
    return next((value for value in values if value.name == performance.metric), None)


def list_points(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Return the newest window's watched metric over time.

    Returns
    -------
    DataFrame
        A row per window and source: ``start``, ``end`` (milliseconds since 1970), ``when`` (text), ``version``, ``source``,
        ``value``, ``low``, ``high``, ``reference``, and ``run``, which changes where a line must not go on: another version,
        or a window without a value.
    """
    metric = evaluations[-1].performance.metric if evaluations else ""
    rows = []
    for source in ("live", "estimated"):
        run, version = 0, ""
        for item in evaluations:
            found = find_watched(item.performance, source) if item.performance.metric == metric else None
            if found is None or item.version != version:
                run, version = run + 1, item.version
            if found is not None:
                bounds = {"value": found.value, "low": found.low, "high": found.high, "reference": found.reference}
                rows.append(_place(item) | {"source": source, "run": f"{source} {run}"} | bounds)
    return pd.DataFrame(rows)


def list_shares(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Return ``start``, ``end``, ``when``, ``version``, ``share`` and ``drifted``, a row per window."""
    return pd.DataFrame([_place(item) | {"share": item.drift.share, "drifted": item.drift.drifted} for item in evaluations])


def _place(item: Evaluation) -> dict[str, object]:
    start, end = (1000 * datetime.fromisoformat(instant).timestamp() for instant in (item.start, item.end))
    return {"start": start, "end": end, "when": f"{format_minute(item.end)} UTC", "version": item.version}


@dataclass(frozen=True)
class Mark:
    """A moment when another version began to answer; ``kind`` is ``promoted`` or ``rolled-back``."""

    at: datetime
    version: str
    kind: str


def find_changes_of_version(evaluations: Sequence[Evaluation]) -> list[Mark]:
    """Return when the evaluated version changed, to be marked where there is no registry that records promotions."""
    changes = [now for then, now in pairwise(evaluations) if then.version != now.version]
    return [Mark(datetime.fromisoformat(now.start), now.version, "promoted") for now in changes]


def find_first_changes(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Return when each feature changed first in the newest version's windows (their start; ISO 8601), earliest first."""
    own = [item for item in evaluations if item.version == evaluations[-1].version]
    first: dict[str, str] = {}
    for item in own:
        for feature in item.drift.features:  # the most important first
            if feature.drifted:
                first.setdefault(feature.name, item.start)
    return first


def list_features(features: Sequence[FeatureDrift], first: Mapping[str, str], t: Translate) -> pd.DataFrame:
    """Return a table of features in their order, with translated headings and plain numbers.

    Parameters
    ----------
    first
        From ``find_first_changes``.
    """
    frame, kinds = list_scores(features, t), {item.kind for item in features}
    starts = [format_minute(first[item.name]) if item.name in first else "" for item in features]
    frame.insert(2, t("first.changed"), starts)
    frame[t("weight")] = [item.weight for item in features]
    frame[t("missing.share")] = [item.missing_ratio for item in features]
    if "numeric" in kinds:
        frame[t("out.of.range")] = [item.out_of_range_ratio if item.kind == "numeric" else None for item in features]
    if "category" in kinds:
        frame[t("unseen")] = [item.unseen_ratio if item.kind == "category" else None for item in features]
    return frame


def list_scores(scores: Sequence[FeatureDrift], t: Translate) -> pd.DataFrame:
    """Return a table of scores, as ``list_features`` of features; they have no weight, and no value is missing."""
    return pd.DataFrame(
        {
            t("feature"): [item.name for item in scores],
            t("drifted"): [t("yes") if item.drifted else "" for item in scores],
            t("distance"): [item.jensen_shannon for item in scores],
            t("tolerated"): [item.threshold for item in scores],
        }
    )


def link_report(environment: dict[str, str], model: str) -> str:
    """Return the address at which a browser finds the report; empty if none is configured.

    The monitor's own address counts only if it can be a browser's: ``http://monitor:8002`` is a name that only containers know.
    """
    address = environment.get(BROWSER_VARIABLE, "")
    if not address:
        address = environment.get(MONITOR_VARIABLE, "")
        host = urlsplit(address).hostname or ""
        address = address if host == "localhost" or "." in host or ":" in host else ""
    if not address.startswith(("http://", "https://")):
        return ""
    return f"{address.rstrip('/')}/report/{quote(model, safe='')}"
