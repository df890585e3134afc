"""What Prometheus reads from the monitor: the newest evaluation of each model, and counters of the monitor's own work.

Samples are made from the evaluations at each scrape, so that the series of a feature, class or version that is no more vanish.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import get_args

from mlops_project.monitoring.results import AlertName, Evaluation
from mlops_project.prediction_log.missing import REASONS
from mlops_project.prometheus import Metric, build_family, write_families
from mlops_project.sections import MonitoringConfig

Labels = tuple[str, ...]
Samples = Iterator[tuple[Metric, Labels, float]]


ROWS = Metric("mlops_monitor_rows", "gauge", ("model", "version"), "Predictions in the last window.")
LAST_RUN = Metric(
    "mlops_monitor_last_run_timestamp_seconds", "gauge", ("model",), "When the last window was evaluated; seconds since 1970."
)
WINDOW_END = Metric(
    "mlops_monitor_window_end_timestamp_seconds", "gauge", ("model",), "End of the last window; seconds since 1970."
)
RUNS = Metric("mlops_monitor_runs_total", "counter", ("model", "result"), "Windows evaluated, by result (ok, error).")
FEATURE_DRIFT = Metric(
    "mlops_monitor_feature_drift", "gauge", ("model", "feature"), "Jensen–Shannon distance from the reference, 0 to 1."
)
FEATURE_DRIFTED = Metric(
    "mlops_monitor_feature_drifted", "gauge", ("model", "feature"), "1 if the feature changed in the last window."
)
DRIFT_SHARE = Metric(
    "mlops_monitor_drift_share", "gauge", ("model",), "Share of the features that changed, weighted by importance."
)
DOMAIN_AUC = Metric(
    "mlops_monitor_domain_auc",
    "gauge",
    ("model",),
    "How well the window's rows are told from the reference; 0.5 if not at all.",
)
PREDICTION_DRIFT = Metric(
    "mlops_monitor_prediction_drift",
    "gauge",
    ("model", "class"),
    "Jensen–Shannon distance of a class's scores (`value` for a regression).",
)
MISSING = Metric("mlops_monitor_feature_missing_ratio", "gauge", ("model", "feature"), "Share of missing values.")
OUT_OF_RANGE = Metric(
    "mlops_monitor_feature_out_of_range_ratio",
    "gauge",
    ("model", "feature"),
    "Numbers: share outside the training table's range.",
)
UNSEEN = Metric(
    "mlops_monitor_feature_unseen_ratio",
    "gauge",
    ("model", "feature"),
    "Categories: share of values that training did not know.",
)
ASPECT_DRIFTED = Metric(
    "mlops_monitor_aspect_drifted",
    "gauge",
    ("model", "aspect"),
    "1 if what single values do not show changed in the last window: a pair of features, what texts look like, when dates are, "
    "how far dates and hours are from the clock.",
)
REPEATED = Metric("mlops_monitor_repeated_rows_ratio", "gauge", ("model",), "Share of the rows that are copies of others.")
METRIC = Metric(
    "mlops_monitor_metric",
    "gauge",
    ("model", "metric", "source"),
    "The model's metrics: `live` from labels, `estimated` without, `counted` among answers, `reference` on held-out rows.",
)
METRIC_LOW = Metric("mlops_monitor_metric_low", "gauge", ("model", "metric", "source"), "Lower end of the 95% interval.")
METRIC_HIGH = Metric("mlops_monitor_metric_high", "gauge", ("model", "metric", "source"), "Upper end of the 95% interval.")
COVERAGE = Metric(
    "mlops_monitor_label_coverage_ratio", "gauge", ("model",), "Share of labelled predictions among those as old as they."
)
LABEL_DELAY = Metric("mlops_monitor_label_delay_seconds", "gauge", ("model",), "Median time from prediction to label.")
LAST_LABEL = Metric(
    "mlops_monitor_last_label_timestamp_seconds", "gauge", ("model",), "When the newest label came; seconds since 1970."
)
ALERT = Metric(
    "mlops_monitor_alert",
    "gauge",
    ("model", "alert"),
    "1 while the alert fires: it is so for `monitoring.consecutive` windows.",
)
LOG_LAG = Metric(
    "mlops_monitor_log_lag_seconds", "gauge", (), "Age of the oldest closed segment that is not yet read; 0 if all are."
)
UNDECODABLE = Metric(
    "mlops_monitor_undecodable_records_total", "counter", (), "Records of the prediction log that could not be read."
)
DAMAGED = Metric(
    "mlops_monitor_damaged_records_total",
    "counter",
    (),
    "Records of the prediction log that are damaged or missing in their segment; at least so many.",
)
DAMAGED_BYTES = Metric(
    "mlops_monitor_damaged_bytes_total", "counter", (), "Bytes of the prediction log that were skipped as damaged."
)
UNREADABLE = Metric(
    "mlops_monitor_unreadable_files",
    "gauge",
    (),
    "Segments, files of the Parquet log and evaluations that cannot be read and are left out now.",
)
VANISHED = Metric(
    "mlops_monitor_vanished_segments_total", "counter", (), "Closed segments that were deleted before they were read."
)
ODD_TIMES = Metric(
    "mlops_monitor_odd_times_total",
    "counter",
    ("reason",),
    "Rows by a wrong clock: `late` ones are in no window, `ahead` ones in a later one.",
)
EVALUATED = Metric(
    "mlops_monitor_rows_evaluated_total", "counter", ("model", "version"), "Predictions in windows that were evaluated."
)
WAITING = Metric(
    "mlops_monitor_rows_waiting", "gauge", ("model", "version"), "Predictions that were read and wait for their window to end."
)
MISSING_ROWS = Metric(
    "mlops_monitor_rows_missing_total",
    "counter",
    ("model", "reason"),
    "Predictions that are in no window, by reason (late, behind, clock, torn, refused, deleted, unlogged, unreadable); "
    "without a model where it is not known whose they were.",
)
LOG_SIZE = Metric("mlops_monitor_log_bytes", "gauge", (), "Size of the Parquet log; measured now and then.")
LOG_MAX = Metric("mlops_monitor_log_max_bytes", "gauge", (), "Setting `monitoring.log_max_bytes`.")
LOG_DROPPED = Metric(
    "mlops_monitor_log_dropped_bytes_total",
    "counter",
    (),
    "What was deleted from the Parquet log for `monitoring.log_max_bytes` before its time.",
)
CLOCK = Metric("mlops_clock_timestamp_seconds", "gauge", (), "What the monitor's clock says; seconds since 1970.")
RETRAININGS = Metric(
    "mlops_retrainings_total",
    "counter",
    ("model", "result"),
    "Retrainings that ended: promoted, ready (for a person to promote), refused, failed, skipped.",
)
RETRAINING = Metric("mlops_retraining_running", "gauge", ("model",), "1 while a retraining runs.")
LAST_RETRAINING = Metric(
    "mlops_retraining_last_timestamp_seconds", "gauge", ("model",), "When the last retraining ended; seconds since 1970."
)
ROLLBACKS = Metric(
    "mlops_rollbacks_total",
    "counter",
    ("model",),
    "Retrained champions that were worse than their predecessor and rolled back.",
)
NOTIFICATIONS_WAITING = Metric(
    "mlops_notifications_waiting", "gauge", ("target",), "Messages that a receiver of notifications has not taken yet."
)
NOTIFICATIONS = Metric(
    "mlops_notifications_total",
    "counter",
    ("target", "result"),
    "Messages that ended: delivered, dropped (too many waited), given-up (after three days, or unwanted).",
)
ROLLOUT_STATE = Metric(
    "mlops_monitor_rollout_state",
    "gauge",
    ("model", "state"),
    "1 for the state of the newest roll-out: running, paused, promoted, back, aborted, ended.",
)
ROLLOUT_STEP = Metric(
    "mlops_monitor_rollout_share",
    "gauge",
    ("model",),
    "Share of the requests that the newest roll-out gives to its challenger; 0 if it went back, 1 if it was promoted.",
)
ROLLOUT_STEP_AT = Metric(
    "mlops_monitor_rollout_step_timestamp_seconds",
    "gauge",
    ("model",),
    "When the step of the roll-out under way began; seconds since 1970, 0 if none is.",
)
ROLLOUTS = Metric(
    "mlops_rollouts_total", "counter", ("model", "result"), "Roll-outs that ended: promoted, back, aborted, ended."
)
WINDOW_SECONDS = Metric("mlops_monitor_window_seconds", "gauge", (), "Setting `monitoring.every_minutes`, in seconds.")
MIN_ROWS = Metric("mlops_monitor_min_rows", "gauge", (), "Setting `monitoring.min_rows`.")
STALE_LABELS = Metric("mlops_monitor_stale_label_seconds", "gauge", (), "Setting `monitoring.stale_label_hours`, in seconds.")
METRICS = (
    *(ROWS, LAST_RUN, WINDOW_END, RUNS, FEATURE_DRIFT, FEATURE_DRIFTED, DRIFT_SHARE, DOMAIN_AUC, PREDICTION_DRIFT),
    *(
        ASPECT_DRIFTED,
        REPEATED,
        MISSING,
        OUT_OF_RANGE,
        UNSEEN,
        METRIC,
        METRIC_LOW,
        METRIC_HIGH,
        COVERAGE,
        LABEL_DELAY,
        LAST_LABEL,
        ALERT,
    ),
    *(LOG_LAG, UNDECODABLE, DAMAGED, DAMAGED_BYTES, UNREADABLE, VANISHED, ODD_TIMES, CLOCK),
    *(EVALUATED, WAITING, MISSING_ROWS, LOG_SIZE, LOG_MAX, LOG_DROPPED),
    *(RETRAININGS, RETRAINING, LAST_RETRAINING, ROLLBACKS),
    *(NOTIFICATIONS_WAITING, NOTIFICATIONS),
    *(ROLLOUT_STATE, ROLLOUT_STEP, ROLLOUT_STEP_AT, ROLLOUTS),
    *(WINDOW_SECONDS, MIN_ROWS, STALE_LABELS),
)
ROLLOUT_ENDS = ("promoted", "back", "aborted", "ended")
RETRAINING_RESULTS = ("promoted", "ready", "refused", "failed", "skipped")


class MonitorMetrics:
    """The monitor's numbers. Safe to use from several threads.

    Parameters
    ----------
    settings
        What alert rules compare with.
    """

    def __init__(self, settings: MonitoringConfig) -> None:
        self._lock = threading.Lock()
        self._newest: dict[str, Evaluation] = {}
        shown_from_0 = (LOG_LAG, UNDECODABLE, DAMAGED, DAMAGED_BYTES, UNREADABLE, VANISHED, LOG_DROPPED)
        self._values: dict[tuple[Metric, Labels], float] = {(metric, ()): 0.0 for metric in shown_from_0}
        self._values |= {(ODD_TIMES, (reason,)): 0.0 for reason in ("late", "ahead")}
        self.put(WINDOW_SECONDS, settings.every_minutes * 60)
        self.put(MIN_ROWS, settings.min_rows)
        self.put(STALE_LABELS, settings.stale_label_hours * 3600)
        self.put(LOG_MAX, settings.log_max_bytes)

    @property
    def newest(self) -> dict[str, Evaluation]:
        """Model → its newest evaluation."""
        with self._lock:
            return dict(self._newest)

    def show(self, evaluation: Evaluation) -> None:
        """Show an evaluation in place of the model's last one."""
        with self._lock:
            self._newest[evaluation.model] = evaluation

    def show_only(self, model: str, newest: Sequence[Evaluation]) -> None:
        """Show the newest of these evaluations in place of the model's last one; none, if there is none."""
        with self._lock:
            self._newest.pop(model, None)
            self._newest |= {item.model: item for item in newest}

    def add(self, metric: Metric, amount: float = 1.0, *labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._values[metric, labels] = self._values.get((metric, labels), 0.0) + amount

    def begin(self, model: str) -> None:
        """Show a model's counters from 0 on: what Prometheus sees first at 1 has not increased."""
        for result in ("ok", "error"):
            self.add(RUNS, 0.0, model, result)
        for reason in REASONS:
            self.add(MISSING_ROWS, 0.0, model, reason)

    def put(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a value, also of a counter that is kept elsewhere."""
        with self._lock:
            self._values[metric, labels] = value

    def show_retraining(self, model: str, *, running: bool, ended_at: str | None, counts: Mapping[str, int]) -> None:
        """Show how retraining stands.

        Parameters
        ----------
        ended_at
            Of the last one; ISO 8601.
        counts
            Result → how many ended so, ever.
        """
        self.put(RETRAINING, float(running), model)
        for result in RETRAINING_RESULTS:
            self.put(RETRAININGS, counts.get(result, 0), model, result)
        self.put(ROLLBACKS, counts.get("rolled-back", 0), model)
        if ended_at:
            self.put(LAST_RETRAINING, _seconds(ended_at), model)

    def show_rollout(self, model: str, state: str, share: float, step_at: datetime | None, *, ended: bool) -> None:
        """Show how the newest roll-out stands.

        Parameters
        ----------
        step_at
            When its step began; None if none is under way.
        ended
            Whether it ended since the last time: then it is counted.
        """
        for other in ("running", "paused", *ROLLOUT_ENDS):
            self.put(ROLLOUT_STATE, float(other == state), model, other)
        self.put(ROLLOUT_STEP, share, model)
        self.put(ROLLOUT_STEP_AT, 0.0 if step_at is None else step_at.timestamp(), model)
        for result in ROLLOUT_ENDS:
            self.add(ROLLOUTS, float(ended and result == state), model, result)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        self.put(CLOCK, time.time())
        with self._lock:
            samples = [(metric, labels, value) for (metric, labels), value in self._values.items()]
            evaluations = list(self._newest.values())
        for evaluation in evaluations:
            samples += describe(evaluation)
        families = {metric: build_family(metric) for metric in METRICS}
        for metric, labels, value in samples:
            families[metric].add_metric(labels, value)
        return write_families(families.values())


def describe(evaluation: Evaluation) -> Samples:
    """Yield every gauge of an evaluation; what was not measured has none."""
    model = (evaluation.model,)
    yield ROWS, (*model, evaluation.version), evaluation.rows
    yield LAST_RUN, model, _seconds(evaluation.evaluated_at)
    yield WINDOW_END, model, _seconds(evaluation.end)
    firing = {alert.name for alert in evaluation.firing}
    for name in get_args(AlertName):
        yield ALERT, (*model, name), float(name in firing)
    if evaluation.drift.features:
        yield from _describe_drift(evaluation)
    yield from _describe_performance(evaluation)


def _describe_drift(evaluation: Evaluation) -> Samples:
    model, drift = (evaluation.model,), evaluation.drift
    yield DRIFT_SHARE, model, drift.share
    if drift.domain:
        yield DOMAIN_AUC, model, drift.domain.auc
    if drift.repeats:
        yield REPEATED, model, drift.repeats.share
    for aspect in drift.aspects:
        yield ASPECT_DRIFTED, (*model, aspect.name), float(aspect.drifted)
    for score in drift.scores:
        yield PREDICTION_DRIFT, (*model, score.name), score.jensen_shannon
    for feature in drift.features:
        labels = (*model, feature.name)
        yield FEATURE_DRIFT, labels, feature.jensen_shannon
        yield FEATURE_DRIFTED, labels, float(feature.drifted)
        yield MISSING, labels, feature.missing_ratio
        if feature.kind == "numeric":
            yield OUT_OF_RANGE, labels, feature.out_of_range_ratio
        else:
            yield UNSEEN, labels, feature.unseen_ratio


def _describe_performance(evaluation: Evaluation) -> Samples:
    model, performance = (evaluation.model,), evaluation.performance
    references = {}
    for value in (*performance.live, *performance.estimated, *performance.counted):
        labels = (*model, value.name, value.source)
        for metric, number in ((METRIC, value.value), (METRIC_LOW, value.low), (METRIC_HIGH, value.high)):
            if math.isfinite(number):
                yield metric, labels, number
        references[value.name] = value.reference
    for name, number in references.items():
        yield METRIC, (*model, name, "reference"), number
    optional = ((COVERAGE, performance.label_coverage), (LABEL_DELAY, performance.label_delay_seconds))
    for metric, known in optional:
        if known is not None:
            yield metric, model, known
    if evaluation.last_label_at:
        yield LAST_LABEL, model, _seconds(evaluation.last_label_at)


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
