"""What is wrong with a window's data itself: gaps, values out of range, unknown or vanished ones, columns that stand still."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from mlops_project.contract import TEXT_TYPES
from mlops_project.monitoring.past import NEEDED, NO_PAST, ColumnPast, Judge
from mlops_project.monitoring.reasons import say, shorten_list
from mlops_project.monitoring.results import Drift, FeatureDrift, Reason
from mlops_project.monitoring.two_sample import adjust_holm, compare_absence, compare_increase
from mlops_project.names import shorten
from mlops_project.reference.bins import NUMERIC_CELLS, Tally

NEARLY = 0.8  # share of one value in a past window, after which one with that value alone is no news: a day has one weekday
LEAST_HITS = 5  # of a value in the reference, before its absence is looked for
LEAST_RISE = 0.005  # of a share; less is no fault that matters, however sure


class _Check(NamedTuple):
    name: str
    p_value: float
    rise: float
    fault: Reason
    now: float = 1.0


def find_faults(tallies: Sequence[Tally], alpha: float, judge: Judge | None = None) -> dict[str, tuple[Reason, ...]]:
    """Return feature → what is wrong with its values; features without a fault are left out.

    A share must be up by ``LEAST_RISE`` or more, and by more than chance explains at ``alpha`` over all checks of all features
    (Fisher's exact test, Holm's correction). Where rows depend on when they came it must be higher than in past windows,
    too, and a column that stands still is a fault only if it never did so in as many windows as it takes to know.

    Parameters
    ----------
    judge
        The model's past windows; None: rows are independent draws.
    """
    checks = [check for tally in tallies if tally.rows for check in _check(tally)]
    adjusted = adjust_holm(np.array([check.p_value for check in checks]))
    faults: dict[str, tuple[Reason, ...]] = {}
    for check, p_value in zip(checks, adjusted, strict=True):
        if p_value < alpha and check.rise >= LEAST_RISE and not _is_usual(check, tallies, judge):
            faults[check.name] = (*faults.get(check.name, ()), check.fault)
    return {name: _join_vanished(found) for name, found in faults.items()}


def _join_vanished(faults: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """Name a few of the values that are gone, and how many more; a column that stands still says nothing of the others."""
    gone = sorted(
        (fault for fault in faults if fault.kind == "vanished"), key=lambda fault: -float(str(fault.values["before"]))
    )
    others = tuple(fault for fault in faults if fault.kind != "vanished")
    if any(fault.kind.startswith("constant") for fault in others):
        return others
    return (*others, *shorten_list(gone))


def _is_usual(check: _Check, tallies: Sequence[Tally], judge: Judge | None) -> bool:
    """Whether past windows were no better."""
    if judge is None or judge.by_rows:
        return False
    past: ColumnPast = judge.past.features.get(check.name, NO_PAST)
    tally = next(tally for tally in tallies if tally.profile.name == check.name)
    highest = {"missing": past.missing, "unknown-values": past.unseen, "out-of-range": past.outside}.get(check.fault.kind)
    if check.fault.kind == "vanished":
        place = tally.profile.categories.index(str(check.fault.values["value"]))
        return past.windows < NEEDED or past.is_absent(int(tally.profile.cells[place]))
    if highest is None:
        return past.constant or past.windows < NEEDED or _fills_half(tally) or (_is_graded(tally) and past.fullest >= NEARLY)
    if check.fault.kind == "missing" and 2 * (check.now - check.rise) >= 1:  # gusts are noted on some days only
        return True
    if check.fault.kind == "out-of-range" and past.is_near(tally.profile, tally.smallest, tally.largest):
        return True
    return check.now <= judge.find_share_limit(max(highest, check.now - check.rise), tally.rows)


def _is_graded(tally: Tally) -> bool:
    """Whether each value has a cell of its own, so that the past windows tell how nearly they had one value."""
    return tally.profile.kind == "category" or len(tally.profile.edges) < NUMERIC_CELLS


def _fills_half(tally: Tally) -> bool:
    """Whether the window's one value fills half of the held-out rows: rain that stays away is no fault."""
    return 2 * tally.profile.counts[int(tally.counts.argmax())] >= sum(tally.profile.counts)


def _check(tally: Tally) -> Iterator[_Check]:
    profile = tally.profile
    present, reference_present = int(tally.counts.sum()), sum(profile.counts)
    rows, reference_rows = tally.rows, reference_present + profile.missing
    yield _compare(profile.name, "missing", profile.missing, reference_rows, tally.missing, rows)
    if profile.kind == "category":
        if profile.type in TEXT_TYPES:
            yield from _check_vanished(tally, present, reference_present)
        unseen = profile.counts[-1], reference_present, int(tally.counts[-1]), present
        yield _compare(profile.name, "unknown-values", *unseen)
    elif profile.minimum is not None and profile.maximum is not None:
        outside = profile.outside, reference_present, tally.outside, present
        yield _compare(profile.name, "out-of-range", *outside, low=profile.minimum, high=profile.maximum)
    if present and profile.type != "datetime":
        yield _check_constant(tally, present, reference_present)


def _compare(name: str, kind: str, hits: int, rows: int, current_hits: int, current_rows: int, **bounds: float) -> _Check:
    before, now = hits / max(rows, 1), current_hits / max(current_rows, 1)
    p_value = compare_increase(hits, rows, current_hits, current_rows)
    return _Check(name, p_value, now - before, Reason(kind=kind, values={"now": now, "before": before, **bounds}), now)


def _check_constant(tally: Tally, present: int, reference_present: int) -> _Check:
    """One value in every row is a fault if chance would not leave it at one, given how often the reference has it."""
    profile = tally.profile
    place = int(tally.counts.argmax())
    hits = profile.counts[place]
    if profile.kind == "numeric":
        constant, varies = tally.smallest == tally.largest, profile.smallest != profile.largest
        fault = Reason(kind="constant-number", values={"value": float(tally.smallest)})
    else:
        constant, most = len(tally.texts) == 1, profile.modal or max(profile.counts)
        varies, hits = most < reference_present, min(hits, most)
        kind = "constant" if place < len(profile.categories) else "constant-new"
        fault = Reason(kind=kind, values={"value": shorten(tally.texts[0] if tally.texts else "")})
    p_value = compare_increase(hits, reference_present, present, present) if constant and varies else 1.0
    return _Check(profile.name, p_value, 1.0, fault)


def _check_vanished(tally: Tally, present: int, reference_present: int) -> Iterator[_Check]:
    """A value that is in no row is a fault if chance would not leave it out, given how often the reference has it.

    Each value that the reference has ``LEAST_HITS`` times is a check, whether it is there or not.
    """
    profile = tally.profile
    for value, hits, now in zip(profile.categories, profile.counts, tally.counts.tolist(), strict=False):
        if hits >= LEAST_HITS:
            p_value = 1.0 if now else compare_absence(hits, reference_present, present)
            before = hits / reference_present
            yield _Check(profile.name, p_value, before, Reason(kind="vanished", values={"value": value, "before": before}))


def note_unreadable(drift: Drift, unreadable: Mapping[tuple[str, str], int]) -> Drift:
    """Return a comparison with the values that could not be read as faults of their features.

    Parameters
    ----------
    unreadable
        Feature and what was expected → how many. They count as missing, which is not said besides.
    """
    found: dict[str, tuple[Reason, ...]] = {}
    for (name, expected), count in unreadable.items():
        fault = Reason(kind="unreadable", values={"count": count, "expected": expected})
        found[name] = (*found.get(name, ()), fault)
    features = tuple(_add_unreadable(feature, found.get(feature.name, ())) for feature in drift.features)
    return msgspec.structs.replace(drift, features=features)


def _add_unreadable(feature: FeatureDrift, faults: tuple[Reason, ...]) -> FeatureDrift:
    if not faults:
        return feature
    faults = (*faults, *(fault for fault in feature.faults if fault.kind != "missing"))
    return msgspec.structs.replace(feature, faults=faults, quality=tuple(map(say, faults)))
