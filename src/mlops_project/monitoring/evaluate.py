"""One window of one version's log → an ``Evaluation``: drift, performance, alerts. Each row is read once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from mlops_project.bundle import REFERENCE_FILE, Bundle
from mlops_project.config import Config
from mlops_project.errors import BundleError
from mlops_project.modeling.metrics import Scored, score_rows
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.estimate import Estimator
from mlops_project.monitoring.performance import compute_performance
from mlops_project.monitoring.reasons import say
from mlops_project.monitoring.results import Drift, Evaluation, Reason
from mlops_project.prediction_log.layout import LABEL, TIME
from mlops_project.prediction_log.reader import Labels, LogReader, Window, to_columns, to_predictions, to_truth
from mlops_project.reference.performance import read_reference_performance
from mlops_project.reference.profile import Profiler, ReferenceProfile, load_reference

DOMAIN_ROWS = 2000  # of the window, for the classifier that tells it from the reference


def evaluate_window(
    config: Config, bundle: Bundle, reader: LogReader, window: Window, previous: Sequence[Evaluation] = ()
) -> Evaluation:
    """Evaluate a window.

    Parameters
    ----------
    bundle
        The version that answered. Without a reference profile (from an older training) there is no drift, and no estimate.
    window
        Of one version.
    previous
        Earlier evaluations of this version, oldest first.

    Raises
    ------
    MLOpsError
        If the log cannot be read, or the configuration names a metric that the task does not have.
    """
    profile, why = _load_profile(bundle)
    reference, seed = (profile and profile.performance) or read_reference_performance(bundle.metadata), config.random_state
    profiler = Profiler(profile) if profile else None
    estimator = Estimator(reference, bundle.contract, seed=seed) if profile and profile.performance else None
    rows = _read_rows(reader, window, bundle, profiler, estimator)
    if profile is None or profiler is None:
        drift = _no_drift(rows, why)
    else:
        samples = _draw_samples(reader, window, bundle, seed)
        drift = compute_drift(profile, profiler, config.monitoring, **samples, seed=seed)
    labelled, labels = _read_labelled(config, reader, window, bundle)
    performance = compute_performance(
        reference,
        bundle.contract,
        config.monitoring,
        config.gates,
        labelled=labelled,
        estimate=estimator,
        coverage=labels.coverage,
        delay_seconds=labels.delay_seconds,
        seed=seed,
    )
    start = window.start.isoformat()
    return Evaluation(
        model=window.model,
        version=window.version or "",
        start=start,
        end=window.end.isoformat(),
        evaluated_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        rows=rows,
        drift=drift,
        performance=performance,
        alerts=decide_alerts(drift, performance, previous, config.monitoring, start),
        last_label_at=labels.newest.isoformat() if labels.newest else None,
    )


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
    reader: LogReader, window: Window, bundle: Bundle, profiler: Profiler | None, estimator: Estimator | None
) -> int:
    """Show every row of the window to those who count; return how many there are."""
    if profiler is None and estimator is None:
        return reader.count(window, labelled=False).rows
    rows = 0
    for batch in reader.batches(window):
        columns, predictions = to_columns(batch, bundle.contract), to_predictions(batch, bundle.contract)
        if profiler is not None:
            profiler.add(columns, predictions)
        if estimator is not None:
            estimator.add(columns, predictions)
        rows += batch.num_rows
    return rows


def _draw_samples(reader: LogReader, window: Window, bundle: Bundle, seed: int) -> dict[str, Any]:
    """Return rows of the window and reference rows for the domain classifier; none if the bundle holds no rows, for privacy."""
    if REFERENCE_FILE not in bundle.metadata.files:
        return {}
    contract = bundle.contract
    frame = pd.read_parquet(bundle.path / REFERENCE_FILE)
    sample = to_columns(reader.sample(window, DOMAIN_ROWS, seed=seed), contract)
    return {"sample": sample, "reference_sample": {name: frame[name].to_numpy() for name in contract.names}}


def _read_labelled(config: Config, reader: LogReader, window: Window, bundle: Bundle) -> tuple[Scored | None, Labels]:
    """Return this version's newest labelled predictions up to the window's end, and what is known of their labels.

    Later ones belong to later windows: a monitor that catches up must not count the same labels for a row of windows.
    """
    table = reader.newest_labelled(window.model, window.version, config.monitoring.label_rows, until=window.end)
    if not table.num_rows:
        return None, Labels(0)
    oldest, newest = (table.column(TIME)[place].as_py() for place in (0, -1))
    labels = reader.describe_labels(Window(window.model, oldest, newest + timedelta(microseconds=1), window.version))
    truth = to_truth(table.column(LABEL), bundle.contract)
    return score_rows(to_predictions(table, bundle.contract), truth, bundle.contract), labels
