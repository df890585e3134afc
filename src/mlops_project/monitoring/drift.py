"""Has the data changed? A window's profile against the held-out rows', feature by feature and all together.

A feature drifted if its test, corrected for the number of features, says that chance does not explain the change, *and* the
change is larger than chance makes it at this window's size, and than what matters at all. Tests alone call 1 % shifts drift
once windows are large; distances alone call noise drift while they are small.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

import msgspec
import numpy as np

from mlops_project.monitoring.aspects import compare_details, compare_pairs
from mlops_project.monitoring.clock_offsets import OffsetCounter, compare_offsets
from mlops_project.monitoring.columns import compare_columns
from mlops_project.monitoring.domain import compare_rows
from mlops_project.monitoring.past import NEEDED, NO_PAST, ColumnPast, Judge
from mlops_project.monitoring.quality import find_faults
from mlops_project.monitoring.reasons import NAMED, say, shorten_list
from mlops_project.monitoring.repeats import count_once, describe_repeats, find_repeats
from mlops_project.monitoring.results import AspectDrift, DomainDrift, Drift, FeatureDrift, PastNote, Reason
from mlops_project.monitoring.segments import compare_segments
from mlops_project.monitoring.swaps import find_swaps
from mlops_project.monitoring.visible import find_visible
from mlops_project.reference.bins import FeatureProfile
from mlops_project.reference.couplings import measure_residuals
from mlops_project.reference.profile import Profiler, ReferenceProfile
from mlops_project.reference.repeats import RepeatCounter
from mlops_project.sections import MonitoringConfig

DRIFT_REASONS = (
    "features-drifted",
    "aspects-changed",
    "rows-told-apart",
    "clock-moved",
)  # kinds: each alone makes the inputs drift
# Shares of alpha; scores, an alert of their own, have all of it
FEATURE_SHARE, DETAIL_SHARE, PAIR_SHARE, SEGMENT_SHARE, REPEAT_SHARE, DOMAIN_SHARE = 0.55, 0.05, 0.05, 0.05, 0.05, 0.25
Found = TypeVar("Found", bound=FeatureDrift)


def compute_drift(
    reference: ReferenceProfile,
    current: Profiler,
    settings: MonitoringConfig,
    *,
    sample: Mapping[str, Any] | None = None,
    reference_sample: Mapping[str, Any] | None = None,
    repeats: RepeatCounter | None = None,
    offsets: OffsetCounter | None = None,
    judge: Judge | None = None,
    seed: int,
) -> Drift:
    """Compare a window with the held-out rows.

    Parameters
    ----------
    reference
        Of the bundle that answered.
    current
        The window, counted.
    sample, reference_sample
        Feature name → ``(n_rows,)``: rows of the window, for segments, and of the reference, for the domain classifier; what
        lacks its rows is left out.
    repeats
        The window's rows, to look for copies among them; None: that is left out. Where there are too many, each row is compared
        once, so that copies are named as such and not as drift.
    offsets
        The window's dates and hours against the log's clock; None: that is left out.
    judge
        The model's past windows; None: rows are independent draws.
    seed
        Of the classifier's draws.
    """
    rows, moved = current.rows, compare_offsets(offsets, judge)
    copies = find_repeats(reference, repeats, settings.alpha * REPEAT_SHARE, judge) if repeats is not None else None
    if copies and copies.repeated and repeats is not None:
        current, sample = count_once(reference, repeats), sample and repeats.take_once(1)[0]
    features, aspects, alone = _compare_inputs(reference, current, sample or {}, settings, judge, seed)
    scores = _judge_all(scores_alone := compare_columns(current.scores, settings, settings.alpha), judge, "scores")
    told = _tell_apart(reference, sample, reference_sample, settings, seed)
    past = None if judge is None else _note_past(judge, (*alone[0], *scores_alone, *alone[1]), told)
    domain = _judge_domain(told, judge)
    share = _weigh_drifted(features, aspects)
    reasons = (*_name_moved(moved), *_explain(features, scores, aspects, domain, share, settings), *describe_repeats(copies))
    if past and judge and past.judged_by != "rows":
        reasons = (*reasons, *_explain_past(past, alone[0], features, scores_alone, scores), *_name_unjudged(judge))
    return Drift(
        rows=rows,
        reference_rows=reference.rows,
        features=tuple(features),
        scores=tuple(scores),
        aspects=(*aspects, *moved),
        repeats=copies,
        domain=domain,
        share=share,
        drifted=share >= settings.drift_share or bool(domain and domain.drifted) or any(found.drifted for found in moved),
        prediction_drifted=any(found.drifted for found in scores),
        reason=say(*reasons),
        reasons=reasons,
        past=past,
    )


def _weigh_drifted(features: Sequence[FeatureDrift], aspects: Sequence[AspectDrift]) -> float:
    changed = {name for found in aspects if found.drifted for name in found.columns}
    return min(1.0, sum(found.weight for found in features if found.drifted or found.name in changed))


def _compare_inputs(
    reference: ReferenceProfile,
    current: Profiler,
    sample: Mapping[str, Any],
    settings: MonitoringConfig,
    judge: Judge | None,
    seed: int,
) -> tuple[list[FeatureDrift], list[AspectDrift], tuple[list[FeatureDrift], list[AspectDrift]]]:
    """Return features and aspects as the past judges them, the most important change first, and as their rows alone would."""
    faults = find_faults(current.features, settings.alpha, judge)
    beyond = measure_residuals(reference.couplings, current.features)
    compared = compare_columns(current.features, settings, settings.alpha * FEATURE_SHARE)
    alone = [msgspec.structs.replace(found, beyond=beyond.get(found.name)) for found in compared]
    judged = [*map(_add_visible, _judge_all(alone, judge, "features"), reference.features)]
    moved = {found.name for found in judged if found.drifted}
    aspects_alone = _compare_aspects(reference, current, sample, settings, moved, seed)
    beside = _judge_all(aspects_alone, judge, "aspects")
    parted = {name for found in beside if found.drifted and found.aspect == "pair" for name in found.columns}
    swaps = find_swaps(current.features, current.pairs, moved, parted)
    features = sorted((_add_faults(found, faults, swaps) for found in judged), key=_rank)
    return features, sorted((_leave_out(found, moved) for found in beside), key=_rank), (alone, aspects_alone)


def _compare_aspects(
    reference: ReferenceProfile,
    current: Profiler,
    sample: Mapping[str, Any],
    settings: MonitoringConfig,
    moved: AbstractSet[str],
    seed: int,
) -> list[AspectDrift]:
    """Compare what single values do not show: segments, texts and dates, pairs of features."""
    return [
        *compare_segments(reference, sample, settings.alpha * SEGMENT_SHARE, moved),
        *compare_details(current, settings, settings.alpha * DETAIL_SHARE),
        *compare_pairs(reference, current, settings, settings.alpha * PAIR_SHARE, seed),
    ]


def _tell_apart(
    reference: ReferenceProfile,
    sample: Mapping[str, Any] | None,
    reference_sample: Mapping[str, Any] | None,
    settings: MonitoringConfig,
    seed: int,
) -> DomainDrift | None:
    """Ask a classifier; None where rows of one side are missing."""
    if sample is None or reference_sample is None:
        return None
    alpha = settings.alpha * DOMAIN_SHARE
    return compare_rows(reference_sample, sample, reference.features, alpha=alpha, seed=seed)


def _leave_out(found: AspectDrift, moved: AbstractSet[str]) -> AspectDrift:
    """Let a pair drift only where neither feature moved by itself: it would say the same again, and blame the other one."""
    if found.aspect != "pair" or moved.isdisjoint(found.columns):
        return found
    return msgspec.structs.replace(found, drifted=False)


def _rank(found: FeatureDrift) -> tuple[bool, float]:
    """Return what sorts the most important change to the front."""
    return not found.drifted, -found.weight * found.jensen_shannon


def _judge_all(found: Sequence[Found], judge: Judge | None, kind: str) -> list[Found]:
    """Let drift stand only where it goes beyond what the past windows did, unless rows are independent."""
    if judge is None:
        return [*found]
    pasts: Mapping[str, ColumnPast] = getattr(judge.past, kind)
    return [_judge_column(one, pasts.get(one.name, NO_PAST), judge) for one in found]


def _judge_column(found: Found, past: ColumnPast, judge: Judge) -> Found:
    cells = np.array(found.bins.current, np.int64)
    recent = past.measure_recent(cells)
    found = msgspec.structs.replace(found, recent=recent)
    if judge.by_rows:
        return found
    if past.windows < NEEDED:
        return msgspec.structs.replace(found, drifted=False)
    limit = max(found.threshold, past.reference_limit)
    drifted = found.drifted and found.jensen_shannon > limit and not past.is_like(recent) and not past.is_known(cells)
    trend = past.find_trend(found.beyond)
    return msgspec.structs.replace(found, threshold=limit, drifted=drifted or trend is not None, trend=trend)


def _add_visible(found: FeatureDrift, profile: FeatureProfile) -> FeatureDrift:
    return msgspec.structs.replace(found, visible=find_visible(profile, found.threshold))


def _judge_domain(domain: DomainDrift | None, judge: Judge | None) -> DomainDrift | None:
    if domain is None or judge is None or judge.by_rows:
        return domain
    enough = len(judge.past.aucs) >= NEEDED
    threshold = max(domain.threshold, judge.past.auc_limit)
    return msgspec.structs.replace(domain, threshold=threshold, drifted=enough and domain.drifted and domain.auc > threshold)


def _note_past(judge: Judge, alone: Sequence[FeatureDrift], domain: DomainDrift | None) -> PastNote:
    return PastNote(
        judged_by="rows" if judge.by_rows else "nothing" if judge.is_waiting else "windows",
        windows=judge.past.windows,
        needed=NEEDED,
        dependent=judge.dependent,
        beyond_chance=any(found.drifted for found in alone) or (domain is not None and domain.drifted),
    )


def _explain_past(
    past: PastNote,
    alone: Sequence[FeatureDrift],
    features: Sequence[FeatureDrift],
    scores_alone: Sequence[FeatureDrift],
    scores: Sequence[FeatureDrift],
) -> tuple[Reason, ...]:
    """Say what differs from the held-out rows and is held back, and why."""
    kept = {found.name for found in features if found.drifted}, {found.name for found in scores if found.drifted}
    held = [
        found
        for side, names in ((alone, kept[0]), (scores_alone, kept[1]))
        for found in side
        if found.drifted and found.name not in names
    ]
    if past.judged_by == "nothing":
        return (Reason(kind="too-short-to-tell", values={"windows": past.windows, "needed": past.needed, "held": len(held)}),)
    return (Reason(kind="as-before", values={"windows": past.windows, "held": len(held)}),) if held else ()


def _name_unjudged(judge: Judge) -> tuple[Reason, ...]:
    """Name the columns that cannot be judged because they were faulty while the others were learned."""
    short = {name: column.windows for name, column in judge.past.features.items() if column.windows < NEEDED}
    if judge.is_waiting or not short:
        return ()
    named = shorten_list([Reason(kind="said", values={"text": name}) for name in short])
    return (Reason(kind="columns-too-short", values={"named": named, "windows": max(short.values()), "needed": NEEDED}),)


def _add_faults(found: FeatureDrift, *faults: Mapping[str, tuple[Reason, ...]]) -> FeatureDrift:
    own = tuple(fault for part in faults for fault in part.get(found.name, ()))
    return msgspec.structs.replace(found, quality=tuple(map(say, own)), faults=own)


def _explain(
    features: Sequence[FeatureDrift],
    scores: Sequence[FeatureDrift],
    aspects: Sequence[AspectDrift],
    domain: DomainDrift | None,
    share: float,
    settings: MonitoringConfig,
) -> tuple[Reason, ...]:
    """Say what changed; the reasons of ``DRIFT_REASONS``, which make the inputs drift, come first."""
    drifted = [found for found in features if found.drifted]
    shares, reasons, few = {"share": share, "limit": settings.drift_share}, list[Reason](), list[Reason]()
    listed, prefix = (reasons, "") if share >= settings.drift_share else (few, "few-")
    if drifted:
        counts = {"drifted": len(drifted), "features": len(features)}
        listed.append(Reason(kind=f"{prefix}features-drifted", values={**counts, **shares, "named": _name(drifted)}))
    changes = [found.change for found in aspects if found.drifted and found.change]
    if changes:
        named = shorten_list(changes, "more-clauses")
        listed.append(Reason(kind=f"{prefix}aspects-changed", values={**shares, "named": named}))
    if domain is not None and domain.drifted:
        names = ", ".join(domain.names[:NAMED])
        figures = {"auc": domain.auc, "threshold": domain.threshold}
        reasons.append(Reason(kind="rows-told-apart", values={**figures, "names": names}))
    moved = [found for found in scores if found.drifted]
    if moved:
        reasons.append(Reason(kind="predictions-drifted", values={"named": _name(moved)}))
    return (*reasons, *few) or (Reason(kind="nothing-drifted", values={"features": len(features)}),)


def _name_moved(moved: Sequence[AspectDrift]) -> tuple[Reason, ...]:
    """Name the dates and hours that moved against the log's clock; one is enough for an alert, whatever its importance."""
    changes = [found.change for found in moved if found.drifted and found.change]
    return (Reason(kind="clock-moved", values={"named": shorten_list(changes, "more-clauses")}),) if changes else ()


def _name(found: Sequence[FeatureDrift]) -> tuple[Reason, ...]:
    return shorten_list([_describe_trend(one) or describe_distance("feature-drifted", one) for one in found])


def _describe_trend(found: FeatureDrift) -> Reason | None:
    if found.trend is None or found.beyond is None:
        return None
    return Reason(kind="feature-trend", values={"name": found.name, "beyond": abs(found.beyond), "limit": found.trend})


def describe_distance(kind: str, found: FeatureDrift) -> Reason:
    """Return how far a feature, or a score, is from its reference, and how far chance or the settings let it be."""
    return Reason(kind=kind, values={"name": found.name, "distance": found.jensen_shannon, "threshold": found.threshold})
