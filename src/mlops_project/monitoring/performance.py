"""How good the model is now: measured where labels are known, estimated where they are not."""

import numpy as np

from mlops_project.contract import Contract
from mlops_project.modeling.gate import UNBOUNDED
from mlops_project.modeling.intervals import bootstrap_metrics
from mlops_project.modeling.metrics import (
    PRIMARY,
    Scored,
    compute_metrics,
    find_metric,
    higher_is_better,
)
from mlops_project.monitoring.coverage import SurenessCounter, judge_coverage
from mlops_project.monitoring.estimate import MIN_ROWS, Estimator
from mlops_project.monitoring.reasons import say
from mlops_project.monitoring.results import MetricValue, Performance, Reason
from mlops_project.monitoring.selection import find_selection, keeps_ranking
from mlops_project.reference.performance import ReferencePerformance
from mlops_project.sections import GatesConfig, MonitoringConfig
from mlops_project.uncertainty import Uncertainty

CONFIDENCE = 0.95
FEW_ROWS = 30  # of a class in a window, expected: with fewer a metric that ranks or counts them swings from window to window
CHANCE = 2.326  # standard errors that chance exceeds in one window of a hundred, to one side


def compute_performance(
    reference: ReferencePerformance,
    contract: Contract,
    settings: MonitoringConfig,
    gates: GatesConfig,
    *,
    labelled: Scored | None = None,
    estimate: Estimator | None = None,
    promised: Uncertainty | None = None,
    sureness: SurenessCounter | None = None,
    coverage: float | None = None,
    delay_seconds: float | None = None,
    young: Reason | None = None,
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
    estimate
        Fed with the window's rows (labelled or not). None, or one that saw too few rows: nothing is estimated.
    promised
        By the model; None: coverage is not judged.
    sureness
        Fed with the window's rows; None: nothing is said of it.
    coverage, delay_seconds
        Share of labelled predictions in [0, 1] and median seconds to the label, of ``describe_labels``. Labels of few
        predictions that are chosen by their outcome give no live metric.
    young
        Which labelled rows were left out because labels of their age are not complete; None if none were.
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
    known = _drop_unknown(labelled) if labelled is not None else None
    labelled_rows = len(known.truth) if known is not None else 0
    chosen = _find_selection(known, reference, contract, coverage) if known else None
    is_enough = labelled_rows >= settings.min_labels and chosen is None
    live = _judge_live(known, reference, contract, settings, rounds, seed) if known and is_enough else ()
    if live and known and promised is not None:
        live = (*live, judge_coverage(known, promised, seed))
    estimated = _judge_estimates(estimate, reference, settings) if estimate else ()
    assumed = (*_list_assumptions(reference, contract, metric), *_warn_of_few(estimate)) if estimated and estimate else ()
    judged = {metric, *([] if contract.rule is None else [contract.rule.judged])}  # the scores, and the decisions
    told, told_estimated = (_find_told(metric, judged, values) for values in (live, estimated))
    live_reason = chosen or _explain(told, live, settings, coverage) or _explain_no_live(metric, live, labelled_rows, settings)
    why_not = _explain_no_estimate(metric, estimated, estimate, reference)
    estimated_reason = _explain(told_estimated, estimated, settings) or why_not
    return Performance(
        metric=metric,
        live=live,
        estimated=estimated,
        counted=() if sureness is None else sureness.judge(settings.tolerance),
        assumptions=tuple(map(say, assumed)),
        assumed=assumed,
        labelled_rows=labelled_rows,
        label_coverage=coverage,
        label_delay_seconds=delay_seconds,
        lost=any(value.lost for value in live if value.name in judged),
        estimated_lost=any(value.lost for value in estimated if value.name in judged),
        reason=say(live_reason, *([young] if young else []), estimated_reason),
        live_reason=live_reason,
        young=young,
        estimated_reason=estimated_reason,
    )


def _find_told(metric: str, judged: set[str], values: tuple[MetricValue, ...]) -> str:
    """Return the metric to tell of: the one that decides, or where only the decisions are lost, theirs."""
    lost = [value.name for value in values if value.lost and value.name in judged]
    return metric if metric in lost or not lost else lost[0]


def _drop_unknown(scored: Scored) -> Scored:
    """Leave out rows whose label the model does not know, or whose answer is not finite."""
    truth = np.asarray(scored.truth, np.float64)
    if scored.n_classes:
        known = (truth >= 0) & (truth < scored.n_classes) & np.isfinite(scored.probabilities).all(axis=1)
    else:
        known = np.isfinite(truth) & np.isfinite(np.asarray(scored.predictions.values, np.float64))
    return scored if known.all() else scored.take(np.flatnonzero(known))


def _judge_live(
    scored: Scored, reference: ReferencePerformance, contract: Contract, settings: MonitoringConfig, rounds: int, seed: int
) -> tuple[MetricValue, ...]:
    """Compute each metric that these rows and the reference define, with its bootstrap interval, against the reference."""
    n_rows = len(scored.truth)
    values = {name: value for name, value in compute_metrics(scored, contract.task).items() if name in reference.metrics}
    if not values:  # the bundle recorded no intervals, so there is nothing to compare with
        return ()
    bounds = bootstrap_metrics(scored, values, contract.task, rounds=rounds, confidence=CONFIDENCE, seed=seed)
    found = []
    for name, error in bounds.errors.items():
        value, (low, high) = values[name], bounds.intervals[name]
        ours = reference.metrics[name]
        # as many rows as the reference's, spread like these: a reference that came out perfect has no spread of its own
        theirs = max(ours.error, error * np.sqrt(n_rows / reference.rows))
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
    return bool(loss - CHANCE * error > find_tolerance(name, reference, settings))


def find_tolerance(name: str, reference: float, settings: MonitoringConfig) -> float:
    """Return the tolerated loss in the metric's unit: a share of the reference for unbounded metrics, as in the gate.

    Parameters
    ----------
    name
        Of the metric.
    reference
        The metric's value on the held-out rows.
    settings
        For ``monitoring.tolerance``.
    """
    return settings.tolerance * (abs(reference) if name in UNBOUNDED else 1.0)


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
            tolerance = find_tolerance(metric, value.reference, settings)
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
    if estimate is not None and estimate.rows >= MIN_ROWS:
        return Reason(kind="estimate-nothing")
    return Reason(kind="estimate-few", values={"rows": estimate.rows if estimate else 0, "needed": MIN_ROWS})
