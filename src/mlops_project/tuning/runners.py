"""Where models are fitted to folds: here, in other processes, or on a cluster. The search itself stays where it is."""

import contextlib
import math
import multiprocessing
import signal
import warnings
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

import numpy as np

from mlops_project.engines.pool import Engine
from mlops_project.modeling.choice import CrossValidation
from mlops_project.modeling.rounds import Rounds, find_best
from mlops_project.process import end_with_parent
from mlops_project.tables.first_models import FirstModel
from mlops_project.tuning.trials import FoldScore


class LostError(Exception):
    """The process that judged a model is gone; another may judge it."""


class FoldRunner(Protocol):
    """Judges models.

    Attributes
    ----------
    slots
        How many folds at the same time.
    """

    slots: int

    def submit(self, model: FirstModel, fold: int, rounds: Rounds | None = None) -> "Future[FoldScore]":
        """Fit a model to a fold, and score it; the future may raise ``LostError``, or whatever the model's library does."""

    def close(self) -> None:
        """End what is being judged."""


def score_fold(rows: CrossValidation, model: FirstModel, fold: int, rounds: Rounds | None = None) -> FoldScore:
    """Fit a model to a fold's training rows, and score it by its test rows.

    Parameters
    ----------
    rounds
        Of a booster, to score it after every round.

    Raises
    ------
    ConfigError
        If the model cannot be fitted.
    ValueError
        If it has no answer for a row, or none that can be compared.
    """
    curve = np.empty(0)
    if rounds is None:
        losses = rows.lose(model, fold)
        mean = float(np.mean(losses))
    else:
        curve, losses = rows.lose_by_rounds(model, fold, rounds)
        mean = float(curve[find_best(curve, rounds) - 1])
    error = float(np.std(losses, ddof=1)) / len(losses) ** 0.5 if len(losses) > 1 else 0.0
    if not math.isfinite(mean):
        raise ValueError(f"the loss in fold {fold + 1} is {mean}")
    if not rows.contract.is_classification:  # the root of the mean, and the delta method
        curve, mean = np.sqrt(curve), mean**0.5
        error = error / (2 * mean) if mean else 0.0
    return FoldScore(mean, error, tuple(curve.tolist()))


class HereRunner:
    """Judges in this process, one after the other; a fold is done when ``submit`` returns."""

    slots = 1

    def __init__(self, rows: CrossValidation) -> None:
        self._rows = rows

    def submit(self, model: FirstModel, fold: int, rounds: Rounds | None = None) -> "Future[FoldScore]":
        """Fit and score now."""
        done: Future[FoldScore] = Future()
        try:
            done.set_result(score_fold(self._rows, model, fold, rounds))
        except Exception as error:  # noqa: BLE001 - libraries raise what they like; the future hands it on
            done.set_exception(error)
        return done

    def close(self) -> None:
        """Nothing runs."""


class ProcessRunner:
    """Judges in several processes, each with one thread; one that dies is replaced."""

    def __init__(self, rows: CrossValidation, processes: int) -> None:
        self.slots, self._rows = processes, rows
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        # Not forked: a fork has the locks of threads that it does not have.
        return ProcessPoolExecutor(self.slots, multiprocessing.get_context("spawn"), _start_process, (self._rows,))

    def submit(self, model: FirstModel, fold: int, rounds: Rounds | None = None) -> "Future[FoldScore]":
        """Fit and score in one of the processes."""
        try:
            inner = self._pool.submit(_score_there, with_one_thread(model), fold, rounds)
        except BrokenProcessPool:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = self._start()
            inner = self._pool.submit(_score_there, with_one_thread(model), fold, rounds)
        outer: Future[FoldScore] = Future()
        inner.add_done_callback(lambda done: _hand_on(done, outer))
        return outer

    def close(self) -> None:
        """End the processes, whatever they are at."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(cancel_futures=True)


class ClusterRunner:
    """Judges in the processes of an engine, which gives what a lost one did to another."""

    def __init__(self, rows: CrossValidation, engine: Engine, size: int | None) -> None:
        self._open = contextlib.ExitStack()
        self._pool = self._open.enter_context(engine.open(_FoldWork(rows), size))
        self.slots = self._pool.size

    def submit(self, model: FirstModel, fold: int, rounds: Rounds | None = None) -> "Future[FoldScore]":
        """Fit and score in one of the processes."""
        return self._pool.submit((with_one_thread(model), fold, rounds))

    def close(self) -> None:
        """End the processes, whatever they are at."""
        self._open.close()


class _FoldWork:
    """What each process of an engine does."""

    def __init__(self, rows: CrossValidation) -> None:
        self._rows = rows

    def start(self) -> None:
        _use_one_thread()

    def run(self, task: tuple[FirstModel, int, Rounds | None]) -> FoldScore:
        return _score_sent(self._rows, *task)


def _hand_on(inner: "Future[FoldScore]", outer: "Future[FoldScore]") -> None:
    error = None if inner.cancelled() else inner.exception()
    if inner.cancelled() or isinstance(error, BrokenProcessPool):
        outer.set_exception(LostError("the process that judged it was killed (by the system, for lack of memory?)"))
    elif error is not None:
        outer.set_exception(error)
    else:
        outer.set_result(inner.result())


def with_one_thread(model: FirstModel) -> FirstModel:
    """Return the model without threads of its own: the processes have the cores."""
    if "n_jobs" not in model.params:
        return model
    return FirstModel(model.estimator, model.params | {"n_jobs": 1})


# --- in the processes ---

_rows: CrossValidation | None = None


def _start_process(rows: CrossValidation) -> None:
    global _rows  # noqa: PLW0603 - a process of the pool has one, and gets the rows once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    end_with_parent()
    _use_one_thread()
    _rows = rows


def _use_one_thread() -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    warnings.simplefilter("ignore")  # the training tells what the best model is warned of


def _score_there(model: FirstModel, fold: int, rounds: Rounds | None) -> FoldScore:
    assert _rows is not None
    return _score_sent(_rows, model, fold, rounds)


def _score_sent(rows: CrossValidation, model: FirstModel, fold: int, rounds: Rounds | None) -> FoldScore:
    try:
        return score_fold(rows, model, fold, rounds)
    except Exception as error:  # noqa: BLE001 - libraries raise what they like
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None  # as it can be sent
