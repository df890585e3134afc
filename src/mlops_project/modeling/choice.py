"""``model.estimator: auto``: a few models by cross-validation on the training rows, and the simplest of the best is kept.

Every row is answered once by a model that did not see it, and models are compared row by row, by a proper score: log loss, or
squared error. The simplest whose mean is within one standard error of the best one's is chosen (Breiman et al. 1984, the
one-standard-error rule, with the error of the paired difference).
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.comparison import Candidate, Choice
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError, suggest
from mlops_project.modeling.estimators import find_scale, list_params
from mlops_project.modeling.evaluation import TITLES, encode_target, format_number
from mlops_project.modeling.metrics import PROPER
from mlops_project.modeling.pipeline import (
    build_pipeline,
    class_order,
    explain_refusals,
    fit_encoders,
    takes_missing,
)
from mlops_project.modeling.rounds import Rounds, watch_fit
from mlops_project.modeling.side_work import SideWork
from mlops_project.modeling.validation import split_folds
from mlops_project.modeling.weights import name_weights, take_weights
from mlops_project.runtime import Floats
from mlops_project.tables.first_models import FirstModel, list_first_models
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table

AUTO = "auto"
CHOICE_ROWS = 10_000  # of more training rows, this many are cross-validated: who is best shows in them
EPSILON = float(np.finfo(np.float64).eps)
FEW_ROWS, MANY_FOLDS, FEW_FOLDS = 500, 5, 3
MAX_ENCODED_BYTES = 256 << 20  # of the folds' encoded rows, for the next models
LEAST_TRAINED = 10  # rows: a fold with fewer to learn from says nothing

TELLING = ("C", "alpha", "max_leaf_nodes", "min_samples_leaf")  # the parameters by which models of one estimator differ

Fold = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


def choose_model(
    table: Table, split: Split, contract: Contract, config: Config, side: SideWork, step: Callable[[str], None]
) -> tuple[Config, Choice | None]:
    """Return the configuration with the estimator that is to be trained, and how it was chosen; None if it names one.

    Parameters
    ----------
    table
        For its groups and times: folds respect them as the held-out rows do.
    split
        Its training rows are compared on.
    side
        Notes which models could not be fitted.
    step
        Called before each model with what is tried.

    Raises
    ------
    ConfigError
        If none of the estimators has one of ``model.params``.
    """
    if config.model.estimator != AUTO or config.model.pipeline is not None:
        return config, None
    models = _adopt(list_first_models(contract.task, len(split.train_target)), config, contract)
    build_pipeline(contract, with_model(config, models[0]))  # raises what is wrong with the other settings
    comparison = CrossValidation(table, split, contract, config)
    started = time.monotonic()
    losses = comparison.try_all(models, side, step)
    chosen, reason, candidates = _choose(models, losses, contract, comparison.left_out, tried=bool(comparison.folds))
    choice = Choice(
        metric=PROPER[contract.task],
        rows=len(comparison.target),
        folds=len(comparison.folds),
        seconds=round(time.monotonic() - started, 2),
        candidates=candidates,
        chosen=chosen,
        reason=reason,
    )
    return with_model(config, models[chosen]), choice


def _adopt(models: tuple[FirstModel, ...], config: Config, contract: Contract) -> tuple[FirstModel, ...]:
    """Return the models with those of ``model.params`` that they have, each model once."""
    given = config.model.params
    known = {model.estimator: list_params(model.estimator, contract) for model in models}
    unknown = [name for name in given if not any(name in names for names in known.values())]
    if unknown:
        raise ConfigError(
            f"model.params.{unknown[0]}: none of {', '.join(known)} has such a parameter, and model.estimator is auto"
            + suggest(unknown[0], sorted({name for names in known.values() for name in names}))
        )
    changed = []
    for model in models:
        own = {name: value for name, value in given.items() if name in known[model.estimator]}
        changed.append(FirstModel(model.estimator, model.params | own))
    return tuple(model for place, model in enumerate(changed) if model not in changed[:place])


def with_model(config: Config, model: FirstModel) -> Config:
    """Return the configuration with another estimator and parameters."""
    settings = msgspec.structs.replace(config.model, estimator=model.estimator, params=dict(model.params), pipeline=None)
    changed = msgspec.structs.replace(config, model=settings)
    changed.__dict__.update(config.__dict__)  # file and root
    return changed


class CrossValidation:
    """Training rows in folds, and models that are compared on them.

    Attributes
    ----------
    features, target, truth
        The rows.
    folds
        Training and test positions of each; none if the rows do not allow any.
    left_out
        Models that the time did not suffice for.
    apart
        What keeps rows apart inside a pipeline as well, see ``fit_pipeline``.
    weights
        How much each row counts, ``(n_rows,)``; None: all the same.
    independent
        Whether rows are told apart by neither time, group nor copies.

    Parameters
    ----------
    rows
        At most so many training rows, drawn at random.
    wanted_folds
        How many; default more for few rows.
    """

    def __init__(
        self,
        table: Table,
        split: Split,
        contract: Contract,
        config: Config,
        *,
        rows: int = CHOICE_ROWS,
        wanted_folds: int | None = None,
    ) -> None:
        self.contract, self.config, self.left_out = contract, config, 0
        self.apart = {"groups": table.groups, "times": table.times}
        features, target = split.train_features, split.train_target
        order = np.arange(len(target))
        times = _follow(table.times, target.index)
        if times is not None:
            order = np.argsort(times, kind="stable")
        if len(order) > rows:
            drawn = np.random.default_rng(config.random_state).choice(len(order), rows, replace=False)
            order = order[np.sort(drawn)]
        self.features, self.target = features.iloc[order], target.iloc[order]
        self.truth = encode_target(self.target, contract)
        self.weights = take_weights(table.weights, self.target.index)
        groups = _follow(table.groups, target.index)
        if groups is None and split.copies is not None and config.data.copies == "together":
            groups = _follow(pd.Series(split.copies.groups), target.index, together=False)
        wanted = wanted_folds or (MANY_FOLDS if len(self.target) <= FEW_ROWS else FEW_FOLDS)
        self._encoded: dict[tuple[bool, str, int], tuple[Floats, Floats]] = {}
        self.independent = times is None and groups is None
        self.folds = self._split(None if groups is None else groups[order], wanted, timed=times is not None)

    def _split(self, groups: npt.NDArray[np.intp] | None, wanted: int, *, timed: bool) -> list[Fold]:
        """Return the folds whose training rows hold every class."""
        seed = self.config.random_state
        found = None if groups is None else pd.Series(groups)
        if self.contract.is_classification and not timed and groups is None:
            wanted = min(wanted, int(np.bincount(self.truth, minlength=len(self.contract.classes)).min()))
        try:
            folds = split_folds(self.features, self.target, self.contract, wanted, seed, found, timed=timed)
        except ValueError:  # too few rows, groups, or rows of a class
            return []
        known = set(range(len(self.contract.classes)))
        return [
            (train, test)
            for train, test in folds
            if len(train) >= LEAST_TRAINED and len(test) and known <= (set(self.truth[train].tolist()) if known else set())
        ]

    def try_all(self, models: tuple[FirstModel, ...], side: SideWork, step: Callable[[str], None]) -> list[Floats | None]:
        """Return each model's loss per row ``(n_rows,)``; None where it failed, or the time was over before it was finished."""
        deadline = time.monotonic() + self.config.model.budget_seconds
        losses: list[Floats | None] = []
        for model in models if self.folds else ():
            first = not any(loss is not None for loss in losses)
            if not first and time.monotonic() >= deadline:
                losses.append(None)
                self.left_out += 1
                continue
            step(f"trying {model.estimator} {_name_params(model)}".rstrip())
            work = partial(self._lose, model, None if first else deadline)
            without = "so it was not compared"
            losses.append(side.attempt(f"{model.estimator} was", work, self.features, without=without))
        return losses or [None] * len(models)

    def _lose(self, model: FirstModel, deadline: float | None) -> Floats | None:
        """Return the loss of each row that a fold holds and the model answers, else NaN; None if the time was over too soon.

        A model that cannot be fitted to one of the folds raises: it could not be fitted to all rows either.
        """
        losses = np.full(len(self.target), np.nan)
        for fold, (_, test) in enumerate(self.folds):
            if deadline is not None and time.monotonic() >= deadline:
                self.left_out += 1
                return None
            try:
                losses[test] = self.lose(model, fold)
            except ValueError:  # a number too large for this model, say: its rows are not compared
                continue
        return losses

    def lose(self, model: FirstModel, fold: int) -> Floats:
        """Return the loss of each test row of a fold: log loss, or squared error, times its share of the mean weight.

        Raises
        ------
        ConfigError
            If the model cannot be fitted.
        ValueError
            If it has no answer for a row.
        """
        train, test = self.folds[fold]
        estimator, learned, asked = self._encode(model, fold)
        weighted = name_weights(estimator, None if self.weights is None else self.weights[train])
        with explain_refusals(estimator):
            estimator.fit(learned, self.target.iloc[train], **weighted)
        answer = estimator.predict_proba if self.contract.is_classification else estimator.predict
        return self._compare_rows(np.asarray(answer(asked), np.float64), getattr(estimator, "classes_", ()), test)

    def lose_by_rounds(self, model: FirstModel, fold: int, rounds: Rounds) -> tuple[Floats, Floats]:
        """Return a booster's mean loss in a fold after 1, 2, … rounds, and the loss of each test row after the best of them.

        Raises
        ------
        ConfigError
            If the model cannot be fitted.
        """
        train, test = self.folds[fold]
        estimator, learned, asked = self._encode(model, fold)
        with explain_refusals(estimator):
            target, truth = (np.asarray(self.target.iloc[part]) for part in (train, test))
            watched = watch_fit(estimator, learned, target, asked, truth, rounds)
        return watched.curve, self._compare_rows(watched.answers, np.unique(np.asarray(self.target)), test)

    def _encode(self, model: FirstModel, fold: int) -> tuple[Any, Floats, Floats]:
        """Return the unfitted estimator, and a fold's training and test rows as it gets them.

        What comes before an estimator follows from whether it takes missing values, and its scale: models share encoded rows.
        """
        pipeline = build_pipeline(self.contract, with_model(self.config, model))
        estimator = pipeline.steps[-1][1]
        key = takes_missing(estimator), find_scale(model.estimator), fold
        if key in self._encoded:
            return estimator, *self._encoded[key]
        (train, test), before = self.folds[fold], pipeline[:-1]
        learned = fit_encoders(before, self.features.iloc[train], self.target.iloc[train], **self.apart)
        asked = np.asarray(before.transform(self.features.iloc[test]))
        for rows in (learned, asked):
            rows.setflags(write=False)  # the next model is to find them as they are
        known = sum(rows.nbytes for pair in self._encoded.values() for rows in pair)
        if known + learned.nbytes + asked.nbytes <= MAX_ENCODED_BYTES:
            self._encoded[key] = learned, asked
        return estimator, learned, asked

    def _compare_rows(self, answers: Floats, classes: Any, test: npt.NDArray[np.intp]) -> Floats:
        """Return the loss of each row of some answers: probabilities in the order of ``classes``, or values."""
        truth = self.truth[test]
        if not self.contract.is_classification:
            return self._weigh((answers.reshape(-1) - truth) ** 2, test)
        columns = np.array(class_order(classes, self.contract))
        chosen = np.take_along_axis(answers, columns[truth][:, None], axis=1)[:, 0]
        return self._weigh(-np.log(np.clip(chosen, EPSILON, 1.0)), test)

    def _weigh(self, losses: Floats, rows: npt.NDArray[np.intp]) -> Floats:
        """Return losses times each row's share of the mean weight."""
        return losses if self.weights is None else losses * self.weights[rows] / self.weights[rows].mean()


def _follow(column: "pd.Series[Any] | None", index: pd.Index, *, together: bool = True) -> npt.NDArray[np.intp] | None:
    """Return codes of a table's column, in the order of its values, for training rows; labelled predictions come last.

    Parameters
    ----------
    index
        The training rows' positions in the table; those of labelled predictions go on behind it.
    together
        Whether labelled predictions have one code, or each its own.
    """
    if column is None:
        return None
    codes = pd.Series(np.unique(column.astype(str) if column.dtype == object else column, return_inverse=True)[1])
    beyond = pd.Series(len(codes) if together else len(codes) + np.arange(len(index)), index)
    return codes.reindex(index).fillna(beyond).to_numpy(np.intp)


def _name_params(model: FirstModel) -> str:
    """Return the parameters by which the models of one estimator differ."""
    told = [f"{name} {model.params[name]:g}" for name in TELLING if name in model.params]
    return f"({', '.join(told)})" if told else ""


def _choose(
    models: tuple[FirstModel, ...], losses: list[Floats | None], contract: Contract, left_out: int, *, tried: bool
) -> tuple[int, str, tuple[Candidate, ...]]:
    """Return the place of the model to keep, why, and all of them with their figures."""
    known = {place: loss for place, loss in enumerate(losses) if loss is not None and _is_usable(loss)}
    if not known:
        plain = tuple(Candidate(estimator=model.estimator, params=model.params) for model in models)
        why = "none could be fitted in every fold" if tried else "too few rows for cross-validation, so none was compared"
        return 0, f"{why}; this is the simplest", plain
    best = min(known, key=lambda place: float(np.nanmean(known[place])))
    behind = {place: _compare(loss, known[best]) for place, loss in known.items()}
    chosen = min(place for place, (mean, error) in behind.items() if mean <= error)
    candidates = tuple(
        Candidate(
            estimator=model.estimator,
            params=model.params,
            loss=_summarise(known[place], contract) if place in known else None,
            behind=behind.get(place, (0.0, 0.0)),
        )
        for place, model in enumerate(models)
    )
    return chosen, _explain(chosen, best, candidates, models, contract, left_out), candidates


def _is_usable(loss: Floats) -> bool:
    """Whether the rows that were answered have losses that add up to a number."""
    answered = loss[~np.isnan(loss)]
    return len(answered) > 0 and bool(np.isfinite(answered.sum()))


def _compare(loss: Floats, best: Floats) -> tuple[float, float]:
    """Return the mean of a paired difference, and its standard error."""
    differences = (loss - best)[np.isfinite(loss) & np.isfinite(best)]
    if not len(differences):
        return float(np.finfo(np.float64).max), 0.0
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences))) if len(
        differences
    ) > 1 else 0.0


def _summarise(loss: Floats, contract: Contract) -> float:
    mean = float(np.nanmean(loss))
    return mean if contract.is_classification else float(np.sqrt(mean))


def _explain(
    chosen: int, best: int, candidates: tuple[Candidate, ...], models: tuple[FirstModel, ...], contract: Contract, left_out: int
) -> str:
    title = TITLES[PROPER[contract.task]]

    def tell(place: int) -> str:
        loss = candidates[place].loss
        return f"{models[place].estimator} {_name_params(models[place])} {format_number(loss)}" if loss is not None else ""

    rivals: dict[str, float] = {}
    for place, model in enumerate(models):
        loss = candidates[place].loss
        if loss is not None and model.estimator != models[chosen].estimator:
            rivals[model.estimator] = min(loss, rivals.get(model.estimator, np.inf))
    others = ", ".join(f"{name} {format_number(loss)}" for name, loss in rivals.items())
    why = "the best" if chosen == best else f"the simplest within one standard error of the best ({tell(best)})"
    late = f"; model.budget_seconds ended before {left_out} more were compared" if left_out else ""
    return f"{title} {format_number(candidates[chosen].loss or 0.0)}, {why}" + (f"; {others}" if others else "") + late
