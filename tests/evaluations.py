"""Evaluations made by hand, for what reads them: store, alerts, report, metrics, service."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from mlops_project.monitoring.results import (
    Alert,
    AlertName,
    Bins,
    DomainDrift,
    Drift,
    Evaluation,
    FeatureDrift,
    MetricValue,
    Performance,
    Reason,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def say_so(text: str) -> Reason:
    """Return a reason that has no other words than these."""
    return Reason(kind="said", values={"text": text})


def make_feature(name: str, *, shift: float = 0.0, weight: float = 0.1, kind: str = "numeric", quality=()) -> FeatureDrift:
    """Return a feature whose window lies ``shift`` standard deviations off its reference."""
    rng = np.random.default_rng(len(name))
    reference, current = rng.normal(size=1000), rng.normal(shift, size=800)
    edges = np.quantile(reference, np.linspace(0, 1, 11)[1:-1]).round(2)
    if kind == "numeric":
        labels = (f"< {edges[0]}", *(f"{low} – {high}" for low, high in pairwise(edges)), f"> {edges[-1]}")
    else:
        labels = tuple(f"category {number}" for number in range(10))
    then, now = (np.bincount(np.searchsorted(edges, values), minlength=10).tolist() for values in (reference, current))
    bins = Bins(
        labels=(*labels, "missing"),
        edges=tuple(edges.tolist()) if kind == "numeric" else (),
        reference=(*then, 5),
        current=(*now, 40 if quality else 4),
    )
    faults = tuple(say_so(text) for text in quality)
    distance = float(abs(np.array(then) / 1000 - np.array(now) / 800).sum() / 2)
    return FeatureDrift(
        name=name,
        kind=kind,
        weight=weight,
        rows=800,
        psi=distance,
        jensen_shannon=distance,
        wasserstein=shift if kind == "numeric" else None,
        test="KS" if kind == "numeric" else "χ²",
        statistic=distance,
        p_value=1e-9 if shift else 0.6,
        p_adjusted=1e-8 if shift else 1.0,
        threshold=0.1,
        drifted=shift > 0.2,
        missing_ratio=0.05 if quality else 0.005,
        missing_reference_ratio=0.005,
        quality=quality,
        faults=faults,
        bins=bins,
    )


def make_drift(features=(), *, scores=(), domain: bool = False, reason: str = "") -> Drift:
    """Return a window's drift; it is data drift if the drifted features weigh 5 % or more."""
    features = tuple(features) or (make_feature("age"), make_feature("income", kind="category"))
    share = sum(feature.weight for feature in features if feature.drifted)
    names = [feature.name for feature in features if feature.drifted]
    reason = reason or (f"{', '.join(names)} changed" if names else "no feature changed")
    return Drift(
        rows=800,
        reference_rows=1000,
        features=features,
        scores=tuple(scores),
        domain=DomainDrift(auc=0.71, threshold=0.53, p_value=0.001, drifted=True, names=("age",)) if domain else None,
        share=share,
        drifted=share >= 0.05,
        prediction_drifted=any(score.drifted for score in scores),
        reason=reason,
        reasons=(say_so(reason),),
    )


def make_performance(value: float | None = 0.95, estimated: float | None = 0.95, *, lost: bool = False) -> Performance:
    """Return performance by ROC AUC, 0.96 on the held-out rows."""

    def metric(source: str, auc: float | None) -> tuple[MetricValue, ...]:
        if auc is None:
            return ()
        bounds = {"low": auc - 0.02, "high": auc + 0.02}
        return (MetricValue(name="roc_auc", source=source, value=auc, **bounds, reference=0.96, rows=500, lost=lost),)

    reason = f"ROC AUC {value} from 500 labels, 0.96 on the held-out rows" if value else "no labels yet"
    return Performance(
        metric="roc_auc",
        live=metric("live", value),
        estimated=metric("estimated", estimated),
        assumptions=("probabilities are calibrated as on the held-out rows", "no concept drift"),
        labelled_rows=500 if value else 0,
        label_coverage=0.62 if value else None,
        label_delay_seconds=5400.0 if value else None,
        lost=lost,
        reason=reason,
        live_reason=say_so(reason),
    )


def make_alert(name: AlertName = "data-drift", *, windows: int = 2, consecutive: int = 2) -> Alert:
    since = (NOON - windows * timedelta(hours=1)).isoformat()
    return Alert(name=name, windows=windows, firing=windows >= consecutive, since=since, reason="because")


def make_evaluation(
    hour: int = 0, *, model: str = "churn", version: str = "3", drift: Drift | None = None, performance=None, alerts=()
) -> Evaluation:
    """Return the evaluation of the window that ends ``hour`` hours after noon."""
    end = NOON + timedelta(hours=hour)
    return Evaluation(
        model=model,
        version=version,
        start=(end - timedelta(hours=1)).isoformat(),
        end=end.isoformat(),
        evaluated_at=(end + timedelta(minutes=5)).isoformat(),
        rows=800,
        drift=drift or make_drift(),
        performance=performance or make_performance(),
        alerts=tuple(alerts),
    )
