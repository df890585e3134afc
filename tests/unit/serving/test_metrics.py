import os
import subprocess
import sys

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from mlops_project.serving import metrics as names
from mlops_project.serving.exposition import render
from mlops_project.serving.metrics import METRICS, ModelMetrics, ServerMetrics

OTHER_WORKER = """
import sys
from pathlib import Path
import numpy as np
from mlops_project.serving import metrics as names
from mlops_project.serving.metrics import ModelMetrics, ServerMetrics
metrics = ServerMetrics(Path(sys.argv[1]))
metrics.count_request("POST", "/invocations", 200, 0.003)
ModelMetrics(metrics.counters, "m", "2", "champion", ["no", "yes"]).count(4, np.array([0, 1, 1, 1]), 0.2)
metrics.put(names.IN_FLIGHT, 7)
if sys.argv[2] == "wait":
    print("there", flush=True); sys.stdin.read()
"""


def read(folder) -> dict:
    families = text_string_to_metric_families(render(folder).decode())
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}


def test_counters_of_dead_workers_stay_and_their_gauges_go(tmp_path):
    metrics = ServerMetrics(tmp_path)
    metrics.count_request("POST", "/invocations", 200, 0.001)
    metrics.count_request("POST", "/invocations", 400, 0.001)
    ModelMetrics(metrics.counters, "m", "1", "champion", ["no", "yes"]).count(1, np.array([1]), 0.001)
    metrics.put(names.IN_FLIGHT, 2)
    subprocess.run([sys.executable, "-c", OTHER_WORKER, str(tmp_path), "end"], check=True)
    values = read(tmp_path)
    requests = ("http_requests_total", ("method", "POST"), ("path", "/invocations"))
    assert values[*requests, ("status", "200")] == 2
    assert values[*requests, ("status", "400")] == 1
    assert values["mlflow_predictions_total", ("model", "m"), ("role", "champion"), ("version", "2")] == 4
    assert values["mlops_predicted_classes_total", ("class", "yes"), ("model", "m"), ("version", "2")] == 3
    assert values["mlops_requests_in_flight",] == 2


def test_gauges_of_living_workers_add_up(tmp_path):
    metrics = ServerMetrics(tmp_path)
    metrics.put(names.IN_FLIGHT, 2)
    command = [sys.executable, "-c", OTHER_WORKER, str(tmp_path), "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "there\n"
        assert read(tmp_path)["mlops_requests_in_flight",] == 9
        other.communicate("")
    assert read(tmp_path)["mlops_requests_in_flight",] == 2


def test_histogram_buckets_are_cumulative(tmp_path):
    metrics = ServerMetrics(tmp_path)
    for seconds in (0.0001, 0.0004, 0.3, 99):
        metrics.count_request("GET", "/ping", 200, seconds)
    values = read(tmp_path)
    labels = (("method", "GET"), ("path", "/ping"))
    name = "http_request_duration_seconds"
    assert values[f"{name}_bucket", ("le", "0.0001"), *labels] == 1
    assert values[f"{name}_bucket", ("le", "0.0005"), *labels] == 2
    assert values[f"{name}_bucket", ("le", "10.0"), *labels] == 3
    assert values[f"{name}_bucket", ("le", "+Inf"), *labels] == values[f"{name}_count", *labels] == 4
    assert abs(values[f"{name}_sum", *labels] - 99.3005) < 1e-9


def test_information_of_a_model_that_left_is_gone(tmp_path):
    metrics = ServerMetrics(tmp_path)
    metrics.put(names.MODEL_INFO, 1.0, "m", "1", "champion", "aaa")
    metrics.put(names.MODEL_INFO, 0.0, "m", "1", "champion", "aaa")
    metrics.put(names.MODEL_INFO, 1.0, "m", "2", "champion", "bbb")
    versions = [key for key in read(tmp_path) if key[0] == "mlops_model_info"]
    assert len(versions) == 1


def test_odd_class_names_survive(tmp_path):
    metrics = ServerMetrics(tmp_path)
    ModelMetrics(metrics.counters, 'm"\\', "1", "champion", ["a\nb", "ção"]).count(2, np.array([0, 1]), 0.1)
    classes = {dict(key[1:])["class"] for key in read(tmp_path) if key[0] == "mlops_predicted_classes_total"}
    assert classes == {"a\nb", "ção"}


def test_every_metric_has_a_help_text_and_files_carry_the_process_id(tmp_path):
    ServerMetrics(tmp_path)
    text = render(tmp_path).decode()
    for metric in METRICS:
        assert f"# HELP {metric.name} " in text or f"# HELP {metric.name.removesuffix('_total')} " in text
    assert (tmp_path / f"{os.getpid()}.values").exists()


def test_numbers_that_come_between_two_readings_are_read(tmp_path):
    metrics = ServerMetrics(tmp_path)
    assert ("mlops_models_evicted_total", ("model", "m")) not in read(tmp_path)
    metrics.add(names.EVICTED, 1.0, "m")
    assert read(tmp_path)["mlops_models_evicted_total", ("model", "m")] == 1
    metrics.add(names.EVICTED, 1.0, 'a "quoted"\\ name\nof two lines')
    values = read(tmp_path)
    assert values["mlops_models_evicted_total", ("model", 'a "quoted"\\ name\nof two lines')] == 1
    assert values["mlops_models_evicted_total", ("model", "m")] == 1


def test_more_numbers_than_there_is_room_for_leave_the_others_readable(tmp_path, monkeypatch):
    monkeypatch.setattr("mlops_project.serving.counters.SLOTS", 60)
    metrics = ServerMetrics(tmp_path)
    metrics.count_request("GET", "/ping", 200, 0.001)
    for number in range(50):
        metrics.add(names.EVICTED, 1.0, f"model-{number}")
    assert read(tmp_path)["http_requests_total", ("method", "GET"), ("path", "/ping"), ("status", "200")] == 1
