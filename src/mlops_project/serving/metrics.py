"""What Prometheus reads at ``/metrics``, summed over the workers. Labels are what the server knows, never text of a request."""

import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlops_project.prometheus import Metric
from mlops_project.serving.counters import Counters, Key

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FEW_ROWS = 16  # whose classes are counted one by one, which takes less time
ROWS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 100000.0)


# fmt: off
REQUESTS = Metric("http_requests_total", "counter", ("method", "path", "status"),
                  "Requests answered, by route and status; those over gRPC have the method `gRPC`.")
REQUEST_SECONDS = Metric("http_request_duration_seconds", "histogram", ("method", "path"),
                         "From the request's arrival to the response's last byte handed over.", SECONDS)
GRPC_HANDLED = Metric("grpc_server_handled_total", "counter", ("grpc_service", "grpc_method", "grpc_code"),
                      "Calls answered over gRPC, by the code that their client got.")
MODEL_SECONDS = Metric("mlflow_model_request_duration_seconds", "histogram", ("model", "version"),
                       "Decoding, validation and prediction of one request.", SECONDS)
PREDICTIONS = Metric("mlflow_predictions_total", "counter", ("model", "version", "role"), "Rows predicted.")
BATCH = Metric("mlops_request_rows", "histogram", ("model",), "Rows per request: the batch size.", ROWS)
CLASSES = Metric("mlops_predicted_classes_total", "counter", ("model", "version", "class"), "Rows predicted as each class.")
IN_FLIGHT = Metric("mlops_requests_in_flight", "gauge", (), "Requests at work or waiting.")
CONNECTIONS = Metric("mlops_connections", "gauge", (), "Open connections.")
REFUSED = Metric("mlops_requests_refused_total", "counter", ("reason",),
                 "Requests refused before the model saw them: overload, connections, http, head, size, rows, key, slow, log, "
                 "loading, model.")
MODEL_INFO = Metric("mlops_model_info", "latest", ("model", "version", "role", "digest", "engine"),
                    "1 for each model that is loaded; its engine is `trees` (ensembles in C), `onnxruntime` or `python`.")
LOADED_AT = Metric("mlops_model_loaded_timestamp_seconds", "latest", ("model", "role"), "When; seconds since 1970.")
RELOADS = Metric("mlops_reloads_total", "counter", ("model", "result"), "Attempts to load a model, by result (ok, error).")
RELOAD_AT = Metric("mlops_last_reload_timestamp_seconds", "latest", ("model",), "When it was last tried; seconds since 1970.")
RELOAD_FAILED = Metric("mlops_last_reload_failed", "gauge", ("model",), "Workers whose last attempt to load failed; 0 is good.")
VERSION_REFUSED = Metric("mlops_version_refused", "latest", ("model", "alias", "version", "cause"),
                         "1 for each version that mlops sync does not publish; its cause is that of sync.json.")
SYNC_AT = Metric("mlops_sync_timestamp_seconds", "latest", ("model",), "When mlops sync last tried; seconds since 1970.")
MODEL_MEMORY = Metric("mlops_model_memory_bytes", "latest", ("model", "role"),
                      "What a loaded model takes in each worker, as measured when it was proven.")
MODELS_MEMORY = Metric("mlops_models_memory_bytes", "gauge", (), "What all loaded models take, in all workers together.")
MODELS_SHARED = Metric("mlops_models_shared_bytes", "gauge", (),
                       "What of it the workers share: counted for each of them there and here, in memory once.")
MODELS_LOADED = Metric("mlops_models_loaded", "latest", (), "Models in memory, of the worker that has most.")
MODELS_LISTED = Metric("mlops_models_listed", "latest", (), "Models that can be asked for.")
EVICTED = Metric("mlops_models_evicted_total", "counter", ("model",),
                 "Times that a model left memory for another one (`serving.models.memory_bytes`), or was unloaded.")
LOAD_SECONDS = Metric("mlops_model_load_seconds", "histogram", (), "Reading, proving and loading one model.",
                      (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0))
MODEL_REFUSED = Metric("mlops_model_requests_refused_total", "counter", ("model",),
                       "Requests refused because the model had as many at work as `serving.models.limits` lets it.")
LOG_RECORDS = Metric("mlops_prediction_log_records_total", "counter", (), "Records written to the prediction log.")
LOG_BYTES = Metric("mlops_prediction_log_bytes_total", "counter", (), "Bytes written to the prediction log.")
LOG_LOST = Metric("mlops_prediction_log_lost_total", "counter", (),
                  "Predictions that could not be logged, or are gone because someone changed the open segment.")
LOG_CHANGES = Metric("mlops_prediction_log_changes_total", "counter", ("change",),
                     "Times that someone else deleted, moved or changed a segment that was being written.")
LOG_UNREAD = Metric("mlops_prediction_log_unread_bytes", "latest", (), "Closed segments that no monitor has read.")
LOG_OVERDUE = Metric("mlops_prediction_log_overdue_bytes", "latest", (),
                     "Closed segments older than `prediction_log.retention_days` that no monitor has read.")
LOG_MAX = Metric("mlops_prediction_log_max_bytes", "latest", (), "Setting `prediction_log.max_bytes`.")
LOG_UNREAD_DELETED = Metric("mlops_prediction_log_unread_deleted_total", "counter", (),
                            "Segments that were deleted before a monitor had read them.")
CLOCK = Metric("mlops_clock_timestamp_seconds", "latest", (), "What the server's clock says; seconds since 1970.")
LABELS = Metric("mlops_feedback_labels_total", "counter", (), "Labels received at /feedback.")
REPEATED = Metric("mlops_repeated_requests_total", "counter", (),
                  "Requests that came again under the same Idempotency-Key; neither logged nor counted as predictions again.")
ROLLOUT_SHARE = Metric("mlops_rollout_share", "latest", ("model", "version"),
                       "Share of the requests that the challenger answers in a guarded roll-out; absent without one.")
CANARY_FAILED = Metric("mlops_canary_failures_total", "counter", ("model", "version"),
                       "Requests that a challenger was to answer and could not, so that the champion did.")
SHADOW_DROPPED = Metric("mlops_shadow_dropped_total", "counter", ("model",), "Requests that the busy challenger left out.")
# fmt: on
METRICS = (
    *(
        REQUESTS,
        REQUEST_SECONDS,
        GRPC_HANDLED,
        MODEL_SECONDS,
        PREDICTIONS,
        BATCH,
        CLASSES,
        IN_FLIGHT,
        CONNECTIONS,
        REFUSED,
        MODEL_INFO,
    ),
    *(LOADED_AT, RELOADS, RELOAD_AT, RELOAD_FAILED, LOG_RECORDS, LOG_BYTES, LOG_LOST, LABELS, SHADOW_DROPPED),
    *(LOG_CHANGES, LOG_UNREAD, LOG_OVERDUE, LOG_MAX, LOG_UNREAD_DELETED, CLOCK, VERSION_REFUSED, SYNC_AT, REPEATED),
    *(MODEL_MEMORY, MODELS_MEMORY, MODELS_SHARED, MODELS_LOADED, MODELS_LISTED, EVICTED, LOAD_SECONDS, MODEL_REFUSED),
    *(ROLLOUT_SHARE, CANARY_FAILED),
)


class Histogram:
    """One histogram of this process."""

    def __init__(self, counters: Counters, metric: Metric, labels: Sequence[str]) -> None:
        self._values, self._bounds = counters.values, metric.buckets
        parts = [*map(str, range(len(metric.buckets) + 1)), "sum"]
        slots = counters.slots(Key(metric.name, tuple(labels), part) for part in parts)
        self._buckets, self._sum = slots[:-1], slots[-1]

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value ``count`` times."""
        values = self._values
        values[self._buckets[bisect_left(self._bounds, value)]] += count
        values[self._sum] += value * count


class ModelMetrics:
    """The metrics of one loaded model in one role; their places in the counters are looked up once."""

    def __init__(self, counters: Counters, model: str, version: str, role: str, classes: Sequence[str]) -> None:
        self._values = counters.values
        self.seconds = Histogram(counters, MODEL_SECONDS, (model, version))
        self.batch = Histogram(counters, BATCH, (model,))
        self._rows = counters.slot(Key(PREDICTIONS.name, (model, version, role)))
        self._classes = counters.slots(Key(CLASSES.name, (model, version, name)) for name in classes)

    def count(self, n_rows: int, indices: "npt.NDArray[np.int64] | None", seconds: float) -> None:
        """Count a request that was answered.

        Parameters
        ----------
        n_rows
            Rows of the request.
        indices
            Predicted class of each row; None for regression.
        seconds
            How long decoding, validation and prediction took.
        """
        values = self._values
        values[self._rows] += n_rows
        if indices is not None:
            if n_rows <= FEW_ROWS:
                for index in indices.tolist():
                    values[self._classes[index]] += 1.0
            else:
                for slot, n in zip(self._classes, np.bincount(indices, minlength=len(self._classes)).tolist(), strict=True):
                    values[slot] += n
        self.batch.observe(n_rows)
        self.seconds.observe(seconds)


class ServerMetrics:
    """The metrics of this worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counters = Counters(folder)
        self.values = self.counters.values
        self.load_seconds = Histogram(self.counters, LOAD_SECONDS, ())
        self._routes: dict[tuple[str, str], tuple[Histogram, dict[int, int]]] = {}
        for metric in (IN_FLIGHT, CONNECTIONS, LOG_RECORDS, LOG_BYTES, LOG_LOST, LOG_UNREAD_DELETED, LABELS, REPEATED):
            self.counters.slot(Key(metric.name, ()))

    def count_request(self, method: str, path: str, status: int, seconds: float, count: int = 1) -> None:
        """Count an answered request, or several that took as long.

        Parameters
        ----------
        method
            Of HTTP.
        path
            The route's template, never the request's own path: each value makes a series.
        status
            Of HTTP.
        seconds
            From arrival to the response's last byte handed over.
        count
            How many requests.
        """
        route = self._routes.get((method, path))
        if route is None:
            route = self._routes[method, path] = (Histogram(self.counters, REQUEST_SECONDS, (method, path)), {})
        histogram, statuses = route
        slot = statuses.get(status)
        if slot is None:
            slot = statuses[status] = self.counters.slot(Key(REQUESTS.name, (method, path, str(status))))
        self.values[slot] += count
        histogram.observe(seconds, count)

    def add(self, metric: Metric, amount: float = 1.0, *labels: str) -> None:
        """Add to a counter."""
        self.values[self.counters.slot(Key(metric.name, labels))] += amount

    def put(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        self.values[self.counters.slot(Key(metric.name, labels))] = value

    def put_time(self, metric: Metric, *labels: str) -> None:
        """Set a gauge to now."""
        self.put(metric, time.time(), *labels)
