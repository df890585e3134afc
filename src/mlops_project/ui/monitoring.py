"""What the monitor found of one model, read and shaped for the Monitoring page: from the store, else from the monitor."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal
from urllib.parse import quote, urlsplit

import msgspec
import pandas as pd

from mlops_project.config import Config
from mlops_project.errors import MLOpsError
from mlops_project.monitoring.results import Alert, Evaluation, FeatureDrift, MetricValue, Performance, Source
from mlops_project.monitoring.state import EvaluationStore
from mlops_project.ui.client import ModelServerError, Monitor, MonitorStatus
from mlops_project.ui.texts import Translate

MONITOR_VARIABLE, BROWSER_VARIABLE = "UI_MONITOR", "UI_MONITOR_URL"
FRESH_SECONDS = 5.0  # what was read counts for so long, for all visitors together
HISTORY = 300  # windows of the charts, as in the report
REPORT = "report.html"
GRACE_SECONDS = 60.0  # for reading the log and evaluating
Level = Literal["none", "quiet", "changed", "drift", "loss"]


@dataclass(frozen=True)
class Seen:
    """What is known of a model.

    Attributes
    ----------
    evaluations
        Oldest first; without features and scores, which only the newest window needs.
    newest
        The last of them, whole; None if nothing was evaluated.
    running
        Whether the monitor says that a retraining runs.
    problems
        What the monitor says is wrong with itself: subject → in words.
    failure
        Why store or monitor could not be asked; empty if they could.
    """

    evaluations: tuple[Evaluation, ...] = ()
    newest: Evaluation | None = None
    running: bool = False
    problems: dict[str, str] = field(default_factory=dict)
    failure: str = ""


class Lookout:
    """Looks at one model's evaluations and remembers them: a look reads only what is new. Safe to use from several threads.

    Parameters
    ----------
    place
        ``monitoring_dir``: path or fsspec URL.
    address
        The monitor's; empty if none is known.
    model
        Whose evaluations.
    """

    def __init__(self, place: str, address: str, model: str) -> None:
        self._place, self._model = place, model
        self._monitor = Monitor(address) if address else None
        self._lock, self._due = threading.Lock(), 0.0
        self._seen = Seen()
        self._store: EvaluationStore | None = None
        self._points: dict[str, Evaluation | None] = {}  # name in the store → evaluation; None: it is damaged
        self._told: list[Evaluation] = []  # by the monitor, one at a time
        self._newest: Evaluation | None = None

    def look(self) -> Seen:
        """Return what is known, at most ``FRESH_SECONDS`` old."""
        with self._lock:
            if time.monotonic() >= self._due:
                self._seen = self._look()
                self._due = time.monotonic() + FRESH_SECONDS
            return self._seen

    def read_report(self) -> bytes:
        """Return the newest report, HTML; a sentence if it is not to be had."""
        try:
            content = EvaluationStore(self._place).read_bytes(self._model, REPORT)
            if content is None and self._monitor is not None:
                content = self._monitor.read_report(self._model)
        except (MLOpsError, OSError, ImportError, ValueError) as error:
            return f"The report cannot be had: {error}".encode()
        return content or b"There is no report yet."

    def _look(self) -> Seen:
        failures: list[str] = []
        status, kept = MonitorStatus(), tuple[Evaluation, ...]()
        try:
            kept = self._read_store()
        except (MLOpsError, OSError, ImportError, ValueError) as error:  # as fsspec's file systems fail
            failures.append(f"{self._place}: {error}")
        try:
            status = self._monitor.read_status() if self._monitor else status
        except ModelServerError as error:
            failures.append(str(error))
        told = status.evaluations.get(self._model)
        if not kept and told is not None:
            kept = self._note(told)
        retraining = status.retraining.get(self._model)
        running = retraining is not None and retraining.running
        return Seen(kept, self._newest if kept else None, running, status.problems, "; ".join(failures))

    def _read_store(self) -> tuple[Evaluation, ...]:
        self._store = store = self._store or EvaluationStore(self._place)
        names = store.names(self._model)[-HISTORY:]
        for name in names:
            if name not in self._points:
                content = store.read_bytes(self._model, name)
                self._points[name] = None if content is None else self._decode(content)
        self._points = {name: self._points[name] for name in names}
        return tuple(item for item in self._points.values() if item is not None)

    def _decode(self, content: bytes) -> Evaluation | None:
        try:
            whole = msgspec.json.decode(content, type=Evaluation)
        except msgspec.MsgspecError:
            return None
        if self._newest is None or whole.end >= self._newest.end:
            self._newest = whole
        return trim(whole)

    def _note(self, told: Evaluation) -> tuple[Evaluation, ...]:
        self._newest = told
        if not self._told or (self._told[-1].end, self._told[-1].version) != (told.end, told.version):
            self._told = [*self._told[1 - HISTORY :], trim(told)]
        return tuple(self._told)


def trim(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation without features and scores: three hundred windows of three hundred features fill 200 MB."""
    drift = msgspec.structs.replace(evaluation.drift, features=(), scores=())
    return msgspec.structs.replace(evaluation, drift=drift)


def judge_level(evaluation: Evaluation | None) -> tuple[Level, Alert | None]:
    """Return how grave the newest window is, and its gravest alert."""
    if evaluation is None:
        return "none", None
    if not evaluation.alerts:
        return "quiet", None
    if not evaluation.firing:
        return "changed", evaluation.alerts[0]
    first = evaluation.firing[0]  # the gravest comes first
    return ("loss" if first.name in ("performance-loss", "estimated-loss") else "drift"), first


def is_stale(evaluation: Evaluation, config: Config, now: datetime) -> bool:
    """Whether the newest evaluation is older than two windows, beside the time until the log's segment is closed."""
    patience = 120 * config.monitoring.every_minutes + config.prediction_log.segment_seconds + GRACE_SECONDS
    return (now - datetime.fromisoformat(evaluation.evaluated_at)).total_seconds() > patience


def find_watched(performance: Performance, source: Source) -> MetricValue | None:
    """Return the watched metric, live or estimated; None if it is not known."""
    values = performance.live if source == "live" else performance.estimated
    return next((value for value in values if value.name == performance.metric), None)


def list_points(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Return the newest window's watched metric over time.

    Returns
    -------
    DataFrame
        A row per window and source: ``end`` (UTC), ``when`` (text), ``version``, ``source``, ``value``, ``low``, ``high``,
        ``reference``, and ``run``, which changes where a line must not go on: another version, or a window without a value.
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
    """Return ``end``, ``when``, ``version``, ``share`` and ``drifted``, a row per window."""
    return pd.DataFrame([_place(item) | {"share": item.drift.share, "drifted": item.drift.drifted} for item in evaluations])


def _place(item: Evaluation) -> dict[str, object]:
    end = datetime.fromisoformat(item.end).astimezone(UTC)
    return {"end": end, "when": f"{end:%Y-%m-%d %H:%M} UTC", "version": item.version}


@dataclass(frozen=True)
class Mark:
    """A moment when another version began to answer; ``kind`` is ``promoted`` or ``rolled-back``."""

    at: datetime
    version: str
    kind: str


def find_changes_of_version(evaluations: Sequence[Evaluation]) -> list[Mark]:
    """Return when the evaluated version changed: what there is to mark where no registry tells of promotions."""
    changes = [now for then, now in pairwise(evaluations) if then.version != now.version]
    return [Mark(datetime.fromisoformat(now.start), now.version, "promoted") for now in changes]


def list_features(features: Sequence[FeatureDrift], t: Translate) -> pd.DataFrame:
    """Return a table of features or scores in their order, with translated headings and plain numbers."""
    return pd.DataFrame(
        {
            t("feature"): [item.name for item in features],
            t("drifted"): [t("yes") if item.drifted else "" for item in features],
            t("distance"): [item.jensen_shannon for item in features],
            t("tolerated"): [item.threshold for item in features],
            t("weight"): [item.weight for item in features],
            t("missing.share"): [item.missing_ratio for item in features],
            t("out.of.range"): [item.out_of_range_ratio if item.kind == "numeric" else None for item in features],
            t("unseen"): [item.unseen_ratio if item.kind == "category" else None for item in features],
        }
    )


def link_report(environment: dict[str, str], model: str) -> str:
    """Return where a browser finds the report; empty if nobody says so.

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
