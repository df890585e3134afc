"""Traffic to a real model server, and a real monitor that watches its log."""

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from mlops_project.bundle import load_bundle
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.store import EvaluationStore
from mlops_project.monitoring.windows import MARGIN
from tests.servers import ModelServer, free_port, plain_environment, wait_for, wait_until

SEED = 7
SEGMENTS = ["--set", "prediction_log.segment_seconds=0.3"]
QUICK = [*SEGMENTS, "--set", "tracking.enabled=false"]
WINDOWS = ["--set", "monitoring.every_minutes=0.02", "--set", "monitoring.poll_seconds=0.1", "--set", "monitoring.min_rows=60"]
BATCH = 30


class Traffic:
    """Held-out rows, drawn again and again, sent to a model server.

    Attributes
    ----------
    sent
        Number of rows that were answered.
    """

    def __init__(self, server: ModelServer) -> None:
        self.server, self.sent = server, 0
        bundle = load_bundle(server.folder / "artifacts/model")
        self.contract = bundle.contract
        self.rows = pd.read_parquet(bundle.path / "reference.parquet")
        self._draws = 0

    def send(self, n_rows: int, *, shift: float = 0.0, labels: str = "") -> None:
        """Send rows in batches.

        Parameters
        ----------
        shift
            Added to the most important columns, in their standard deviations.
        labels
            ``true``: with the true label for each; ``wrong``: with the other one; empty: without.
        """
        for _ in range(0, n_rows, BATCH):
            self._draws += 1
            drawn = self.rows.sample(BATCH, replace=True, random_state=SEED + self._draws)
            columns = drawn[list(self.contract.names)]
            body = (columns + shift * self.rows[columns.columns].std()).to_dict("records")
            prediction_id = self._post("/predict", body)[1]["x-prediction-id"]
            self.sent += BATCH
            if labels:
                truth = drawn[self.contract.target].tolist()
                classes = list(self.contract.classes)
                said = truth if labels == "true" else [classes[1 - classes.index(label)] for label in truth]
                self._post("/feedback", [{"id": f"{prediction_id}.{row}", "label": label} for row, label in enumerate(said)])

    def _post(self, path: str, content: Any) -> tuple[Any, Any]:
        request = urllib.request.Request(f"{self.server.address}{path}", json.dumps(content).encode())
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read()), response.headers

    def wait_until_complete(self) -> None:
        """Wait until every segment is closed, and the last row so old that no other of its time can come."""
        log, sent_at = self.server.folder / "logs/predictions", datetime.now(UTC)
        wait_until(lambda: not list(log.glob("*.open")) and datetime.now(UTC) > sent_at + MARGIN, 20)


def look(project: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = ["mlops", "monitor", "--once", *QUICK, *options]
    return subprocess.run(
        command, cwd=project, env=plain_environment(), text=True, capture_output=True, timeout=120, check=False
    )


@contextlib.contextmanager
def monitor(project: Path, *options: str, **variables: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run the service; give its process and address."""
    port = free_port()
    command = ["mlops", "monitor", "--port", str(port), *QUICK, *WINDOWS, *options]
    with (project / "monitor.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=project, env=plain_environment() | variables, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def ask(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as response:
        return response.read().decode()


def read_evaluations(project: Path) -> list[Evaluation]:
    return EvaluationStore(str(project / "artifacts/monitoring")).read("breast-cancer")
