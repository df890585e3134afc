"""What a search tried and what it found."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from mlops_project.tables.first_models import FirstModel
from mlops_project.tuning.searched import Searched

Z_95 = 1.959964
Ended = Literal["trials", "minutes", "patience"]


class FoldScore(NamedTuple):
    """How a model did in one fold.

    Attributes
    ----------
    score
        Its proper score there: log loss or RMSE.
    error
        The score's standard error, from the losses of the fold's rows.
    curve
        Of a booster: the score after 1, 2, … rounds, of which ``score`` is the best.
    """

    score: float
    error: float
    curve: tuple[float, ...] = ()


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that were tried.

    Attributes
    ----------
    number
        From 0; -1 is the configuration as it is.
    estimator, params
        The values of its space.
    state
        ``running``, ``complete``, ``pruned`` (behind after some folds), ``fail`` or ``lost`` (its process ended).
    loss, median, spread
        Mean, median and standard deviation of the proper score over the folds; None unless complete.
    interval
        Of the loss, with 95 %; None unless complete.
    folds
        The proper score in each fold that was done.
    seconds
        How long it took.
    reason
        Why it failed.
    """

    number: int
    estimator: str
    params: dict[str, Any]
    state: str
    loss: float | None = None
    median: float | None = None
    spread: float | None = None
    interval: tuple[float, float] | None = None
    folds: tuple[float, ...] = ()
    seconds: float = 0.0
    reason: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials that a budget is about."""
        return self.state in ("complete", "pruned", "fail")


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes
    ----------
    key
        Of the search: the same for the same rows, spaces and settings.
    metric
        ``log_loss`` or ``rmse``.
    searched
        The estimators and their spaces.
    start
        The configuration as it is; None if it names no estimator that is searched, or cannot be fitted.
    trials
        All, in order.
    best
        The one with the lowest loss, which may be ``start``.
    model
        The best one as it is to be trained.
    edges
        Parameters whose best values lie at an end of their range, with that in words.
    rows, folds
        How many training rows were compared on, in how many folds.
    resumed
        Trials that an earlier run had finished.
    ended
        Which budget was spent.
    folder
        Of the search's files on this machine.
    others
        Numbers of the trials of other processes that search here, and run.
    """

    key: str
    metric: str
    searched: tuple[Searched, ...]
    start: Trial | None
    trials: tuple[Trial, ...]
    best: Trial
    model: FirstModel
    edges: dict[str, str]
    rows: int
    folds: int
    resumed: int
    ended: Ended
    folder: Path
    others: frozenset[int] = frozenset()

    def best_of(self, estimator: str) -> Trial | None:
        """Return an estimator's best trial; None if none was finished."""
        return find_best(trial for trial in self.trials if trial.estimator == estimator)


def find_best(trials: Iterable[Trial | None]) -> Trial | None:
    """Return the trial with the lowest loss, the first of equals; None if none was finished."""
    complete = [trial for trial in trials if trial is not None and trial.loss is not None]
    return min(complete, key=lambda trial: trial.loss or 0.0, default=None)
