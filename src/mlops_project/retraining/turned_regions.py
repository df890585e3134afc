"""Small regions of the rows whose labels contradict the champion, where everything else agrees with it.

Each part of a feature and each two neighbouring parts are looked at: in all rows, in the newer half and in the newest, and
among the rows to which the champion gives one answer (who turns one class over shows there). What is found is left out and
the rest looked at again, so that labels turned over in two places do not excuse each other. A region that goes on into its
neighbours until it is large is a world that changed, and none is named.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from mlops_project.retraining.evidence import Evidence
from mlops_project.retraining.regions import MAX_REGION, Mask, Parts, cut_parts
from mlops_project.runtime import Floats

MIN_GROUP, MIN_REST = 20, 30  # rows of a group that is judged, and of those that it is compared with
LEAST_EXCESS, LEAST_EVER = 0.15, 0.1  # contradictions beyond those expected, as a share of a group's labels
REST_SHARE = 0.1  # of the group's excess, that the others may have
ERROR = 0.005  # over all regions together; most overlap, so it is far less
SPREAD = 0.1  # by how much regions differ in how often a champion errs beyond what its confidence says
MAX_REGIONS, MAX_ANSWERS = 3, 5
MAX_WHOLE, MAX_UNION = 0.21, 0.25  # share of the rows, of a region as far as it goes on, and of all regions that are found
GOES_ON, SURELY = 0.3, 1.65  # share of a region's excess from which on its neighbour belongs to it, and standard deviations


class Region(NamedTuple):
    """A region that contradicts.

    Attributes
    ----------
    name, column
        In words, such as ``color = 'J' among the newest rows``, and the feature.
    rows
        Which labelled rows show it.
    share
        Contradictions beyond those expected, as a share of their labels.
    whole
        All labelled rows of the region, and of its neighbours as far as it goes on.
    """

    name: str
    column: str
    rows: Mask
    share: float
    whole: Mask


class _Look(NamedTuple):
    """Rows in which regions are looked for, and known rows with the same answer: of the table's own model, of the champion."""

    title: str
    rows: Mask
    table: Mask
    held_out: Mask


class _Candidates(NamedTuple):
    """Regions of one feature in one look, as columns: first and last part, rows, contradictions and so on."""

    parts: Parts
    look: _Look
    first: npt.NDArray[np.intp]
    last: npt.NDArray[np.intp]
    rows: Floats
    contradictions: Floats
    share: Floats
    by_chance: Floats


def find_turned(evidence: Evidence) -> tuple[list[Region], float]:
    """Return the regions, the worst first, and how much everything else contradicts beyond what is expected."""
    known = evidence.table.features
    cut = [cut_parts(name, evidence.rows.features[name].to_numpy(), known[name].to_numpy()) for name in evidence.contract.names]
    parts = [item for item in cut if item is not None]
    alive, found = np.ones(len(evidence.rows), bool), list[Region]()
    while len(found) < MAX_REGIONS and (region := _find_worst(evidence, parts, alive)) is not None:
        found.append(region)
        alive &= ~region.whole
        if region.whole.mean() > MAX_WHOLE or alive.mean() < 1 - MAX_UNION:
            return [], 0.0
    others = float(evidence.surprise[0].excess[alive].mean())
    if not found or others > find_limit(found[0].share, evidence):
        return [], 0.0
    return found, max(0.0, others)


def find_limit(share: float, evidence: Evidence) -> float:
    """Return how much all others may contradict beside a group that does: what is expected is known from so many rows only."""
    held_out = evidence.surprise[1]
    luck = 2 * float(np.sqrt(held_out.variance.mean() / len(held_out.excess)))
    return max(0.03 + luck, REST_SHARE * share)


def find_least(expected: Floats) -> Floats:
    """Return from which excess on a group matters: turning labels over shows less where half of them contradict anyway."""
    least: Floats = np.maximum(LEAST_EVER, LEAST_EXCESS * (1 - 2 * expected))
    return least


def _find_worst(evidence: Evidence, parts: list[Parts], alive: Mask) -> Region | None:
    looks = [*_list_looks(evidence, alive)]
    candidates = [_list_candidates(evidence, item, look) for item in parts for look in looks]
    n_looked = sum(len(item.rows) for item in candidates)
    best, worst = None, 0.0
    for item in candidates:
        matters = np.flatnonzero(item.share >= find_least(item.by_chance))
        p_values = binom.sf(item.contradictions[matters] - 1, item.rows[matters], item.by_chance[matters]) * n_looked
        for place in matters[p_values < ERROR]:
            weight = float(item.share[place] * np.sqrt(item.rows[place]))
            if weight > worst:
                best, worst = (item, int(place)), weight
    return _describe(evidence, *best, alive) if best else None


def _list_looks(evidence: Evidence, alive: Mask) -> Iterator[_Look]:
    n_rows, table = len(alive), evidence.table
    said, known = (rows.predictions.indices for rows in (evidence.labelled, evidence.held_out))
    held_out = table.held_out >= 0
    newer = np.arange(n_rows) >= n_rows // 2
    for time, rows in (
        ("", alive),
        (" in the newer half", alive & newer),
        (" among the newest rows", alive & evidence.is_judged),
    ):
        yield _Look(time, rows, np.ones(len(held_out), bool), held_out)
        if said is None or known is None:
            continue
        counts = np.bincount(said[rows], minlength=len(evidence.contract.classes))
        for answer in np.argsort(-counts)[:MAX_ANSWERS]:
            if counts[answer] >= 3 * MIN_GROUP:
                title = f" where version {evidence.version} says {evidence.contract.class_names[answer]!r}{time}"
                alike = held_out & (known[table.held_out] == answer)
                yield _Look(title, rows & (said == answer), table.fitted.answers == answer, alike)


def _list_candidates(evidence: Evidence, parts: Parts, look: _Look) -> _Candidates:
    surprise, n_parts = evidence.surprise[0], len(parts.titles)
    inside = look.rows & (parts.ours >= 0)

    def total(values: Floats | None = None) -> Floats:
        weights = None if values is None else values[inside]
        return np.bincount(parts.ours[inside], weights, n_parts).astype(np.float64)

    first, last = _pair(n_parts, len(parts.bounds))

    def join(values: Floats) -> Floats:
        joined: Floats = values[first] + np.where(last > first, values[last], 0.0)
        return joined

    counts, contradictions, expected = (join(total(of)) for of in (None, surprise.contradicts, surprise.expected))
    n_rows, own = float(look.rows.sum()), np.maximum(counts, 1)
    others = _find_others(evidence, parts, look, join) / own
    table, champion = evidence.table.surprise, evidence.surprise[1]
    usual = np.maximum(
        _find_usual(table.excess, look.table, float(table.variance.mean()), parts, join),
        _find_usual(champion.excess[evidence.table.held_out], look.held_out, float(champion.variance.mean()), parts, join),
    )
    by_chance = np.minimum(1.0, expected / own + usual + np.maximum(0.0, others))
    size = join(np.bincount(parts.ours[parts.ours >= 0], minlength=n_parts).astype(np.float64))
    kept = (counts >= MIN_GROUP) & (n_rows - counts >= MIN_REST) & (size <= MAX_REGION * len(parts.ours))
    share = (contradictions - expected) / own - usual
    return _Candidates(parts, look, first[kept], last[kept], counts[kept], contradictions[kept], share[kept], by_chance[kept])


def _find_others(evidence: Evidence, parts: Parts, look: _Look, join: Callable[[Floats], Floats]) -> Floats:
    """Return how many contradictions beyond those expected each region would have, did it err as all other rows do.

    Rows with one answer are compared with each other: where one class has become another, it has done so everywhere, and shows
    most where the champion says that class most.
    """
    said, excess, found = evidence.labelled.predictions.indices, evidence.surprise[0].excess, np.zeros(1)
    for answer in [None] if said is None else np.unique(said[look.rows]):
        alike = look.rows if answer is None else look.rows & (said == answer)
        inside = alike & (parts.ours >= 0)
        counts, totals = (
            join(np.bincount(parts.ours[inside], weights, len(parts.titles)).astype(np.float64))
            for weights in (None, excess[inside])
        )
        found = found + counts * (float(excess[alike].sum()) - totals) / np.maximum(alike.sum() - counts, 1)
    return found


def _pair(n_parts: int, n_ordered: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return first and last of each part alone and of each two neighbours."""
    alone, neighbours = np.arange(n_parts), np.arange(max(0, n_ordered - 1))
    return np.concatenate([alone, neighbours]), np.concatenate([alone, neighbours + 1])


def _find_usual(excess: Floats, known: Mask, variance: float, parts: Parts, join: Callable[[Floats], Floats]) -> Floats:
    """Return how much more than expected each region errs from the start: what known rows leave possible.

    Regions differ by about ``SPREAD``, and few rows tell little: the mean of what both say, and its standard deviation above.
    """
    rows, variance = known & (parts.theirs >= 0), max(variance, 1e-6)
    counts, totals = (
        join(np.bincount(parts.theirs[rows], weights, len(parts.titles)).astype(np.float64)) for weights in (None, excess[rows])
    )
    precision = 1 / SPREAD**2 + counts / variance
    usual: Floats = np.maximum(0.0, totals / variance / precision + 1 / np.sqrt(precision))
    return usual


def _describe(evidence: Evidence, found: _Candidates, place: int, alive: Mask) -> Region:
    parts, share = found.parts, float(found.share[place])
    first, last = int(found.first[place]), int(found.last[place])
    rows = found.look.rows & (parts.ours >= first) & (parts.ours <= last)
    low, high = first, last
    while low > 0 and low < len(parts.bounds) and _goes_on(evidence, found, low - 1, share):
        low -= 1
    while high + 1 < len(parts.bounds) and _goes_on(evidence, found, high + 1, share):
        high += 1
    whole = alive & (parts.ours >= low) & (parts.ours <= high)
    return Region(f"{parts.entitle(first, last)}{found.look.title}", parts.name, rows, share, whole)


def _goes_on(evidence: Evidence, found: _Candidates, part: int, share: float) -> bool:
    rows, surprise = found.look.rows & (found.parts.ours == part), evidence.surprise[0]
    if not rows.any():
        return False
    error = float(np.sqrt(surprise.variance[rows].mean() / rows.sum()))
    return float(surprise.excess[rows].mean()) >= max(GOES_ON * share, SURELY * error)
