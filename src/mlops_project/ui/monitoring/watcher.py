"""Looks at what the monitor found of one model: in the store, else by asking the monitor."""

import threading
import time
from dataclasses import dataclass, field

import msgspec

from mlops_project.client.http import ServerError
from mlops_project.errors import MLOpsError
from mlops_project.monitoring.next_window import NextWindow
from mlops_project.monitoring.results import Bins, Evaluation
from mlops_project.monitoring.store import EvaluationStore
from mlops_project.ui.monitoring.service import Monitor, MonitorStatus

FRESH_SECONDS = 5.0  # what was read counts for so long, for all visitors together
HISTORY = 300  # windows of the charts, as in the report
REPORT = "report.html"
NO_BINS = Bins(labels=(), reference=(), current=())


@dataclass(frozen=True)
class Snapshot:
    """What is known of a model.

    Attributes
    ----------
    evaluations
        Oldest first, without what only the newest window needs: see ``trim``.
    newest
        The last of them, whole; None if nothing was evaluated.
    running
        Whether the monitor says that a retraining runs.
    is_watched
        Whether a monitor answers.
    next_window
        How far the window has come that ends next; None if nobody says so.
    problems
        What the monitor says is wrong with itself: subject → in words.
    failure
        Why store or monitor could not be asked; empty if they could.
    """

    evaluations: tuple[Evaluation, ...] = ()
    newest: Evaluation | None = None
    running: bool = False
    is_watched: bool = False
    next_window: NextWindow | None = None
    problems: dict[str, str] = field(default_factory=dict)
    failure: str = ""


class EvaluationWatcher:
    """Looks at one model's evaluations and remembers them: each call reads only what is new. Safe to use from several threads.

    Parameters
    ----------
    place
        ``monitoring_dir``: path or fsspec URL.
    address
        The monitor's; empty if none is known.
    model
        Whose evaluations.
    """

    def __init__(self, place: str, address: str, model: str) -> None:
        self._place, self._model = place, model
        self._monitor = Monitor(address) if address else None
        self._lock, self._due = threading.Lock(), 0.0
        self._seen = Snapshot()
        self._store: EvaluationStore | None = None
        self._points: dict[str, Evaluation | None] = {}  # name in the store → evaluation; None: it is damaged
        self._told: list[Evaluation] = []  # by the monitor, one at a time
        self._newest: Evaluation | None = None

    def read(self) -> Snapshot:
        """Return what is known, at most ``FRESH_SECONDS`` old."""
        with self._lock:
            if time.monotonic() >= self._due:
                self._seen = self._read()
                self._due = time.monotonic() + FRESH_SECONDS
            return self._seen

    def read_report(self) -> bytes:
        """Return the newest report, HTML; a sentence if it is not to be had."""
        try:
            content = EvaluationStore(self._place).read_bytes(self._model, REPORT)
            if content is None and self._monitor is not None:
                content = self._monitor.read_report(self._model)
        except (MLOpsError, OSError, ImportError, ValueError) as error:
            return f"The report cannot be had: {error}".encode()
        return content or b"There is no report yet."

    def _read(self) -> Snapshot:
        failures: list[str] = []
        status, kept, is_watched = MonitorStatus(), tuple[Evaluation, ...](), False
        try:
            kept = self._read_store()
        except (MLOpsError, OSError, ImportError, ValueError) as error:  # as fsspec's file systems fail
            failures.append(f"{self._place}: {error}")
        try:
            if self._monitor is not None:
                status, is_watched = self._monitor.read_status(), True
        except ServerError as error:
            failures.append(str(error))
        told = status.evaluations.get(self._model)
        if not kept and told is not None:
            kept = self._note(told)
        retraining = status.retraining.get(self._model)
        running = retraining is not None and retraining.running
        return Snapshot(
            kept,
            self._newest if kept else None,
            running,
            is_watched,
            status.windows.get(self._model),
            status.problems,
            "; ".join(failures),
        )

    def _read_store(self) -> tuple[Evaluation, ...]:
        self._store = store = self._store or EvaluationStore(self._place)
        names = store.names(self._model)[-HISTORY:]
        for name in names:
            if name not in self._points:
                content = store.read_bytes(self._model, name)
                self._points[name] = None if content is None else self._decode(content)
        self._points = {name: self._points[name] for name in names}
        found = [item for item in self._points.values() if item is not None]
        return tuple([item for item in found if item.champion] or found)  # as the report

    def _decode(self, content: bytes) -> Evaluation | None:
        try:
            whole = msgspec.json.decode(content, type=Evaluation)
        except msgspec.MsgspecError:
            return None
        if self._newest is None or (whole.champion, whole.end) >= (self._newest.champion, self._newest.end):
            self._newest = whole
        return trim(whole)

    def _note(self, told: Evaluation) -> tuple[Evaluation, ...]:
        self._newest = told
        if not self._told or (self._told[-1].end, self._told[-1].version) != (told.end, told.version):
            self._told = [*self._told[1 - HISTORY :], trim(told)]
        return tuple(self._told)


def trim(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation with the changed features alone, without what plots need: else 300 windows of 300 fill 200 MB."""
    bare = {"bins": NO_BINS, "quality": (), "faults": ()}
    changed = [msgspec.structs.replace(item, **bare) for item in evaluation.drift.features if item.drifted]
    return msgspec.structs.replace(
        evaluation, drift=msgspec.structs.replace(evaluation.drift, features=tuple(changed), scores=())
    )
