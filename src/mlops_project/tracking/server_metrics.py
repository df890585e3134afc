"""What Prometheus reads from the tracking server, summed over its workers.

A server of one process keeps its numbers in memory. With several workers they are in a folder that all share
(``prometheus_client``'s multiprocess mode): any worker can return the sums, and what a worker counted stays when it ends.
"""

import contextlib
import multiprocessing
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlops_project.errors import StackError
from mlops_project.process import is_process_alive
from mlops_project.prometheus import Metric, write_families

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own
FOLDER_PREFIX = "mlops-tracking-metrics"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
END_STATES = ("FINISHED", "FAILED", "KILLED")


# fmt: off
REQUESTS = Metric("http_requests_total", "counter", ("method", "path", "status"),
                  "Requests answered, by route and status; 499 if the client left before the answer.")
REQUEST_SECONDS = Metric("http_request_duration_seconds", "histogram", ("method", "path"),
                         "From the request's arrival to the response's last byte handed over.", SECONDS)
IN_FLIGHT = Metric("mlops_requests_in_flight", "gauge", (), "Requests at work.")
EXPERIMENTS = Metric("mlflow_experiment_created_total", "counter", (), "Experiments created.")
RUNS = Metric("mlflow_runs_created_total", "counter", (), "Runs created.")
RUNS_FINISHED = Metric("mlflow_runs_finished_total", "counter", ("status",), "Runs ended, by how: FINISHED, FAILED, KILLED.")
MODEL_VERSIONS = Metric("mlflow_model_versions_created_total", "counter", (),
                        "Model versions registered; a prompt's versions are model versions to MLflow.")
# fmt: on
METRICS = (REQUESTS, REQUEST_SECONDS, IN_FLIGHT, EXPERIMENTS, RUNS, RUNS_FINISHED, MODEL_VERSIONS)


class TrackingMetrics:
    """The metrics of this process, and of all workers.

    To be made before anything else in this process imports ``prometheus_client``, which decides on import how it counts.

    Parameters
    ----------
    folder
        Shared by the server's workers; None for a server of one process.

    Attributes
    ----------
    in_flight
        Gauge of ``IN_FLIGHT``.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            os.environ[FOLDER_VARIABLE] = str(folder)
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._folder = folder
        self._own = own = CollectorRegistry()
        self._requests = Counter(REQUESTS.name, REQUESTS.help, REQUESTS.labels, registry=own)
        self._seconds = Histogram(
            REQUEST_SECONDS.name, REQUEST_SECONDS.help, REQUEST_SECONDS.labels, buckets=REQUEST_SECONDS.buckets, registry=own
        )
        self.in_flight = Gauge(IN_FLIGHT.name, IN_FLIGHT.help, registry=own, multiprocess_mode="livesum")
        self.in_flight.set(0)  # a dead worker with this process id may have left another number
        self._changes = {
            metric: Counter(metric.name, metric.help, metric.labels, registry=own)
            for metric in (EXPERIMENTS, RUNS, RUNS_FINISHED, MODEL_VERSIONS)
        }
        for state in END_STATES:
            self._changes[RUNS_FINISHED].labels(state)

    def count_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answered request.

        Parameters
        ----------
        method
            Of HTTP.
        path
            The route's template, never the request's own path: each value makes a series.
        status
            Of HTTP; 499 if the client left before the answer.
        seconds
            From arrival to the response's last byte handed over.
        """
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(method, path).observe(seconds)

    def count_change(self, metric: Metric, *labels: str) -> None:
        """Count something that was created, or ended, in MLflow."""
        counter = self._changes[metric]
        (counter.labels(*labels) if labels else counter).inc()

    def render(self) -> bytes:
        """Return all workers' metrics of ``METRICS`` in Prometheus' text format; MLflow's own share the registry."""
        names = {metric.name.removesuffix("_total") for metric in METRICS}
        families = [family for family in self._collect() if family.name in names]
        for family in families:  # when each series began: one more series for each, and no help to rate()
            family.samples = [sample for sample in family.samples if sample.name != f"{family.name}_created"]

        return write_families(families)

    def _collect(self) -> Iterable[Any]:
        if self._folder is None:
            return self._own.collect()
        from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

        for file in self._folder.glob("gauge_live*.db"):
            process = int(file.stem.rpartition("_")[2])
            if not is_process_alive(process):
                with contextlib.suppress(FileNotFoundError):  # another worker was quicker
                    mark_process_dead(process, str(self._folder))  # type: ignore[no-untyped-call]  # the library's
        families: Iterable[Any] = MultiProcessCollector(None, str(self._folder)).collect()  # type: ignore[no-untyped-call]
        return families


def prepare_folder() -> Path | None:
    """Return the folder that this server's workers share, made if need be; None if this process is the whole server.

    It is named after the process that started the workers, not after a worker, so that one which is started again finds it.
    Folders of servers that are gone are removed.

    Raises
    ------
    StackError
        If it cannot be made, or is another user's.
    """
    if given := os.environ.get(FOLDER_VARIABLE):
        folder = Path(given)
    elif (parent := multiprocessing.parent_process()) is None:
        return None
    else:
        host = f"{FOLDER_PREFIX}-{os.getuid()}-{platform.node()}"
        _remove_stale(Path(tempfile.gettempdir()), host)
        folder = Path(tempfile.gettempdir()) / f"{host}-{parent.pid}-{_start_time(parent.pid)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.lstat().st_uid
    except OSError as error:
        raise StackError(f"{folder}, where the workers' metrics go: {error.strerror}; TMPDIR names another place") from error
    if owner != os.getuid():
        raise StackError(f"{folder}, where the workers' metrics go, belongs to user {owner}; TMPDIR names another place")
    return folder


def _remove_stale(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}-*-*"):
        process, _, started = folder.name.removeprefix(f"{prefix}-").partition("-")
        if not (process.isdigit() and started.isdigit()):
            continue
        if not is_process_alive(int(process)) or _start_time(int(process)) != started:
            shutil.rmtree(folder, ignore_errors=True)


def _start_time(process: int | None) -> str:
    """Return when a process started, in the kernel's ticks since boot; ``0`` on systems without ``/proc``."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "0"
    return text.rpartition(")")[2].split()[19]  # field 22 of proc(5); the second, a name, may hold anything
