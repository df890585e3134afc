"""Dates, hours and weekdays of the rows against the log's clock: how old a date is when it is asked, how far an hour is off.

A clock that is wrong, or a source that changed its time zone, moves every date alike, and hours stay hours: neither bins of
values nor hours by themselves show it. What is usual only the log knows, so windows are compared with those before, as in
``past.py``. An hour more or less is no news where summer time comes and goes.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from mlops_project.monitoring.past import NARROW, NEEDED, NO_PAST, SETTLED, WIDE, Judge, widen
from mlops_project.monitoring.results import AspectDrift, Bins, Reason
from mlops_project.reference.bins import FeatureProfile, read_numbers
from mlops_project.reference.blocks import RECENT, compare_recent
from mlops_project.reference.details import to_seconds
from mlops_project.reference.distances import Counts, Floats, jensen_shannon
from mlops_project.reference.profile import ReferenceProfile

OffsetAspect = Literal["age", "clock"]
HOUR, DAY = 3_600.0, 86_400.0
# Seconds from a date to the prediction: each step twice the one before, so that five hours show among minutes and among hours
STEPS = (
    10.0,
    60.0,
    300.0,
    900.0,
    1_800.0,
    *(HOUR * 2**power for power in range(5)),
    *(DAY * 2.0**power for power in range(13)),
)
AGES: Floats = np.array([*(-step for step in reversed(STEPS)), 0.0, *STEPS])
HOURS, WEEKDAYS = 24, 7
MOST_VALUES = 25  # of a column that may be an hour or a weekday


class _Clock(NamedTuple):
    """How a column is compared with the clock; ``turns`` is 24 for hours, 7 for weekdays, 0 for dates."""

    column: str
    weight: float
    turns: int

    @property
    def aspect(self) -> OffsetAspect:
        return "clock" if self.turns else "age"

    @property
    def name(self) -> str:
        return f"{self.column}: {self.aspect}"


def list_offsets(reference: ReferenceProfile) -> list[_Clock]:
    """Return what can be compared with the clock: dates, and numbers that look like hours or weekdays."""
    found = [(one, _find_turns(one)) for one in reference.features]
    return [_Clock(one.name, one.weight, turns) for one, turns in found if turns is not None]


def _find_turns(profile: FeatureProfile) -> int | None:
    if profile.type == "datetime":
        return 0
    low, high = profile.minimum, profile.maximum
    if profile.kind != "numeric" or profile.type == "boolean" or low is None or high is None or low < 0 or high >= MOST_VALUES:
        return None
    if len(profile.edges) >= MOST_VALUES or any((2 * edge) % 1 for edge in profile.edges):
        return None  # values between whole numbers
    if low.is_integer() and high.is_integer():
        if 12 <= high <= HOURS and low <= 11:
            return HOURS
        if high - low in (4, 5, 6) and low <= 1 and high <= WEEKDAYS:
            return WEEKDAYS
    return None


class OffsetCounter:
    """Counts how far dates, hours and weekdays of a window's rows are from the time of their prediction."""

    def __init__(self, reference: ReferenceProfile) -> None:
        self.clocks = list_offsets(reference)
        self.counts: dict[str, Counts] = {
            one.name: np.zeros((3, one.turns or len(AGES) + 1), np.int64) for one in self.clocks
        }  # as it is, and an hour less and more

    def add(self, columns: Mapping[str, Any], times: Any) -> None:
        """Take a batch of rows with their times, ``datetime64`` in UTC ``(n_rows,)``."""
        if not self.clocks or not len(times):
            return
        asked = np.asarray(times).astype("datetime64[us]").astype(np.int64) / 1e6
        for one in self.clocks:
            self.counts[one.name] += _count(one, columns[one.column], asked)


def _count(clock: _Clock, values: Any, asked: Floats) -> Counts:
    if not clock.turns:
        ages = asked - to_seconds(values)
        ages = ages[~np.isnan(ages)]
        shifted = [np.searchsorted(AGES, ages + shift) for shift in (0.0, -HOUR, HOUR)]
        return np.array([np.bincount(part, minlength=len(AGES) + 1) for part in shifted])
    numbers = read_numbers(values, clock.column)
    present = ~np.isnan(numbers)
    now = asked // HOUR if clock.turns == HOURS else asked // DAY + 3  # 1970-01-01 was a Thursday
    offsets = ((np.floor(numbers[present]) - now[present]) % clock.turns).astype(np.int64)
    counts = np.bincount(offsets, minlength=clock.turns)
    return np.array([np.roll(counts, shift) for shift in ((0, -1, 1) if clock.turns == HOURS else (0, 0, 0))])


def compare_offsets(counter: OffsetCounter | None, judge: Judge | None) -> list[AspectDrift]:
    """Compare a window, if it was counted, with the log's past windows; with fewer than ``NEEDED`` nothing drifts."""
    return [] if counter is None else [_compare(one, counter.counts[one.name], judge) for one in counter.clocks]


def _compare(clock: _Clock, counts: Counts, judge: Judge | None) -> AspectDrift:
    past = NO_PAST if judge is None else judge.past.aspects.get(clock.name, NO_PAST)
    known = np.array(past.known, np.int64)
    distance, recent, limit, drifted = 0.0, None, 1.0, False
    if len(known) >= NEEDED and counts[0].sum():
        distance = float(jensen_shannon(known.sum(axis=0), counts).min())
        recent = min(compare_recent(known[-RECENT:], cells) for cells in counts)
        limit, recent_limit = _find_limits(known)
        nearest = float(jensen_shannon(known[:, None], counts).min())
        drifted = distance > limit and recent > recent_limit and nearest > _find_nearest_limit(known)
    return AspectDrift(
        name=clock.name,
        kind="numeric",
        aspect=clock.aspect,
        columns=(clock.column,),
        weight=clock.weight,
        rows=int(counts[0].sum()),
        psi=0.0,
        jensen_shannon=distance,
        test="past windows",
        statistic=distance,
        p_value=1 / (len(known) + 1) if drifted else 1.0,
        p_adjusted=1 / (len(known) + 1) if drifted else 1.0,
        threshold=limit,
        recent=recent,
        drifted=drifted,
        bins=Bins(labels=(), reference=(), current=tuple(counts[0].tolist())),
        change=_describe(clock, known, counts[0]) if drifted else None,
    )


def _find_limits(known: Counts) -> tuple[float, float]:
    """Return the distances to all past windows and to the last ones that must be exceeded."""
    margin, whole = WIDE if len(known) < SETTLED else NARROW, known.sum(axis=0)
    own = max(float(jensen_shannon(whole - cells, cells)) for cells in known)
    steps = range(1, len(known))
    recent = max(compare_recent(known[max(0, place - RECENT) : place], known[place]) for place in steps)
    return widen(own, margin), widen(recent, margin)


def _find_nearest_limit(known: Counts) -> float:
    nearest = max(float(jensen_shannon(known[:place], known[place]).min()) for place in range(1, len(known)))
    return widen(nearest, WIDE if len(known) < SETTLED else NARROW)


def _describe(clock: _Clock, known: Counts, cells: Counts) -> Reason:
    before, now = known.sum(axis=0), cells
    values: dict[str, int | float | str | tuple[Reason, ...]] = {"name": clock.column, "windows": len(known)}
    if clock.turns:
        half = clock.turns // 2
        offsets = [int((int(part.argmax()) + half) % clock.turns - half) for part in (before, now)]
        unit = "clock-hours" if clock.turns == HOURS else "clock-days"
        return Reason(kind=unit, values={**values, "before": offsets[0], "now": offsets[1]})
    ages = [_find_median(part) for part in (before, now)]
    return Reason(kind="age-changed", values={**values, "before": _say_age(ages[0]), "now": _say_age(ages[1])})


def _find_median(cells: Counts) -> float:
    place = int(np.searchsorted(np.cumsum(cells), cells.sum() / 2))
    return float(AGES[min(place, len(AGES) - 1)])


def _say_age(seconds: float) -> tuple[Reason, ...]:
    """Return an age as a reason of its own: a date may lie before the prediction or after it."""
    kind = "age-future" if seconds <= 0 else "age-past"
    return (Reason(kind=kind, values={"seconds": abs(seconds)}),)
