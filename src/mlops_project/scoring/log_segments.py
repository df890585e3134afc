"""Rows that were scored, as segments of the prediction log: one per unit of work, under a name that follows from the unit.

A unit that is scored again after a kill gets the same ids and writes the same segment. If the monitor has read it meanwhile,
its name is known, and it is not read twice.

A run that a bad row may stop logs its rows when it has its output: the same rows, mended, would else be logged a second time.
Until then its segments wait in its own folder, and an empty ``.new`` file in the log's makes the monitor's windows wait.
"""

import contextlib
import hmac
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_project.contract import DATETIME_PARTS, Contract
from mlops_project.prediction_log.ids import build_id
from mlops_project.prediction_log.records import MARKER_BYTES, About, pack
from mlops_project.prediction_log.segments import CLOSED, NEW
from mlops_project.runtime import Predictions
from mlops_project.storage.files import replacing
from mlops_project.storage.locks import wait_for_lock
from mlops_project.wire.columns import Rules
from mlops_project.wire.open_inference import InferenceProtocol, InferenceRequest
from mlops_project.wire.rows import Encoded
from mlops_project.wire.tensors import pack_texts


class LogSettings(msgspec.Struct, frozen=True):
    """Where a run's rows are logged.

    Attributes
    ----------
    folder
        Of the log's segments.
    key
        Secret that the ids are signed with.
    model
        Name of the model.
    run
        24 bits that tell this run from other processes; ids count from there.
    waiting
        Folder in which segments wait for the run's end; None: each is in the log as soon as it is whole.
    is_shared
        Whether processes of several machines write there.
    """

    folder: Path
    key: bytes
    model: str
    run: int
    waiting: Path | None = None
    is_shared: bool = False


class LogSegment:
    """The segment of one unit.

    Parameters
    ----------
    settings, contract, version
        Of the run.
    name
        Of the unit's part.
    index
        Position of the unit in the run.
    at_ms
        When it was scored first, milliseconds since 1970.
    """

    def __init__(self, settings: LogSettings, contract: Contract, version: str, name: str, index: int, at_ms: int) -> None:
        self._settings, self._contract, self._version = settings, contract, version
        self._protocol = InferenceProtocol(contract, Rules())
        self._process, self._at_ms, self._count = (settings.run + index) & 0xFFFFFF, at_ms, 0
        stamp = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
        self.file = (settings.waiting or settings.folder) / f"{stamp}-score-{name}{CLOSED}"
        self._marker = hmac.digest(settings.key, f"{settings.run} {index}".encode(), "sha256")[
            :MARKER_BYTES
        ]  # a secret as well

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        """Give the stream for ``add``. The segment is there when the block ends well; until then windows wait for it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.file, self._name_new()) as stream:
            yield stream

    def _name_new(self) -> str:
        own = f".{os.uname().nodename}-{os.getpid()}" if self._settings.is_shared else ""
        return f"{self.file.stem}{own}{NEW}"

    def add(self, stream: Any, rows: Encoded, predictions: Predictions) -> list[str]:
        """Write a record, and return the prediction id of each row."""
        n_rows, number = len(rows.numbers), self._count
        at_ms, count = self._at_ms + (number >> 16), number & 0xFFFF
        base = build_id(self._settings.key, at_ms, self._process, count, n_rows)
        self._count += 1
        head, tail = self._write_request(rows)
        outputs = tuple((name, True) for name in self._protocol.outputs)
        answer = InferenceRequest(rows, None, outputs)
        response, _ = self._protocol.write(predictions, answer, self._settings.model, self._version)
        about = About(
            base,
            at_ms * 1_000_000,
            model=self._settings.model,
            version=self._version,
            wire="open_inference",
            content_type=str(len(head)),
            rows=n_rows,
        )
        stream.writelines(pack(msgspec.json.encode(about), head + tail, response, self._marker, number))
        return [base] if n_rows == 1 else [f"{base}.{row}" for row in range(n_rows)]

    def _write_request(self, rows: Encoded) -> tuple[bytes, bytes]:
        """Return the rows as an inference request: its JSON, and the binary tensors behind it."""
        inputs, tail, place = list[dict[str, Any]](), list[bytes](), 0
        for feature in self._contract.numbers:
            is_date = feature.type == "datetime"
            values = rows.numbers[:, place]
            place += len(DATETIME_PARTS) if is_date else 1
            raw = pack_texts(_spell_dates(values)) if is_date else np.ascontiguousarray(values, "<f8").tobytes()
            inputs.append(_describe(feature.name, "BYTES" if is_date else "FP64", len(values), raw))
            tail.append(raw)
        for index, feature in enumerate(self._contract.texts):
            raw = pack_texts(rows.texts[:, index].tolist())
            inputs.append(_describe(feature.name, "BYTES", len(rows.texts), raw))
            tail.append(raw)
        asked = {} if rows.threshold is None else {"parameters": {"threshold": rows.threshold}}
        return msgspec.json.encode({"inputs": inputs, **asked}), b"".join(tail)


def remove_unfinished(settings: LogSettings, names: set[str]) -> None:
    """Delete what lost processes left of segments that are whole; windows would wait for it.

    Parameters
    ----------
    names
        Of the run's parts, without ending.
    """
    for file in settings.folder.glob(f"*-score-part-*{NEW}"):
        if file.name.partition("-score-")[2].partition(".")[0] in names:
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def holding_windows(settings: LogSettings) -> Iterator[None]:
    """Bring the waiting segments into the log when the block ends well; until then the monitor's windows wait for them."""
    if settings.waiting is None:
        yield
        return
    mark = settings.folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-score-run-{settings.run:06x}{NEW}"
    with mark.open("wb") as stream:
        wait_for_lock(stream)
        try:
            yield
            for file in sorted(settings.waiting.glob(f"*{CLOSED}")):
                with replacing(settings.folder / file.name) as copy, file.open("rb") as source:
                    shutil.copyfileobj(source, copy)
        finally:
            mark.unlink(missing_ok=True)


def _describe(name: str, datatype: str, n_rows: int, raw: bytes) -> dict[str, Any]:
    return {"name": name, "shape": [n_rows], "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}


def _spell_dates(seconds: Any) -> list[str]:
    """Return ISO 8601 texts of seconds since 1970; empty where missing."""
    missing = np.isnan(seconds)
    instants = np.rint(np.where(missing, 0, seconds) * 1e6).astype("int64").astype("datetime64[us]")
    texts: list[str] = np.where(missing, "", np.datetime_as_string(instants)).tolist()
    return texts
