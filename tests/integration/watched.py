"""A project whose log is written as servers would, at any time by any clock, and whose monitor is stepped by hand."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import msgspec

from mlops_project.bundle import Bundle, load_bundle
from mlops_project.monitor import Monitor
from mlops_project.monitoring.service.bundles import name_version
from mlops_project.monitoring.windows import MARGIN
from mlops_project.prediction_log.records import About
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.train import train
from tests.accounts import count_rows
from tests.integration.tracking.production import write_project

MINUTE = timedelta(minutes=1)
ROWS = 60


class World:
    """A project whose log is written as a server would, at any time."""

    sent: ClassVar[Counter[Path]] = Counter()  # rows by project, of all worlds in it

    def __init__(self, root: Path, **changes: float) -> None:
        settings = {"min_rows": 30, "every_minutes": 1, "min_labels": 30, "on_alert": "report"} | changes
        overrides = [f"monitoring.{name}={value}" for name, value in settings.items()]
        self.config = write_project(root, "tracking.enabled=false", *overrides)
        self.log = self.config.prediction_log_dir
        self.version = name_version(load_bundle(self.config.model_dir))
        self.monitor = Monitor(self.config, str(self.log))
        self._count = 0

    def log_rows(
        self,
        at: datetime,
        n_rows: int = ROWS,
        *,
        labels: bool = False,
        writer: LogWriter | None = None,
        version: str = "",
        role: str = "champion",
    ) -> Path:
        """Write a segment of rows a second apart; return its file.

        Parameters
        ----------
        writer
            Goes on with this one's segments; None: another process.
        """
        writer = writer or LogWriter(self.log, self.config.prediction_log)
        for number in range(n_rows):
            self._count += 1
            instant = at + timedelta(seconds=number)
            key = f"{round(instant.timestamp() * 1000):012x}{self._count:026x}"
            time_ns = round(instant.timestamp() * 1e9)
            about = About(key, time_ns, model="world", version=version or self.version, wire="native", role=role)
            body = json.dumps({"a": number % 7 / 7, "b": 0.1, "c": -0.2}).encode()
            assert writer.append(msgspec.json.encode(about), body, b"", rows=1)
            self.sent[self.config.root] += role != "shadow"
            if labels:
                assert writer.append(msgspec.json.encode(About(key, time_ns, kind="label")), b'"yes"', b"")
        before = {*self.log.glob("*.log")}
        writer.close()
        (file,) = {*self.log.glob("*.log")} - before
        return file

    def look(self) -> list:
        self.monitor.step()
        return self.monitor.watcher.store.read("world")

    @property
    def status(self) -> dict:
        return self.monitor.read_status()

    def metric(self, name: str) -> float:
        lines = self.monitor.watcher.metrics.render().decode().splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))

    def check_account(self) -> None:
        """Check that a monitor that is started anew tells of every row what became of it."""
        self.monitor = Monitor(self.config, str(self.log))
        self.look()
        assert sum(self.count_rows().values()) == self.sent[self.config.root]

    def count_rows(self) -> dict[str, int]:
        """Return what the monitor says became of all rows: ``evaluated``, ``waiting``, and each reason for missing ones."""
        return dict(count_rows(self.status["rows"]))


def make_world(root: Path, *overrides: str) -> Bundle:
    """Train the model that every test begins with."""
    return train(write_project(root, "tracking.enabled=false", "gates.minimum={}", *overrides)).bundle


def ago(minutes: float) -> datetime:
    return datetime.now(UTC) - MARGIN - minutes * MINUTE
