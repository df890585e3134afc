"""How good the model is now: measured where labels are known, estimated where they are not."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.contract import Contract
from mlops_project.modeling.gate import compute_tolerance
from mlops_project.modeling.intervals import bootstrap_metrics
from mlops_project.modeling.metrics import (
    PRIMARY,
    Scored,
    compute_metrics,
    find_metric,
    higher_is_better,
)
from mlops_project.monitoring.chosen import Choice, explain_choice
from mlops_project.monitoring.coverage import SurenessCounter, judge_coverage
from mlops_project.monitoring.estimate import LEAST_TELLING, MIN_ROWS, Estimator
from mlops_project.monitoring.reasons import say
from mlops_project.monitoring.results import MetricValue, Performance, Reason
from mlops_project.monitoring.selection import find_selection, keeps_ranking
from mlops_project.reference.performance import ReferencePerformance
from mlops_project.sections import GatesConfig, MonitoringConfig
from mlops_project.uncertainty import Uncertainty

CONFIDENCE = 0.95
FEW_ROWS = 30  # of a class in a window, expected: with fewer a metric that ranks or counts them swings from window to window
CHANCE = 2.326  # standard errors that chance exceeds in one window of a hundred, to one side


class LabelFacts(NamedTuple):
    """What is known of the labels.

    Attributes
    ----------
    coverage, delay_seconds
        Share of labelled predictions in [0, 1] and median seconds to the label, of ``describe_labels``. Labels of few
        predictions that are chosen by their outcome give no live metric.
    young
        Which labelled rows were left out because labels of their age are not complete; None if none were.
    choice
        How the labelled rows were chosen by the model's answer; None if they were not.
    """

    coverage: float | None = None
    delay_seconds: float | None = None
    young: Reason | None = None
    choice: Choice | None = None


NO_LABELS = LabelFacts()


class _Judged(NamedTuple):
    """Live metrics, or estimates: values, what they show, and what they rest on."""

    values: tuple[MetricValue, ...] = ()
    reason: Reason | None = None
    assumed: tuple[Reason, ...] = ()
    rows: int = 0


def compute_performance(
    reference: ReferencePerformance,
    contract: Contract,
    settings: MonitoringConfig,
    gates: GatesConfig,
    *,
    labelled: Scored | None = None,
    facts: LabelFacts = NO_LABELS,
    estimate: Estimator | None = None,
    promised: Uncertainty | None = None,
    sureness: SurenessCounter | None = None,
    rounds: int = 500,
    seed: int = 0,
) -> Performance:
    """Judge a window.

    The metric that decides is ``settings.metric``, else ``gates.metric``, else the task's primary one. Where the contract has a
    threshold, the metric that it is for decides as well: expected cost, F1, recall or precision.

    Parameters
    ----------
    reference
        ``profile.performance`` of the bundle; ``read_reference_performance(bundle.metadata)`` where it has no profile.
    contract
        Of the same bundle.
    settings, gates
        For the metric, its tolerance and ``min_labels``.
    labelled
        The newest labelled rows (at most ``settings.label_rows``): ``score_rows(to_predictions(table), truth, contract)``.
        Rows with an unknown label (-1, NaN) are dropped here. None, or fewer than ``settings.min_labels``: no live metric.
    facts
        Of these labels.
    estimate
        Fed with the window's rows (labelled or not). None, or one that saw too few rows: nothing is estimated.
    promised
        By the model; None: coverage is not judged.
    sureness
        Fed with the window's rows; None: nothing is said of it.
    rounds
        Resamples behind each live interval, at least 100.
    seed
        Of the bootstrap.

    Returns
    -------
    Performance
        ``lost`` and ``estimated_lost`` are of this window alone; ``alerts`` counts how many windows in a row were lost.

    Raises
    ------
    ConfigError
        If ``settings.metric`` is not a metric of the task.
    """
    metric = settings.metric or gates.metric or PRIMARY[contract.task]
    find_metric(metric, contract.task)
    judged = {metric, *([] if contract.rule is None else [contract.rule.judged])}  # the scores, and the decisions
    live = _judge_labels((metric, judged), labelled, facts, reference, contract, settings, promised, rounds, seed)
    estimated = _judge_window((metric, judged), estimate, reference, contract, settings)
    said = [*([live.reason] if live.reason else []), *([facts.young] if facts.young else []), *live.assumed]
    return Performance(
        metric=metric,
        live=live.values,
        estimated=estimated.values,
        counted=() if sureness is None else sureness.judge(settings.tolerance),
        assumptions=tuple(map(say, estimated.assumed)),
        assumed=estimated.assumed,
        labelled_rows=live.rows,
        label_coverage=facts.coverage,
        label_delay_seconds=facts.delay_seconds,
        lost=any(value.lost for value in live.values if value.name in judged),
        estimated_lost=any(value.lost for value in estimated.values if value.name in judged),
        reason=say(*said, *([estimated.reason] if estimated.reason else [])),
        live_reason=live.reason,
        young=facts.young,
        estimated_reason=estimated.reason,
    )


def _judge_labels(
    wanted: tuple[str, set[str]],
    labelled: Scored | None,
    facts: LabelFacts,
    reference: ReferencePerformance,
    contract: Contract,
    settings: MonitoringConfig,
    promised: Uncertainty | None,
    rounds: int,
    seed: int,
) -> _Judged:
    """Measure on labelled rows, unless they are few, or chosen; rows that were chosen by their answer alone are weighed."""
    metric, judged = wanted
    known, choice, coverage = labelled, facts.choice, facts.coverage
    if known is not None and choice is not None:
        known = replace(known, weights=choice.weights)
    known = _drop_unknown(known) if known is not None else None
    n_rows = len(known.truth) if known is not None else 0
    chosen = _find_selection(known, reference, contract, coverage) if known else None
    told = None if choice is None else explain_choice(choice, coverage or 0.0, n_rows)
    if chosen is None and choice is not None and choice.weights is None:
        chosen = told
    values: tuple[MetricValue, ...] = ()
    if known and n_rows and known.count_equal() >= settings.min_labels and chosen is None:
        values = _judge_live(known, reference, contract, settings, rounds, seed)
        if values and promised is not None and choice is None:
            values = (*values, judge_coverage(known, promised, seed))
    reason = chosen or _explain(_find_told(metric, judged, values), values, settings, coverage)
    enough = round(known.count_equal()) if known and n_rows else 0
    reason = reason or _explain_no_live(metric, values, enough, settings)
    return _Judged(values, reason, (told,) if told is not None and told is not reason else (), n_rows)


def _judge_window(
    wanted: tuple[str, set[str]],
    estimate: Estimator | None,
    reference: ReferencePerformance,
    contract: Contract,
    settings: MonitoringConfig,
) -> _Judged:
    """Estimate without labels."""
    metric, judged = wanted
    values = _judge_estimates(estimate, reference, settings) if estimate else ()
    assumed = (*_list_assumptions(reference, contract, metric), *_warn_of_few(estimate)) if values and estimate else ()
    why_not = _explain_no_estimate(metric, values, estimate, reference)
    return _Judged(values, _explain(_find_told(metric, judged, values), values, settings) or why_not, assumed)


def _find_told(metric: str, judged: set[str], values: tuple[MetricValue, ...]) -> str:
    """Return the metric to tell of: the one that decides, or where only the decisions are lost, theirs."""
    lost = [value.name for value in values if value.lost and value.name in judged]
    return metric if metric in lost or not lost else lost[0]


def find_known(scored: Scored) -> "npt.NDArray[np.bool_]":
    """Return which rows have a label that the model knows, and a finite answer, ``(n_rows,)``."""
    truth = np.asarray(scored.truth, np.float64)
    if scored.n_classes:
        return (truth >= 0) & (truth < scored.n_classes) & np.isfinite(scored.probabilities).all(axis=1)
    return np.isfinite(truth) & np.isfinite(np.asarray(scored.predictions.values, np.float64))


def _drop_unknown(scored: Scored) -> Scored:
    known = find_known(scored)
    return scored if known.all() else scored.take(np.flatnonzero(known))


def _judge_live(
    scored: Scored, reference: ReferencePerformance, contract: Contract, settings: MonitoringConfig, rounds: int, seed: int
) -> tuple[MetricValue, ...]:
    """Compute each metric that these rows and the reference define, with its bootstrap interval, against the reference."""
    n_rows, told_by = len(scored.truth), scored.count_equal()
    values = {name: value for name, value in compute_metrics(scored, contract.task).items() if name in reference.metrics}
    if not values:  # the bundle recorded no intervals, so there is nothing to compare with
        return ()
    bounds = bootstrap_metrics(scored, values, contract.task, rounds=rounds, confidence=CONFIDENCE, seed=seed)
    found = []
    for name, error in bounds.errors.items():
        value, (low, high) = values[name], bounds.intervals[name]
        ours = reference.metrics[name]
        # as many rows as the reference's, spread like these: a reference that came out perfect has no spread of its own
        theirs = max(ours.error, error * np.sqrt(told_by / reference.rows))
        lost = _is_lost(name, ours.value, ours.value - value, float(np.hypot(error, theirs)), settings)
        found.append(
            MetricValue(name=name, source="live", value=value, low=low, high=high, reference=ours.value, rows=n_rows, lost=lost)
        )
    return tuple(found)


def _is_lost(name: str, reference: float, fall: float, error: float, settings: MonitoringConfig) -> bool:
    """Whether the loss is over the tolerance by more than chance.

    Parameters
    ----------
    fall, error
        Reference minus value, and its standard error.
    """
    loss = fall if higher_is_better(name) else -fall
    return bool(loss - CHANCE * error > compute_tolerance(name, reference, settings.tolerance))


def _judge_estimates(
    estimate: Estimator, reference: ReferencePerformance, settings: MonitoringConfig
) -> tuple[MetricValue, ...]:
    """Set each estimate against the worse of the measured held-out value and the estimate of the held-out rows.

    Where the estimate is worse than the measured value on the held-out rows, it is so on every window: that is no loss.
    """
    found = []
    for item in estimate.estimate():
        ours = reference.metrics.get(item.name)
        if ours is None:
            continue
        worse = min if higher_is_better(item.name) else max
        base = worse(ours.value, reference.estimated.get(item.name, ours.value))
        lost = _is_lost(item.name, ours.value, base - item.value, float(np.hypot(item.error, ours.error)), settings)
        found.append(
            MetricValue(
                name=item.name,
                source="estimated",
                value=item.value,
                low=item.low,
                high=item.high,
                reference=ours.value,
                rows=estimate.rows,
                lost=lost,
            )
        )
    return tuple(found)


def _list_assumptions(reference: ReferencePerformance, contract: Contract, metric: str) -> tuple[Reason, ...]:
    common = Reason(kind="no-concept-drift")
    if reference.error_model is not None:
        model = reference.error_model
        follows = Reason(kind="error-follows", values={"skill": model.skill})
        return common, follows if model.model else Reason(kind="error-constant"), Reason(kind="rows-alike")
    checked = reference.checked.get(metric)
    calibrated = Reason(kind="calibrated", values={"rows": reference.rows})
    if checked is not None and metric in reference.metrics:
        values = calibrated.values | {"estimated": checked, "measured": reference.metrics[metric].value}
        calibrated = Reason(kind="calibrated-checked", values=values | {"metric": metric})
    return common, calibrated, Reason(kind="rows-covered-classes" if contract.task == "multiclass" else "rows-covered")


def _find_selection(
    scored: Scored, reference: ReferencePerformance, contract: Contract, coverage: float | None
) -> Reason | None:
    """Say that labels come by their outcome, so that no metric on them is the model's; None if that is not seen."""
    if reference.calibrator is None or not contract.is_classification or not len(scored.truth):
        return None
    expected = reference.calibrator.calibrate(scored.probabilities).mean(axis=0)
    seen = np.bincount(np.asarray(scored.truth, np.int64), minlength=len(expected)) / len(scored.truth)
    found, usual = find_selection(seen, expected, len(scored.truth), coverage), reference.metrics.get("roc_auc")
    if found is None or usual is None or not keeps_ranking(scored, usual.value):
        return None
    figures = {"seen": found.seen, "expected": found.expected, "coverage": found.coverage, "rows": len(scored.truth)}
    return Reason(kind="live-selective", values={"label": contract.class_names[found.place], **figures})


def _warn_of_few(estimate: Estimator) -> tuple[Reason, ...]:
    """Say that the window hardly has a class."""
    rarest = estimate.expect_rarest()
    if rarest is None or rarest >= FEW_ROWS:
        return ()
    return (Reason(kind="few-of-a-class", values={"rows": round(rarest), "few": FEW_ROWS}),)


def _explain(
    metric: str, values: tuple[MetricValue, ...], settings: MonitoringConfig, coverage: float | None = None
) -> Reason | None:
    """Say what the deciding metric shows, and on which share of the predictions; None if it is not among the values."""
    for value in values:
        if value.name == metric:
            figures = {name: getattr(value, name) for name in ("value", "low", "high", "rows", "reference")}
            tolerance = compute_tolerance(metric, value.reference, settings.tolerance)
            kind, share = f"{value.source}-{'lost' if value.lost else 'kept'}", {}
            if coverage is not None:
                kind, share = f"{kind}-of", {"coverage": coverage}
            return Reason(kind=kind, values={"metric": metric, **figures, "tolerance": tolerance, **share})
    return None


def _explain_no_live(metric: str, live: tuple[MetricValue, ...], rows: int, settings: MonitoringConfig) -> Reason:
    if live:
        return Reason(kind="live-undefined", values={"metric": metric})
    if rows >= settings.min_labels:
        return Reason(kind="live-nothing", values={"rows": rows})
    return Reason(kind="live-few", values={"rows": rows, "needed": settings.min_labels})


def _explain_no_estimate(
    metric: str, estimated: tuple[MetricValue, ...], estimate: Estimator | None, reference: ReferencePerformance
) -> Reason:
    if estimated:
        return Reason(kind="estimate-undefined", values={"metric": metric})
    if reference.calibrator is None and reference.error_model is None:
        return Reason(kind="estimate-uncalibrated", values={"rows": reference.rows})
    if estimate is not None and estimate.shift is not None and estimate.is_outside:
        return Reason(kind="estimate-outside", values={"name": estimate.shift.column, "share": estimate.shift.outside})
    if estimate is not None and estimate.shift is not None and estimate.is_refused:
        counts = {"rows": reference.rows, "telling": round(estimate.telling_rows), "needed": LEAST_TELLING}
        return Reason(kind="estimate-thin", values={"name": estimate.shift.moved, **counts})
    if estimate is not None and estimate.rows >= MIN_ROWS:
        return Reason(kind="estimate-nothing")
    return Reason(kind="estimate-few", values={"rows": estimate.rows if estimate else 0, "needed": MIN_ROWS})
