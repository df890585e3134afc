"""The threshold of a binary model: chosen on training rows that were answered by models which had not seen them.

Every rule is the least cost of some wrong yes and wrong no. For F1 these follow from the largest F1 itself: with F* as the cost
of a wrong yes and 2 - F* as that of a wrong no, the threshold of largest F1 is that of least cost (Dinkelbach 1967; Lipton,
Elkan & Naryanaswamy 2014). Where probabilities are calibrated, the best threshold is known without any rows, fp / (fp + fn)
(Elkan 2001). A sigmoid through these rows (Platt 1999) says which score that is: of the thresholds that the rows cannot tell
from the best, the one nearest to it is chosen.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import joblib
import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.decision import OWN_RULE, DecisionRule, Point, ThresholdChoice, compute_rate
from mlops_project.errors import ConfigError, DataError
from mlops_project.modeling.choice import CrossValidation
from mlops_project.modeling.pipeline import fit_pipeline, predict_frame
from mlops_project.runtime import Floats
from mlops_project.sections import ThresholdRule
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table

SAME_SCORE = 9  # decimals: nearer probabilities are one score, so that no threshold stands between sums in another order
LEAST_FLAGGED = 10  # rows that a precision is of: 1 of 1 is no precision of 1
MARGIN = 0.05  # of the gap between two scores, that a threshold keeps from either
STANDARD_ERRORS = 1.0  # by which a threshold may cost more than the best one, if it is nearer to the calibrated one
MAX_POINTS = 120  # of the curve that is kept


class OutOfFold(NamedTuple):
    """Training rows with the answers of models that had not seen them.

    Attributes
    ----------
    scores
        float64 ``(n_rows,)``, probability of the positive class.
    labels
        int64 ``(n_rows,)``, index of the class that the model's own rule says.
    truth
        int64 ``(n_rows,)``.
    folds
        How many models.
    weights
        How much each row counts, ``(n_rows,)``, 1 on average; None: all the same.
    """

    scores: Floats
    labels: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]
    folds: int
    weights: Floats | None = None


class Sweep(NamedTuple):
    """Every threshold that some rows can tell apart, falling.

    Attributes
    ----------
    low, high
        float64 ``(n,)``: thresholds over ``low`` up to ``high`` say yes to the same rows.
    hits, alarms
        float64 ``(n,)``: rows that are rightly, and wrongly, answered with yes.
    positives, rows
        How many there are; with weights, what they add up to where a row's is 1 on average.
    """

    low: Floats
    high: Floats
    hits: Floats
    alarms: Floats
    positives: float
    rows: int


def choose_threshold(
    pipeline: Any,
    table: Table,
    split: Split,
    contract: Contract,
    config: Config,
    step: Callable[[str], None] = lambda _: None,
) -> tuple[DecisionRule | None, ThresholdChoice | None]:
    """Return what the configuration asks of the answers, and how its threshold was chosen; None where there is nothing to do.

    The held-out rows of the split are not looked at.

    Parameters
    ----------
    pipeline
        Copies of it are fitted.
    table
        For its groups and times: folds respect them as the held-out rows do.

    Raises
    ------
    ConfigError
        If there are more than two classes, or numbers; or the training rows do not allow folds.
    DataError
        If no threshold reaches the precision that is asked for; says what can be reached.
    """
    asked = config.decision.threshold
    check_task(config, contract)
    if not isinstance(asked, ThresholdRule):
        return (None if asked == OWN_RULE else DecisionRule(asked)), None
    rows = predict_out_of_fold(
        pipeline,
        CrossValidation(table, split, contract, config, rows=len(split.train_target), wanted_folds=config.decision.folds),
        step,
    )
    sweep = sweep_thresholds(rows.scores, rows.truth, rows.weights)
    threshold, place = find_threshold(sweep, asked)
    return _build_decision(asked, threshold), _describe(rows, sweep, threshold, place)


def check_task(config: Config, contract: Contract) -> None:
    """Refuse a threshold where there are not two classes.

    Raises
    ------
    ConfigError
        Says why.
    """
    if config.decision.threshold == OWN_RULE or contract.task == "binary":
        return
    if contract.task == "regression":
        raise ConfigError(
            f"decision.threshold: {contract.target!r} is a number; a threshold divides the answers of two classes"
        )
    raise ConfigError(
        f"decision.threshold: {contract.target!r} has {len(contract.classes)} classes, and one threshold divides two; leave it "
        "out, or make one model for each class that you act on (that class and the rest)"
    )


def predict_out_of_fold(pipeline: Any, folded: CrossValidation, step: Callable[[str], None] = lambda _: None) -> OutOfFold:
    """Fit a copy of the pipeline in each fold, and let it answer the rows that it has not seen.

    Raises
    ------
    ConfigError
        If the rows do not allow folds, the pipeline cannot be fitted, or the answered rows are of one class.
    """
    if not folded.folds:
        raise ConfigError(
            f"decision.threshold: {len(folded.target)} training rows cannot be split into folds that hold both classes, "
            "and it is chosen in such folds; name a number, or take more rows"
        )
    calls = (joblib.delayed(_answer_fold)(pipeline, folded, fold) for fold in folded.folds)
    found = []
    # One after the other, unless a backend of joblib is set (`mlops train --engine ray`).
    for number, answered in enumerate(joblib.Parallel(return_as="generator")(calls), 1):
        step(f"choosing the threshold: fold {number} of {len(folded.folds)} done")
        found.append(answered)
    test = np.concatenate([fold[1] for fold in folded.folds])
    scores, labels = (np.concatenate(part) for part in zip(*found, strict=True))
    truth = np.asarray(folded.truth, np.int64)[test]
    seen = np.unique(truth)
    if len(seen) < 2:
        name = folded.contract.class_names[int(seen[0])]
        raise ConfigError(f"decision.threshold: all {len(truth)} rows to choose it on are {name!r}; name a number instead")
    weights = None if folded.weights is None else folded.weights[test] / folded.weights[test].mean()
    return OutOfFold(np.asarray(scores, np.float64), np.asarray(labels, np.int64), truth, len(folded.folds), weights)


def _answer_fold(pipeline: Any, folded: CrossValidation, fold: tuple[Any, Any]) -> tuple[Floats, npt.NDArray[np.int64]]:
    train, test = fold
    weights = None if folded.weights is None else folded.weights[train]
    features, target = folded.features.iloc[train], folded.target.iloc[train]
    fitted = fit_pipeline(_copy(pipeline), features, target, weights=weights, **folded.apart)
    answers = predict_frame(fitted, folded.features.iloc[test], folded.contract)
    return np.asarray(answers.probabilities)[:, 1], np.asarray(answers.indices)


def _copy(pipeline: Any) -> Any:
    """Return an unfitted copy.

    Raises
    ------
    ConfigError
        If there can be none: what was handed over is no estimator of scikit-learn.
    """
    try:
        return clone(pipeline)
    except (TypeError, RuntimeError) as error:
        name = type(pipeline.steps[-1][1]).__name__
        raise ConfigError(
            f"decision.threshold is chosen with copies of the model that are fitted again, and {name} cannot be copied; name a "
            "number"
        ) from error


def sweep_thresholds(scores: Floats, truth: npt.NDArray[np.int64], weights: Floats | None = None) -> Sweep:
    """Return what every threshold comes to, from nobody to everybody.

    Parameters
    ----------
    scores
        float64 ``(n_rows,)`` in [0, 1].
    truth
        1 where the row is of the positive class, else 0.
    weights
        How much each row counts, 1 on average; None: all the same.
    """
    scores = np.round(scores, SAME_SCORE)
    order = np.argsort(-scores, kind="stable")
    counts = np.ones(len(scores)) if weights is None else weights[order]
    ordered, positive = scores[order], np.asarray(truth, np.float64)[order] * counts
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    values = ordered[last]
    hits, alarms = np.cumsum(positive)[last], np.cumsum(counts - positive)[last]
    high, low = values, np.append(values[1:], -1.0)
    if values[0] < 1:  # nobody
        high, low = np.append(1.0, high), np.append(values[0], low)
        hits, alarms = np.append(0.0, hits), np.append(0.0, alarms)
    return Sweep(low, high, hits, alarms, float(positive.sum()), len(scores))


def find_threshold(sweep: Sweep, asked: ThresholdRule) -> tuple[float, int]:
    """Return the threshold that is asked for, and its place in the sweep.

    Raises
    ------
    DataError
        If no threshold reaches the precision that is asked for.
    """
    natural = None
    if asked.recall is not None:
        place = int(np.flatnonzero(sweep.hits >= asked.recall * sweep.positives - 1e-9)[0])
    elif asked.precision is not None:
        place = _find_precision(sweep, asked.precision)
    else:
        wrong_yes, wrong_no = _weigh(sweep, asked)
        natural = _find_calibrated(sweep, wrong_yes / (wrong_yes + wrong_no))
        place = _find_cheapest(sweep, wrong_yes, wrong_no, natural)
    return _place_between(float(sweep.low[place]), float(sweep.high[place]), natural), place


def _weigh(sweep: Sweep, asked: ThresholdRule) -> tuple[float, float]:
    """Return the costs of a wrong yes and a wrong no that stand for a rule."""
    if asked.cost is not None:
        return asked.cost.false_positive, asked.cost.false_negative
    if asked.metric == "accuracy":
        return 1.0, 1.0
    largest = float((2 * sweep.hits / (sweep.positives + sweep.hits + sweep.alarms)).max())
    return largest, 2 - largest


def _find_calibrated(sweep: Sweep, probability: float) -> float:
    """Return the score whose calibrated probability this is; the probability itself where the rows do not say."""
    hits, alarms = (np.diff(counts, prepend=0.0) for counts in (sweep.hits, sweep.alarms))
    least = 1 / (2 * sweep.rows)
    if not least < probability < 1 - least:
        return probability
    odds = np.tile(logit(np.clip(sweep.high, least, 1 - least)), 2)[:, None]
    labels, weights = np.repeat([1, 0], len(hits)), np.concatenate([hits, alarms])
    used = weights > 0
    sigmoid = LogisticRegression(C=100.0).fit(odds[used], labels[used], weights[used])
    slope, shift = float(sigmoid.coef_[0, 0]), float(sigmoid.intercept_[0])
    return float(expit((logit(probability) - shift) / slope)) if slope > 1e-3 else probability


def _find_cheapest(sweep: Sweep, wrong_yes: float, wrong_no: float, natural: float) -> int:
    """Return the place nearest to the calibrated threshold among those that these rows cannot tell from the cheapest.

    Between two thresholds only the rows with scores between them are answered otherwise: the standard error of the difference
    follows from how many of these there are of each class.
    """
    cost = wrong_yes * sweep.alarms + wrong_no * (sweep.positives - sweep.hits)
    best = int(cost.argmin())
    squares = wrong_no**2 * np.abs(sweep.hits - sweep.hits[best]) + wrong_yes**2 * np.abs(sweep.alarms - sweep.alarms[best])
    difference = cost - cost[best]
    error = np.sqrt(np.maximum(squares - difference**2 / sweep.rows, 0.0))
    alike = np.flatnonzero(difference <= STANDARD_ERRORS * error + 1e-9)
    distance = np.maximum(np.maximum(sweep.low[alike] - natural, natural - sweep.high[alike]), 0.0)
    nearest = alike[distance == distance.min()]
    return int(nearest[cost[nearest].argmin()])


def _find_precision(sweep: Sweep, wanted: float) -> int:
    """Return the place with the largest recall among those of the precision that is asked for."""
    flagged = sweep.hits + sweep.alarms
    enough = np.flatnonzero(flagged >= min(LEAST_FLAGGED, sweep.rows))
    precision = sweep.hits[enough] / flagged[enough]
    reached = enough[precision >= wanted - 1e-12]
    if len(reached):
        return int(reached[-1])
    best = int(enough[precision.argmax()])
    seen = f"{sweep.hits[best]:,.0f} of {flagged[best]:,.0f} rows, recall {sweep.hits[best] / sweep.positives:.3g}"
    raise DataError(
        f"decision.threshold: no threshold reaches precision {wanted:g} on {sweep.rows:,} training rows that were held back in "
        f"turn; the best is {precision.max():.3g} ({seen}); ask for that or less, or for a better model"
    )


def _place_between(low: float, high: float, natural: float | None) -> float:
    """Return a threshold over ``low`` and up to ``high``, as near to the calibrated one as a margin allows; never ``OWN_RULE``.

    Parameters
    ----------
    low
        -1 where everybody is answered with yes, whatever the score.
    natural
        The calibrated one; None for the middle.
    """
    low = max(low, 0.0)
    margin = MARGIN * (high - low)
    wanted = (low + high) / 2 if natural is None else natural
    chosen = min(max(wanted, low + margin), high - margin)
    return float(np.nextafter(OWN_RULE, 0.0)) if chosen == OWN_RULE else chosen


def _build_decision(asked: ThresholdRule, threshold: float) -> DecisionRule:
    if asked.cost is not None:
        costs = asked.cost
        return DecisionRule(threshold, "cost", false_positive=costs.false_positive, false_negative=costs.false_negative)
    if asked.metric is not None:
        return DecisionRule(threshold, "metric", metric=asked.metric)
    if asked.recall is not None:
        return DecisionRule(threshold, "recall", wanted=asked.recall)
    return DecisionRule(threshold, "precision", wanted=asked.precision or 0.0)


def _describe(rows: OutOfFold, sweep: Sweep, threshold: float, place: int) -> ThresholdChoice:
    counts = np.ones(sweep.rows) if rows.weights is None else rows.weights
    own_hits, flagged = (float(counts[said].sum()) for said in ((rows.labels == 1) & (rows.truth == 1), rows.labels == 1))
    own = Point(OWN_RULE, own_hits / sweep.rows, (flagged - own_hits) / sweep.rows)
    return ThresholdChoice(
        rows=sweep.rows,
        folds=rows.folds,
        positives=round(sweep.positives),
        chosen=Point(threshold, float(sweep.hits[place]) / sweep.rows, float(sweep.alarms[place]) / sweep.rows),
        own_rule=own,
        curve=draw_curve(rows.scores, rows.truth, rows.weights),
    )


def draw_curve(scores: Floats, truth: npt.NDArray[np.int64], weights: Floats | None = None) -> tuple[Point, ...]:
    """Return at most ``MAX_POINTS`` thresholds, falling, and what they come to."""
    sweep = sweep_thresholds(scores, truth, weights)
    places = np.unique(np.linspace(0, len(sweep.high) - 1, MAX_POINTS).round().astype(int))
    return tuple(
        Point(
            round(float(sweep.high[place]), 6), float(sweep.hits[place]) / sweep.rows, float(sweep.alarms[place]) / sweep.rows
        )
        for place in places
    )


def rate_choice(decision: DecisionRule, choice: ThresholdChoice) -> dict[str, tuple[float, float]]:
    """Return metric → what the chosen threshold, and the model's own rule, come to on the rows that it was chosen on."""
    names = ["precision", "recall", "f1", "accuracy", *(["expected_cost"] if decision.costs else [])]
    return {
        name: (
            compute_rate(name, choice.chosen, choice.share, decision.costs),
            compute_rate(name, choice.own_rule, choice.share, decision.costs),
        )
        for name in names
    }
