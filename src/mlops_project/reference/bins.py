"""The bins of one feature, or of one score, and counting rows into them."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import FeatureType
from mlops_project.errors import ContractError
from mlops_project.reference.distances import Counts, Floats

Kind = Literal["numeric", "category"]

MAX_BINS = 50  # for tests; finer ones made them no stronger
NUMERIC_CELLS = 10  # for distances: 0.25 sd at 500 rows exceeds chance in 93 % of windows with 10, in 85 % with 20
CATEGORY_CELLS = 20  # the rarer categories share the last
CATEGORY_BINS = 100  # of a `string` column, whose values come most frequent first; the model may know 100,000
PRESENT = "present"  # the one category of a datetime
LOOKUP_CELLS = 4096  # 16 KB of bin numbers stay in the processor's nearest cache
MAX_STEPS = 8  # edges in one cell; with more a binary search is as fast


class FeatureProfile(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One feature, or one score, in the held-out rows.

    Attributes
    ----------
    name, type, kind
        Of a score: its class (or ``value``), ``float``, ``numeric``. A ``datetime`` has the kind ``category`` and one category,
        ``present``: time goes on, and an hour's window holds one hour, so only whether there is a date can be compared.
    weight
        Share of the model's importance; 0 for scores.
    edges
        Numeric: ascending edges between bins, ``n_bins - 1``. A value on an edge belongs to the bin below.
    categories
        Category: the values that the model knows (of a ``string`` column the ``CATEGORY_BINS`` most frequent), one bin each;
        one more bin is for all others.
    counts
        Rows per bin, missing ones aside.
    sums
        Numeric: sum of the values per bin.
    missing
        Rows without a value.
    minimum, maximum
        Numeric: range of the training rows; None for scores, and where training had no value.
    outside
        Rows outside that range.
    smallest, largest
        Numeric: of the values; None if there is none.
    deviation
        Numeric: standard deviation of the values; 0 if there is none.
    modal
        Texts: rows with the most frequent value; 0 in bundles of earlier releases.
    thresholds
        Jensen–Shannon distance that chance reaches at ``thresholds.WINDOW_ROWS`` rows.
    """

    name: str
    type: FeatureType
    kind: Kind
    weight: float = 0.0
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    sums: tuple[float, ...] = ()
    missing: int = 0
    minimum: float | None = None
    maximum: float | None = None
    outside: int = 0
    smallest: float | None = None
    largest: float | None = None
    deviation: float = 0.0
    modal: int = 0
    thresholds: tuple[float, ...] = ()

    @cached_property
    def cells(self) -> Counts:
        """Cell that each bin belongs to, int64 ``(n_bins,)``, ascending from 0: the coarser bins that distances are taken on.

        Numeric: neighbours, joined to about ``NUMERIC_CELLS`` of equal counts. Category: the most frequent have a cell each,
        the rarer ones share one, and values that the model does not know have the last.
        """
        counts = np.array(self.counts, np.int64)
        if self.kind == "numeric":
            place = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1)
            return np.unique((place * NUMERIC_CELLS).astype(np.int64), return_inverse=True)[1]
        # strings stand in the training rows' order; ordered by the reference's own counts, the first would look too frequent
        order = np.arange(len(counts) - 1) if self.type == "string" else np.argsort(-counts[:-1], kind="stable")
        cells = np.empty(len(counts), np.int64)
        cells[order] = np.minimum(np.arange(len(order)), CATEGORY_CELLS - 1)
        cells[-1] = min(len(order), CATEGORY_CELLS)
        return cells

    @cached_property
    def finder(self) -> "BinFinder":
        """Numeric: what finds a value's bin."""
        return BinFinder(self.edges)

    def merge(self, counts: Counts, missing: int) -> Counts:
        """Return rows per cell, those without a value last; int64 ``(n_cells + 1,)``."""
        return np.append(np.bincount(self.cells, weights=counts), missing).astype(np.int64)

    @property
    def cell_edges(self) -> tuple[float, ...]:
        """Numeric: the edges between cells."""
        return tuple(edge for edge, step in zip(self.edges, np.diff(self.cells), strict=True) if step)

    @property
    def labels(self) -> tuple[str, ...]:
        """What each cell holds, for people; as long as what ``merge`` returns."""
        if self.kind == "numeric":
            return (*_name_ranges(self.cell_edges, self.type), "missing")
        members: dict[int, list[str]] = {}
        for cell, category in zip(self.cells[:-1].tolist(), self.categories, strict=True):
            members.setdefault(cell, []).append(category)
        named = [found[0] if len(found) == 1 else f"{len(found)} others" for _, found in sorted(members.items())]
        return (*named, "unseen", "missing")


def _name_ranges(edges: tuple[float, ...], kind: FeatureType) -> list[str]:
    if kind == "boolean" and len(edges) == 1:
        return ["false", "true"]
    if not edges:
        return ["any"]
    if kind == "float":
        texts = [f"{edge:.4g}" for edge in edges]
        return [f"≤ {texts[0]}", *(f"{low} – {high}" for low, high in pairwise(texts)), f"> {texts[-1]}"]
    lows, highs = [int(edge // 1) + 1 for edge in edges], [int(edge // 1) for edge in edges]
    spans = [(low, high) for low, high in zip(lows, highs[1:], strict=False)]
    return [f"≤ {highs[0]}", *(f"{low}" if low == high else f"{low} – {high}" for low, high in spans), f"≥ {lows[-1]}"]


def find_edges(values: Floats) -> tuple[float, ...]:
    """Return ascending edges between bins of about equal counts; NaN are left out.

    Up to ``MAX_BINS`` different values have a bin each, and so has any value that fills one on its own. Edges lie halfway
    between neighbouring values: on a value they would count it to one side, and shift ranks by half a bin.
    """
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    if len(distinct) < 2:
        return ()
    starts = np.ones(len(distinct) - 1, bool)
    if len(distinct) > MAX_BINS:
        place = (np.cumsum(counts) - counts / 2) / counts.sum()
        heavy = counts * MAX_BINS >= counts.sum()
        starts = (np.diff((place * MAX_BINS).astype(np.int64)) > 0) | heavy[1:] | heavy[:-1]
    below, above = distinct[:-1][starts], distinct[1:][starts]
    return tuple((below + (above - below) / 2).tolist())


@dataclass
class Tally:
    """A window's rows of one feature or score, counted into the reference's bins.

    Attributes
    ----------
    profile
        Whose bins.
    counts, sums
        int64 and float64 ``(n_bins,)``: rows per bin and, numeric, sum of their values.
    missing, outside
        Rows without a value, and outside the training range.
    smallest, largest
        Numeric: of the values; infinite, the wrong way round, if there is none.
    texts, modal
        Texts: up to two different values, and how often the most frequent one is there in a batch.
    groups
        Of each row that ``count`` was given, what it was told of the row's bin; None if it was told nothing.
    """

    profile: FeatureProfile
    counts: Counts = field(init=False)
    sums: Floats = field(init=False)
    missing: int = 0
    outside: int = 0
    smallest: float = np.inf
    largest: float = -np.inf
    texts: tuple[str, ...] = ()
    modal: int = 0
    groups: npt.NDArray[np.int8] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        numeric = self.profile.kind == "numeric"
        bins = (len(self.profile.edges) if numeric else len(self.profile.categories)) + 1
        self.counts, self.sums = np.zeros(bins, np.int64), np.zeros(bins if numeric else 0)

    @property
    def rows(self) -> int:
        """How many were counted."""
        return int(self.counts.sum()) + self.missing

    def count(self, values: Any, groups: npt.NDArray[np.int8] | None = None) -> "Tally":
        """Return a new tally of these values ``(n_rows,)``; see ``Runtime.predict`` for what they may be.

        Parameters
        ----------
        groups
            Of each bin, ``(n_bins + 1,)``, the last one where there is no value; the tally then holds that of each row.
        """
        tally = Tally(self.profile)
        if self.profile.kind == "numeric":
            tally._count_numbers(read_numbers(values, self.profile.name), groups)
        elif self.profile.type == "datetime":
            tally.missing = int(np.count_nonzero(pd.isna(np.asarray(values))))
            tally.counts[0] = len(values) - tally.missing
        else:
            tally._count_texts(np.asarray(values, object), groups)
        return tally

    def _count_numbers(self, values: Floats, groups: npt.NDArray[np.int8] | None) -> None:
        gaps = np.isnan(values)
        self.missing = int(np.count_nonzero(gaps))
        if groups is not None:
            self.groups = np.full(len(values), groups[-1])
        if self.missing:
            values = values[~gaps]
        if not len(values):
            return
        places = self.profile.finder.find(values)
        if groups is not None and self.groups is not None:
            self.groups[~gaps] = groups[places]
        self.counts = np.bincount(places, minlength=len(self.counts)).astype(np.int64, copy=False)
        self.sums = np.asarray(np.bincount(places, weights=values, minlength=len(self.counts)), np.float64)
        self.smallest, self.largest = float(values.min()), float(values.max())
        low, high = self.profile.minimum, self.profile.maximum
        if low is not None and high is not None and (self.smallest < low or self.largest > high):
            self.outside = int(np.count_nonzero(values < low) + np.count_nonzero(values > high))

    def _count_texts(self, values: npt.NDArray[np.object_], groups: npt.NDArray[np.int8] | None) -> None:
        try:
            codes, texts = pd.factorize(values)
        except (TypeError, ValueError) as error:
            raise ContractError(f"column {self.profile.name!r}: expected text: {error}") from error
        known = {text: index for index, text in enumerate(self.profile.categories)}
        places = np.array([known.get(text, len(known)) if text != "" else -1 for text in texts], np.int64)
        rows = np.bincount(codes[codes >= 0], minlength=len(texts))
        present = places >= 0  # the empty string is a missing value
        self.counts = np.bincount(places[present], weights=rows[present], minlength=len(self.counts)).astype(np.int64)
        self.missing = len(values) - int(self.counts.sum())
        found = np.flatnonzero(present)
        self.texts, self.modal = tuple(str(texts[place]) for place in found[:2]), int(rows[found].max(initial=0))
        if groups is not None:
            self.groups = groups[np.append(places, -1)][codes]

    def add(self, other: "Tally") -> None:
        """Add another tally's rows of the same bins."""
        self.counts = self.counts + other.counts
        self.sums = self.sums + other.sums
        self.missing += other.missing
        self.outside += other.outside
        self.texts = tuple(dict.fromkeys((*self.texts, *other.texts)))[:2]
        self.modal = max(self.modal, other.modal)
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)


def read_numbers(values: Any, name: str) -> Floats:
    """Return a column as float64, NaN where missing.

    Raises
    ------
    ContractError
        If it holds something else, or an infinite number.
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "fiubO" or any(isinstance(value, str | bytes) for value in _objects(array)):
        raise ContractError(f"column {name!r}: expected one number per row, got {array.dtype} {array.shape}")
    try:
        numbers = array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise ContractError(f"column {name!r}: expected numbers: {error}") from error
    if np.isinf(numbers).any():
        raise ContractError(f"column {name!r}: a value is infinite; expected finite numbers")
    return numbers


def _objects(array: npt.NDArray[Any]) -> Any:
    return array if array.dtype.kind == "O" else ()


class BinFinder:
    """Finds bins exactly as ``np.searchsorted(edges, values)`` does, in a third of the time or less: 0.5–1 ms for 100,000.

    Evenly spaced cells say which bin it is, but for the edges in the number's own cell, and those are compared with it.

    Parameters
    ----------
    edges
        Ascending.
    """

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = np.array([*edges, np.inf])
        self._quick = False
        with np.errstate(over="ignore", divide="ignore"):
            self._scale = LOOKUP_CELLS / np.float64(edges[-1] - edges[0]) if edges else np.float64(0.0)
        if len(edges) > 1 and 0 < self._scale < np.inf:
            cells = self._find_cells(self._edges[:-1])
            self._first = np.searchsorted(cells, np.arange(LOOKUP_CELLS + 1)).astype(np.int32)  # edges in the cells below
            self._steps = int(np.bincount(cells).max())
            self._quick = self._steps <= MAX_STEPS

    def find(self, values: Floats) -> npt.NDArray[np.signedinteger]:
        """Return the bin of each number ``(n_rows,)``, from 0; none may be missing."""
        if not self._quick:
            return np.searchsorted(self._edges[:-1], values)
        bins = self._first[self._find_cells(values)]
        for _ in range(self._steps):
            bins += values > self._edges[bins]
        return bins

    def _find_cells(self, values: Floats) -> npt.NDArray[np.int32]:
        """Return cells, which never fall as values rise: so a number in a higher cell than an edge is larger than the edge."""
        with np.errstate(over="ignore"):
            cells: npt.NDArray[np.int32] = np.clip((values - self._edges[0]) * self._scale, 0, LOOKUP_CELLS).astype(np.int32)
        return cells
