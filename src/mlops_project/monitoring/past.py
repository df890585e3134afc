"""What a model's windows do by themselves: the past that a window is judged by where rows depend on when they came.

Three distances must be exceeded: to the held-out rows, to the mean of the last windows, and to the nearest of the log's past
windows. A season moves windows away from the held-out rows and brings them back, a slow rise keeps every window near the last
ones, and rain is like earlier rain; a fault does none of these. Each is compared with the largest that the last ``KEPT`` quiet
windows came to, times a margin.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mlops_project.monitoring.results import AspectDrift, Evaluation, FeatureDrift, Repeats
from mlops_project.reference.bins import FeatureProfile
from mlops_project.reference.blocks import RECENT, ColumnBlocks, compare_recent
from mlops_project.reference.distances import Counts, jensen_shannon
from mlops_project.reference.profile import ReferenceProfile

NEEDED = 14  # windows before a window is judged by them
SETTLED = 30  # windows before the wide margin becomes the narrow one
KEPT = 120  # windows: five days of hours, four months of days
WIDE, NARROW = 1.5, 1.25
SLACK = 0.01  # of a distance, for columns that never moved
SHARE_MARGIN, SHARE_SLACK = 1.5, 0.02  # of the shares of missing, unknown and out-of-range values
# Of a range's width that values may lie beyond it where rows depend on time, and at most, step by step: on twelve real tables
# 5.8 % of the windows had a standing fault with 0, 0.3 % with these, and 0.1 % with 0.25 and 0.5, which hid slow trends
ROOM, MOST_ROOM = 0.15, 0.2
SEEN_ALONE = 2  # windows with a fault, each alone between sound ones, before a third like them is no news
TRUSTED = 3  # windows that looked like independent rows, after which a single one that does not is a change
# A slow trend keeps each window near the last ones, so it is compared with windows that are older than these. On nine real
# tables (839 windows) trends of 0.1 standard deviations a window were found within 30 in 44 of 64 trials, and nothing in the
# quiet windows but one change of the source
TREND_LAG, TREND_MARGIN, TREND_SLACK = 30, 1.5, 1.2
OFFSETS = ("age", "clock")  # see clock_offsets.py
STEADY = 0.05  # share of past windows that may look dependent, or beyond chance, in a log of independent rows


@dataclass(frozen=True)
class ColumnPast:
    """One feature, or score, in the past windows.

    Attributes
    ----------
    reference, recent
        Distances to the held-out rows, and to the mean of the windows before, oldest first.
    last, known
        Rows per cell of the last windows, and of all that the log has, ``(n_windows, n_cells)``.
    missing, unseen, outside
        Highest share in a window.
    constant
        Whether a window had one value only.
    fullest
        Highest share of the present values in one cell.
    lowest, highest
        Numeric: of the values.
    absent
        Cells that were empty in a window.
    shape
        Of a pair's table; None for anything else.
    beyond
        How far the mean was from what the other numbers lead one to expect, in windows of the log, oldest first.
    """

    reference: tuple[float, ...] = ()
    recent: tuple[float, ...] = ()
    last: tuple[tuple[int, ...], ...] = ()
    known: tuple[tuple[int, ...], ...] = ()
    missing: float = 0.0
    unseen: float = 0.0
    outside: float = 0.0
    constant: bool = False
    fullest: float = 0.0
    lowest: float = np.inf
    highest: float = -np.inf
    absent: frozenset[int] = frozenset()
    shape: tuple[int, int] | None = None
    beyond: tuple[float, ...] = ()

    @property
    def windows(self) -> int:
        """How many there are."""
        return len(self.reference)

    @property
    def margin(self) -> float:
        """How many times as far as the farthest past window a window must lie."""
        return WIDE if self.windows < SETTLED else NARROW

    @property
    def reference_limit(self) -> float:
        """Distance to the held-out rows that must be exceeded."""
        return widen(max(self.reference, default=0.0), self.margin)

    @property
    def recent_limit(self) -> float:
        """Distance to the last windows that must be exceeded."""
        return widen(max(self.recent, default=0.0), self.margin)

    def measure_recent(self, cells: Counts) -> float | None:
        """Return the distance of rows per cell to the mean of the last windows; None without any."""
        if not self.last or not cells.sum():
            return None
        return compare_recent(np.array(self.last, np.int64), cells, self.shape)

    def is_absent(self, cell: int) -> bool:
        """Whether a cell was empty in a past window."""
        return cell in self.absent

    def is_near(self, found: FeatureProfile, smallest: float, largest: float) -> bool:
        """Whether values go hardly beyond the range of the training rows, the held-out rows and the past windows."""
        known = [value for value in (found.minimum, found.maximum, found.smallest, found.largest) if value is not None]
        width = max(known) - min(known)
        low = max(min(self.lowest, *known) - ROOM * width, min(known) - MOST_ROOM * width)
        high = min(max(self.highest, *known) + ROOM * width, max(known) + MOST_ROOM * width)
        return low <= smallest and largest <= high

    def find_trend(self, beyond: float | None) -> float | None:
        """Return the limit that a mean is beyond which slowly went astray; None if it did not, or that cannot be told."""
        older = self.beyond[:-TREND_LAG]
        if beyond is None or len(older) < NEEDED:
            return None
        limit = TREND_MARGIN * max(map(abs, older)) + TREND_SLACK
        return limit if abs(beyond) > limit else None

    def is_like(self, recent: float | None) -> bool:
        """Whether a window is as near to the last windows as past ones were to theirs."""
        return recent is not None and bool(self.recent) and recent <= self.recent_limit

    def is_known(self, cells: Counts) -> bool:
        """Whether a window is as near to some past one as past ones were to theirs: the same weather, the same weekday.

        Pairs have no such past: a table of few rows soon resembles one of many.
        """
        if len(self.known) < NEEDED or self.shape is not None or not cells.sum():
            return False
        known = np.array(self.known, np.int64)
        nearest = max(float(jensen_shannon(known[:place], known[place]).min()) for place in range(1, len(known)))
        return float(jensen_shannon(known, cells).min()) <= widen(nearest, self.margin)


def widen(highest: float, margin: float) -> float:
    """Return the limit over the highest distance of the past; at most halfway to 1, which no distance exceeds."""
    return min(margin * (highest + SLACK), (1 + highest) / 2)


NO_PAST = ColumnPast()


@dataclass(frozen=True)
class Past:
    """A model's past windows: blocks of its training table first, then accepted windows of the log.

    Attributes
    ----------
    features, scores, aspects
        By name.
    aucs
        Of the domain classifier, in windows of the log.
    windows
        How many there are.
    odd
        How many of them depended on time, or lay beyond chance.
    repeats
        Copies among the rows of each window of the log.
    """

    features: Mapping[str, ColumnPast]
    scores: Mapping[str, ColumnPast]
    aspects: Mapping[str, ColumnPast]
    aucs: tuple[float, ...] = ()
    windows: int = 0
    odd: int = 0
    repeats: tuple[Repeats, ...] = ()

    @property
    def is_steady(self) -> bool:
        """Whether the past looks like independent rows; with no past nothing speaks against it."""
        return self.odd <= (max(1.0, STEADY * self.windows) if self.windows >= TRUSTED else 0)

    @property
    def auc_limit(self) -> float:
        """AUC of the domain classifier that must be exceeded."""
        margin = WIDE if len(self.aucs) < SETTLED else NARROW
        return 0.5 + margin * (max(self.aucs, default=0.5) - 0.5 + SLACK)


def collect_past(profile: ReferenceProfile, previous: Sequence[Evaluation], accepted: frozenset[str] = frozenset()) -> Past:
    """Put a version's past together.

    Parameters
    ----------
    profile
        Of the version.
    previous
        Its evaluations, oldest first.
    accepted
        Ends of windows that a person accepted.
    """
    quiet = choose_quiet(previous, accepted)
    sound = [one for one in quiet if not any(found.quality for found in one.drift.features)]
    blocks = profile.blocks
    trained = {column.name: column for column in blocks.features} if blocks else {}
    scored = {column.name: column for column in blocks.scores} if blocks else {}
    beside = {column.name: column for column in blocks.aspects} if blocks else {}
    counted = blocks.rows if blocks else ()
    shapes = {pair.name: pair.shape for pair in profile.pairs}
    known = {item.name for one in quiet for item in one.drift.aspects}
    odd = (blocks.beyond if blocks else 0) + sum(_is_odd(one) for one in quiet)
    return Past(
        features={one.name: _join(trained.get(one.name), _find(quiet, "features", one.name)) for one in profile.features},
        scores={one.name: _join(scored.get(one.name), _find(sound, "scores", one.name)) for one in profile.scores},
        aspects={
            name: _join(beside.get(name), _find_aspects(quiet, name), shapes.get(name))
            for name in list_aspects(profile)
            if name in beside or name in known
        },
        aucs=tuple(one.drift.domain.auc for one in sound[-KEPT:] if one.drift.domain),
        windows=len(counted) + len(quiet),
        repeats=tuple(one.drift.repeats for one in quiet[-KEPT:] if one.drift.repeats and not one.drift.is_repeated),
        odd=odd,
    )


def list_aspects(profile: ReferenceProfile) -> tuple[str, ...]:
    """Return the names of what is compared beside single features."""
    details = (detail.name for column in profile.details for detail in column.details.values())
    targets = profile.segments.targets if profile.segments else ()
    offsets = (f"{one.name}: {aspect}" for one in profile.features for aspect in OFFSETS)
    return (*(pair.name for pair in profile.pairs), *details, *map(name_segment, targets), *offsets)


def name_segment(target: str) -> str:
    """Return what a feature's change in a part of the rows is called."""
    return f"{target}: segment"


def choose_quiet(previous: Sequence[Evaluation], accepted: frozenset[str] = frozenset()) -> list[Evaluation]:
    """Return the windows that are part of the past, oldest first.

    Those without drift are, and so is a single one with drift between two without: chance, or a day off. Of a window with
    faulty columns only the others are (``_find``), whatever a person accepts.
    """
    calm = [not (one.drift.drifted or one.drift.prediction_drifted) for one in previous]
    return [
        one
        for place, one in enumerate(previous)
        if one.drift.features and (calm[place] or _is_alone(place, calm) or one.end in accepted)
    ]


def _is_alone(place: int, calm: Sequence[bool]) -> bool:
    """Whether a window stands between two calm ones."""
    return 0 < place < len(calm) - 1 and calm[place - 1] and calm[place + 1]


def _is_odd(one: Evaluation) -> bool:
    return one.drift.past is not None and (one.drift.past.dependent or one.drift.past.beyond_chance)


def _find(quiet: Sequence[Evaluation], kind: str, name: str) -> list[FeatureDrift]:
    found = (next((item for item in getattr(one.drift, kind) if item.name == name), None) for one in quiet)
    return [item for item in found if item is not None and item.rows]


def _find_aspects(quiet: Sequence[Evaluation], name: str) -> list[AspectDrift]:
    """Return an aspect in the windows in which none of its features was faulty."""
    found = [(one, item) for one in quiet for item in one.drift.aspects if item.name == name and item.rows]
    faulty = {one.end: {feature.name for feature in one.drift.features if feature.quality} for one, _ in found}
    return [item for one, item in found if faulty[one.end].isdisjoint(item.columns)]


def _join(blocks: ColumnBlocks | None, found: Sequence[FeatureDrift], shape: tuple[int, int] | None = None) -> ColumnPast:
    """Put a column's past together; windows in which it was faulty are no part of it, but see ``_find_usual``."""
    first = blocks or ColumnBlocks(name="", reference=(), recent=())
    sound = [item for item in found if not item.quality]
    usual = [*sound, *_find_usual(found)]
    last = (*first.last, *(item.bins.current for item in sound[-KEPT:]))[-KEPT:]
    last = tuple(cells for cells in last if len(cells) == len(last[-1]))
    return ColumnPast(
        reference=(*first.reference, *(item.jensen_shannon for item in sound))[-KEPT:],
        recent=(*first.recent, *(item.recent for item in sound if item.recent is not None))[-KEPT:],
        last=last[-RECENT:],
        known=last,
        missing=max([first.missing, *(item.missing_ratio for item in usual)]),
        unseen=max([first.unseen, *(item.unseen_ratio for item in usual)]),
        outside=max([first.outside, *(item.out_of_range_ratio for item in usual)]),
        constant=first.constant or any(_is_constant(item) for item in usual),
        fullest=max(
            [0.0, *(_find_fullest(cells) for cells in first.last), *(_find_fullest(one.bins.current) for one in sound)]
        ),
        lowest=min([np.inf, *(item.smallest for item in sound if item.smallest is not None)]),
        highest=max([-np.inf, *(item.largest for item in sound if item.largest is not None)]),
        absent=frozenset(first.absent).union(
            *(_find_empty(cells) for cells in last), *(_find_empty(one.bins.current) for one in usual)
        ),
        shape=shape,
        beyond=tuple(item.beyond for item in sound[-KEPT - TREND_LAG :] if item.beyond is not None),
    )


def _find_empty(cells: Sequence[int]) -> list[int]:
    return [place for place, count in enumerate(cells) if not count]


def _find_usual(found: Sequence[FeatureDrift]) -> list[FeatureDrift]:
    """Return windows whose fault was there for one window alone, once there were ``SEEN_ALONE``; the worst is left out.

    A day without a single gust of wind is no fault if such days come and go. Which share of one fault is usual is said by
    the second worst: one burst does not hide the next.
    """
    sound = [not item.quality for item in found]
    alone = [item for place, item in enumerate(found) if not sound[place] and _is_alone(place, sound)]
    kinds = {fault.kind for item in alone for fault in item.faults}
    usual = []
    for kind in kinds:
        such = [item for item in alone if any(fault.kind == kind for fault in item.faults)]
        usual += sorted(such, key=_measure_fault(kind))[: 1 - SEEN_ALONE] if len(such) >= SEEN_ALONE else []
    return usual


def _measure_fault(kind: str) -> Callable[[FeatureDrift], float]:
    shares = {"missing": "missing_ratio", "unknown-values": "unseen_ratio", "out-of-range": "out_of_range_ratio"}
    return lambda item: float(getattr(item, shares[kind])) if kind in shares else 0.0


def _is_constant(item: FeatureDrift) -> bool:
    return sum(count > 0 for count in item.bins.current[:-1]) == 1


def _find_fullest(cells: Sequence[int]) -> float:
    return max(cells[:-1], default=0) / max(sum(cells[:-1]), 1)


class Judge(NamedTuple):
    """How a window is judged.

    Attributes
    ----------
    past
        Of its version.
    dependent
        Whether the window's rows depend on when they came.
    """

    past: Past
    dependent: bool

    @property
    def by_rows(self) -> bool:
        """Whether tests of single rows hold."""
        return self.past.is_steady and (not self.dependent or self.past.windows >= TRUSTED)

    @property
    def is_waiting(self) -> bool:
        """Whether there are too few past windows to judge by."""
        return not self.by_rows and self.past.windows < NEEDED

    def find_share_limit(self, highest: float, rows: int) -> float:
        """Return the share of faulty values that must be exceeded, given the highest of the past; at most halfway to 1."""
        error = float(np.sqrt(highest * (1 - min(highest, 1.0)) / max(rows, 1)))
        return min(SHARE_MARGIN * highest + SHARE_SLACK + 2 * error, (1 + highest) / 2)
