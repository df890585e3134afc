"""Real segments, as the server's writer makes them, with requests whose answers are known."""

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mlops_project.prediction_log.records import About
from mlops_project.prediction_log.sequence import sort_segments
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.sections import PredictionLogConfig

JSON = "application/json"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_COUNT = itertools.count(1)


def make_id(at: datetime = NOON) -> str:
    """Return an id of the form that the server gives out."""
    return f"{round(at.timestamp() * 1000):012x}{next(_COUNT):026x}"


class Segments:
    """Writes records into one folder; ``close`` ends a segment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer = LogWriter(folder, PredictionLogConfig())

    def predict(
        self,
        rows: Any,
        *,
        model: str = "tiny",
        version: str = "1",
        at: datetime = NOON,
        wire: str = "native",
        content_type: str = "",
        role: str = "champion",
        key: str | None = None,
        response: bytes = b"",
    ) -> str:
        """Log a prediction and return its id; without a response, as no server writes it, the model must say it again."""
        key = key or make_id(at)
        body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
        n_rows = len(rows) if isinstance(rows, list) else 1
        time_ns = round(at.timestamp() * 1e9)
        about = About(key, time_ns, model=model, version=version, role=role, wire=wire, content_type=content_type, rows=n_rows)
        assert self._writer.append(msgspec.json.encode(about), body, response, 0 if role == "shadow" else n_rows)
        return key

    def label(self, key: str, label: Any, at: datetime = NOON, *, source: str = "", batch: str = "") -> None:
        """Log a label."""
        about = About(key, round(at.timestamp() * 1e9), kind="label", source=source, batch=batch)
        body = label if isinstance(label, bytes) else json.dumps(label).encode()
        assert self._writer.append(msgspec.json.encode(about), body, b"")

    def raw(self, about: bytes, body: bytes = b"") -> None:
        """Log anything."""
        assert self._writer.append(about, body, b"")

    def close(self) -> list[Path]:
        """End the segment and return the files of all."""
        self._writer.close()
        return [self.folder / f"{name}.log" for name in sort_segments(file.stem for file in self.folder.glob("*.log"))]
