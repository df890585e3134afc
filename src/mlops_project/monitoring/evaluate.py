"""One window of one version's log → an ``Evaluation``: drift, performance, alerts.

The window's rows are read once; then the keys of the newest labelled predictions, which may be older, and of these the rows.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from mlops_project.bundle import REFERENCE_FILE, Bundle
from mlops_project.config import Config
from mlops_project.errors import BundleError
from mlops_project.formats import now
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.metrics import Scored, score_rows
from mlops_project.monitoring.account import explain_missing, find_new
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.chosen import count_answers, find_choice
from mlops_project.monitoring.clock_offsets import OffsetCounter
from mlops_project.monitoring.coverage import COVERAGE, Mix, SurenessCounter, find_usual, judge_weighted
from mlops_project.monitoring.domain import SAMPLE_ROWS, RowSample
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.estimate import Estimator
from mlops_project.monitoring.groups import judge_groups
from mlops_project.monitoring.maturity import explain_immature, find_immature
from mlops_project.monitoring.order import OrderTest
from mlops_project.monitoring.past import Judge, Past, collect_past
from mlops_project.monitoring.performance import NO_LABELS, LabelFacts, compute_performance, find_known
from mlops_project.monitoring.reasons import say
from mlops_project.monitoring.results import Drift, Evaluation, MetricValue, Performance, Reason
from mlops_project.monitoring.selection import NEARLY_ALL
from mlops_project.prediction_log.layout import LABEL, LABEL_TIME, TIME
from mlops_project.prediction_log.missing import Reason as Cause
from mlops_project.prediction_log.reader import LogReader, Window, to_columns, to_predictions, to_truth
from mlops_project.prediction_log.scan import MICROSECOND, to_datetime
from mlops_project.proof import load_runtime
from mlops_project.reference.performance import ReferencePerformance, read_reference_performance
from mlops_project.reference.profile import Profiler, ReferenceProfile, load_reference
from mlops_project.reference.repeats import RepeatCounter
from mlops_project.reference.sensitivity import Shift
from mlops_project.runtime import encode


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
    seen = _look_at_rows(config, bundle, reader, window, previous, accepted)
    labelled = _read_labelled(config, reader, window, bundle, seen.profile)
    performance = _judge(config, bundle, seen, labelled)
    missing = find_new(losses or {}, noted or {})
    explained, start = explain_missing(missing, seen.rows), window.start.isoformat()
    return Evaluation(
        model=window.model,
        version=window.version or "",
        start=start,
        end=window.end.isoformat(),
        evaluated_at=now(),
        rows=seen.rows,
        drift=seen.drift,
        performance=performance,
        alerts=decide_alerts(seen.drift, performance, previous, config.monitoring, start, explained, labelled.came),
        last_label_at=labelled.newest,
        champion=champion,
        missing=missing,
        missing_total=dict[str, int]((losses or {}).items()),
    )


class _Seen(NamedTuple):
    """What a window's rows show, and what they are compared with."""

    profile: ReferenceProfile | None
    reference: ReferencePerformance
    rows: int
    drift: Drift
    estimator: Estimator | None = None
    sureness: SurenessCounter | None = None


def _look_at_rows(
    config: Config,
    bundle: Bundle,
    reader: LogReader,
    window: Window,
    previous: Sequence[Evaluation],
    accepted: frozenset[str],
) -> _Seen:
    (profile, why), promised = _load_profile(bundle), bundle.metadata.uncertainty
    reference = (profile and profile.performance) or read_reference_performance(bundle.metadata)
    sureness = None if promised is None else SurenessCounter(promised, bundle.contract)
    if profile is None:
        rows = _read_rows(reader, window, bundle, [sureness] if sureness else [], None, ())
        return _Seen(profile, reference, rows, _no_drift(rows, why), sureness=sureness)
    estimator = Estimator(reference, bundle.contract, seed=config.random_state) if profile.performance else None
    past = collect_past(profile, previous, accepted)
    rows, drift, judge = _compare_rows(config, bundle, reader, window, profile, past, estimator, sureness)
    if sureness is not None:
        sureness.usual = find_usual(judge, previous, accepted, rows)
    return _Seen(profile, reference, rows, drift, estimator, sureness)


def _compare_rows(
    config: Config,
    bundle: Bundle,
    reader: LogReader,
    window: Window,
    profile: ReferenceProfile,
    past: Past,
    estimator: Estimator | None,
    sureness: SurenessCounter | None,
) -> tuple[int, Drift, Judge]:
    """Read the window's rows once, also for performance without labels.

    Returns
    -------
    rows, drift, judge
        How many there are, what changed, and by what that was judged.
    """
    seed, profiler, order, offsets = config.random_state, Profiler(profile), OrderTest(profile), OffsetCounter(profile)
    sample = RowSample(seed, SAMPLE_ROWS)
    repeats = RepeatCounter(profile.features) if profile.repeats else None
    rows = _read_rows(
        reader, window, bundle, [item for item in (profiler, estimator, repeats, sureness) if item], sample, (order, offsets)
    )
    judge = Judge(past, order.is_dependent)
    samples = _pair_samples(sample, bundle) if rows else {}
    drift = compute_drift(
        profile, profiler, config.monitoring, **samples, repeats=repeats, offsets=offsets, judge=judge, seed=seed
    )
    if estimator is not None:
        estimator.shift = Shift(profiler.features)
    return rows, drift, judge


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
    timed: Sequence[OrderTest | OffsetCounter],
) -> int:
    """Show every row of the window to those who count, to the sample, and with its time to the others; return how many."""
    if not counters:
        return reader.count(window, labelled=False).rows
    rows = 0
    for batch in reader.batches(window):
        columns, predictions = to_columns(batch, bundle.contract), to_predictions(batch, bundle.contract)
        for counter in counters:
            counter.add(columns, predictions)
        if sample is not None:
            sample.add(columns)
        for one in timed:
            one.add(columns, batch.column(TIME).to_numpy(zero_copy_only=False))
        rows += batch.num_rows
    return rows


def _pair_samples(sample: RowSample, bundle: Bundle) -> dict[str, dict[str, Any]]:
    """Return rows of the window, and reference rows for the domain classifier if the bundle has some."""
    if REFERENCE_FILE not in bundle.metadata.files:
        return {"sample": sample.columns}
    frame = pd.read_parquet(bundle.path / REFERENCE_FILE)
    reference = {name: frame[name].to_numpy() for name in bundle.contract.names}
    return {"sample": sample.columns, "reference_sample": reference}


def _judge(config: Config, bundle: Bundle, seen: _Seen, labelled: "_LabelledRows") -> Performance:
    found = compute_performance(
        seen.reference,
        bundle.contract,
        config.monitoring,
        config.gates,
        labelled=labelled.scored,
        facts=labelled.facts,
        estimate=seen.estimator,
        promised=bundle.metadata.uncertainty,
        sureness=seen.sureness,
        seed=config.random_state,
    )
    if not found.live or labelled.scored is None or labelled.table is None:
        return found
    weighted = _judge_mix(config, bundle, labelled.scored, labelled.table, found)
    found = msgspec.structs.replace(found, live=(*found.live, *([] if weighted is None else [weighted])))
    if not config.checks.groups:
        return found
    groups = judge_groups(labelled.scored, to_columns(labelled.table, bundle.contract), bundle.contract, config)
    return msgspec.structs.replace(found, groups=groups)


def _judge_mix(config: Config, bundle: Bundle, scored: Scored, table: Any, found: Performance) -> MetricValue | None:
    """Say of lost coverage what it would be weighted for the labelled rows' mix; None if it is not lost, or nobody can tell.

    The kept held-out rows are answered by the model, which is loaded for that; pipelines in processes of their own are not.
    """
    promised, contract = bundle.metadata.uncertainty, bundle.contract
    is_lost = any(value.name == COVERAGE and value.lost for value in found.live)
    if promised is None or not is_lost or bundle.metadata.python is not None or REFERENCE_FILE not in bundle.metadata.files:
        return None
    kept = pd.read_parquet(bundle.path / REFERENCE_FILE)
    held_out = encode({name: kept[name].to_numpy() for name in contract.names}, contract)
    known = find_known(scored)
    columns = {name: values[known] for name, values in to_columns(table, contract).items()}
    try:
        answers = load_runtime(bundle, config.proof).run(*held_out)
    except BundleError:
        return None
    mix = Mix(held_out, answers, encode_target(kept[contract.target], contract), encode(columns, contract))
    return judge_weighted(scored.take(np.flatnonzero(known)), promised, mix, contract, config.random_state)


class _LabelledRows(NamedTuple):
    """The newest labelled predictions of a version, what is known of their labels, and when they came."""

    scored: Scored | None = None
    table: Any = None
    facts: LabelFacts = NO_LABELS
    newest: str | None = None
    came: Sequence[datetime] = ()


def _read_labelled(
    config: Config, reader: LogReader, window: Window, bundle: Bundle, profile: ReferenceProfile | None
) -> _LabelledRows:
    """Return labelled predictions up to the window's end.

    Later ones belong to later windows: a monitor that catches up must not count the same labels for a row of windows. Where
    labels of one class come later than others, those too young for them are left out.
    """
    table = reader.newest_labelled(window.model, window.version, config.monitoring.label_rows, until=window.end)
    if not table.num_rows:
        return _LabelledRows()
    labels, contract = reader.describe_labels(table, window.model, window.version), bundle.contract
    truth, young = to_truth(table.column(LABEL), contract), None
    scored = score_rows(to_predictions(table, contract), truth, contract)
    predicted, came = (table.column(name).cast("int64").to_numpy() for name in (TIME, LABEL_TIME))
    came_at = table.column(LABEL_TIME).to_pylist()
    found = find_immature(predicted, came, truth, is_classification=contract.is_classification)
    if found is not None:
        kept, young = np.flatnonzero(found.is_mature), explain_immature(found, contract)
        scored, predicted, table = scored.take(kept), predicted[kept], table.take(kept)
    choice = None
    if profile is not None and len(predicted) >= config.monitoring.min_labels and (labels.coverage or 1.0) < NEARLY_ALL:
        span = Window(window.model, to_datetime(predicted.min()), to_datetime(predicted.max()) + MICROSECOND, window.version)
        choice = find_choice(scored, count_answers(reader, span, contract, profile), profile.score_columns, labels.coverage)
    newest = labels.newest.isoformat() if labels.newest else None
    facts = LabelFacts(labels.coverage, labels.delay_seconds, young, choice)
    return _LabelledRows(scored, table, facts, newest, came_at)
