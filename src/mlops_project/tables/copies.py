"""Copies: rows that are equal, or nearly, more often than chance explains. A random split puts them on both of its sides.

Tables of few categories are full of equal rows by nature. What chance explains is estimated from the rows that are equal in all
columns but one: two such rows agree in that one, too, as often as any two rows of the table do. Copies are far more than that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mlops_project.findings import Finding
from mlops_project.tables.close_rows import find_close_rows
from mlops_project.tables.table import Table

Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

SAMPLE_ROWS = 30_000  # of which chance is estimated: a ratio of pairs, which does not change with the number of rows
MIN_SHARE = 0.01  # of the rows that are copies of others: fewer change no metric
MIN_PAIRS = 3
CHANCE_FACTOR = 5.0  # how many times what chance explains
SURE_DIGITS = 3  # significant digits in which near copies agree
MIN_WIDTH = 4  # feature columns that must agree where one may differ, or fewer that tell rows apart by so many bits:
SURE_BITS = 20.0
TRIED = 3  # columns without which most rows are equal
MAX_PAIRED, PAIRED_ROWS = 20, 5_000  # columns, and rows, where two columns may differ
MAX_TRIED = 60  # columns that may be the one that differs
CONTRADICTING = 0.005  # of the rows
NAMING = 0.95  # of the rows have another value: the column names or dates them
SEED = 0


@dataclass(frozen=True)
class Copies:
    """Rows that are copies of others.

    Attributes
    ----------
    groups
        Copies have the same number, all other rows one of their own; ``(n_rows,)``.
    exact
        Rows that equal an earlier row in every feature and in the target.
    near
        Further rows that equal one except for the last digits, or capital letters, or in all columns but ``differing``, or lie
        close to it.
    differing
        The columns in which near copies differ.
    is_close
        Whether there are rows whose numbers lie closer together than rows of this table do.
    """

    groups: npt.NDArray[np.intp]
    exact: int
    near: int
    differing: tuple[str, ...] = ()
    is_close: bool = False

    @property
    def twins(self) -> npt.NDArray[np.bool_]:
        """Which rows have at least one copy."""
        counted: npt.NDArray[np.bool_] = np.bincount(self.groups)[self.groups] > 1
        return counted


def find_copies(table: Table) -> Copies | None:
    """Return the copies of a table; None if there are so few that no metric changes, or as many as chance explains."""
    columns = [table.features[name] for name in table.features.columns]
    if len(table.target) < 2 or not columns:
        return None
    target = _hash(table.target)
    gaps = [*(column.isna().to_numpy() for column in columns), np.zeros(len(target), bool)]
    rows = _Rows([*map(_hash, columns), target], gaps)
    n_exact = _count_repeats(rows.total)
    keys: list[npt.NDArray[Any]] = [rows.total] if rows.has_copies() else []
    del rows  # its hashes are as large as the table
    rounded = _Rows([*(_hash(_round(column)) for column in columns), target], gaps)
    keys += [rounded.total] if rounded.has_copies() else []
    able = [place for place, column in enumerate(columns) if column.dtype.kind != "f"]
    differing = _find_differing(rounded, able)
    keys += [rounded.without(differing).total] if differing else []
    close = find_close_rows(table)
    keys += [] if close is None else [close]
    if not keys:
        return None
    groups, names = _join(keys), tuple(str(table.features.columns[place]) for place in differing)
    return Copies(groups, n_exact, _count_repeats(groups) - n_exact, names, close is not None)


def find_contradictions(table: Table) -> Finding | None:
    """Return the finding about rows that equal others in every feature and have another class; None if chance explains it."""
    columns = [table.features[name] for name in table.features.columns]
    if table.task == "regression" or len(columns) < MIN_WIDTH:
        return None
    rows = _Rows([_hash(column) for column in columns])
    if _count_repeats(rows.total) < max(MIN_SHARE * len(rows.total), MIN_PAIRS) or not rows.has_copies():
        return None
    codes, labels = pd.factorize(rows.total)[0], pd.factorize(table.target)[0]
    counts = np.bincount(codes * (int(labels.max()) + 1) + labels, minlength=(int(codes.max()) + 1) * (int(labels.max()) + 1))
    by_row = counts.reshape(-1, int(labels.max()) + 1)
    wrong = int((by_row.sum(axis=1) - by_row.max(axis=1)).sum())
    if wrong < max(CONTRADICTING * len(codes), MIN_PAIRS):
        return None
    first = int(np.flatnonzero((by_row[codes] > 0).sum(axis=1) > 1)[0])
    return Finding(
        code="contradictory-rows",
        columns=(str(table.target.name),),
        seen=f"{wrong:,} of {len(codes):,} rows equal another one in every column and have another {table.target.name!r}, "
        f"such as row {first + 1}",
        why="no model can answer both rightly, and whichever labels are wrong are learned as well",
        cure="find out which label holds, or which column is lacking that tells such rows apart",
    )


class _Rows:
    """Rows by the hashes of their columns; a row's own is their sum, so that a column can be taken out of it."""

    def __init__(self, hashes: list[Hashes], gaps: "list[Bools] | None" = None) -> None:
        self.hashes, self.gaps = hashes, gaps or [np.zeros(len(column), bool) for column in hashes]
        self.total: Hashes = np.zeros(len(hashes[0]), np.uint64)
        for column in hashes:
            self.total += column  # wraps around

    def without(self, columns: Iterable[int]) -> "_Rows":
        left_out = set(columns)
        kept = [place for place in range(len(self.hashes)) if place not in left_out]
        return _Rows([self.hashes[place] for place in kept], [self.gaps[place] for place in kept])

    def sample(self) -> "_Rows":
        n_rows = len(self.total)
        if n_rows <= SAMPLE_ROWS:
            return self
        rows = np.random.default_rng(SEED).choice(n_rows, SAMPLE_ROWS, replace=False)
        return _Rows([hashes[rows] for hashes in self.hashes], [gaps[rows] for gaps in self.gaps])

    def has_copies(self) -> bool:
        """Whether many rows are equal, and far more than by chance."""
        if _count_repeats(self.total) < max(MIN_SHARE * len(self.total), 1):
            return False
        sample = self.sample()
        pairs = _count_pairs(sample.total)
        return pairs >= MIN_PAIRS and pairs > CHANCE_FACTOR * (sample.estimate_chance(pairs) + 0.5)

    def estimate_chance(self, pairs: int) -> float:
        """Return how many pairs of equal rows chance explains."""
        agreement = [_agreement(hashes) for hashes in self.hashes]
        varying = [place for place, share in enumerate(agreement) if share < 1]
        expected, kept = 0.0, list(varying)
        with np.errstate(over="ignore"):
            total = self.total.copy()
            for place in sorted(varying, key=lambda place: -agreement[place]):
                rest = total - self.hashes[place]
                agreeing = _count_pairs(rest)
                expected = max(expected, self._count_apart(total, place, agreeing - pairs) * _odds(agreement[place]))
                if agreeing == pairs and len(kept) > 2:  # the other columns say all that this one does
                    kept.remove(place)
                    total = rest
            for place in kept:
                apart = self._count_apart(total, place, _count_pairs(total - self.hashes[place]) - pairs)
                expected = max(expected, apart * _odds(agreement[place]))
        return expected

    def _count_apart(self, total: Hashes, place: int, apart: int) -> int:
        """Return how many pairs of rows differ in one column alone, by two values: a copy that lost its value is no chance.

        Parameters
        ----------
        apart
            The same with those where one of the two has no value.
        """
        if not self.gaps[place].any():
            return apart
        present = ~self.gaps[place]
        return _count_pairs((total - self.hashes[place])[present]) - _count_pairs(total[present])


def _odds(share: float) -> float:
    return share / (1 - share)


def _find_differing(rows: _Rows, able: list[int]) -> list[int]:
    """Return the columns in which many rows differ that are equal in all others: one, or those that name or date the rows.

    Parameters
    ----------
    able
        Columns that may name or date rows: no measurements.
    """
    places = range(len(rows.hashes) - 1)  # the last is the target
    naming = [place for place in able if _count_repeats(rows.hashes[place]) < (1 - NAMING) * len(rows.total)]
    if len(naming) > 1 and len(places) - len(naming) >= MIN_WIDTH and rows.without(naming).has_copies():
        return naming
    sample = rows.sample()
    for differing in (*_list_most_equal(sample, naming), *_list_pairs(sample)):
        if rows.without(differing).has_copies():
            return differing
    return []


def _list_pairs(sample: _Rows) -> list[list[int]]:
    """Return the two columns without which most rows are equal; none if few are."""
    n_columns, pairs = len(sample.hashes) - 1, _count_pairs(sample.total)
    if n_columns - 2 < MIN_WIDTH or n_columns > MAX_PAIRED or len(sample.total) > PAIRED_ROWS:
        return []
    with np.errstate(over="ignore"):
        counts = {
            (one, other): _count_pairs(sample.total - sample.hashes[one] - sample.hashes[other]) - pairs
            for one, other in combinations(range(n_columns), 2)
        }
    best = max(counts, key=counts.__getitem__)
    return [[*best]] if counts[best] >= max(MIN_PAIRS, pairs) else []


def _list_most_equal(sample: _Rows, naming: list[int]) -> list[list[int]]:
    """Return the columns without which most rows are equal, alone and then beside those that name the rows; none if few are."""
    base = naming if len(sample.hashes) - 1 - len(naming) > MIN_WIDTH else []
    bits = -np.log2([max(_agreement(hashes), 1e-12) for hashes in sample.hashes])
    found = []
    for left_out in dict.fromkeys(((), tuple(base))):
        rest = sample.without(left_out)
        kept = [place for place in range(len(sample.hashes)) if place not in left_out]
        pairs = _count_pairs(rest.total)
        with np.errstate(over="ignore"):
            counts = np.array([_count_pairs(rest.total - hashes) - pairs for hashes in rest.hashes[:-1][:MAX_TRIED]])
        for place in np.argsort(-counts, kind="stable")[:TRIED].tolist():
            is_sure = len(kept) - 2 >= MIN_WIDTH or bits[kept].sum() - bits[kept[place]] >= SURE_BITS
            if counts[place] >= max(MIN_PAIRS, pairs) and is_sure:
                found.append(sorted((*left_out, kept[place])))
    return found


def _agreement(hashes: Hashes) -> float:
    """Return how often two rows have the same value."""
    return 2 * _count_pairs(hashes) / (len(hashes) * (len(hashes) - 1))


def _hash(column: "pd.Series[Any]") -> Hashes:
    values: Hashes = np.asarray(pd.util.hash_pandas_object(column, index=False), np.uint64)
    seed = np.uint64(int(pd.util.hash_array(np.array([str(column.name)], object))[0]) | 1)
    with np.errstate(over="ignore"):
        return np.multiply(values ^ (values >> np.uint64(29)), seed)  # a value counts differently in another column


def _round(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return numbers with fractions to three significant digits, and texts in lower case."""
    if column.dtype.kind not in "biufM":
        codes, texts = pd.factorize(column)
        lowered = np.array([*(str(text).lower() for text in texts), None], object)  # the last for a missing one
        return pd.Series(lowered[codes], index=column.index, name=column.name)
    if column.dtype.kind != "f":
        return column
    values = column.to_numpy()
    with np.errstate(all="ignore"):
        whole = bool((values[:1000] % 1 == 0).all())
        exponent = np.floor(np.log10(np.abs(values))) - (SURE_DIGITS - 1)
        scale = 10.0 ** np.clip(exponent, -300, 300)
        rounded = np.where(np.isfinite(exponent), np.rint(values / scale) * scale, values)
    return column if whole else pd.Series(rounded, index=column.index, name=column.name)


def _sizes(keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return how often each different key occurs."""
    ordered = np.sort(keys)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return np.diff(np.append(starts, len(ordered)))


def _count_pairs(keys: npt.NDArray[Any]) -> int:
    sizes = _sizes(keys)
    return int((sizes * (sizes - 1) // 2).sum())


def _count_repeats(keys: npt.NDArray[Any]) -> int:
    return len(keys) - len(_sizes(keys))


def _join(keys: list[npt.NDArray[Any]]) -> npt.NDArray[np.intp]:
    """Return one number for rows that are equal in one of the keys, or by way of other rows."""
    codes = [pd.factorize(key)[0] for key in keys]
    if len(codes) == 1:
        return codes[0]
    n_rows, offset = len(codes[0]), 0
    rows, columns = [], []
    for code in codes:
        rows.append(np.arange(n_rows))
        columns.append(n_rows + offset + code)
        offset += int(code.max()) + 1
    size = n_rows + offset
    links = coo_matrix((np.ones(n_rows * len(codes), np.int8), (np.concatenate(rows), np.concatenate(columns))), (size, size))
    groups: npt.NDArray[np.intp] = pd.factorize(connected_components(links, directed=False)[1][:n_rows])[0]
    return groups


def describe_copies(copies: Copies, test: npt.NDArray[np.intp], compared: tuple[str, float, float] | None) -> Finding:
    """Return the finding about copies.

    Parameters
    ----------
    copies
        Those of the table.
    test
        Positions of the held-out rows in the table.
    compared
        A metric's name, its value on the held-out rows, and about what a random split would have given, if known.
    """
    n_rows = len(copies.groups)
    held_out = np.zeros(n_rows, bool)
    held_out[test] = True
    known = int(np.isin(copies.groups[held_out], copies.groups[~held_out]).sum())
    parts = [f"{copies.exact:,} of {n_rows:,} rows equal an earlier row in every column"] if copies.exact else []
    if copies.near:
        how = (
            "nearly, as their numbers show" if copies.is_close else "except for the last digits of numbers, or capital letters"
        )
        how = f"in every column but {', '.join(map(repr, copies.differing))}" if copies.differing else how
        parts.append(f"{copies.near:,} {'more ' if parts else f'of {n_rows:,} rows '}equal one {how}")
    seen = " and ".join(parts)
    if known:
        seen += f"; {known:,} of the {len(test):,} held-out rows have a copy among the training rows"
    elif compared:
        name, together, anywhere = compared
        seen += f"; they were kept on one side of the split: {name} is {together:.3f}, and a random split would say about "
        seen += f"{anywhere:.3f}"
    else:
        seen += "; they were kept on one side of the split"
    return Finding(
        code="copies-across-split",
        columns=copies.differing,
        seen=seen,
        why="a model that has learned a row knows the answer to its copy, and new rows have no copies",
        cure="remove copies that are a fault of the table; if they are cases of their own, set data.copies: anywhere",
    )
