"""The loop's processes in one folder: MLflow's server, sync, model server, monitor; each can be killed and started anew."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from examples.demo.machines import make_machines
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.store import EvaluationStore
from mlops_project.prediction_log.reader import Counts, LogReader, Window
from tests.accounts import ask_account
from tests.servers import free_port, plain_environment, wait_for, write_mlflow_tables

MODEL = "machines"
CONFIG = f"""
data: {{source: machines.csv, target: outcome, positive_class: fails}}
model: {{name: {MODEL}, estimator: hist_gradient_boosting, params: {{max_iter: 40, max_depth: 4}}}}
evaluation: {{bootstrap_rounds: 0, importance_repeats: 1}}
gates: {{bootstrap_rounds: 200}}
tracking: {{sync_seconds: 0.5}}
serving: {{poll_seconds: 0.2}}
prediction_log: {{segment_seconds: 1}}
monitoring: {{poll_seconds: 0.5, every_minutes: 0.07, min_rows: 250, label_rows: 600, min_labels: 200,
  consecutive: 2, on_alert: retrain-and-promote}}
retraining: {{min_rows: 900, recent_share: 0.25, cool_down_minutes: 0.05}}
"""
CHANGE = ("--fault", "covariate:feature=temperature,size=2.5", "--fault", "concept:feature=load,at=0.6")
RATE, BATCH = 250, 10  # rows per second, and most of a request
LABEL_DELAY_SECONDS = 2
SERVERS = ("mlflow", "model", "monitor", "sync")
HEALTH = {"mlflow": "/health", "model": "/ping", "monitor": "/health"}


@dataclass
class Sent:
    """What a run of ``mlops simulate`` saw, once it has ended."""

    rows: int = 0
    labels: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)  # by version that answered


class Loop:
    """The processes of one project folder.

    Attributes
    ----------
    folder
        The project, with ``m.yaml``.
    """

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("mlflow", "model", "monitor")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._options = [part for override in overrides for part in ("--set", override)]
        # Threads of several processes that spin for the same two cores make training take five times as long.
        self.environment = plain_environment() | {"MLFLOW_TRACKING_URI": self.address("mlflow"), "OMP_NUM_THREADS": "1"}

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def start(self, *names: str) -> None:
        """Start processes, and wait until those answer that can."""
        for name in names:
            environment = self.environment
            if name == "mlflow":
                environment = plain_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self._command(name), cwd=self.folder, env=environment, stdout=log, stderr=log
                )
        for name in names:
            if name in HEALTH:
                wait_for(f"{self.address(name)}{HEALTH[name]}", self.processes[name])

    def _command(self, name: str) -> list[str]:
        port = str(self.ports.get(name, 0))
        if name == "mlflow":
            where = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
            where += ["--artifacts-destination", str(self.folder / "stored")]
            return ["mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1", *where]
        commands = {
            "sync": ["sync", "m.yaml"],
            "model": ["serve", "m.yaml", "--models", "artifacts/served", "--model", "artifacts/model", "--port", port],
            "monitor": ["monitor", "m.yaml", "--port", port, *self._options],
        }
        return ["mlops", *commands[name]]

    def kill(self, name: str) -> None:
        """``kill -9`` a process and what it started, except a retraining, which lives on."""
        process = self.processes[name]
        children = [] if name == "monitor" else psutil.Process(process.pid).children(recursive=True)
        for child in [process, *children]:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()

    def find_retraining(self) -> psutil.Process | None:
        """Return the retraining that runs in this folder."""
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "mlops_project.retrain" in words and any(str(self.folder) in word for word in words):
                return process
        return None

    def stop(self) -> None:
        """End everything."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        retraining = self.find_retraining()
        if retraining is not None:
            retraining.kill()
            retraining.wait()

    # --- what is to be seen from outside ---

    def read_history(self) -> list[dict[str, Any]]:
        """Return what ``mlops history`` tells, oldest first."""
        from mlops_project.tracking.events import read_history
        from mlops_project.tracking.registry import Move

        with self._store() as store:
            return [
                {"is_move": isinstance(item, Move)} | {name: getattr(item, name) for name in item.__struct_fields__}
                for item in read_history(store, MODEL)
            ]

    def read_champion(self) -> int:
        from mlops_project.tracking.registry import find_champion

        with self._store() as store:
            return find_champion(store, MODEL).number

    def read_versions(self) -> dict[int, str]:
        """Return every version with what the gate said of it."""
        from mlops_project.tracking.registry import list_versions

        with self._store() as store:
            return {version.number: version.verdict for version in list_versions(store, MODEL)}

    def read_evaluations(self, version: str) -> list[Evaluation]:
        """Return what the monitor found in each window of a version, oldest first."""
        return EvaluationStore(str(self.folder / "artifacts" / "monitoring")).read(MODEL, version=version)

    def is_training(self) -> bool:
        """Whether a retraining has come so far that it trains, or farther."""
        logs = self.folder.glob(f"artifacts/monitoring/{MODEL}/retrainings/*.log")
        return any("reading the table" in log.read_text() for log in logs)

    def count_logged(self) -> Counts:
        """Return how many predictions, and how many with a label, are in the Parquet log."""
        window = Window(MODEL, datetime(2026, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
        return LogReader(str(self.folder / "artifacts" / "monitoring")).count(window)

    def read_account(self) -> Counter[str]:
        """Return what the monitor says became of every row."""
        return ask_account(self.address("monitor"))

    @contextlib.contextmanager
    def _store(self) -> Iterator[Any]:
        from mlops_project.tracking.store import open_store
        from mlops_project.utils import load_config

        old = os.environ.get("MLFLOW_TRACKING_URI")
        os.environ["MLFLOW_TRACKING_URI"] = self.address("mlflow")
        try:
            with open_store(load_config(self.folder / "m.yaml")) as store:
                yield store
        finally:
            if old is None:
                del os.environ["MLFLOW_TRACKING_URI"]
            else:
                os.environ["MLFLOW_TRACKING_URI"] = old

    def read_served(self) -> str:
        """Return the version that the model server answers with; empty if it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.address('model')}/ready", timeout=5) as response:
                return str(json.load(response)["models"][MODEL])
        except (OSError, ValueError):
            return ""

    def read_attempts(self) -> list[dict[str, Any]]:
        """Return the record of retrainings."""
        file = self.folder / "artifacts" / "monitoring" / MODEL / "retrainings" / "state.json"
        return json.loads(file.read_text())["attempts"] if file.exists() else []

    def read_logs(self) -> str:
        """Return the end of every log, for a test that fails."""
        files = [*self.folder.glob("*.log"), *self.folder.glob("artifacts/monitoring/*/retrainings/*.log")]
        return "\n".join(f"--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-15:]) for file in files)

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Ask until it is so; fail with all logs after so many seconds."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() < started + seconds, f"no {what} after {seconds} s\n{self.read_logs()}"
            threading.Event().wait(0.2)
        print(f"{what} after {time.monotonic() - started:.1f} s")  # pytest shows it for a test that fails, or with -rP

    @contextlib.contextmanager
    def traffic(self, *options: str) -> Iterator[Sent]:
        """Send traffic with late labels until the block ends; what is given is filled in then."""
        command = ["mlops", "simulate", "m.yaml", "--url", self.address("model"), "--table", "fresh.csv", "--json"]
        command += ["--rows", "1000000", "--rate", str(RATE), "--batch", str(BATCH)]
        command += ["--label-delay", str(LABEL_DELAY_SECONDS), *options]
        sent = Sent()
        with (self.folder / "simulate.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=log)
        try:
            yield sent
            assert process.poll() is None, f"the traffic ended by itself\n{self.read_logs()}"
            process.send_signal(signal.SIGINT)
            found = json.loads(process.communicate(timeout=60)[0])
        finally:
            process.kill()
            process.communicate()
        sent.rows, sent.labels, sent.refused = found["rows_answered"], found["labels_sent"], found["rows_refused"]
        sent.accuracy = {version: item["accuracy"] for version, item in found["by_version"].items()}


def prepare(folder: Path) -> None:
    """Write tables and configuration, and train a first champion under a tracking server."""
    (folder / "pyproject.toml").touch()
    (folder / "m.yaml").write_text(CONFIG)
    write_mlflow_tables(folder / "mlflow.db")
    make_machines(1500, seed=1).to_csv(folder / "machines.csv", index=False)
    make_machines(20_000, seed=2).to_csv(folder / "fresh.csv", index=False)
    loop = Loop(folder)
    try:
        loop.start("mlflow")
        subprocess.run(
            [sys.executable, "-m", "mlops_project.train", "--quiet", "m.yaml"], cwd=folder, env=loop.environment, check=True
        )
    finally:
        loop.stop()
