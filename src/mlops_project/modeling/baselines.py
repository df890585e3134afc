"""What a model must beat to be worth having: the base rate, and a regularised linear model, on the same rows.

The dummy answers every row alike: with the classes' shares of the training rows, or the target's mean. The linear model is a
logistic regression, or a ridge regression, behind the pipeline's own preprocessing, its strength chosen by cross-validation.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mlops_project.comparison import Baseline
from mlops_project.config import Config
from mlops_project.contract import Contract, Task
from mlops_project.findings import Finding
from mlops_project.modeling.evaluation import TITLES, Evaluation, encode_target, format_number
from mlops_project.modeling.gate import decide_first
from mlops_project.modeling.metrics import (
    PROPER,
    Metric,
    Scored,
    bootstrap,
    compute_metrics,
    find_metric,
    higher_is_better,
    interval,
    score_rows,
)
from mlops_project.modeling.pipeline import build_pipeline, class_order, with_plain_model
from mlops_project.modeling.side_work import SideWork
from mlops_project.runtime import Floats, Predictions
from mlops_project.sections import Estimator

JUDGED: dict[Task, tuple[str, ...]] = {
    "binary": ("log_loss", "brier", "roc_auc"),
    "multiclass": ("log_loss", "brier", "roc_auc"),
    "regression": ("rmse", "r2"),
}
LINEAR_ROWS = 20_000  # the linear model learns from a sample of more: its handful of weights is known well by then
LINEAR_CELLS = 3_000_000  # rows x columns x classes: about 3 s on one core
LEAST_ROWS = 500
STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C of the logistic regression
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)  # alpha of the ridge regression
FOLDS = 3
MAX_ITERATIONS = 200
LEAST_LEAD = 0.01  # of the model's loss: a linear model that is better by less is none that anybody should take instead


@dataclass(frozen=True)
class Rival:
    """A trivial model that was fitted.

    Attributes
    ----------
    name
        ``dummy`` or ``linear``.
    description
        What it is, for people.
    predictions
        Of the rows that were asked for.
    answer
        What the dummy says to every row: probabilities in the contract's order, or one value; empty for others.
    """

    name: str
    description: str
    predictions: Predictions
    answer: tuple[float, ...] = ()


def fit_dummy(target: "pd.Series[Any]", n_rows: int, contract: Contract, weights: Floats | None = None) -> Rival:
    """Return what the training rows' target alone, with their weights, predicts for ``n_rows`` rows."""
    if not contract.is_classification:
        answer: tuple[float, ...] = (float(np.average(target.to_numpy(np.float64), weights=weights)),)
        said = "the training rows' mean"
    else:
        places = encode_target(target, contract)
        counts = np.bincount(places, weights, len(contract.classes))
        answer = tuple((counts / counts.sum()).tolist())
        said = "the training rows' class shares"
    return Rival("dummy", said, repeat_answer(answer, n_rows, contract), answer)


def repeat_answer(answer: tuple[float, ...], n_rows: int, contract: Contract) -> Predictions:
    """Return a dummy's answer for ``n_rows`` rows."""
    if not contract.is_classification:
        return Predictions(values=np.full(n_rows, answer[0]))
    shares = np.tile(np.array(answer), (n_rows, 1))
    return Predictions(indices=np.full(n_rows, int(np.argmax(answer))), probabilities=shares)


def fit_linear(
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    judged: pd.DataFrame,
    contract: Contract,
    config: Config,
    weights: Floats | None = None,
) -> Rival:
    """Fit the linear model to training rows, a sample of very many, and let it answer other rows.

    Raises
    ------
    Exception
        Whatever the library raises where it cannot be fitted; the caller leaves it out then.
    """
    name: Estimator = "logistic_regression" if contract.is_classification else "ridge"
    first = build_pipeline(contract, with_plain_model(config, name)).steps[0]
    scaled = Pipeline([("scaler", StandardScaler()) if first[0] == "scaler" else first])
    rows = _choose_rows(target, contract, config.random_state)
    known = np.asarray(scaled.fit_transform(features.iloc[rows], target.iloc[rows]), np.float64)
    asked = np.asarray(scaled.transform(judged), np.float64)
    said = f" of {len(rows):,} of {len(target):,} rows" if len(rows) < len(target) else ""
    weights = None if weights is None else weights[rows]
    if contract.is_classification:
        return _fit_logistic(known, target.iloc[rows], asked, contract, said, weights)
    ridge = RidgeCV(alphas=PENALTIES).fit(known, target.iloc[rows].to_numpy(np.float64), sample_weight=weights)
    return Rival("linear", f"ridge regression{said}, alpha {ridge.alpha_:g}", Predictions(values=ridge.predict(asked)))


def _choose_rows(target: "pd.Series[Any]", contract: Contract, seed: int) -> npt.NDArray[np.intp]:
    """Return the rows to learn from, in order: all, or as many as are quick."""
    columns = len(contract.number_columns) + sum(len(feature.categories) for feature in contract.texts)
    limit = min(LINEAR_ROWS, max(LEAST_ROWS, LINEAR_CELLS // max(columns * max(len(contract.classes), 1), 1)))
    rows = np.arange(len(target))
    if len(rows) <= limit:
        return rows
    labels = target if contract.is_classification and limit >= 2 * len(contract.classes) else None
    return np.sort(train_test_split(rows, train_size=limit, random_state=seed, stratify=labels)[0])


def _fit_logistic(
    known: Floats, target: "pd.Series[Any]", asked: Floats, contract: Contract, said: str, weights: Floats | None
) -> Rival:
    labels, codes = np.unique(target.to_numpy(), return_inverse=True)
    if len(labels) < len(contract.classes):
        raise ValueError(f"its rows hold {len(labels)} of {len(contract.classes)} classes")
    folds = min(FOLDS, int(np.bincount(codes).min()))
    if folds < 2:
        model: Any = LogisticRegression(max_iter=MAX_ITERATIONS).fit(known, codes, sample_weight=weights)
        strength = 1.0
    else:
        model = LogisticRegressionCV(
            Cs=STRENGTHS,
            l1_ratios=(0,),
            cv=StratifiedKFold(folds),
            scoring="neg_log_loss",
            max_iter=MAX_ITERATIONS,
            use_legacy_attributes=False,
        ).fit(known, codes, sample_weight=weights)
        strength = float(model.C_)
    probabilities = model.predict_proba(asked)[:, class_order(labels, contract)]
    answers = Predictions(indices=probabilities.argmax(axis=1), probabilities=probabilities)
    return Rival("linear", f"logistic regression{said}, C {strength:g}", answers)


def fit_rivals(
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    judged: pd.DataFrame,
    contract: Contract,
    config: Config,
    side: SideWork,
    weights: Floats | None = None,
) -> list[Rival]:
    """Fit the trivial models to training rows and let them answer others; none if ``evaluation.baselines`` is false.

    Parameters
    ----------
    side
        Notes why the linear model was left out, where it was.
    weights
        How much each training row counts, ``(n_rows,)``; None: all the same.
    """
    if not config.evaluation.baselines:
        return []
    linear = side.attempt(
        "the linear model beside this one was",
        lambda: fit_linear(features, target, judged, contract, config, weights),
        features,
        judged,
        without="so only the base rate stands beside it",
    )
    return [fit_dummy(target, len(judged), contract, weights), *([linear] if linear else [])]


def compare_baseline(model: Scored, rival: Rival, contract: Contract, config: Config) -> Baseline:
    """Return a rival's metrics and how much better the model is, with paired bootstrap intervals.

    Parameters
    ----------
    model
        The model's answers to the rows that the rival answered, in the same order, with the truth.
    """
    task, settings = contract.task, config.evaluation
    theirs = score_rows(rival.predictions, model.truth, contract, model.weights)
    metrics, ours = compute_metrics(theirs, task), compute_metrics(model, task)
    names = [name for name in JUDGED[task] if name in metrics and name in ours]
    gains = {name: _orient(name) * (ours[name] - metrics[name]) for name in names}
    bounds = {}
    if settings.bootstrap_rounds and names:
        found: list[Metric] = [find_metric(name, task) for name in names]
        drawn, factor = bootstrap((model, theirs), found, settings.bootstrap_rounds, np.random.default_rng(config.random_state))
        for place, name in enumerate(names):
            deviations = _orient(name) * (drawn[0, place] - drawn[1, place])
            if np.isfinite(deviations).any():
                bounds[name] = interval(deviations, gains[name], factor, confidence=settings.confidence)
    return Baseline(
        name=rival.name,
        description=rival.description,
        metrics=metrics,
        gains=gains,
        gain_intervals=bounds,
        answer=rival.answer,
    )


def add_baselines(evaluation: Evaluation, rivals: list[Rival], contract: Contract, config: Config) -> Evaluation:
    """Return the evaluation with the trivial models beside it."""
    found = tuple(compare_baseline(evaluation.scored, rival, contract, config) for rival in rivals)
    return replace(evaluation, baselines=found)


def judge_baselines(evaluation: Evaluation, contract: Contract, chosen: Config) -> list[Finding]:
    """Return what people must know of a model that a trivial one matches.

    Parameters
    ----------
    chosen
        The configuration that was trained.
    """
    metric, found = PROPER[contract.task], []
    for item in evaluation.baselines:
        if metric not in item.gains:
            continue
        gain = item.gains[metric]
        ours, theirs = format_number(evaluation.metrics[metric]), format_number(item.metrics[metric])
        low, high = item.gain_intervals.get(metric, (gain, gain))
        between = f" (better by {format_number(low)} to {format_number(high)})" if metric in item.gain_intervals else ""
        if item.answer and not _beats(evaluation.scored, item, contract, chosen):
            seen = f"{TITLES[metric]} is {ours}, and the base rate's {theirs}{between}"
            found.append(_warn_of_base_rate(seen, chosen, worse=gain <= 0))
        elif not item.answer and high < 0 and -gain > LEAST_LEAD * evaluation.metrics[metric]:
            seen = f"{TITLES[metric]} is {ours}, and {theirs} by {item.description}{between}"
            found.append(_note_linear(seen, contract, chosen))
    return found


def _beats(model: Scored, dummy: Baseline, contract: Contract, chosen: Config) -> bool:
    """Whether the first gate finds the model better than the dummy: what training warns of is what the gate refuses."""
    rival = score_rows(repeat_answer(dummy.answer, len(model.truth), contract), model.truth, contract, model.weights)
    return decide_first(model, rival, contract.task, chosen.gates, chosen.random_state).promote


def _warn_of_base_rate(seen: str, chosen: Config, *, worse: bool) -> Finding:
    another = "" if chosen.model.estimator == "auto" else "model.estimator: auto, a larger min_samples_leaf, "
    unclear = "the held-out rows do not show that the model is better than the same answer for every row"
    return Finding(
        code="worse-than-base-rate" if worse else "not-better-than-base-rate",
        seen=f"on the held-out rows {seen}",
        why="the same answer for every row predicts better: the model is too sure of itself, or there is nothing to learn"
        if worse
        else unclear,
        cure=f"{another}model.calibration, more rows, or columns that say more of the target",
    )


def _note_linear(seen: str, contract: Contract, chosen: Config) -> Finding:
    name, strength = ("logistic_regression", "C") if contract.is_classification else ("ridge", "alpha")
    own = chosen.model.estimator == name
    return Finding(
        code="linear-is-better",
        seen=f"on the held-out rows {seen}",
        why="the difference is beyond noise, and a linear model is smaller and easier to explain",
        cure=f"{f'another model.params.{strength}' if own else f'model.estimator: {name}'}, or auto, which compares them",
        severity="note",
    )


def _orient(name: str) -> float:
    return 1.0 if higher_is_better(name) else -1.0
