"""Have two values of a feature taken each other's place? A shift moves shares; a swap moves all that goes with a value.

Two readings of a window are compared by their likelihood: the values mean what they meant, or two of them are exchanged. Each
is judged by the shares of the values, and by the features that go together with this one (pairs): rows that are called ``Rio``
but look in every way like the reference's rows of ``Natal`` are told from more rows of ``Rio``.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import combinations

import numpy as np

from mlops_project.monitoring.results import Reason
from mlops_project.reference.bins import FeatureProfile, Tally
from mlops_project.reference.distances import LEAST, Counts, Floats
from mlops_project.reference.groups import describe_groups, join_bins
from mlops_project.reference.pairs import PairTally, expect, measure_distance

LEAST_ROWS = 20  # of each of the two values, on both sides
EVIDENCE = 10.0  # nats: the exchange makes the window e¹⁰ times as likely
LEFT = 0.5  # of the squared distance that the exchange may leave: if more is left, something else happened
AGAINST = -3.0  # nats by which other features may speak against an exchange that the shares alone show
FIT = 4.0  # standard errors between a value's share and what the other one's was, where no other feature can tell


def find_swaps(
    tallies: Sequence[Tally], pairs: Sequence[PairTally], moved: AbstractSet[str], parted: AbstractSet[str]
) -> dict[str, tuple[Reason, ...]]:
    """Return feature → which two of its values seem to be exchanged.

    Parameters
    ----------
    tallies, pairs
        The window's.
    moved, parted
        Features that changed by themselves, and in a pair; no other is looked at. One that moved tells nothing of another: its
        own values have gone to other groups.
    """
    found: dict[str, tuple[Reason, ...]] = {}
    for tally in tallies:
        profile = tally.profile
        if profile.name in moved | parted and profile.type in ("boolean", "category"):
            swap = _find(tally, [*_turn(pairs, profile.name, moved)])
            if swap is not None:
                found[profile.name] = (swap,)
    return found


def _turn(pairs: Sequence[PairTally], name: str, moved: AbstractSet[str]) -> Iterator[tuple[Counts, Counts]]:
    """Yield the tables of a feature's pairs, reference and window, with its own groups as rows."""
    for pair in pairs:
        first, second = pair.profile.columns
        if name == first and second not in moved:
            yield pair.profile.table, pair.table
        elif name == second and first not in moved:
            yield pair.profile.table.T, pair.table.T


def _find(tally: Tally, tables: Sequence[tuple[Counts, Counts]]) -> Reason | None:
    groups = join_bins(tally.profile)
    size = int(groups.max()) + 1
    before = np.bincount(groups, np.array(tally.profile.counts, np.int64), size).astype(np.int64)
    now = np.bincount(groups, tally.counts, size).astype(np.int64)
    named = _name(tally.profile)
    able = [place for place in named if min(before[place], now[place]) >= LEAST_ROWS]
    best, evidence = None, EVIDENCE
    for first, second in combinations(able, 2):
        found = _weigh(first, second, before, now, tables)
        if found > evidence:
            best, evidence = (first, second), found
    if best is None:
        return None
    return Reason(kind="swapped", values={"first": named[best[0]], "second": named[best[1]]})


def _name(profile: FeatureProfile) -> Mapping[int, str]:
    """Return the groups that hold one value each, and what it is called."""
    if profile.type == "boolean":
        return {0: "false", 1: "true"} if len(profile.edges) == 1 else {}
    found = describe_groups(profile)
    return {place: group.values[0] for place, group in enumerate(found) if not group.others}


def _weigh(first: int, second: int, before: Counts, now: Counts, tables: Sequence[tuple[Counts, Counts]]) -> float:
    """Return how much likelier an exchange is, in nats; 0 if what speaks for it speaks for something else as well."""
    told = [_compare(table, first, second) for table in tables]
    evidence, kept, swapped = (sum(part) for part in zip(*told, strict=True)) if told else (0.0, 0.0, 0.0)
    if evidence > EVIDENCE and swapped < LEFT * kept:
        return float(evidence)
    shares = before / before.sum()
    fits = max(_miss(now, shares, first, second, before), _miss(now, shares, second, first, before)) < FIT
    moved = float((now[first] - now[second]) * np.log(shares[second] / shares[first]))
    return moved if fits and evidence > AGAINST else 0.0


def _compare(table: tuple[Counts, Counts], first: int, second: int) -> tuple[float, float, float]:
    """Compare a pair with the reference's as it is, and with the two values exchanged, whatever each feature does alone.

    Returns
    -------
    tuple
        How much likelier the exchange is, in nats, and the squared distances to the one and to the other.
    """
    reference, current = table
    exchanged = reference.copy()
    exchanged[[first, second]] = reference[[second, first]]
    ratio = np.log(np.maximum(expect(exchanged, current), LEAST) / np.maximum(expect(reference, current), LEAST))
    distances = measure_distance(reference, current), measure_distance(exchanged, current)
    return float((current * ratio).sum()), float(distances[0]) ** 2, float(distances[1]) ** 2


def _miss(now: Counts, shares: Floats, place: int, other: int, before: Counts) -> float:
    """Return how far a value's share lies from what the other one's was, in standard errors."""
    expected, rows = float(shares[other]), float(now.sum())
    error = np.sqrt(expected * (1 - expected) * (1 / rows + 1 / float(before.sum())))
    return float(abs(now[place] / rows - expected) / max(error, 1e-9))
