"""Parts of a feature's values: each of few, each tenth of many numbers, missing ones; and neighbouring parts together."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

MAX_REGION = 0.2  # share of the rows; what is larger is a world that changed
FEW_VALUES = 20  # a number of so few values is judged by value
MAX_TEXTS = 200


@dataclass(frozen=True)
class Parts:
    """A feature's values in parts.

    Attributes
    ----------
    name
        The feature's.
    ours, theirs
        In which part a row of either side is, -1 for none, ``(n_rows,)``.
    titles
        What each part is called.
    bounds
        Lowest and highest value of each part of a number, in their order; missing values, the part behind them, have none.
    """

    name: str
    ours: Places
    theirs: Places
    titles: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...] = ()

    def entitle(self, first: int, last: int) -> str:
        """Return what neighbouring parts are called together."""
        if first == last:
            return self.titles[first]
        low, high = self.bounds[first][0], self.bounds[last][1]
        return f"{self.name} from {low:.6g} to {high:.6g}" if self._is_exact else _entitle(self.name, low, high)

    @property
    def _is_exact(self) -> bool:
        return all(low == high for low, high in self.bounds)


def cut_parts(name: str, ours: Any, theirs: Any) -> Parts | None:
    """Cut a feature's values; None for dates, and for numbers of which nothing is known.

    Parameters
    ----------
    ours, theirs
        Values of the feature; ``theirs``, of known rows, say where numbers are cut.
    """
    if ours.dtype.kind == "M" or theirs.dtype.kind == "M":
        return None
    if ours.dtype.kind in "fiub":
        return _cut_numbers(name, ours.astype(np.float64), theirs.astype(np.float64))
    texts, known = ours.astype(str), theirs.astype(str)
    names = np.unique(texts)[:MAX_TEXTS]
    titles = tuple(f"{name} = {str(text)!r}" for text in names)
    return Parts(name, _find_exact(names, texts), _find_exact(names, known), titles)


def cut_feature(name: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Mask, Mask]]:
    """Yield what a part is called, and which rows of both sides are in it; nothing for dates."""
    parts = cut_parts(name, ours, theirs)
    if parts is not None:
        for place, title in enumerate(parts.titles):
            yield title, parts.ours == place, parts.theirs == place


def _cut_numbers(name: str, ours: Any, known: Any) -> Parts | None:
    finite = known[np.isfinite(known)]
    values = np.unique(finite)
    if not len(values):
        return None
    if len(values) <= FEW_VALUES:
        bounds = tuple((float(value), float(value)) for value in values)
        titles = [f"{name} = {value:.6g}" for value in values]
        own, theirs = _find_exact(values, ours), _find_exact(values, known)
    else:
        edges = np.unique(np.quantile(finite, np.linspace(0, 1, 11)[1:-1]))
        bounds = tuple((float(low), float(high)) for low, high in pairwise([-np.inf, *edges, np.inf]))
        titles = [_entitle(name, low, high) for low, high in bounds]
        own, theirs = np.searchsorted(edges, ours), np.searchsorted(edges, known)
    own, theirs = (np.where(np.isnan(side), len(titles), places) for places, side in ((own, ours), (theirs, known)))
    return Parts(name, own, theirs, (*titles, f"{name} is missing"), bounds)


def _entitle(name: str, low: float, high: float) -> str:
    if np.isinf(high):
        return f"{name} over {low:.6g}"
    return f"{name} up to {high:.6g}" if np.isinf(low) else f"{name} between {low:.6g} and {high:.6g}"


def _find_exact(names: Any, values: Any) -> Places:
    """Return the place of each value among sorted names, -1 if it is none of them."""
    places = np.searchsorted(names, values).clip(max=len(names) - 1)
    found: Places = np.where(names[places] == values, places, -1)
    return found
