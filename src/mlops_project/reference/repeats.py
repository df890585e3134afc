"""Rows that are copies of each other: how many pairs of equal rows there are, and a sample of the different ones.

A client that sends its requests twice, or a batch that is read again, makes copies. They are no drift, but tests that take each
for a draw of its own see one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.reference.bins import FeatureProfile, read_numbers
from mlops_project.reference.distances import Counts
from mlops_project.runtime import Predictions

Hashes = npt.NDArray[np.uint64]
SAMPLE_ROWS = 20_000  # different rows that are kept, those of the smallest hashes: every copy of a kept row is counted
STRIDED_ROWS = 2_000  # of a batch, evenly spread: they hold a row that is there very often, which the others may not
ANSWER = "\0"  # before the names of the model's answers, which features may have too
_ODD, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)  # multiplicative hashing (Knuth, TAOCP 3, 6.4)


class RepeatProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Equal rows among some rows.

    Attributes
    ----------
    rows
        How many rows.
    pairs
        How many pairs of them are equal.
    most
        How often the most frequent row is there.
    """

    rows: int
    pairs: float
    most: float

    @property
    def chances(self) -> float:
        """How many pairs there are, equal or not."""
        return self.rows * (self.rows - 1) / 2


def hash_rows(columns: Mapping[str, Any], features: "tuple[FeatureProfile, ...]") -> Hashes:
    """Return a number per row, uint64 ``(n_rows,)``, that rows with the same values share."""
    hashes: Hashes | None = None
    for feature in features:
        values = _hash_column(columns[feature.name], feature)
        hashes = values if hashes is None else hashes + values
        hashes = hashes * _ODD
        hashes ^= hashes >> _SHIFT
    return hashes if hashes is not None else np.empty(0, np.uint64)


def _hash_column(values: Any, feature: FeatureProfile) -> Hashes:
    if feature.kind == "numeric":
        numbers = read_numbers(values, feature.name) + 0.0  # -0.0 becomes 0.0
        return np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
    array = np.asarray(values)
    if array.dtype.kind in "Mf":
        return array.astype("datetime64[us]" if array.dtype.kind == "M" else np.float64).view(np.uint64)
    texts = np.array([value if isinstance(value, str) else "" for value in array], object)
    return np.asarray(pd.util.hash_array(texts), np.uint64)


def describe_repeats(hashes: Hashes) -> RepeatProfile:
    """Return how many of these rows are equal."""
    return _describe(np.unique(hashes, return_counts=True)[1], len(hashes))


def _describe(counts: Counts, rows: int, share: float = 1.0) -> RepeatProfile:
    pairs = float((counts * (counts - 1.0)).sum()) / 2
    return RepeatProfile(rows=rows, pairs=pairs / max(share, 1e-300), most=int(counts.max(initial=0)))


@dataclass
class RepeatCounter:
    """Counts the equal rows of a window, in memory that does not grow with it.

    Attributes
    ----------
    features
        By which rows are compared.
    rows
        How many there were.
    share
        Of all different rows, those that are kept.
    counts
        How often each kept row is there.
    """

    features: tuple[FeatureProfile, ...]
    rows: int = 0
    share: float = 1.0
    counts: Counts = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        self._keys: Hashes = np.empty(0, np.uint64)
        self._kept: dict[str, npt.NDArray[Any]] = {}
        self._strided: list[Hashes] = []

    def add(self, columns: Mapping[str, Any], predictions: Predictions | None = None) -> None:
        """Take a batch of rows, and the model's answers to them."""
        hashes = hash_rows(columns, self.features)
        self.rows += len(hashes)
        step = max(1, len(hashes) // STRIDED_ROWS)
        self._strided.append(hashes[::step])
        below = np.flatnonzero(hashes <= self._limit)
        keys, first, counts = np.unique(hashes[below], return_index=True, return_counts=True)
        batch = _take(columns, predictions, self.features, below[first])
        self._merge(keys, counts, batch)

    @property
    def _limit(self) -> np.uint64:
        return np.uint64(self._keys[-1] if len(self._keys) >= SAMPLE_ROWS else np.iinfo(np.uint64).max)

    def _merge(self, keys: Hashes, counts: Counts, batch: dict[str, npt.NDArray[Any]]) -> None:
        joined, first, inverse = np.unique(np.concatenate([self._keys, keys]), return_index=True, return_inverse=True)
        added = np.bincount(inverse, np.concatenate([self.counts, counts]), len(joined)).astype(np.int64)
        first = first[:SAMPLE_ROWS]
        before = self._kept or {name: values[:0] for name, values in batch.items()}
        self._kept = {name: np.concatenate([before[name], batch[name]])[first] for name in before if name in batch}
        self._keys, self.counts = joined[:SAMPLE_ROWS], added[:SAMPLE_ROWS]
        self.share = float(self._keys[-1]) / 2.0**64 if len(joined) > SAMPLE_ROWS or self.share < 1 else 1.0

    def describe(self) -> tuple[RepeatProfile, RepeatProfile]:
        """Return equal rows as the kept rows show them, and among evenly spread ones."""
        strided = np.concatenate(self._strided) if self._strided else np.empty(0, np.uint64)
        return _describe(self.counts, self.rows, self.share), describe_repeats(strided)

    @property
    def copies(self) -> float:
        """Share of the rows that are copies of an earlier one, in [0, 1]."""
        total = int(self.counts.sum())
        return 1 - len(self.counts) / total if total else 0.0

    def take_once(self, most: int) -> tuple[dict[str, Any], Predictions | None]:
        """Return the kept rows with each at most ``most`` times, and the answers to them."""
        rows = np.repeat(np.arange(len(self.counts)), np.minimum(self.counts, most))
        columns = {name: values[rows] for name, values in self._kept.items()}
        parts = [columns.pop(ANSWER + name, None) for name in Predictions._fields]
        return columns, Predictions(*parts) if any(part is not None for part in parts) else None


def _take(
    columns: Mapping[str, Any],
    predictions: Predictions | None,
    features: tuple[FeatureProfile, ...],
    rows: npt.NDArray[np.intp],
) -> dict[str, npt.NDArray[Any]]:
    taken = {feature.name: np.asarray(columns[feature.name])[rows] for feature in features}
    answers = [(name, part) for name, part in predictions._asdict().items() if part is not None] if predictions else []
    n_rows = len(next(iter(columns.values()), ()))
    return taken | {ANSWER + name: np.asarray(part)[rows] for name, part in answers if len(part) == n_rows}
