"""One window of one version's log → an ``Evaluation``: drift, performance, alerts.

The window's rows are read once; then the keys of the newest labelled predictions, which may be older, and of these the rows.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from mlops_project.bundle import REFERENCE_FILE, Bundle
from mlops_project.config import Config
from mlops_project.errors import BundleError
from mlops_project.modeling.metrics import Scored, score_rows
from mlops_project.monitoring.account import explain_missing, find_new
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.coverage import SurenessCounter
from mlops_project.monitoring.domain import SAMPLE_ROWS, RowSample
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.estimate import Estimator
from mlops_project.monitoring.maturity import explain_immature, find_immature
from mlops_project.monitoring.order import OrderTest
from mlops_project.monitoring.past import Judge, Past, collect_past
from mlops_project.monitoring.performance import compute_performance
from mlops_project.monitoring.reasons import say
from mlops_project.monitoring.results import Drift, Evaluation, Reason
from mlops_project.prediction_log.layout import LABEL, LABEL_TIME, TIME
from mlops_project.prediction_log.missing import Reason as Cause
from mlops_project.prediction_log.reader import Labels, LogReader, Window, to_columns, to_predictions, to_truth
from mlops_project.reference.performance import read_reference_performance
from mlops_project.reference.profile import Profiler, ReferenceProfile, load_reference
from mlops_project.reference.repeats import RepeatCounter
from mlops_project.reference.sensitivity import Shift


def evaluate_window(
    config: Config,
    bundle: Bundle,
    reader: LogReader,
    window: Window,
    previous: Sequence[Evaluation] = (),
    *,
    accepted: frozenset[str] = frozenset(),
    losses: Mapping[Cause, int] | None = None,
    noted: Mapping[str, int] | None = None,
    champion: bool = True,
) -> Evaluation:
    """Evaluate a window.

    Parameters
    ----------
    bundle
        The version that answered. Without a reference profile (from an older training) there is no drift, and no estimate.
    window
        Of one version.
    previous
        Earlier evaluations of this version, oldest first: the last one for alerts, all of them as the model's past.
    accepted
        Ends of windows whose drift a person accepted.
    losses, noted
        Rows of the model that are in no window, reason → how many: now, and when its window before was evaluated.
    champion
        Whether the version is.

    Raises
    ------
    MLOpsError
        If the log cannot be read, or the configuration names a metric that the task does not have.
    """
    profile, why = _load_profile(bundle)
    promised = bundle.metadata.uncertainty
    sureness = None if promised is None else SurenessCounter(promised, bundle.contract)
    reference, seed = (profile and profile.performance) or read_reference_performance(bundle.metadata), config.random_state
    if profile is None:
        rows = _read_rows(reader, window, bundle, [sureness] if sureness else [], None, None)
        drift, estimator = _no_drift(rows, why), None
    else:
        estimator = Estimator(reference, bundle.contract, seed=seed) if profile.performance else None
        past = collect_past(profile, previous, accepted)
        rows, drift = _compare_rows(config, bundle, reader, window, profile, past, estimator, sureness)
    labelled, labels, came, young = _read_labelled(config, reader, window, bundle)
    performance = compute_performance(
        reference,
        bundle.contract,
        config.monitoring,
        config.gates,
        labelled=labelled,
        estimate=estimator,
        promised=promised,
        sureness=sureness,
        coverage=labels.coverage,
        delay_seconds=labels.delay_seconds,
        young=young,
        seed=seed,
    )
    missing = find_new(losses or {}, noted or {})
    explained = explain_missing(missing, rows)
    return Evaluation(
        model=window.model,
        version=window.version or "",
        start=window.start.isoformat(),
        end=window.end.isoformat(),
        evaluated_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        rows=rows,
        drift=drift,
        performance=performance,
        alerts=decide_alerts(drift, performance, previous, config.monitoring, window.start.isoformat(), explained, came),
        last_label_at=labels.newest.isoformat() if labels.newest else None,
        champion=champion,
        missing=missing,
        missing_total=dict[str, int]((losses or {}).items()),
    )


def _compare_rows(
    config: Config,
    bundle: Bundle,
    reader: LogReader,
    window: Window,
    profile: ReferenceProfile,
    past: Past,
    estimator: Estimator | None,
    sureness: SurenessCounter | None,
) -> tuple[int, Drift]:
    """Read the window's rows once, also for performance without labels; return how many there are, and what changed."""
    seed, profiler, order = config.random_state, Profiler(profile), OrderTest(profile)
    sample = RowSample(seed, SAMPLE_ROWS)
    repeats = RepeatCounter(profile.features) if profile.repeats else None
    rows = _read_rows(
        reader, window, bundle, [item for item in (profiler, estimator, repeats, sureness) if item], sample, order
    )
    judge = Judge(past, order.is_dependent)
    samples = _pair_samples(sample, bundle) if rows else {}
    drift = compute_drift(profile, profiler, config.monitoring, **samples, repeats=repeats, judge=judge, seed=seed)
    if estimator is not None:
        estimator.shift = Shift(profiler.features)
    return rows, drift


def _load_profile(bundle: Bundle) -> tuple[ReferenceProfile | None, Reason]:
    """Return the reference, or why there is none."""
    try:
        profile = load_reference(bundle)
    except BundleError as error:
        return None, Reason(kind="said", values={"text": str(error)})
    return profile, Reason(kind="no-profile")


def _no_drift(rows: int, why: Reason) -> Drift:
    return Drift(
        rows=rows,
        reference_rows=0,
        features=(),
        share=0.0,
        drifted=False,
        prediction_drifted=False,
        reason=say(why),
        reasons=(why,),
    )


def _read_rows(
    reader: LogReader,
    window: Window,
    bundle: Bundle,
    counters: Sequence[Profiler | Estimator | RepeatCounter | SurenessCounter],
    sample: RowSample | None,
    order: OrderTest | None,
) -> int:
    """Show every row of the window to those who count, to the sample and to the test of order; return how many there are."""
    if not counters:
        return reader.count(window, labelled=False).rows
    rows = 0
    for batch in reader.batches(window):
        columns, predictions = to_columns(batch, bundle.contract), to_predictions(batch, bundle.contract)
        for counter in counters:
            counter.add(columns, predictions)
        if sample is not None:
            sample.add(columns)
        if order is not None:
            order.add(columns, batch.column(TIME).to_numpy(zero_copy_only=False))
        rows += batch.num_rows
    return rows


def _pair_samples(sample: RowSample, bundle: Bundle) -> dict[str, dict[str, Any]]:
    """Return rows of the window, and reference rows for the domain classifier if the bundle has some."""
    if REFERENCE_FILE not in bundle.metadata.files:
        return {"sample": sample.columns}
    frame = pd.read_parquet(bundle.path / REFERENCE_FILE)
    reference = {name: frame[name].to_numpy() for name in bundle.contract.names}
    return {"sample": sample.columns, "reference_sample": reference}


def _read_labelled(
    config: Config, reader: LogReader, window: Window, bundle: Bundle
) -> tuple[Scored | None, Labels, list[datetime], Reason | None]:
    """Return this version's newest labelled predictions up to the window's end, what is known of their labels, when they came.

    Later ones belong to later windows: a monitor that catches up must not count the same labels for a row of windows. Where
    labels of one class come later than others, those too young for them are left out, which the last part says.
    """
    table = reader.newest_labelled(window.model, window.version, config.monitoring.label_rows, until=window.end)
    labels = reader.describe_labels(table, window.model, window.version)
    if not table.num_rows:
        return None, labels, [], None
    truth, young = to_truth(table.column(LABEL), bundle.contract), None
    scored = score_rows(to_predictions(table, bundle.contract), truth, bundle.contract)
    predicted, came = (table.column(name).cast("int64").to_numpy() for name in (TIME, LABEL_TIME))
    found = find_immature(predicted, came, truth, is_classification=bundle.contract.is_classification)
    if found is not None:
        scored, young = scored.take(np.flatnonzero(found.is_mature)), explain_immature(found, bundle.contract)
    return scored, labels, table.column(LABEL_TIME).to_pylist(), young
