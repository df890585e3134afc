from prometheus_client.samples import Sample

from mlops_project.prometheus import read_samples
from mlops_project.ui.operations.traffic import find_quantile, summarise

METRICS = r"""# HELP http_requests_total Requests answered.
# TYPE http_requests_total counter
http_requests_total{method="POST",path="/models/{name}/predict",status="200"} 90.0
http_requests_total{method="POST",path="/predict",status="400"} 8.0
http_requests_total{method="POST",path="/invocations",status="500"} 2.0
http_requests_total{method="GET",path="/metrics",status="200"} 1000.0
http_request_duration_seconds_bucket{le="0.001",method="POST",path="/predict"} 50.0
http_request_duration_seconds_bucket{le="0.01",method="POST",path="/predict"} 95.0
http_request_duration_seconds_bucket{le="+Inf",method="POST",path="/predict"} 100.0
http_request_duration_seconds_bucket{le="+Inf",method="GET",path="/metrics"} 100000.0
mlflow_predictions_total{model="m \"x\"\\y",version="1",role="champion"} 1.2e+02
mlops_prediction_log_lost_total 3.0
mlops_last_reload_failed{model="m"} 0.0
mlops_model_loaded_timestamp_seconds{model="m",role="champion"} 1.7e+09
"""


def test_metrics_are_read_with_escaped_labels():
    samples = read_samples(METRICS)
    assert Sample("mlflow_predictions_total", {"model": 'm "x"\\y', "version": "1", "role": "champion"}, 120.0) in samples
    assert Sample("mlops_prediction_log_lost_total", {}, 3.0) in samples
    assert len(samples) == 12


def test_traffic_counts_only_what_predicts():
    traffic = summarise(read_samples(METRICS))
    assert (traffic.requests, traffic.refused, traffic.failed, traffic.rows, traffic.lost) == (100, 8, 2, 120, 3)
    assert traffic.latency_seconds == 0.01
    assert not traffic.reload_failed
    assert traffic.loaded == {("m", "champion"): "2023-11-14T22:13:20+00:00"}


def test_failed_reload_is_seen():
    assert summarise([Sample("mlops_last_reload_failed", {"model": "m"}, 1.0)]).reload_failed


def test_quantile_without_observations_is_none():
    assert find_quantile([], 0.95) is None
    assert find_quantile([Sample("x", {"le": "+Inf"}, 0.0)], 0.95) is None
