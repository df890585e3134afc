"""A whole monitoring stack of real programs, made once."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.k8s.manifests import Object, build, find
from tests.monitoring import stack
from tests.monitoring.files import K8S
from tests.monitoring.traffic import traffic
from tests.servers import BIN, free_port, start_tracking_server, wait_until

SEGMENTS = ["--set", "prediction_log.segment_seconds=0.5"]
LIMITS = ["--set", "serving.max_body_bytes=100000", "--set", "serving.poll_seconds=0.5", *SEGMENTS]
TOKEN = "development-only-token"
# Windows of seconds. Alerts never fire: the repeated rows of the traffic are no healthy input.
WINDOWS = {"every_minutes": 0.05, "poll_seconds": 0.5, "min_rows": 60, "min_labels": 30, "consecutive": 100_000}


class Stack(NamedTuple):
    """What runs, and how to start the model server again."""

    prometheus: stack.Prometheus
    prometheus_process: "subprocess.Popen[bytes]"
    notifications: list[dict[str, object]]
    servers: contextlib.ExitStack
    model_command: list[str | Path]
    model_port: int
    alertmanager_port: int
    folder: Path


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained model."""
    from mlops_project.config import read_config
    from mlops_project.train import train

    root = tmp_path_factory.mktemp("trained")
    file = root / "model.yaml"
    file.write_text("model: {estimator: decision_tree}\nevaluation: {bootstrap_rounds: 0, importance_repeats: 0}\n")
    return train(read_config(file, root=root, overrides=["tracking.enabled=false"], env={})).bundle.path


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Stack]:
    """Tracking server, model server, monitor, node-exporter, Prometheus and Alertmanager, under traffic."""
    folder = tmp_path_factory.mktemp("stack")
    received: list[dict[str, object]] = []
    with contextlib.ExitStack() as everything:
        enter = everything.enter_context
        tracking = enter(start_tracking_server(folder, "--app-name", "mlops"))
        model_port = free_port()
        command = [BIN / "mlops", "serve", "--port", str(model_port), "--model", bundle, *LIMITS]
        servers = enter(contextlib.ExitStack())
        servers.enter_context(stack.process(folder, "model", command, f"http://127.0.0.1:{model_port}/ping"))
        monitor_port = enter(_monitor(folder, bundle))
        addresses = enter(stack.exporters())
        node_port = enter(_node_exporter(folder))
        alertmanager_port, prometheus_port = free_port(), free_port()
        hook = enter(stack.http_server(lambda _, body: received.append(json.loads(body)) or b""))
        config = stack.derive_alertmanager(folder, f"http://127.0.0.1:{hook}/", f"http://127.0.0.1:{monitor_port}", TOKEN)
        ready = f"http://127.0.0.1:{alertmanager_port}/-/ready"
        enter(stack.process(folder, "alertmanager", stack.alertmanager_command(config, alertmanager_port), ready))
        addresses |= {"alertmanager": f"127.0.0.1:{alertmanager_port}", "prometheus": f"127.0.0.1:{prometheus_port}"}
        pods = _pods(tracking.port, model_port, monitor_port, node_port, alertmanager_port)
        config = stack.derive_prometheus(folder, addresses, pods)
        ready = f"http://127.0.0.1:{prometheus_port}/-/ready"
        container = _container("Deployment", "prometheus") | {
            "args": ["--storage.tsdb.retention.time=365d"]
        }  # as people patch it
        prometheus_command = stack.prometheus_command(container, config, prometheus_port)
        process = enter(stack.process(folder, "prometheus", prometheus_command, ready))
        with traffic(tracking.address, f"http://127.0.0.1:{model_port}", bundle):
            prometheus = stack.Prometheus(prometheus_port)
            wait_until(lambda: {target["health"] for target in prometheus.targets()} == {"up"}, 60)
            yield Stack(prometheus, process, received, servers, command, model_port, alertmanager_port, folder)


def _pods(tracking: int, model: int, monitor: int, node: int, alertmanager: int) -> list[stack.Pod]:
    """Return the pods that are scraped, and some that must not be, or only once."""
    return [
        stack.Pod("mlflow-server", "mlflow-server-6c9b7d5f4-2xkqp", tracking),
        stack.Pod("model-server", "model-server-7f6d9c8b5-4jw2t", model, container_port=":8000"),
        stack.Pod("model-server", "model-server-7f6d9c8b5-4jw2t", model),  # the same pod's container without a port
        stack.Pod("monitor", "monitor-5f6d7c8b9-n4t7w", monitor),
        stack.Pod("alertmanager", "alertmanager-6b5c4d7f8-z2x4v", alertmanager),
        stack.Pod("node-exporter", "node-exporter-q8w7e", node),
        stack.Pod("mlflow-migrate", "mlflow-migrate-5tgb6", 1, phase="Succeeded"),
        stack.Pod("mlflow-postgresql", "mlflow-postgresql-0", 1, scrape=""),
    ]


@contextlib.contextmanager
def _monitor(folder: Path, bundle: Path) -> Iterator[int]:
    """Run ``mlops monitor`` over the model server's log; give the port."""
    port = free_port()
    settings = {"tracking.enabled": "false", "paths.exported_model_dir": bundle, "paths.monitoring_dir": folder / "monitoring"}
    settings |= {f"monitoring.{name}": value for name, value in WINDOWS.items()}
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    command = [BIN / "mlops", "monitor", "--port", str(port), "--segments", folder / "logs/predictions", *SEGMENTS, *options]
    with stack.process(folder, "monitor", command, f"http://127.0.0.1:{port}/health", MONITOR_WEBHOOK_TOKEN=TOKEN):
        yield port


@contextlib.contextmanager
def _node_exporter(folder: Path) -> Iterator[int]:
    """Run it with the arguments that its manifest has; give the port."""
    port = free_port()
    command = stack.node_exporter_command(_container("DaemonSet", "node-exporter")["args"], port)
    with stack.process(folder, "node-exporter", command, f"http://127.0.0.1:{port}/metrics"):
        yield port


def _container(kind: str, name: str) -> Object:
    """Return the one container of a workload in the manifests."""
    (found,) = find(build(K8S / "single/monitoring"), kind, name)["spec"]["template"]["spec"]["containers"]
    return dict(found)
