"""Units scored one after the other here, or by the processes of an engine; their notes come in the order of the units."""

import contextlib
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import chain, islice
from pathlib import Path

import msgspec

from mlops_project.engines.pool import Engine
from mlops_project.errors import ConfigError
from mlops_project.prediction_log.ids import load_key
from mlops_project.scoring.parts import PartScorer, Task
from mlops_project.scoring.stores import FolderStore, Note, ObjectStore
from mlops_project.scoring.units import Unit
from mlops_project.scoring.work import WorkFolder

AHEAD = 2  # units per process that wait or are worked on
FEW_UNITS = 2  # are done before other processes have started
PROBE_FILE = ".probe"

Done = tuple[Unit, Note]


def score_units(units: Iterable[Unit], task: Task, work: WorkFolder, engine: Engine, processes: int | None) -> Iterator[Done]:
    """Yield each unit with the note of its part; parts that are there already are not made again.

    Parameters
    ----------
    processes
        How many score at the same time, each with one thread of ONNX Runtime; None for one per core.

    Raises
    ------
    DataError
        If a file cannot be read: that of the first unit that fails.
    StackError
        If processes die and are not replaced.
    """
    units = iter(units)
    first = list(islice(units, FEW_UNITS + 1))
    units = chain(first, units)
    if engine.is_here and (processes == 1 or len(first) <= FEW_UNITS):
        yield from _score_here(units, task, work)
    else:
        yield from _score_together(units, task, work, engine, processes)


def _score_here(units: Iterable[Unit], task: Task, work: WorkFolder) -> Iterator[Done]:
    scorer: PartScorer | None = None
    for unit in units:
        note = work.find_note(unit)
        if note is None:
            scorer = scorer or PartScorer(task)
            note = scorer.score(unit, work.name_part(unit), work.store)
        yield unit, note


def _score_together(
    units: Iterable[Unit], task: Task, work: WorkFolder, engine: Engine, processes: int | None
) -> Iterator[Done]:
    pending: deque[tuple[Unit, Note | Future[Note]]] = deque()
    with _build_work(task, work, engine) as scoring, engine.open(scoring, processes) as pool:
        for unit in units:
            note = work.find_note(unit)
            pending.append((_forget_text(unit), note or pool.submit((unit, work.name_part(unit)))))
            if len(pending) >= AHEAD * pool.size:
                yield _finish(*pending.popleft())
        while pending:
            yield _finish(*pending.popleft())


def _finish(unit: Unit, done: "Note | Future[Note]") -> Done:
    return unit, done if isinstance(done, Note) else done.result()


def _forget_text(unit: Unit) -> Unit:
    return Unit(unit.index, unit.file, unit.start, unit.end, unit.groups)


@contextlib.contextmanager
def _build_work(task: Task, work: WorkFolder, engine: Engine) -> "Iterator[ScoringWork]":
    """Give what the engine's processes do; on other machines the model is sent, and they must see the folders."""
    if engine.is_here:
        yield ScoringWork(task, work.store)
        return
    probe = work.folder / PROBE_FILE if isinstance(work.store, FolderStore) else None
    if probe is not None:
        probe.touch()
    try:
        yield ScoringWork(task, work.store, task.model_file.read_bytes(), probe)
    finally:
        if probe is not None:
            probe.unlink(missing_ok=True)


class ScoringWork:
    """What a process of an engine does with each unit.

    Parameters
    ----------
    task, store
        Of the run.
    model
        The model file's bytes; None where the file itself is seen.
    probe
        A file that a process sees if it sees the folder of the parts; None if it need not.
    """

    def __init__(
        self, task: Task, store: FolderStore | ObjectStore, model: bytes | None = None, probe: Path | None = None
    ) -> None:
        self._task, self._store, self._model, self._probe = task, store, model, probe

    def start(self) -> None:
        """See ``Work.start``."""
        self._check_folders()
        task = self._task
        if self._model is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="mlops-score-")  # while this process lives: Python loads it later
            file = Path(self._folder.name) / task.model_file.name
            file.write_bytes(self._model)
            task, self._model = msgspec.structs.replace(task, model_file=file), None
        self._scorer = PartScorer(task)

    def _check_folders(self) -> None:
        log = self._task.log
        if self._probe is not None and not self._probe.exists():
            raise ConfigError(
                f"{self._probe.parent}: another machine of the cluster does not see this folder; write to a volume that all of "
                "them see, or to an object store"
            )
        if log is not None and self._model is not None and not (log.folder.is_dir() and load_key(log.folder) == log.key):
            raise ConfigError(f"{log.folder}: another machine of the cluster does not see this folder; --log needs a volume")

    def run(self, job: tuple[Unit, str]) -> Note:
        """See ``Work.run``: score a unit into the part of a name."""
        unit, name = job
        return self._scorer.score(unit, name, self._store)
