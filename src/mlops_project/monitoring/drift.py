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

from mlops_project.monitoring.aspects import compare_pairs
from mlops_project.monitoring.domain import compare_rows
from mlops_project.monitoring.past import NEEDED, NO_PAST, ColumnPast, Judge
from mlops_project.monitoring.quality import find_faults
from mlops_project.monitoring.reasons import NAMED, say, shorten_list
from mlops_project.monitoring.results import AspectDrift, Bins, DomainDrift, Drift, FeatureDrift, PastNote, Reason
from mlops_project.monitoring.two_sample import (
    NO_TEST,
    TwoSampleTest,
    adjust_holm,
    compare_cells,
    compare_distributions,
    compare_ranks,
    compare_shares,
)
from mlops_project.monitoring.visible import find_visible
from mlops_project.reference.bins import FeatureProfile, Tally
from mlops_project.reference.distances import jensen_shannon, stability_index, wasserstein
from mlops_project.reference.profile import Profiler, ReferenceProfile
from mlops_project.reference.thresholds import find_threshold
from mlops_project.sections import MonitoringConfig

DRIFT_REASONS = ("features-drifted", "aspects-changed", "rows-told-apart")  # kinds: each alone makes the inputs drift
# Shares of alpha; scores, an alert of their own, have all of it
FEATURE_SHARE, PAIR_SHARE, DOMAIN_SHARE = 0.7, 0.05, 0.25
Found = TypeVar("Found", bound=FeatureDrift)


def compute_drift(
    reference: ReferenceProfile,
    current: Profiler,
    settings: MonitoringConfig,
    *,
    sample: Mapping[str, Any] | None = None,
    reference_sample: Mapping[str, Any] | None = None,
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
        Feature name → ``(n_rows,)``: rows of the window and of the reference for the domain classifier; without both it is left
        out.
    judge
        The model's past windows; None: rows are independent draws.
    seed
        Of the classifier's draws.
    """
    faults = find_faults(current.features, settings.alpha, judge)
    alone = _compare_all(current.features, settings, settings.alpha * FEATURE_SHARE)
    judged = map(_add_visible, _judge_all(alone, judge, "features"), reference.features)
    features = sorted((_add_faults(found, faults.get(found.name, ())) for found in judged), key=_rank)
    scores_alone = _compare_all(current.scores, settings, settings.alpha)
    scores = _judge_all(scores_alone, judge, "scores")
    aspects_alone = compare_pairs(reference, current, settings, settings.alpha * PAIR_SHARE, seed)
    moved = {found.name for found in features if found.drifted}
    aspects = sorted((_leave_out(found, moved) for found in _judge_all(aspects_alone, judge, "aspects")), key=_rank)
    domain = None
    if sample is not None and reference_sample is not None:
        alpha = settings.alpha * DOMAIN_SHARE
        domain = compare_rows(reference_sample, sample, reference.features, alpha=alpha, seed=seed)
    past = None if judge is None else _note_past(judge, (*alone, *scores_alone, *aspects_alone), domain)
    domain = _judge_domain(domain, judge)
    changed = {name for found in aspects if found.drifted for name in found.columns}
    share = min(1.0, sum(found.weight for found in features if found.drifted or found.name in changed))
    reasons = _explain(features, scores, aspects, domain, share, settings)
    if past is not None and judge is not None and past.judged_by != "rows":
        reasons = (*reasons, *_explain_past(past, alone, features, scores_alone, scores), *_name_unjudged(judge))
    return Drift(
        rows=current.rows,
        reference_rows=reference.rows,
        features=tuple(features),
        scores=tuple(scores),
        aspects=tuple(aspects),
        domain=domain,
        share=share,
        drifted=share >= settings.drift_share or (domain is not None and domain.drifted),
        prediction_drifted=any(found.drifted for found in scores),
        reason=say(*reasons),
        reasons=reasons,
        past=past,
    )


def _leave_out(found: AspectDrift, moved: AbstractSet[str]) -> AspectDrift:
    """Let a pair drift only where neither feature moved by itself: it would say the same again, and blame the other one."""
    return msgspec.structs.replace(found, drifted=found.drifted and moved.isdisjoint(found.columns))


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
    recent = past.measure_recent(np.array(found.bins.current, np.int64))
    found = msgspec.structs.replace(found, recent=recent)
    if judge.by_rows:
        return found
    if past.windows < NEEDED:
        return msgspec.structs.replace(found, drifted=False)
    limit = max(found.threshold, past.reference_limit)
    drifted = found.drifted and found.jensen_shannon > limit and not past.is_like(recent)
    return msgspec.structs.replace(found, threshold=limit, drifted=drifted)


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


def _add_faults(found: FeatureDrift, faults: tuple[Reason, ...]) -> FeatureDrift:
    return msgspec.structs.replace(found, quality=tuple(map(say, faults)), faults=faults)


def _compare_all(tallies: Sequence[Tally], settings: MonitoringConfig, alpha: float) -> list[FeatureDrift]:
    """Compare features, or scores: one family, whose p-values are corrected together."""
    outcomes = [judge_change(tally) for tally in tallies]
    adjusted = adjust_holm(np.array([outcome.p_value for outcome in outcomes]))
    return [
        _describe(tally, outcome, float(p_adjusted), settings, alpha)
        for tally, outcome, p_adjusted in zip(tallies, outcomes, adjusted, strict=True)
    ]


def judge_change(tally: Tally) -> TwoSampleTest:
    """Test a feature's values and its gaps; return the test with the smallest p-value, multiplied by how many there were.

    Numbers: Mann–Whitney sees that they moved, Kolmogorov–Smirnov any other change. Categories: χ² over the frequent ones and
    Fisher's test on unknown ones, which χ² may have joined with rare ones. Either: Fisher's test on missing values.
    """
    reference, current = np.array(tally.profile.counts, np.int64), tally.counts
    rows, current_rows = int(reference.sum()), int(current.sum())
    if tally.profile.kind == "numeric":
        outcomes = [compare_ranks(reference, current), compare_distributions(reference, current)]
    else:
        unknown = compare_shares(int(reference[-1]), rows, int(current[-1]), current_rows)
        outcomes = [compare_cells(reference, current), unknown]
    gaps = compare_shares(tally.profile.missing, rows + tally.profile.missing, tally.missing, tally.rows)
    outcomes = [outcome for outcome in (*outcomes, gaps) if outcome != NO_TEST]
    if not outcomes:
        return NO_TEST
    strongest = min(outcomes, key=lambda outcome: outcome.p_value)
    return strongest._replace(p_value=min(1.0, strongest.p_value * len(outcomes)))


def _describe(
    tally: Tally, outcome: TwoSampleTest, p_adjusted: float, settings: MonitoringConfig, alpha: float
) -> FeatureDrift:
    profile = tally.profile
    cells = profile.merge(np.array(profile.counts, np.int64), profile.missing)
    current = profile.merge(tally.counts, tally.missing)
    threshold = max(settings.min_effect, find_threshold(profile.thresholds, tally.rows))
    distance = float(jensen_shannon(cells, current)) if tally.rows else 0.0
    present, reference_rows = max(int(tally.counts.sum()), 1), max(int(cells.sum()), 1)
    category = profile.kind == "category"
    return FeatureDrift(
        name=profile.name,
        kind=profile.kind,
        weight=profile.weight,
        rows=tally.rows,
        psi=stability_index(cells, current) if tally.rows else 0.0,
        jensen_shannon=distance,
        wasserstein=None if category else _normalised_wasserstein(tally),
        test=outcome.name,
        statistic=outcome.statistic,
        p_value=outcome.p_value,
        p_adjusted=p_adjusted,
        threshold=threshold,
        drifted=p_adjusted < alpha and distance > threshold,
        missing_ratio=tally.missing / max(tally.rows, 1),
        missing_reference_ratio=profile.missing / reference_rows,
        out_of_range_ratio=tally.outside / present,
        unseen_ratio=int(tally.counts[-1]) / present if category else 0.0,
        smallest=tally.smallest if np.isfinite(tally.smallest) else None,
        largest=tally.largest if np.isfinite(tally.largest) else None,
        bins=Bins(
            labels=profile.labels,
            edges=() if category else profile.cell_edges,
            reference=tuple(cells.tolist()),
            current=tuple(current.tolist()),
        ),
    )


def _normalised_wasserstein(tally: Tally) -> float | None:
    """Return the distance in reference standard deviations; None where those are 0, or the numbers too large to add up."""
    profile = tally.profile
    if not profile.deviation or not np.isfinite(tally.sums).all():
        return None
    reference, sums = np.array(profile.counts, np.int64), np.array(profile.sums)
    distance = wasserstein(reference, sums, tally.counts, tally.sums) / profile.deviation
    return distance if np.isfinite(distance) else None


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


def _name(found: Sequence[FeatureDrift]) -> tuple[Reason, ...]:
    return shorten_list([describe_distance("feature-drifted", one) for one in found])


def describe_distance(kind: str, found: FeatureDrift) -> Reason:
    """Return how far a feature, or a score, is from its reference, and how far chance or the settings let it be."""
    return Reason(kind=kind, values={"name": found.name, "distance": found.jensen_shannon, "threshold": found.threshold})
