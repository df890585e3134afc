"""Did a feature change in one part of the rows only? Each segment's mean against the reference's, less what all others do."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from mlops_project.monitoring.past import name_segment
from mlops_project.monitoring.results import AspectDrift, Bins, Reason
from mlops_project.monitoring.rules import describe_rule
from mlops_project.monitoring.two_sample import compare_shares
from mlops_project.reference.bins import FeatureProfile
from mlops_project.reference.groups import join_bins
from mlops_project.reference.profile import ReferenceProfile
from mlops_project.reference.segments import QUARTERS, SCALE, SegmentProfile, Sums, add_up, mark_groups, score_targets

Marks = npt.NDArray[np.bool_]
LEAST_ROWS = 50  # of a segment, and of all others, on both sides
LEAST_SHIFT, LEAST_RISE = 0.35, 0.05  # standard deviations, and share of the rows, that a change in a segment must come to
FLOOR = 0.5  # of a target's variance: a segment in which few values differ by chance varies more than it shows
STAYS = 0.25  # of the change in a segment, that all other rows may have changed by where the feature moved in the whole
NEAR = 0.8  # of the strongest evidence, at which the rule with one condition is named instead
DISTANCE = 0.42  # Jensen–Shannon distance of a shift by a standard deviation


class Change(NamedTuple):
    """What changed most of a target.

    Attributes
    ----------
    segment
        Where: place of the segment.
    p_value
        How likely chance brings as much in any of the segments.
    size
        Standard deviations, or share of the rows.
    """

    segment: int
    p_value: float
    size: float


def compare_segments(
    reference: ReferenceProfile, sample: Mapping[str, Any], alpha: float, moved: AbstractSet[str]
) -> list[AspectDrift]:
    """Compare every target in every segment; the chance of a false alarm over all of them is ``alpha`` (Bonferroni).

    Parameters
    ----------
    sample
        Rows of the window, feature → ``(n_rows,)``.
    moved
        Features that changed in the whole: no rule is made of them, their groups hold other rows now, and of such a feature
        only a segment is named outside of which it hardly changed.
    """
    known = reference.segments
    if known is None or len(next(iter(sample.values()), ())) < LEAST_ROWS:
        return []
    features = {one.name: one for one in reference.features}
    definers, targets = ([features[name] for name in names] for names in (known.definers, known.targets))
    now = add_up(mark_groups(definers, sample), known.segments, *score_targets(targets, sample))
    before = _read(known)
    checks = 2 * len(known.segments) * len(targets)
    owners = np.repeat([one.name for one in definers], [int(join_bins(one, QUARTERS).max()) + 1 for one in definers])
    named = owners[np.array(known.segments, np.int64).reshape(-1, 2)]
    found = []
    for place, target in enumerate(targets):
        able: Marks = np.asarray(~np.isin(named, [*moved, target.name]).any(axis=1), bool)
        if target.name in moved:
            able &= _stays_elsewhere(before, now, place, binary=target.kind == "category")
        shift = _find_shift(before, now, place, checks, able, binary=target.kind == "category")
        gap = _find_gaps(before, now, place, checks, able)
        change, is_gap = (gap, True) if gap.p_value < shift.p_value else (shift, False)
        found.append(_describe(change, is_gap, place, target, before, now, (known, definers), alpha))
    return found


def _read(known: SegmentProfile) -> Sums:
    shape = len(known.counts), len(known.targets)
    sums = np.array(known.sums, np.float64).reshape(shape) / SCALE
    return Sums(np.array(known.counts, np.float64), sums, sums, np.array(known.missing, np.float64).reshape(shape))


def _stays_elsewhere(before: Sums, now: Sums, place: int, *, binary: bool) -> Marks:
    """Mark segments outside of which a target's mean and share of missing values hardly changed beside those inside."""
    means, gaps = [], []
    for side in (before, now):
        rows, missing, sums = side.counts, side.missing[:, place], side.sums[:, place]
        inner = rows[:-1], missing[:-1], sums[:-1]
        outer = rows[-1] - rows[:-1], missing[-1] - missing[:-1], sums[-1] - sums[:-1]
        for counts, lost, total in (inner, outer):
            means.append(total / np.maximum(counts - lost, 1))
            gaps.append(lost / np.maximum(counts, 1))
    inside, outside = (np.abs(means[part + 2] - means[part]) for part in (0, 1))
    stays = outside <= STAYS * inside
    if binary:  # a share that was small cannot fall by much
        stays &= outside / np.maximum(means[1], 1e-9) <= 2 * STAYS * inside / np.maximum(means[0], 1e-9)
    marks: Marks = stays & (gaps[3] - gaps[1] <= STAYS * np.maximum(gaps[2] - gaps[0], LEAST_RISE))
    return marks


def _find_shift(before: Sums, now: Sums, place: int, checks: int, able: Marks, *, binary: bool) -> Change:
    """Find where a target's mean moved otherwise than in all other rows (difference in differences)."""
    rows = [(side.counts - side.missing[:, place]) for side in (before, now)]
    sums = [side.sums[:, place] for side in (before, now)]
    inside = [part[:-1] for part in (*rows, *sums)]
    outside = [part[-1] - part[:-1] for part in (*rows, *sums)]
    enough = (np.minimum(inside[0], inside[1]) >= LEAST_ROWS) & (np.minimum(outside[0], outside[1]) >= LEAST_ROWS)
    means = (
        [part[2] / np.maximum(part[0], 1) for part in (inside, outside)],
        [part[3] / np.maximum(part[1], 1) for part in (inside, outside)],
    )
    sizes = (means[1][0] - means[0][0]) - (means[1][1] - means[0][1])
    squares = now.squares[:, place]
    total = max(float(squares[-1] / max(rows[1][-1], 1) - (sums[1][-1] / max(rows[1][-1], 1)) ** 2), 1e-12)
    variances = [
        np.maximum(part / np.maximum(side[1], 1) - (side[3] / np.maximum(side[1], 1)) ** 2, FLOOR * total)
        for part, side in ((squares[:-1], inside), (squares[-1] - squares[:-1], outside))
    ]
    errors = np.sqrt(
        sum(
            spread * (1 / np.maximum(side[0], 1) + 1 / np.maximum(side[1], 1))
            for spread, side in zip(variances, (inside, outside), strict=True)
        )
    )
    least = LEAST_RISE if binary else LEAST_SHIFT
    scores = np.where(able & enough & (np.abs(sizes) >= least), np.abs(sizes) / errors, 0.0)
    if not len(scores) or not scores.max() > 0:
        return Change(0, 1.0, 0.0)
    strongest = int(np.argmax(scores))
    best = int(np.argmax(scores >= NEAR * scores[strongest]))  # those with one condition come first
    freedom = min(inside[0][strongest], inside[1][strongest]) - 1
    p_value = float(2 * special.stdtr(freedom, -scores[strongest]))
    if binary:  # shares near 0 or 1 are far from normal
        hits, rows_in = ([int(part[strongest]) for part in pair] for pair in (inside[2:], inside[:2]))
        p_value = max(p_value, compare_shares(hits[0], rows_in[0], hits[1], rows_in[1]).p_value)
    return Change(best, min(1.0, checks * p_value), float(sizes[best]))


def _find_gaps(before: Sums, now: Sums, place: int, checks: int, able: Marks) -> Change:
    """Find where more values are missing than in all other rows."""
    shares = [side.missing[:, place] / np.maximum(side.counts, 1) for side in (before, now)]
    rises = (shares[1] - shares[0])[:-1] - max(float(shares[1][-1] - shares[0][-1]), 0.0)
    rises = np.where(able & (np.minimum(now.counts[:-1], before.counts[:-1]) >= LEAST_ROWS), rises, 0.0)
    if not len(rises) or rises.max() < LEAST_RISE:
        return Change(0, 1.0, 0.0)
    scores = np.where(rises >= LEAST_RISE, rises * np.sqrt(now.counts[:-1]), 0.0)
    best = int(np.argmax(scores >= NEAR * scores.max()))
    hits = [int(side.missing[best, place]) for side in (before, now)], [int(side.counts[best]) for side in (before, now)]
    p_value = compare_shares(hits[0][0], hits[1][0], hits[0][1], hits[1][1]).p_value
    return Change(best, min(1.0, checks * p_value), float(rises[best]))


def _describe(
    change: Change,
    is_gap: bool,
    place: int,
    target: FeatureProfile,
    before: Sums,
    now: Sums,
    rules: tuple[SegmentProfile, Sequence[FeatureProfile]],
    alpha: float,
) -> AspectDrift:
    drifted = change.p_value < alpha
    binary = is_gap or target.kind == "category"
    return AspectDrift(
        name=name_segment(target.name),
        kind=target.kind,
        aspect="segment",
        columns=(target.name,),
        weight=target.weight,
        rows=int(now.counts[-1]),
        psi=0.0,
        jensen_shannon=min(1.0, abs(change.size) * (1.0 if binary else DISTANCE)),
        test="difference in differences",
        statistic=change.size,
        p_value=change.p_value,
        p_adjusted=change.p_value,
        threshold=LEAST_RISE if binary else DISTANCE * LEAST_SHIFT,
        drifted=drifted,
        bins=Bins(labels=(), reference=(), current=()),
        change=_say(change, is_gap, place, target, before, now, rules) if drifted else None,
    )


def _say(
    change: Change,
    is_gap: bool,
    place: int,
    target: FeatureProfile,
    before: Sums,
    now: Sums,
    rules: tuple[SegmentProfile, Sequence[FeatureProfile]],
) -> Reason:
    known, definers = rules
    owners = [(one, group) for one in definers for group in range(int(join_bins(one, QUARTERS).max()) + 1)]
    rule = describe_rule([owners[part] for part in dict.fromkeys(known.segments[change.segment])], QUARTERS)
    values: dict[str, int | float | str | tuple[Reason, ...]] = {
        "rule": rule,
        "name": target.name,
        "share": float(now.counts[change.segment] / max(now.counts[-1], 1)),
    }
    if is_gap:
        shares = [float(side.missing[change.segment, place] / max(side.counts[change.segment], 1)) for side in (before, now)]
        return Reason(kind="segment-missing", values={**values, "before": shares[0], "now": shares[1]})
    means = [
        float(side.sums[change.segment, place] / max(side.counts[change.segment] - side.missing[change.segment, place], 1))
        for side in (before, now)
    ]
    if target.kind == "category":
        value = target.labels[int(target.cells[int(np.argmax(target.counts))])]
        return Reason(kind="segment-share", values={**values, "value": value, "before": means[0], "now": means[1]})
    return Reason(kind="segment-moved", values={**values, "moved": means[1] - means[0]})
