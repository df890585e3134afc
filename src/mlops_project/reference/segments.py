"""Segments: rows of one rule, such as ``country = BR and age > 50``, and the mean of every important feature in each of them.

A change in a part of the rows is diluted in the whole. Sums over segments hold nobody's row and add up over batches.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import msgspec
import numpy as np
from scipy import special

from mlops_project.reference.bins import FeatureProfile, Tally
from mlops_project.reference.distances import Floats
from mlops_project.reference.groups import Groups, join_bins

DEFINERS, TARGETS = 8, 16  # features that rules are made of, and whose means are kept; the most important ones
QUARTERS = 4  # groups of a number in a rule
LEAST_ROWS = 30  # of a segment in the reference; fewer tell nothing, and could be somebody
SCALE = 100  # sums are kept as whole hundredths


class SegmentProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Segments of the held-out rows.

    Attributes
    ----------
    definers, targets
        Features that rules are made of, and that are looked at.
    segments
        Two conditions each, as places in the list of all groups of all definers; twice the same for a single one.
    counts
        Rows of each segment, then of all rows.
    sums, missing
        Per segment and target, then of all rows: sum of the scores in hundredths, and rows without a value.
    """

    definers: tuple[str, ...]
    targets: tuple[str, ...]
    segments: tuple[tuple[int, int], ...]
    counts: tuple[int, ...]
    sums: tuple[int, ...]
    missing: tuple[int, ...]


class Sums(NamedTuple):
    """Sums over segments, the last one all rows.

    Attributes
    ----------
    counts
        Rows ``(n_segments + 1,)``.
    sums, squares, missing
        Of the scores, of their squares, and rows without a value; ``(n_segments + 1, n_targets)``.
    """

    counts: Floats
    sums: Floats
    squares: Floats
    missing: Floats


def outline_segments(features: Sequence[FeatureProfile], columns: Mapping[str, Any]) -> SegmentProfile | None:
    """Return the segments of the held-out rows that hold enough of them; None if no rule can be made."""
    able = sorted((one for one in features if one.type != "datetime"), key=lambda one: -one.weight)
    definers = [one for one in able if one.type != "string" and join_bins(one, QUARTERS).max() > 0][:DEFINERS]
    targets = able[:TARGETS]
    if not definers:
        return None
    marks = mark_groups(definers, columns)
    owners = np.repeat(np.arange(len(definers)), [int(join_bins(one, QUARTERS).max()) + 1 for one in definers])
    joint = marks.T @ marks
    pairs = [(place, place) for place in range(len(owners))]
    pairs += [(first, second) for first, second in combinations(range(len(owners)), 2) if owners[first] != owners[second]]
    segments = tuple((first, second) for first, second in pairs if joint[first, second] >= LEAST_ROWS)
    found = add_up(marks, segments, *score_targets(targets, columns))
    return SegmentProfile(
        definers=tuple(one.name for one in definers),
        targets=tuple(one.name for one in targets),
        segments=segments,
        counts=tuple(found.counts.astype(int).tolist()),
        sums=tuple(np.round(found.sums * SCALE).astype(int).ravel().tolist()),
        missing=tuple(found.missing.astype(int).ravel().tolist()),
    )


def mark_groups(definers: Sequence[FeatureProfile], columns: Mapping[str, Any]) -> Floats:
    """Return which group of each definer a row is in, as ones and zeros ``(n_rows, n_groups)``."""
    blocks = []
    for one in definers:
        lookup: Groups = np.append(join_bins(one, QUARTERS), np.int8(-1))
        groups = np.asarray(Tally(one).count(columns[one.name], lookup).groups)
        blocks.append(np.equal.outer(groups, np.arange(int(lookup.max()) + 1)))
    return np.hstack(blocks).astype(np.float64)


def score_targets(targets: Sequence[FeatureProfile], columns: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Return a score per row and target, and where there is no value, ``(n_rows, n_targets)`` each.

    Numbers: the normal score of the value's bin among the held-out rows, so that outliers and units do not matter.
    Categories: 1 for the most frequent, 0 for the others.
    """
    scores, gaps = [], []
    for one in targets:
        lookup = np.append(np.arange(len(one.counts)), -1)
        places = _find_bins(one, columns[one.name], lookup)
        known = np.append(score_bins(one), 0.0)
        scores.append(known[places])
        gaps.append(places < 0)
    return np.column_stack(scores), np.column_stack(gaps).astype(np.float64)


def _find_bins(one: FeatureProfile, values: Any, lookup: Any) -> Any:
    small = Tally(one).count(values, lookup.astype(np.int8)).groups  # 50 bins of a number, 101 of a category
    return np.asarray(small, np.int64)


def score_bins(one: FeatureProfile) -> Floats:
    """Return the score of each bin."""
    counts = np.array(one.counts, np.float64)
    if one.kind == "category":
        return np.asarray(np.arange(len(counts)) == int(counts.argmax()), np.float64)
    places = (np.cumsum(counts) - counts / 2 + 0.5) / (counts.sum() + 1)
    scores: Floats = special.ndtri(places)
    return scores


def add_up(marks: Floats, segments: Sequence[tuple[int, int]], scores: Floats, gaps: Floats) -> Sums:
    """Return the sums over each segment, and over all rows last."""
    width = scores.shape[1]
    stacked = np.hstack([np.ones((len(marks), 1)), scores, scores**2, gaps])
    first, second = np.array(segments, np.int64).reshape(-1, 2).T
    found = np.empty((len(segments) + 1, stacked.shape[1]))
    for place in np.unique(first):
        rows = marks[:, place] > 0
        found[:-1][first == place] = marks[rows][:, second[first == place]].T @ stacked[rows]
    found[-1] = stacked.sum(axis=0)
    return Sums(found[:, 0], *np.split(found[:, 1:], [width, 2 * width], axis=1))
