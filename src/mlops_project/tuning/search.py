"""A search for parameters: Optuna proposes, cross-validation of the training rows judges, fold by fold.

The held-out rows are in none of it: the search is given the training rows alone.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

import msgspec

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError, StackError
from mlops_project.modeling.choice import CrossValidation
from mlops_project.modeling.metrics import PROPER
from mlops_project.tables.first_models import FirstModel
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table
from mlops_project.tuning.places import Place, open_place
from mlops_project.tuning.runners import FoldRunner, HereRunner, LostError, ProcessRunner
from mlops_project.tuning.searched import Searched, list_searched
from mlops_project.tuning.spaces import find_edges
from mlops_project.tuning.study import Asked, Study
from mlops_project.tuning.trials import Ended, FoldScore, Found, Trial, find_best

LOOK_SECONDS = 0.2  # how often one who is done looks whether the others are
START_SHARE = 0.1  # of the time: if the configuration as it is takes more, its other folds wait until the trials are done
LOST_TIMES = 3  # a trial whose process was killed so often is not tried again


@dataclass
class Progress:
    """How far a search is, for people.

    Attributes
    ----------
    done, trials
        How many trials are done, of how many.
    best
        The best one so far, if there is any.
    pruned
        How many were left after some folds.
    seconds_left
        Until the budget of time is spent.
    """

    done: int
    trials: int
    best: Trial | None
    pruned: int
    seconds_left: float


class Observer:
    """Is told how a search goes; this one keeps nothing of it."""

    def begin(self, key: str, place: Place) -> None:
        """The search begins, or goes on."""

    def begin_trial(self, asked: Asked) -> None:
        """A trial is being judged."""

    def end_trial(self, trial: Trial, progress: Progress) -> None:
        """A trial has ended."""

    def end(self, found: Found) -> None:
        """The search has ended."""


def search(
    table: Table,
    split: Split,
    contract: Contract,
    config: Config,
    observer: Observer,
    make_runner: Callable[[CrossValidation], FoldRunner] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Search until a budget is spent; whoever searches the same at the same place takes part in it.

    Parameters
    ----------
    table
        For its groups and times: folds respect them as the held-out rows do.
    split
        Its training rows are compared on.
    observer
        Told of every trial.
    make_runner
        Returns what judges; default this process, or ``search.processes`` others.
    clock
        What ``search.minutes`` are measured by, in seconds.

    Raises
    ------
    ConfigError
        If nothing can be searched, or no trial could be finished.
    StackError
        If the place of the trials does not answer, or what judges ends again and again.
    """
    settings = config.search
    rows = _make_folds(table, split, contract, config)
    searched = list_searched(config, contract, rows, len(split.train_target))
    key = _name_search(table, contract, config, searched, rows)
    folder = config.root / "artifacts" / "tuning" / f"{config.model.name}-{key}"
    with contextlib.closing(open_place(settings.storage, folder, key)) as place:
        study = Study(place, key, searched, config, folds=len(rows.folds), independent=rows.independent)
        own = next((one for one in searched if one.estimator == config.model.estimator), None)
        start = None if own is None else FirstModel(config.model.estimator, dict(config.model.params))
        observer.begin(key, place)
        with contextlib.closing((make_runner or _choose_runner(settings.processes))(rows)) as runner:
            ended = _Run(study, runner, rows, config, observer, clock).go(start)
        found = Found(
            key=key,
            metric=PROPER[contract.task],
            searched=searched,
            **_find_best(study, searched, start),
            rows=len(rows.target),
            folds=len(rows.folds),
            resumed=study.resumed,
            ended=ended,
            folder=folder,
            others=study.list_others(),
        )
        observer.end(found)  # while others see that this process is still there
        return found


def _make_folds(table: Table, split: Split, contract: Contract, config: Config) -> CrossValidation:
    settings = config.search
    rows = CrossValidation(table, split, contract, config, rows=settings.rows, wanted_folds=settings.folds or None)
    if not rows.folds:
        few = f"{table.source}: too few training rows ({len(split.train_target)}) for cross-validation"
        raise ConfigError(f"{few}; bring more rows, or lower data.test_size")
    return rows


def _choose_runner(processes: int) -> Callable[[CrossValidation], FoldRunner]:
    return HereRunner if processes == 1 else lambda rows: ProcessRunner(rows, processes)


def _name_search(
    table: Table, contract: Contract, config: Config, searched: tuple[Searched, ...], rows: CrossValidation
) -> str:
    """Return the name of all that changes what a trial's loss is, or what is tried."""
    settings = msgspec.to_builtins([config.model, config.data, config.test_size, config.random_state], str_keys=True)
    spaces = [
        (one.estimator, repr(sorted(one.params.items())), {name: repr(part) for name, part in one.space.items()}, one.rounds)
        for one in searched
    ]
    facts = [table.digest, contract.target, settings, spaces, len(rows.target), len(rows.folds), config.search.pruning]
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:16]


class _Run:
    """One process's part of a search."""

    def __init__(
        self,
        study: Study,
        runner: FoldRunner,
        rows: CrossValidation,
        config: Config,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._study, self._runner, self._folds, self._observer = study, runner, len(rows.folds), observer
        self._trials, self._clock = config.search.trials, clock
        self._began = clock()
        self._deadline = self._began + 60 * config.search.minutes
        self._waiting: Asked | None = None
        self._running: dict[Future[FoldScore], Asked] = {}
        self._faults = 0

    @property
    def _seconds_left(self) -> float:
        return self._deadline - self._clock()

    def go(self, start: FirstModel | None) -> Ended:
        """Search; return which budget was spent."""
        if start is not None and self._study.needs_start:
            self._begin(Asked(-1, start, {}))
        while True:
            self._fill()
            if self._running:
                done, _ = wait(self._running, timeout=max(self._seconds_left, 0), return_when=FIRST_COMPLETED)
                for future in done:
                    self._follow(self._running.pop(future), future)
            elif self._seconds_left > 0 and self._study.others_run():
                time.sleep(min(LOOK_SECONDS, max(self._seconds_left, 0)))
            elif self._seconds_left > 0 and self._waiting is not None:
                self._submit(self._waiting)
                self._waiting = None
            else:
                break
            if self._seconds_left <= 0:
                self._cut()
        return self._study.find_end() or "minutes"

    def _fill(self) -> None:
        while len(self._running) < self._runner.slots and self._seconds_left > 0:
            asked = self._study.ask()
            if asked is None:
                return
            self._begin(asked)

    def _begin(self, asked: Asked) -> None:
        self._observer.begin_trial(asked)
        self._submit(asked)

    def _submit(self, asked: Asked) -> None:
        self._running[self._runner.submit(asked.model, len(asked.scores), asked.rounds)] = asked

    def _follow(self, asked: Asked, future: "Future[FoldScore]") -> None:
        """Begin the trial's next fold, or end it."""
        try:
            score = future.result()
        except LostError as lost:
            asked.losses += 1
            if asked.losses < LOST_TIMES:
                self._submit(asked)
            else:
                self._fail(asked, lost)
        except StackError as error:
            self._fail(asked, error)
            self._faults += 1
            if self._faults == LOST_TIMES:  # one after the other: it is not the trials
                self._cut()
                raise
        except Exception as error:  # noqa: BLE001 - parameters that do not go together end this trial alone
            self._fail(asked, error)
        else:
            self._faults = 0
            if self._study.report(asked, score):
                self._end(asked, lambda: self._study.prune(asked))
            elif len(asked.scores) == self._folds:
                self._end(asked, lambda: self._study.complete(asked))
            elif self._seconds_left > 0 and self._is_slow_start(asked):
                self._waiting = asked
            elif self._seconds_left > 0:
                self._submit(asked)
            else:
                self._study.give_back(asked)

    def _is_slow_start(self, asked: Asked) -> bool:
        """Whether this is the configuration as it is, and its other folds would take too much of the time for trials."""
        if asked.number >= 0 or len(asked.scores) > 1:
            return False
        return (self._clock() - self._began) * (self._folds - 1) > START_SHARE * (self._deadline - self._began)

    def _fail(self, asked: Asked, error: Exception) -> None:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        self._end(asked, lambda: self._study.fail(asked, reason))

    def _cut(self) -> None:
        """Give back what is not finished in time."""
        for asked in self._running.values():
            self._study.give_back(asked)
        self._running.clear()

    def _end(self, asked: Asked, keep: Callable[[], None]) -> None:
        keep()
        trials = self._study.describe()
        start = self._study.describe_start(asked.model.estimator)
        ended = start if asked.number < 0 else next(trial for trial in trials if trial.number == asked.number)
        if ended is not None:
            pruned, counted = sum(trial.state == "pruned" for trial in trials), sum(trial.counts for trial in trials)
            progress = Progress(counted, self._trials, find_best((start, *trials)), pruned, self._seconds_left)
            self._observer.end_trial(ended, progress)


def _find_best(study: Study, searched: tuple[Searched, ...], configured: FirstModel | None) -> dict[str, Any]:
    """Return the trials, the best one, and how it is to be trained."""
    trials = study.describe()
    start = None if configured is None else study.describe_start(configured.estimator)
    best = find_best((start, *trials))
    if best is None:
        reasons = "; ".join(dict.fromkeys(trial.reason for trial in trials if trial.reason))[:300]
        raise ConfigError(f"no trial could be finished: {reasons or 'search.minutes is too short'}")
    one = next(one for one in searched if one.estimator == best.estimator)
    model = configured if best is start and configured is not None else one.fill(best.params)
    edges = find_edges(one.space, best.params)
    return {"start": start, "trials": trials, "best": best, "model": model, "edges": edges}
