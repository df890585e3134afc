"""Units scored one after the other here, or by several processes; their notes come in the order of the units."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice

from mlops_project.errors import DataError, StackError
from mlops_project.process import end_with_parent
from mlops_project.scoring.parts import Note, PartScorer, Task
from mlops_project.scoring.units import Unit
from mlops_project.scoring.work import WorkFolder

AHEAD = 2  # units per process that wait or are worked on
FEW_UNITS = 2  # are done before other processes have started

Done = tuple[Unit, Note]


def score_units(units: Iterable[Unit], task: Task, work: WorkFolder, processes: int) -> Iterator[Done]:
    """Yield each unit with the note of its part; parts that are there already are not made again.

    Parameters
    ----------
    processes
        How many score at the same time, each with one thread of ONNX Runtime; 1 is this process.

    Raises
    ------
    DataError
        If a file cannot be read: that of the first unit that fails.
    StackError
        If a process dies.
    """
    units = iter(units)
    first = list(islice(units, FEW_UNITS + 1))
    units = chain(first, units)
    if processes == 1 or len(first) <= FEW_UNITS:
        yield from _score_here(units, task, work)
    else:
        yield from _score_together(units, task, work, processes)


def _score_here(units: Iterable[Unit], task: Task, work: WorkFolder) -> Iterator[Done]:
    scorer: PartScorer | None = None
    for unit in units:
        note = work.find_note(unit)
        if note is None:
            scorer = scorer or PartScorer(task)
            note = scorer.score(unit, work.name_part(unit), work.parts, work.notes)
        yield unit, note


def _score_together(units: Iterable[Unit], task: Task, work: WorkFolder, processes: int) -> Iterator[Done]:
    pending: deque[tuple[Unit, Note | Future[Note]]] = deque()
    # Not forked: a fork has the locks of threads that it does not have.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _start, (task,))
    try:
        for unit in units:
            note = work.find_note(unit)
            pending.append((_forget_text(unit), note or pool.submit(_score, unit, work.name_part(unit), work)))
            if len(pending) >= AHEAD * processes:
                yield _finish(*pending.popleft())
        while pending:
            yield _finish(*pending.popleft())
    except BrokenProcessPool as error:
        raise StackError(
            "a process that scored was killed (by the system, for lack of memory?); run the same command again, with "
            "fewer --processes: finished parts are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _finish(unit: Unit, done: "Note | Future[Note]") -> Done:
    return unit, done if isinstance(done, Note) else done.result()


def _forget_text(unit: Unit) -> Unit:
    return Unit(unit.index, unit.file, unit.start, unit.end, unit.groups)


# --- in the processes ---

_scorer: PartScorer | None = None


def _start(task: Task) -> None:
    global _scorer  # noqa: PLW0603 - a process of the pool has one, and loads the model once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    end_with_parent()
    _scorer = PartScorer(task)


def _score(unit: Unit, name: str, work: WorkFolder) -> Note:
    assert _scorer is not None
    try:
        return _scorer.score(unit, name, work.parts, work.notes)
    except DataError as error:
        raise DataError(str(error)) from None  # as it can be sent to another process
