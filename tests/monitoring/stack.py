"""The shipped Prometheus and Alertmanager configuration, led to servers on this machine."""

import contextlib
import http.server
import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.monitoring.files import ALERTMANAGER, EXPORTERS, PROMETHEUS, RULE_FILES, read_yaml
from tests.monitoring.programs import find_program
from tests.servers import wait_for

# A tracking server on two busy cores answers a scrape in well under two seconds.
INTERVAL = "2s"
NEWER_OPTIONS = ("--config.auto-reload",)  # the image is 3.13, Debian has 2.42
KUBERNETES_ADDRESSES = {"prometheus": "localhost:9090", "kube-state-metrics": "kube-state-metrics:8080"}


class Pod(NamedTuple):
    """A pod as Kubernetes' discovery describes it, but for its address: all are on 127.0.0.1."""

    app: str
    name: str
    port: int
    scrape: str = "true"
    phase: str = "Running"
    container_port: str = ""

    def as_target(self) -> dict[str, Any]:
        """Return it as a static target with the labels that the discovery would give it."""
        meta = {
            "pod_annotation_prometheus_io_scrape": self.scrape,
            "pod_annotation_prometheus_io_port": str(self.port),
            "pod_annotation_prometheus_io_path": "/metrics",
            "pod_label_app": self.app,
            "pod_name": self.name,
            "pod_ip": "127.0.0.1",
            "pod_phase": self.phase,
            "pod_node_name": "minikube",
            "namespace": "mlflow-prod",
        }
        labels = {f"__meta_kubernetes_{key}": value for key, value in meta.items() if value}
        return {"targets": [f"127.0.0.1{self.container_port}"], "labels": labels}


def derive_prometheus(folder: Path, addresses: Mapping[str, str], pods: Sequence[Pod]) -> Path:
    """Write the shipped configuration with this machine's targets; return the file.

    Relabelling, rules and the rest stay. Discovery becomes a list of what it would have found, https becomes http, seconds pass
    faster, and ``ModelServerDown`` waits eight seconds instead of a minute.
    """
    config = read_yaml(PROMETHEUS / "prometheus.yml")
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), INTERVAL)
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [addresses["alertmanager"]]
    for job in config["scrape_configs"]:
        role = (job.pop("kubernetes_sd_configs", None) or [{}])[0].get("role")
        if role == "pod":
            job["static_configs"] = [pod.as_target() for pod in pods]
        elif role == "node":
            node = {"targets": [addresses[job["job_name"]]], "labels": {"__meta_kubernetes_node_name": "minikube"}}
            job |= {"static_configs": [node], "scheme": "http"}
            del job["authorization"], job["tls_config"]
        else:
            (targets,) = job["static_configs"]
            assert targets["targets"] == [KUBERNETES_ADDRESSES[job["job_name"]]]
            targets["targets"] = [addresses[job["job_name"]]]
    for path in RULE_FILES:
        text = path.read_text(encoding="utf-8")
        shorter = re.sub(r"(alert: ModelServerDown\n.*\n +for: )1m", r"\g<1>8s", text)
        (folder / path.name).write_text(shorter, encoding="utf-8")
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return file


def open_relabelling(text: str) -> str:
    """Take the comment signs off the example of ``metric_relabel_configs`` in a configuration, as a user would."""
    start = text.index("# metric_relabel_configs:")
    block = text[start : text.index("\n\n", start)]
    return text.replace(block, "\n".join(line.replace("# ", "", 1) for line in block.splitlines()))


def derive_alertmanager(folder: Path, webhook: str, monitor: str, token: str) -> Path:
    """Write the shipped configuration with a web hook, as its comments show, and short waits; return the file.

    The monitor is at the address ``monitor`` instead of the Service's, and its token in a file of this folder.
    """
    config = read_yaml(ALERTMANAGER)
    (hook,) = next(item["webhook_configs"] for item in config["receivers"] if item["name"] == "monitor")
    hook["url"] = hook["url"].replace("http://monitor:8002", monitor)
    (folder / "webhook-token").write_text(token, encoding="utf-8")
    hook["http_config"]["authorization"]["credentials_file"] = str(folder / "webhook-token")
    config["receivers"].append({"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]})
    config["route"] |= {"receiver": "webhook", "group_wait": "1s", "group_interval": "1s"}
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


@contextlib.contextmanager
def process(
    folder: Path, name: str, command: Sequence[str | Path], ready: str, **variables: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program until the end of the block; wait until the address ``ready`` answers."""
    with (folder / f"{name}.log").open("wb") as log:
        environment = os.environ | variables
        running = subprocess.Popen([*map(str, command)], cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            wait_for(ready, running)
            yield running
        finally:
            running.terminate()
            running.wait(30)


def prometheus_command(container: Mapping[str, Any], config: Path, port: int) -> list[str | Path]:
    """Return the command of the manifest's container, its files here instead of there, without options of newer versions."""
    here = {"/etc/prometheus/prometheus.yml": str(config), "=/prometheus": f"={config.parent / 'data'}"}
    program, *arguments = [item for item in (*container["command"], *container["args"]) if item not in NEWER_OPTIONS]
    assert program == "/bin/prometheus"
    for there, path in here.items():
        arguments = [argument.removesuffix(there) + path if argument.endswith(there) else argument for argument in arguments]
    return [find_program("prometheus"), *arguments, f"--web.listen-address=127.0.0.1:{port}"]


def alertmanager_command(config: Path, port: int) -> list[str | Path]:
    command = [find_program("prometheus-alertmanager"), f"--config.file={config}"]
    command += [f"--storage.path={config.parent / 'alerts'}"]
    return [*command, f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]


def node_exporter_command(manifest_arguments: Sequence[str], port: int) -> list[str | Path]:
    return [find_program("prometheus-node-exporter"), *manifest_arguments, f"--web.listen-address=127.0.0.1:{port}"]


@contextlib.contextmanager
def http_server(answer: Callable[[str, bytes], bytes]) -> Iterator[int]:
    """Serve ``answer(path, body)`` to GET and POST on loopback; give the port. A KeyError is a 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                content = answer(self.path, body)
            except KeyError:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the base class looks for this name

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def exporters() -> Iterator[dict[str, str]]:
    """Serve the samples of the exporters that only a cluster has, counters growing; give each job's address."""
    start = time.monotonic()
    texts = {path.stem: path.read_text(encoding="utf-8") for path in EXPORTERS.glob("*.txt")}

    def grow(text: str) -> bytes:
        passed = (time.monotonic() - start) * 0.1
        return re.sub(
            r"^(\w+_total\{.*\}) (\S+)$", lambda m: f"{m[1]} {float(m[2]) + passed}", text, flags=re.MULTILINE
        ).encode()

    with contextlib.ExitStack() as stack:
        serve = {"kube-state-metrics": {"/metrics": "kube-state-metrics"}, "cadvisor": {"/metrics/cadvisor": "cadvisor"}}
        serve["kubelet"] = {"/metrics": "kubelet"}
        found = {}
        for job, pages in serve.items():
            port = stack.enter_context(http_server(lambda path, _, pages=pages: grow(texts[pages[path]])))
            found[job] = f"127.0.0.1:{port}"
        yield found


def tell(alertmanager_port: int, labels: Mapping[str, str]) -> None:
    """Give Alertmanager an alert, as Prometheus does."""
    body = json.dumps([{"labels": labels}]).encode()
    address = f"http://127.0.0.1:{alertmanager_port}/api/v2/alerts"
    with urllib.request.urlopen(urllib.request.Request(address, body, {"Content-Type": "application/json"}), timeout=10):
        pass


class Prometheus:
    """A running Prometheus and its HTTP API."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.address}/api/v1/{path}?{query}", timeout=20) as response:
            return json.load(response)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression; one that Prometheus refuses is a failure."""
        try:
            return list(self.get("query", query=expression)["result"])
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error

    def targets(self) -> list[dict[str, Any]]:
        return list(self.get("targets", state="active")["activeTargets"])

    def alerts(self) -> dict[str, str]:
        """Return the alerts that are pending or firing."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.get("alerts")["alerts"]}
