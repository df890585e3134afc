"""Trials that are asked for and told of, by Optuna, so that a search goes on after a kill as if nothing had happened.

What is asked next depends on the trials that are finished, and on nothing that a process keeps to itself.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from mlops_project.config import Config
from mlops_project.modeling.rounds import Rounds, find_best
from mlops_project.tables.first_models import FirstModel
from mlops_project.tuning.places import Place
from mlops_project.tuning.racing import is_behind
from mlops_project.tuning.searched import Searched
from mlops_project.tuning.spaces import Choices, Range, name_choice
from mlops_project.tuning.trials import Z_95, Ended, FoldScore, Trial

STARTS = 5  # trials before they follow what was learned
FOLDS, ERRORS, REASON, ROUNDS, WORKER = "folds", "errors", "reason", "rounds", "worker"  # of a trial
START = "start"  # of a study
ESTIMATOR = "estimator"  # the parameter that chooses one of several


@dataclass
class Asked:
    """A trial that was asked for.

    Attributes
    ----------
    number, model
        What is to be judged; number -1 is the configuration as it is.
    params
        The values that were drawn of its space.
    rounds
        Of a booster: which numbers of rounds it is judged with.
    scores
        Of the folds that are done.
    losses
        How often the process that judged it was lost.
    """

    number: int
    model: FirstModel
    params: dict[str, Any]
    rounds: Rounds | None = None
    trial: "optuna.Trial | None" = None
    scores: list[FoldScore] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    losses: int = 0

    def judge(self) -> tuple[int | None, list[float]]:
        """Return the best number of rounds so far, the same in all folds that are done, and the score in each of them."""
        if self.rounds is None:
            return None, [one.score for one in self.scores]
        shortest = min(len(one.curve) for one in self.scores)
        curves = np.array([one.curve[:shortest] for one in self.scores])
        best = find_best(curves.mean(axis=0), self.rounds)
        return best, curves[:, best - 1].tolist()


class Study:
    """The trials of one search, kept in one place by all who search there.

    Attributes
    ----------
    resumed
        Trials that were finished when this process came.
    """

    def __init__(
        self, place: Place, key: str, searched: tuple[Searched, ...], config: Config, *, folds: int, independent: bool
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._place, self._searched, self._config = place, {one.estimator: one for one in searched}, config
        self._folds, self._independent = folds, independent
        with place.exclusive():
            self._study = optuna.create_study(storage=place.storage, study_name=key, direction="minimize", load_if_exists=True)
            if not self._all():
                self._enqueue_starts()
            self._fail_lost()
        self.resumed = self.count()

    def _all(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _enqueue_starts(self) -> None:
        """Try what is good on many tables first: one of each estimator, then the others."""
        places = range(max(len(one.starts) for one in self._searched.values()))
        for place in places:
            for one in self._searched.values():
                if place < len(one.starts):
                    self._study.enqueue_trial(self._name(one, one.starts[place]))

    def _name(self, one: Searched, values: dict[str, Any]) -> dict[str, Any]:
        """Return an estimator's values as the study keeps them."""
        named: dict[str, Any] = {ESTIMATOR: one.estimator} if len(self._searched) > 1 else {}
        for name, part in one.sampled.items():
            named[f"{one.estimator}.{name}"] = values[name] if isinstance(part, Range) else name_choice(values[name])
        return named

    def _fail_lost(self) -> bool:
        """Give trials of processes that are gone back, and return whether there were any. Only within ``exclusive``."""
        lost = [trial for trial in self._all() if trial.state == TrialState.RUNNING and not self._is_judged(trial)]
        for trial in lost:
            self._give_back(trial.number, trial.params)
        return bool(lost)

    def _is_judged(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        return worker is not None and self._place.is_alive(worker)

    def _give_back(self, number: int, params: dict[str, Any]) -> None:
        """End a trial without a reason, so that it does not count, and ask for its values again."""
        self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        one = self._find(params)
        if one is not None and all(f"{one.estimator}.{name}" in params for name in one.sampled):  # else it was not asked whole
            self._study.enqueue_trial(params)

    def _find(self, params: dict[str, Any]) -> Searched | None:
        """Return whose values a trial has; None if it was lost before that was asked."""
        if len(self._searched) == 1:
            return next(iter(self._searched.values()))
        return self._searched.get(params.get(ESTIMATOR, ""))

    def count(self) -> int:
        """Return how many trials count: those of killed processes do not."""
        return sum(_counts(trial) for trial in self._all())

    def find_end(self) -> Ended | None:
        """Return which budget of trials is spent; None if none is."""
        trials = [trial for trial in self._all() if _counts(trial)]
        if len(trials) >= self._config.search.trials:
            return "trials"
        losses = [trial.value if _is_complete(trial) and trial.value is not None else math.inf for trial in trials]
        since = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        patience = self._config.search.patience
        return "patience" if patience and since >= patience and min(losses) < math.inf else None

    def ask(self) -> Asked | None:
        """Return what to try next; None if enough was asked for."""
        with self._place.exclusive():
            self._fail_lost()
            trials = self._all()
            running = sum(trial.state == TrialState.RUNNING for trial in trials)
            known = sum(map(_counts, trials))
            if self.find_end() is not None or known + running >= self._config.search.trials:
                return None
            # A sampler that starts with the same seed would draw what it drew before; with this one the same is asked after
            # the same trials, whoever asks.
            seed = (self._config.random_state + known + 7919 * running) % 2**32
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTS)
            trial = self._study.ask()
            trial.set_user_attr(WORKER, self._place.worker)
            one = self._choose(trial)
            params = {name: _suggest(trial, f"{one.estimator}.{name}", part) for name, part in one.sampled.items()}
        return Asked(trial.number, one.fill(params), params, one.rounds, trial)

    def _choose(self, trial: optuna.Trial) -> Searched:
        names = tuple(self._searched)
        return self._searched[names[0] if len(names) == 1 else trial.suggest_categorical(ESTIMATOR, names)]

    def report(self, asked: Asked, score: FoldScore) -> bool:
        """Note a fold's score; return whether the trial is to be left without its other folds."""
        asked.scores.append(score)
        if asked.trial is None or not self._config.search.pruning or len(asked.scores) == self._folds:
            return False
        # Not the configuration as it is: when that is judged depends on the time, and the same trials are to end alike.
        return is_behind(asked.judge()[1], [trial.user_attrs[FOLDS] for trial in self._all() if _is_complete(trial)])

    def complete(self, asked: Asked) -> None:
        """Keep a trial of which all folds are done."""
        (rounds, scores), errors = asked.judge(), [one.error for one in asked.scores]
        if asked.trial is None:
            kept = {FOLDS: scores, ERRORS: errors, "seconds": time.monotonic() - asked.began}
            self._study.set_user_attr(START, kept)
            return
        if rounds is not None:
            asked.trial.set_user_attr(ROUNDS, rounds)
        asked.trial.set_user_attr(FOLDS, scores)
        asked.trial.set_user_attr(ERRORS, errors)
        self._study.tell(asked.number, float(np.mean(scores)), skip_if_finished=True)

    def prune(self, asked: Asked) -> None:
        """Keep a trial that is behind after some folds."""
        if asked.trial is not None:
            asked.trial.set_user_attr(FOLDS, asked.judge()[1])
        self._study.tell(asked.number, state=TrialState.PRUNED, skip_if_finished=True)

    def fail(self, asked: Asked, reason: str) -> None:
        """Keep why a trial, or the configuration as it is, could not be judged."""
        if asked.trial is None:
            self._study.set_user_attr(START, {REASON: reason})
            return
        asked.trial.set_user_attr(REASON, reason)
        self._study.tell(asked.number, state=TrialState.FAIL, skip_if_finished=True)

    def give_back(self, asked: Asked) -> None:
        """Let a trial be asked for again, by whoever goes on."""
        if asked.trial is not None:
            with self._place.exclusive():
                self._give_back(asked.number, asked.trial.params)

    def others_run(self) -> bool:
        """Whether others who search here are at a trial, or left one that can be asked for now."""
        with self._place.exclusive():
            return self._fail_lost() or any(trial.state == TrialState.RUNNING for trial in self._all())

    @property
    def needs_start(self) -> bool:
        """Whether the configuration as it is was not judged yet."""
        return START not in self._study.user_attrs

    def describe_start(self, estimator: str) -> Trial | None:
        """Return the configuration as it is; None if it could not be judged."""
        kept = self._study.user_attrs.get(START, {})
        if FOLDS not in kept:
            return None
        figures = _summarise(kept[FOLDS], kept[ERRORS], independent=self._independent)
        return Trial(number=-1, estimator=estimator, params={}, state="complete", seconds=kept["seconds"], **figures)

    def describe(self) -> tuple[Trial, ...]:
        """Return all trials that were begun."""
        return tuple(self._describe(trial) for trial in self._all() if trial.state != TrialState.WAITING)

    def list_others(self) -> frozenset[int]:
        """Return the numbers of the trials of other processes that search here, and run."""
        workers = {trial.number: trial.user_attrs.get(WORKER, self._place.worker) for trial in self._all()}
        alive = {worker: worker != self._place.worker and self._place.is_alive(worker) for worker in set(workers.values())}
        return frozenset(number for number, worker in workers.items() if alive[worker])

    def _describe(self, trial: FrozenTrial) -> Trial:
        one, given = self._find(trial.params), trial.params
        state = "lost" if trial.state.is_finished() and not _counts(trial) else trial.state.name.lower()
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        about: dict[str, Any] = {"number": trial.number, "state": state, "seconds": seconds}
        if one is None:
            return Trial(**about, estimator="", params={})
        parts = {name: f"{one.estimator}.{name}" for name in one.sampled}
        about["params"] = {name: _read(given[key], one.space[name]) for name, key in parts.items() if key in given}
        if one.rounds is not None and ROUNDS in trial.user_attrs:
            about["params"][one.rounds.name] = trial.user_attrs[ROUNDS]
        about["estimator"] = one.estimator
        folds = tuple(trial.user_attrs.get(FOLDS, ()))
        if not _is_complete(trial):
            return Trial(**about, folds=folds, reason=trial.user_attrs.get(REASON, ""))
        return Trial(**about, **_summarise(folds, trial.user_attrs[ERRORS], independent=self._independent))


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial is one of the budget: not one that was lost, which failed without a reason."""
    return trial.state.is_finished() and (trial.state != TrialState.FAIL or REASON in trial.user_attrs)


def _is_complete(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and trial.value is not None and ERRORS in trial.user_attrs


def _summarise(scores: "list[float] | tuple[float, ...]", errors: list[float], *, independent: bool) -> dict[str, Any]:
    """Return the figures of a trial. Where rows hang together, folds differ by more than their rows' losses explain."""
    loss, spread = float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    error = float(np.sqrt(np.sum(np.square(errors)))) / len(scores)
    if not independent:
        error = max(error, spread / len(scores) ** 0.5)
    return {
        "loss": loss,
        "median": float(np.median(scores)),
        "spread": spread,
        "interval": (loss - Z_95 * error, loss + Z_95 * error),
        "folds": tuple(scores),
    }


def _suggest(trial: optuna.Trial, name: str, part: Range | Choices) -> Any:
    if not isinstance(part, Range):
        return _read(trial.suggest_categorical(name, [name_choice(value) for value in part]), part)
    if part.is_whole:
        return trial.suggest_int(name, int(part.low), int(part.high), log=part.log)
    return trial.suggest_float(name, float(part.low), float(part.high), log=part.log)


def _read(value: Any, part: Range | Choices) -> Any:
    """Return a value of a trial as the estimator takes it."""
    return value if isinstance(part, Range) else next(one for one in part if name_choice(one) == value)
