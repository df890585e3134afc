"""What the model server's metrics say, in a few numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

REQUESTS, DURATION = "http_requests_total", "http_request_duration_seconds_bucket"
PREDICTING = ("/predict", "/invocations", "/infer")  # how the routes end that predict


@dataclass(frozen=True)
class Traffic:
    """One server's traffic since it started.

    Attributes
    ----------
    requests, refused, failed
        Prediction requests; those answered with 4xx; those with 5xx.
    rows
        Rows predicted.
    latency_seconds
        95th percentile, an upper bound: the histogram's bucket that holds it; None without requests.
    lost
        Predictions that could not be logged.
    reload_failed
        Whether the last attempt to load a model failed.
    loaded
        (model, role) → when, ISO 8601, UTC.
    """

    requests: int
    refused: int
    failed: int
    rows: int
    latency_seconds: float | None
    lost: int
    reload_failed: bool
    loaded: dict[tuple[str, str], str]


def summarise(samples: "Sequence[Sample]") -> Traffic:
    """Return the traffic that a server's metrics tell of."""
    asked = [item for item in samples if item.name == REQUESTS and predicts(item)]
    statuses = [(item.labels.get("status", ""), item.value) for item in asked]
    loaded = {
        (item.labels.get("model", ""), item.labels.get("role", "")): datetime.fromtimestamp(item.value, UTC).isoformat()
        for item in samples
        if item.name == "mlops_model_loaded_timestamp_seconds"
    }
    return Traffic(
        requests=int(sum(value for _, value in statuses)),
        refused=int(sum(value for status, value in statuses if status.startswith("4"))),
        failed=int(sum(value for status, value in statuses if status.startswith("5"))),
        rows=_total(samples, "mlflow_predictions_total"),
        latency_seconds=find_quantile([item for item in samples if item.name == DURATION and predicts(item)], 0.95),
        lost=_total(samples, "mlops_prediction_log_lost_total"),
        reload_failed=_total(samples, "mlops_last_reload_failed") > 0,
        loaded=loaded,
    )


def predicts(sample: "Sample") -> bool:
    """Whether a sample is of a route that predicts."""
    return sample.labels.get("path", "").endswith(PREDICTING)


def _total(samples: "Iterable[Sample]", name: str) -> int:
    return int(sum(item.value for item in samples if item.name == name))


def find_quantile(buckets: "Iterable[Sample]", level: float) -> float | None:
    """Return the upper bound of the bucket in which a quantile lies, in seconds; None without observations."""
    counts: dict[float, float] = {}
    for item in buckets:
        bound = float(item.labels.get("le", "inf"))
        counts[bound] = counts.get(bound, 0.0) + item.value
    total = counts.get(float("inf"), 0.0)
    if not total:
        return None
    return min(bound for bound, count in counts.items() if count >= level * total)
