"""Copies: rows that are equal, or nearly, more often than chance explains. A random split puts them on both of its sides.

Tables of few categories are full of equal rows by nature. What chance explains is estimated from the rows that are equal in all
columns but one: two such rows agree in that one, too, as often as any two rows of the table do. Copies are far more than that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mlops_project.findings import Finding
from mlops_project.tables.table import Table

Hashes = npt.NDArray[np.uint64]

SAMPLE_ROWS = 30_000  # of which chance is estimated: a ratio of pairs, which does not change with the number of rows
MIN_SHARE = 0.01  # of the rows that are copies of others: fewer change no metric
MIN_PAIRS = 3
CHANCE_FACTOR = 5.0  # how many times what chance explains
SURE_DIGITS = 3  # significant digits in which near copies agree
MIN_WIDTH = 4  # feature columns that must agree where one may differ
MAX_TRIED = 60  # columns that may be the one that differs
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
        Further rows that equal one except for the last digits, or in all columns but ``differing``.
    differing
        The column in which near copies differ, or "".
    """

    groups: npt.NDArray[np.intp]
    exact: int
    near: int
    differing: str = ""

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
    rows = _Rows([*map(_hash, columns), target])
    n_exact, keys = _count_repeats(rows.total), [rows.total] if rows.has_copies() else []
    del rows  # its hashes are as large as the table
    rounded = _Rows([*(_hash(_round(column)) for column in columns), target])
    keys += [rounded.total] if rounded.has_copies() else []
    differing = _find_differing(rounded)
    if differing is not None:
        keys.append(rounded.without([differing]).total)
    if not keys:
        return None
    groups = _join(keys)
    return Copies(
        groups, n_exact, _count_repeats(groups) - n_exact, "" if differing is None else str(table.features.columns[differing])
    )


class _Rows:
    """Rows by the hashes of their columns; a row's own is their sum, so that a column can be taken out of it."""

    def __init__(self, hashes: list[Hashes]) -> None:
        self.hashes = hashes
        self.total: Hashes = np.zeros(len(hashes[0]), np.uint64)
        for column in hashes:
            self.total += column  # wraps around

    def without(self, columns: Iterable[int]) -> "_Rows":
        left_out = set(columns)
        return _Rows([hashes for place, hashes in enumerate(self.hashes) if place not in left_out])

    def sample(self) -> "_Rows":
        n_rows = len(self.total)
        if n_rows <= SAMPLE_ROWS:
            return self
        rows = np.random.default_rng(SEED).choice(n_rows, SAMPLE_ROWS, replace=False)
        return _Rows([hashes[rows] for hashes in self.hashes])

    def has_copies(self) -> bool:
        """Whether many rows are equal, and far more than by chance."""
        if _count_repeats(self.total) < max(MIN_SHARE * len(self.total), 1):
            return False
        sample = self.sample()
        pairs = _count_pairs(sample.total)
        return pairs >= MIN_PAIRS and pairs > CHANCE_FACTOR * (sample.estimate_chance(pairs) + 0.5)

    def estimate_chance(self, pairs: int) -> float:
        """Return how many pairs of equal rows chance explains."""
        agreement = [2 * _count_pairs(hashes) / (len(hashes) * (len(hashes) - 1)) for hashes in self.hashes]
        varying = [place for place, share in enumerate(agreement) if share < 1]
        expected, kept = 0.0, list(varying)
        with np.errstate(over="ignore"):
            total = self.total.copy()
            for place in sorted(varying, key=lambda place: -agreement[place]):
                rest = total - self.hashes[place]
                agreeing = _count_pairs(rest)
                odds = agreement[place] / (1 - agreement[place])
                expected = max(expected, (agreeing - pairs) * odds)
                if agreeing == pairs and len(kept) > 2:  # the other columns say all that this one does
                    kept.remove(place)
                    total = rest
            for place in kept:
                odds = agreement[place] / (1 - agreement[place])
                expected = max(expected, (_count_pairs(total - self.hashes[place]) - pairs) * odds)
        return expected


def _find_differing(rows: _Rows) -> int | None:
    """Return the one column in which rows differ that are equal in all others, if there are many."""
    n_columns = len(rows.hashes) - 1  # the last is the target
    if n_columns <= MIN_WIDTH:
        return None
    sample = rows.sample()
    pairs = _count_pairs(sample.total)
    with np.errstate(over="ignore"):
        counts = [_count_pairs(sample.total - hashes) - pairs for hashes in sample.hashes[:-1][:MAX_TRIED]]
    best = int(np.argmax(counts))
    if counts[best] < MIN_PAIRS or counts[best] < pairs:
        return None
    others = rows.without([best])
    return best if others.has_copies() else None


def _hash(column: "pd.Series[Any]") -> Hashes:
    values: Hashes = np.asarray(pd.util.hash_pandas_object(column, index=False), np.uint64)
    seed = np.uint64(int(pd.util.hash_array(np.array([str(column.name)], object))[0]) | 1)
    with np.errstate(over="ignore"):
        return np.multiply(values ^ (values >> np.uint64(29)), seed)  # a value counts differently in another column


def _round(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return numbers with fractions to three significant digits."""
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


def _join(keys: list[Hashes]) -> npt.NDArray[np.intp]:
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
        how = f"in every column but {copies.differing!r}" if copies.differing else "except for the last digits of numbers"
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
        columns=(copies.differing,) if copies.differing else (),
        seen=seen,
        why="a model that has learned a row knows the answer to its copy, and new rows have no copies",
        cure="remove copies that are a fault of the table; if they are cases of their own, set data.copies: anywhere",
    )
