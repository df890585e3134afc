"""Pairs of features that go together: which ones, and how many rows fall into each cell of both.

A column that no longer goes with the others keeps its own distribution, so no test of single features sees it. The classifier
of all features does, but it needs reference rows, which a bundle may not hold; counts hold nobody's row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from scipy import special
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from mlops_project.reference.bins import FeatureProfile
from mlops_project.reference.distances import LEAST, Counts, Floats, jensen_shannon
from mlops_project.reference.groups import GROUPS, Groups, join_bins

MOST_FEATURES = 64  # of most weight; a pair costs as much to count as a feature
LEAST_INFORMATION = 0.01  # nats; a correlation of 0.14
LEVEL = 1e-3  # chance that two features that have nothing to do with each other become a pair
WIDTH = GROUPS + 1  # groups, and no value
PRIOR_ROWS = 2.0  # spread over the cells, so that one that the reference lacks is not for ever impossible
ROUNDS = 20  # of raking; after them margins hold within 1e-4 even where the features are nearly the same


class PairProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Two features in the held-out rows.

    Attributes
    ----------
    columns
        Their names.
    shape
        How many groups each has.
    counts
        Rows per cell, those of the first group of the first feature first. Rows without a value in either are left out.
    information
        Mutual information in nats, less what chance makes of it.
    """

    columns: tuple[str, str]
    shape: tuple[int, int]
    counts: tuple[int, ...]
    information: float

    @property
    def name(self) -> str:
        """Both names."""
        return " × ".join(self.columns)

    @property
    def table(self) -> Counts:
        """Rows per cell, ``shape``."""
        return np.array(self.counts, np.int64).reshape(self.shape)


@dataclass
class PairTally:
    """A window's rows counted into the cells of a pair.

    Attributes
    ----------
    profile
        Whose cells.
    table
        int64 ``profile.shape``.
    """

    profile: PairProfile
    table: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.table = np.zeros(self.profile.shape, np.int64)

    def count(self, groups: Mapping[str, Groups]) -> "PairTally":
        """Return a new tally of these rows.

        Parameters
        ----------
        groups
            Feature → group of each row ``(n_rows,)``; ``GROUPS`` where there is no value.
        """
        tally = PairTally(self.profile)
        first, second = self.profile.columns
        tally.table = _cross(groups[first], groups[second], self.profile.shape)
        return tally

    def add(self, other: "PairTally") -> None:
        """Add another tally's rows of the same pair."""
        self.table = self.table + other.table

    @property
    def rows(self) -> int:
        """How many have a value in both."""
        return int(self.table.sum())


def _cross(first: Groups, second: Groups, shape: tuple[int, int]) -> Counts:
    cells = np.bincount(first * np.int8(WIDTH) + second, minlength=WIDTH * WIDTH).reshape(WIDTH, WIDTH)
    return cells[: shape[0], : shape[1]].astype(np.int64)


def choose_pairs(features: Sequence[FeatureProfile], groups: Mapping[str, Groups]) -> tuple[PairProfile, ...]:
    """Return the pairs to watch: the tree of most mutual information that joins the features (Chow & Liu 1968).

    Whichever features lose touch with the others, at least one pair of the tree is cut. Pairs that share hardly anything, or
    only what chance makes of so few rows, are left out.

    Parameters
    ----------
    features
        Counted, of the held-out rows.
    groups
        Of the same rows, see ``PairTally.count``.
    """
    eligible = sorted((one for one in features if one.name in groups), key=lambda one: -one.weight)[:MOST_FEATURES]
    names = {one.name for one in eligible}
    chosen = [one for one in features if one.name in names]
    sizes = [int(join_bins(one).max()) + 1 for one in chosen]
    edges: dict[tuple[int, int], PairProfile] = {}
    for row, one in enumerate(chosen):
        for column in range(row + 1, len(chosen)):
            shape = sizes[row], sizes[column]
            found = _describe((one.name, chosen[column].name), _cross(groups[one.name], groups[chosen[column].name], shape))
            if found is not None:
                edges[row, column] = found
    if not edges:
        return ()
    rows, columns = np.array(list(edges)).T
    costs = 1 / np.array([pair.information for pair in edges.values()])
    tree = minimum_spanning_tree(coo_array((costs, (rows, columns)), (len(chosen), len(chosen))).tocsr()).tocoo()
    kept = sorted(zip(tree.row.tolist(), tree.col.tolist(), strict=True))
    return tuple(edges[min(edge), max(edge)] for edge in kept)


def _describe(columns: tuple[str, str], table: Counts) -> PairProfile | None:
    """Return a pair; None if the features have nothing to do with each other."""
    rows, (wide, high) = int(table.sum()), table.shape
    freedom = (wide - 1) * (high - 1)
    if not freedom or not rows:
        return None
    information = measure_information(table)
    excess = information - freedom / (2 * rows)  # what independent features have on average (Miller 1955)
    if excess <= LEAST_INFORMATION or special.chdtrc(freedom, 2 * rows * information) > LEVEL:
        return None
    return PairProfile(columns=columns, shape=(wide, high), counts=tuple(table.ravel().tolist()), information=round(excess, 4))


def measure_information(table: Counts | Floats) -> float:
    """Return the mutual information of rows and columns of a table of counts, in nats."""
    shares = table / max(float(table.sum()), 1.0)
    independent = np.outer(shares.sum(axis=1), shares.sum(axis=0))
    return float(special.rel_entr(shares, np.where(shares > 0, independent, 1.0)).sum())


def expect(reference: Counts | Floats, current: Counts | Floats) -> Floats:
    """Return the shares of a window's cells, if its features went together as the reference's do, whatever each does alone.

    The reference's cells are scaled to the window's own margins in turns (raking, Deming & Stephan 1940).

    Parameters
    ----------
    reference, current
        Rows per cell ``(…, wide, high)``.
    """
    rows, columns = (_share(current.sum(axis=axis, keepdims=True)) for axis in (-1, -2))
    known: Floats = reference + PRIOR_ROWS * _share(reference.sum(-1, keepdims=True)) * _share(reference.sum(-2, keepdims=True))
    found = known + 1e-9
    for _ in range(ROUNDS):
        found *= rows / np.maximum(found.sum(axis=-1, keepdims=True), LEAST)
        found *= columns / np.maximum(found.sum(axis=-2, keepdims=True), LEAST)
    return found


def _share(counts: Counts | Floats) -> Floats:
    shares: Floats = counts / np.maximum(counts.sum(axis=(-1, -2), keepdims=True), 1)
    return shares


def measure_distance(reference: Counts | Floats, current: Counts | Floats) -> Floats:
    """Return the Jensen–Shannon distance of a window's cells to ``expect``: how differently the features go together.

    Parameters
    ----------
    reference, current
        Rows per cell ``(…, wide, high)``.
    """
    expected = expect(reference, current)
    return jensen_shannon(*(table.reshape(*table.shape[:-2], -1) for table in (expected, current)))
