"""The servers, started as their containers are and with their variables, answer every probe and the scrape."""

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from mlops_project.config import read_config
from mlops_project.train import train
from mlops_project.utils import DEFAULT_CONFIG
from tests.k8s.manifests import Object, environment, find
from tests.k8s.workloads import PROBES
from tests.servers import free_port, plain_environment, wait_for

QUICK = ["tracking.enabled=false", "evaluation.bootstrap_rounds=0", "evaluation.importance_repeats=0", "gates.minimum={}"]


def read_paths(objects: list[Object], name: str) -> list[str]:
    """Return the paths of a server's probes and of its scrape."""
    template = find(objects, "Deployment", name)["spec"]["template"]
    probes = [template["spec"]["containers"][0][probe]["httpGet"]["path"] for probe in PROBES]
    return [*probes, template["metadata"]["annotations"]["prometheus.io/path"]]


@contextlib.contextmanager
def running(objects: list[Object], name: str, folder: Path, **changed: str) -> Iterator[str]:
    """Run a Deployment's server through the image's entry point; what would leave this folder or loopback is ``changed``."""
    container = find(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
    port = free_port()
    variables = plain_environment() | environment(objects, container) | changed
    prefixes = ("SERVE_", "MLFLOW_", "MLOPS_MONITORING__")
    variables |= {f"{prefix}{what}": text for prefix in prefixes for what, text in _place(port).items()}
    arguments = [str(DEFAULT_CONFIG) if text == "/config/configs.yaml" else text for text in container.get("args", ())]
    with (folder / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "mlops_project.container", *arguments]
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}{container['startupProbe']['httpGet']['path']}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _place(port: int) -> dict[str, str]:
    return {"HOST": "127.0.0.1", "PORT": str(port)}


def ask(url: str, host: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_model_server_answers_before_there_is_a_champion(minikube: list[Object], tmp_path: Path):
    (tmp_path / "models").mkdir()
    config = read_config(DEFAULT_CONFIG, root=tmp_path, overrides=QUICK, env={})
    train(config)
    changed = {
        "SERVE_MODEL_PATH": str(config.model_dir),
        "SERVE_MODELS_DIR": str(tmp_path / "models"),
        "MLOPS_PATHS__PREDICTION_LOG_DIR": str(tmp_path / "predictions"),
    }
    with running(minikube, "model-server", tmp_path, **changed) as address:
        answers = {path: ask(address + path, "10.244.0.7:8000") for path in read_paths(minikube, "model-server")}
        assert ask(f"{address}/healthy", "10.244.0.7:8000") == 404
    assert answers == dict.fromkeys(["/ping", "/ready", "/v2/health/live", "/metrics"], 200)


def test_monitor_answers_before_anything_is_logged(minikube: list[Object], tmp_path: Path):
    """No log, no registry, no model yet: it waits, and says how it is."""
    changed = {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
        "MLOPS_RETRAINING__RUNNER": "process",  # this is no pod
        "MLOPS_PATHS__PREDICTION_LOG_DIR": str(tmp_path / "predictions"),
        "MLOPS_PATHS__MONITORING_DIR": str(tmp_path / "monitoring"),
        "MLOPS_PATHS__EXPORTED_MODEL_DIR": str(tmp_path / "model"),
    }
    (tmp_path / "predictions").mkdir(mode=0o555)
    with running(minikube, "monitor", tmp_path, **changed) as address:
        answers = {path: ask(address + path, "10.244.0.9:8002") for path in read_paths(minikube, "monitor")}
        notify = urllib.request.Request(f"{address}/alerts", b'{"version": "4", "alerts": []}')
        assert ask(notify.full_url, "monitor:8002") == 405  # it takes POST
        notify.add_header("Authorization", "Bearer development-only-webhook-token")
        with urllib.request.urlopen(notify, timeout=10) as response:
            assert (response.status, json.load(response)["result"]) == (202, "ignored")
    assert answers == dict.fromkeys(["/health", "/metrics"], 200)


def test_tracking_server_answers_at_the_pods_address(minikube: list[Object], tmp_path: Path):
    """The kubelet and Prometheus ask by the pod's address, which is no name of the server."""
    changed = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_ARTIFACTS_DESTINATION": str(tmp_path / "artifacts"),
        "MLFLOW_WORKERS": "1",
    }
    with running(minikube, "mlflow-server", tmp_path, **changed) as address:
        answers = {path: ask(address + path, "10.244.0.7:5000") for path in read_paths(minikube, "mlflow-server")}
        search = f"{address}/api/2.0/mlflow/experiments/search?max_results=1"
        by_host = {host: ask(search, host) for host in ("mlflow-service:5000", "192.168.49.2:30500", "example.com:30500")}
    assert answers == dict.fromkeys(["/health", "/metrics"], 200)
    assert by_host == {"mlflow-service:5000": 200, "192.168.49.2:30500": 200, "example.com:30500": 403}
