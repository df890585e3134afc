"""A search for an estimator's parameters: Optuna proposes, cross-validation of the training rows judges.

Every finished trial is in a SQLite database at once, so a search that was killed goes on; what was running is tried again.
The held-out rows are in none of it: the search is given the training rows alone.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError
from mlops_project.modeling.choice import CrossValidation
from mlops_project.modeling.metrics import PROPER
from mlops_project.modeling.pipeline import build_pipeline, list_params
from mlops_project.modeling.search_spaces import Range, Space, find_edges, read_space
from mlops_project.tables.first_models import FirstModel
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table

if TYPE_CHECKING:
    import optuna

STARTS = 10  # trials before one may be pruned, and before they follow what was learned
FOLDS, ERROR = "folds", "error"  # of a trial


class Trial(msgspec.Struct, frozen=True):
    """Parameters that were tried.

    Attributes
    ----------
    number
        From 0.
    params
        Of the estimator.
    state
        ``complete``, ``pruned`` (worse than most after some folds) or ``fail``.
    loss, median, spread
        Mean, median and standard deviation of the proper score over the folds; None unless complete.
    seconds
        How long it took.
    reason
        Why it failed.
    """

    number: int
    params: dict[str, Any]
    state: str
    loss: float | None = None
    median: float | None = None
    spread: float | None = None
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes
    ----------
    key
        Of the search: the same for the same rows, space and settings.
    metric
        ``log_loss`` or ``rmse``.
    start
        The score of the configuration as it is; None if it cannot be fitted.
    trials
        All, in order.
    best
        The one with the lowest loss.
    edges
        Which best values lie at an end of their range, in words.
    rows, folds
        How many training rows were compared on, in how many folds.
    resumed
        Trials that an earlier run had finished.
    """

    key: str
    metric: str
    start: float | None
    trials: tuple[Trial, ...]
    best: Trial
    edges: tuple[str, ...]
    rows: int
    folds: int
    resumed: int


def search(table: Table, split: Split, contract: Contract, config: Config, file: Path, step: Callable[[str], None]) -> Found:
    """Search until the budget of trials or minutes is spent.

    Parameters
    ----------
    table
        For its groups and times: folds respect them as the held-out rows do.
    split
        Its training rows are compared on.
    file
        SQLite database of the trials.
    step
        Called after each trial with how it went.

    Raises
    ------
    ConfigError
        If nothing can be searched, or no trial could be finished.
    """
    space = read_space(config.tune.space, config.model.estimator, list_params(config.model.estimator, contract))
    build_pipeline(contract, config)  # raises what is wrong with the other settings
    rows = CrossValidation(table, split, contract, config)
    if not rows.folds:
        raise ConfigError(f"{table.source}: too few training rows ({len(split.train_target)}) for cross-validation")
    settings = msgspec.to_builtins([config.model, config.data, config.test_size, config.random_state], str_keys=True)
    facts = [table.digest, contract.target, settings, {name: str(part) for name, part in space.items()}]
    key = hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:16]
    study, resumed = _open_study(file, key, config)
    judge = _Judge(rows, config)
    if "start" not in study.user_attrs:
        study.set_user_attr("start", judge.try_start())
    deadline = time.monotonic() + 60 * config.tune.minutes
    while _count(study) < config.tune.trials and time.monotonic() < deadline:
        trial = study.ask()
        judge.run(study, trial, {name: _suggest(trial, name, part) for name, part in space.items()})
        step(_tell(study, config))
    trials = tuple(_describe(trial) for trial in study.get_trials(deepcopy=False))
    complete = [trial for trial in trials if trial.loss is not None]
    if not complete:
        reasons = "; ".join(dict.fromkeys(trial.reason for trial in trials if trial.reason))[:300]
        raise ConfigError(f"no trial could be finished: {reasons or 'tune.minutes is too short'}")
    best = min(complete, key=lambda trial: trial.loss or 0.0)
    start, metric = study.user_attrs["start"], PROPER[contract.task]
    edges = tuple(find_edges(space, best.params))
    return Found(key, metric, start, trials, best, edges, len(rows.target), len(rows.folds), resumed)


def _open_study(file: Path, key: str, config: Config) -> "tuple[optuna.Study, int]":
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ConfigError("Optuna is not installed; pip install 'mlops_project[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    study = optuna.create_study(storage=storage, study_name=key, direction="minimize", load_if_exists=True)
    states = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):  # of a run that was killed
        study.tell(trial.number, state=states.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)
    known = len(study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED)))
    # A sampler that starts with the same seed would draw what it drew before.
    study.sampler = optuna.samplers.TPESampler(seed=(config.random_state + known) % 2**32, n_startup_trials=STARTS)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTS)
    return study, known


def _count(study: "optuna.Study") -> int:
    """Return how many trials count: those of a killed run do not."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state.is_finished() and (trial.state.name != "FAIL" or ERROR in trial.user_attrs) for trial in trials)


def _suggest(trial: "optuna.Trial", name: str, part: Range | tuple[Any, ...]) -> Any:
    if not isinstance(part, Range):
        return trial.suggest_categorical(name, part)
    if part.is_whole:
        return trial.suggest_int(name, int(part.low), int(part.high), log=part.log)
    return trial.suggest_float(name, float(part.low), float(part.high), log=part.log)


class _Judge:
    """Scores parameters fold by fold."""

    def __init__(self, rows: CrossValidation, config: Config) -> None:
        self._rows, self._model = rows, config.model

    def _score_folds(self, params: dict[str, Any], on_fold: Callable[[list[float]], None]) -> list[float]:
        model, scores = FirstModel(self._model.estimator, dict(self._model.params) | params), list[float]()
        for fold in range(len(self._rows.folds)):
            losses = self._rows.lose(model, fold)
            mean = float(np.mean(losses))
            scores.append(mean if self._rows.contract.is_classification else float(np.sqrt(mean)))
            on_fold(scores)
        return scores

    def try_start(self) -> float | None:
        """Return the score of the configuration as it is; None if it cannot be fitted."""
        try:
            return float(np.mean(self._score_folds({}, lambda _: None)))
        except Exception:  # noqa: BLE001 - libraries raise what they like; the trials may do better
            return None

    def run(self, study: "optuna.Study", trial: "optuna.Trial", params: dict[str, Any]) -> None:
        """Try parameters, and tell the study."""
        import optuna

        def report(scores: list[float]) -> None:
            trial.report(float(np.mean(scores)), len(scores) - 1)
            if len(scores) < len(self._rows.folds) and trial.should_prune():
                raise optuna.TrialPruned

        try:
            scores = self._score_folds(params, report)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except Exception as error:  # noqa: BLE001 - parameters that do not go together end this trial alone
            trial.set_user_attr(ERROR, " ".join(str(error).split())[:300] or type(error).__name__)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            trial.set_user_attr(FOLDS, scores)
            study.tell(trial, float(np.mean(scores)))


def _describe(trial: "optuna.trial.FrozenTrial") -> Trial:
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    state, reason = trial.state.name.lower(), trial.user_attrs.get(ERROR, "")
    if FOLDS not in trial.user_attrs or trial.value is None:
        return Trial(trial.number, trial.params, state, seconds=seconds, reason=reason)
    folds = trial.user_attrs[FOLDS]
    spread = float(np.std(folds, ddof=1)) if len(folds) > 1 else 0.0
    return Trial(trial.number, trial.params, state, trial.value, float(np.median(folds)), spread, seconds)


def _tell(study: "optuna.Study", config: Config) -> str:
    values = [
        trial.value for trial in study.get_trials(deepcopy=False) if trial.value is not None and FOLDS in trial.user_attrs
    ]
    best = f", best {min(values):.4f}" if values else ""
    return f"trial {_count(study)} of {config.tune.trials}{best}"


__all__ = ["Found", "Space", "Trial", "search"]
