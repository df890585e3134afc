"""How far blocks of consecutive rows lie from the reference: what a window of this table does by itself, without any fault.

Hours, weekdays and seasons move whole windows away from the held-out rows. A table with a column of time shows how far, before
the first prediction is logged.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from mlops_project.reference.bins import FeatureProfile, Tally
from mlops_project.reference.distances import Counts, Floats, jensen_shannon
from mlops_project.reference.pairs import PairProfile, PairTally, measure_distance

RECENT = 7  # windows that a window is compared with beside the reference: what is so for a while, or slowly rises, is no fault
DECIMALS = 4


class ColumnBlocks(msgspec.Struct, frozen=True, kw_only=True):
    """One feature, or score, in consecutive blocks.

    Attributes
    ----------
    name
        Which.
    reference
        Jensen–Shannon distance of each block to the held-out rows, oldest first.
    recent
        Of each block to the mean of the ``RECENT`` before it, from the second on.
    missing, unseen, outside
        Highest share, in [0, 1], of missing, unknown and out-of-range values in a block.
    constant
        Whether a block had one value only.
    last
        Rows per cell of the last ``RECENT`` blocks.
    absent
        Cells that were empty in a block.
    """

    name: str
    reference: tuple[float, ...]
    recent: tuple[float, ...]
    missing: float = 0.0
    unseen: float = 0.0
    outside: float = 0.0
    constant: bool = False
    last: tuple[tuple[int, ...], ...] = ()
    absent: tuple[int, ...] = ()


class TimeBlocks(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive blocks of a table that has a column of time, the newest last.

    Attributes
    ----------
    rows
        Of each block.
    scored
        How many of them, the last, are held-out rows and so have scores that mean something.
    beyond
        How many differ from the held-out rows by more than independent rows would.
    features, scores
        In the profile's order; scores of the last ``scored`` blocks.
    aspects
        Pairs, then details, in the profile's order; empty in bundles of earlier releases.
    """

    rows: tuple[int, ...]
    scored: int = 0
    beyond: int = 0
    features: tuple[ColumnBlocks, ...]
    scores: tuple[ColumnBlocks, ...] = ()
    aspects: tuple[ColumnBlocks, ...] = ()


def build_column_blocks(profile: FeatureProfile, tallies: Sequence[Tally], is_held_out: Sequence[bool]) -> ColumnBlocks:
    """Describe one feature, or score, of consecutive blocks.

    Parameters
    ----------
    profile
        Of the held-out rows.
    tallies
        One per block, oldest first.
    is_held_out
        Whether the block's rows are among the held-out ones; it is then compared with the others of these alone.
    """
    cells = np.array([profile.merge(tally.counts, tally.missing) for tally in tallies])
    whole = profile.merge(np.array(profile.counts, np.int64), profile.missing)
    rest = np.where(np.array(is_held_out)[:, None], np.maximum(whole - cells, 0), whole)
    distances = [float(jensen_shannon(others, block)) for others, block in zip(rest, cells, strict=True)]
    shares = [_find_shares(tally) for tally in tallies]
    return ColumnBlocks(
        name=profile.name,
        reference=tuple(round(distance, DECIMALS) for distance in distances),
        recent=tuple(round(distance, DECIMALS) for distance in _compare_each(cells)),
        missing=max(missing for missing, _, _ in shares),
        unseen=max(unseen for _, unseen, _ in shares),
        outside=max(outside for _, _, outside in shares),
        constant=any(is_constant(tally) for tally in tallies),
        last=tuple(tuple(block.tolist()) for block in cells[-RECENT:]),
        absent=tuple(np.flatnonzero((cells == 0).any(axis=0)).tolist()),
    )


def build_pair_blocks(pair: PairProfile, tallies: Sequence[PairTally], is_held_out: Sequence[bool]) -> ColumnBlocks:
    """Describe one pair of consecutive blocks, as ``build_column_blocks`` does with a feature."""
    cells = np.array([tally.table for tally in tallies])
    rest = np.where(np.array(is_held_out)[:, None, None], np.maximum(pair.table - cells, 0), pair.table)
    distances, flat = measure_distance(rest, cells), cells.reshape(len(cells), -1)
    return ColumnBlocks(
        name=pair.name,
        reference=tuple(round(distance, DECIMALS) for distance in distances.tolist()),
        recent=tuple(round(distance, DECIMALS) for distance in _compare_each(flat, pair.shape)),
        last=tuple(tuple(block.tolist()) for block in flat[-RECENT:]),
    )


def _compare_each(cells: Counts, shape: tuple[int, int] | None = None) -> list[float]:
    """Return each block's distance to the mean of those before it, from the second on."""
    return [compare_recent(cells[max(0, place - RECENT) : place], cells[place], shape) for place in range(1, len(cells))]


def compare_recent(before: Counts, cells: Counts, shape: tuple[int, int] | None = None) -> float:
    """Return the distance of rows per cell ``(n_cells,)`` to the mean share in blocks ``(n_blocks, n_cells)``.

    Parameters
    ----------
    shape
        Of the table that the cells are, for a pair: how its features go together is then compared, whatever each does alone.
    """
    shares: Floats = (before / np.maximum(before.sum(axis=1, keepdims=True), 1)).mean(axis=0)
    if shape is None:
        return float(jensen_shannon(shares, cells))
    return float(measure_distance((shares * before.sum()).reshape(shape), cells.reshape(shape)))


def _find_shares(tally: Tally) -> tuple[float, float, float]:
    """Return the shares of missing, unknown and out-of-range values."""
    present = max(int(tally.counts.sum()), 1)
    unseen = int(tally.counts[-1]) / present if tally.profile.kind == "category" else 0.0
    return tally.missing / max(tally.rows, 1), unseen, tally.outside / present


def is_constant(tally: Tally) -> bool:
    """Whether all values are one."""
    present = int(tally.counts.sum())
    if tally.profile.kind == "numeric":
        return present > 0 and tally.smallest == tally.largest
    return present > 0 and int(tally.counts.max()) == present
