"""What is wrong with a window's data itself: gaps, values out of range, unknown categories, columns that stand still."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mlops_project.monitoring.bins import Tally
from mlops_project.monitoring.two_sample import adjust_holm, compare_increase

LEAST_RISE = 0.005  # of a share; less is no fault that matters, however sure


class _Check(NamedTuple):
    name: str
    p_value: float
    rise: float
    text: str


def find_faults(tallies: Sequence[Tally], alpha: float) -> dict[str, tuple[str, ...]]:
    """Return feature → what is wrong with its values, in words; features without a fault are left out.

    A share must be up by ``LEAST_RISE`` or more, and by more than chance explains at ``alpha`` over all checks of all features
    (Fisher's exact test, Holm's correction).
    """
    checks = [check for tally in tallies if tally.rows for check in _check(tally)]
    adjusted = adjust_holm(np.array([check.p_value for check in checks]))
    faults: dict[str, tuple[str, ...]] = {}
    for check, p_value in zip(checks, adjusted, strict=True):
        if p_value < alpha and check.rise >= LEAST_RISE:
            faults[check.name] = (*faults.get(check.name, ()), check.text)
    return faults


def _check(tally: Tally) -> Iterator[_Check]:
    profile = tally.profile
    present, reference_present = int(tally.counts.sum()), sum(profile.counts)
    rows, reference_rows = tally.rows, reference_present + profile.missing
    yield _compare(profile.name, "{} missing", profile.missing, reference_rows, tally.missing, rows)
    if profile.kind == "category":
        unseen = profile.counts[-1], reference_present, int(tally.counts[-1]), present
        yield _compare(profile.name, "{} with values that the model does not know", *unseen)
    elif profile.minimum is not None and profile.maximum is not None:
        span = f"{profile.minimum:.6g} … {profile.maximum:.6g}"
        outside = profile.outside, reference_present, tally.outside, present
        yield _compare(profile.name, f"{{}} outside the training range {span}", *outside)
    if present and profile.type != "datetime":
        yield _check_constant(tally, present, reference_present)


def _compare(name: str, text: str, hits: int, rows: int, current_hits: int, current_rows: int) -> _Check:
    before, now = hits / max(rows, 1), current_hits / max(current_rows, 1)
    p_value = compare_increase(hits, rows, current_hits, current_rows)
    return _Check(name, p_value, now - before, text.format(f"{now:.1%}") + f" (reference: {before:.1%})")


def _check_constant(tally: Tally, present: int, reference_present: int) -> _Check:
    """One value in every row is a fault if chance would not leave it at one, given how often the reference has its bin."""
    profile = tally.profile
    place = int(tally.counts.argmax())
    if profile.kind == "numeric":
        constant, varies, value = tally.smallest == tally.largest, profile.smallest != profile.largest, f"{tally.smallest:.6g}"
    else:
        known = (*profile.categories, "one unknown value")
        constant, varies, value = int(tally.counts[place]) == present, max(profile.counts) < reference_present, known[place]
    p_value = compare_increase(profile.counts[place], reference_present, present, present) if constant and varies else 1.0
    return _Check(profile.name, p_value, 1.0, f"always {value}")
