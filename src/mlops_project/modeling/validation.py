"""Cross-validation of the training rows: how much the metrics move with the rows that happened to be drawn."""

import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit
from sklearn.pipeline import Pipeline

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError
from mlops_project.modeling.baselines import fit_rivals
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.metrics import compute_metrics, score_rows
from mlops_project.modeling.pipeline import fit_pipeline, predict_frame
from mlops_project.modeling.side_work import SideWork
from mlops_project.modeling.weights import take_weights


def cross_validate(
    pipeline: Pipeline,
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    contract: Contract,
    config: Config,
    *,
    groups: "pd.Series[Any] | None" = None,
    times: "pd.Series[Any] | None" = None,
    weights: "pd.Series[Any] | None" = None,
    on_fold: Callable[[int], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Fit and judge a copy of the pipeline per fold, split the way the held-out rows were.

    Returns
    -------
    list of dict
        ``{"fold": 1, "metrics": {…}, "baselines": {"dummy": {…}, "linear": {…}}}`` per fold; empty if
        ``evaluation.cv_folds`` is below 2.

    Raises
    ------
    ConfigError
        If the rows do not allow that many folds.
    """
    folds = config.evaluation.cv_folds
    if folds < 2:
        return []
    if times is not None:
        order = np.argsort(times.to_numpy(), kind="stable")
        features, target = features.iloc[order], target.iloc[order]
    try:
        splits = split_folds(features, target, contract, folds, config.random_state, groups, timed=times is not None)
    except ValueError as error:
        raise ConfigError(
            f"evaluation.cv_folds: {len(target)} training rows cannot be split into {folds} folds: {error}"
        ) from error
    _check_classes(splits, target, contract)
    calls = (
        joblib.delayed(_judge_fold)(
            pipeline, features, target, fold, contract, config, groups=groups, times=times, weights=weights
        )
        for fold in splits
    )
    results = []
    # One after the other, unless a backend of joblib is set (`mlops train --engine ray`).
    for number, judged in enumerate(joblib.Parallel(return_as="generator")(calls), 1):
        results.append({"fold": number, **judged})
        on_fold(number)
    return results


def _judge_fold(
    pipeline: Pipeline,
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    fold: tuple[Any, Any],
    contract: Contract,
    config: Config,
    *,
    groups: "pd.Series[Any] | None",
    times: "pd.Series[Any] | None",
    weights: "pd.Series[Any] | None",
) -> dict[str, Any]:
    """Fit a copy of the pipeline on a fold's training rows, and judge it on the others."""
    train, test = fold
    learned, judged = (take_weights(weights, target.index[side]) for side in fold)
    part = features.iloc[train], target.iloc[train]
    fitted = fit_pipeline(clone(pipeline), *part, groups=groups, times=times, weights=learned)
    predictions = predict_frame(fitted, features.iloc[test], contract)
    scored = score_rows(predictions, encode_target(target.iloc[test], contract), contract, judged)
    # what fails is said once, of all training rows
    rivals = fit_rivals(*part, features.iloc[test], contract, config, SideWork(), learned)
    beside = {
        rival.name: compute_metrics(score_rows(rival.predictions, scored.truth, contract, judged), contract.task)
        for rival in rivals
    }
    return {"metrics": compute_metrics(scored, contract.task), "baselines": beside}


def _check_classes(splits: list[tuple[Any, Any]], target: "pd.Series[Any]", contract: Contract) -> None:
    for number, (train, _) in enumerate(splits, 1):
        absent = set(contract.classes) - set(target.iloc[train])
        if absent:
            names = ", ".join(sorted(map(repr, absent)))
            raise ConfigError(
                f"evaluation.cv_folds: fold {number} of {len(splits)} has no row of class {names} to learn from; "
                "ask for other folds, or 0 for none"
            )


def split_folds(
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    contract: Contract,
    folds: int,
    seed: int,
    groups: "pd.Series[Any] | None",
    *,
    timed: bool,
) -> list[tuple[Any, Any]]:
    """Return each fold's training and test positions, split as the held-out rows were.

    Parameters
    ----------
    timed
        The rows are in the order of time; each fold learns from what came before it.

    Raises
    ------
    ValueError
        If the rows do not allow that many folds.
    """
    codes = None if groups is None else pd.factorize(groups, use_na_sentinel=False)[0]
    splitter: Any = KFold(folds, shuffle=True, random_state=seed)
    if timed:
        splitter = TimeSeriesSplit(folds)
    elif groups is not None:
        kind = StratifiedGroupKFold if contract.is_classification else GroupKFold
        splitter = kind(folds, shuffle=True, random_state=seed)
    elif contract.is_classification:
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class in fewer rows than folds; callers check its absence
        return list(splitter.split(features, target, codes))
