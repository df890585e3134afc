"""Parts of a feature's values: each of few, each tenth of many numbers, missing ones."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

MAX_REGION = 0.2  # share of the rows; what is larger is a world that changed
FEW_VALUES = 20  # a number of so few values is judged by value
MAX_TEXTS = 200


def cut_feature(name: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Mask, Mask]]:
    """Yield what a part is called, and which rows of both sides are in it; nothing for dates.

    Parameters
    ----------
    ours, theirs
        Values of the feature; ``theirs``, of known rows, say where numbers are cut.
    """
    if ours.dtype.kind == "M" or theirs.dtype.kind == "M":
        return
    if ours.dtype.kind in "fiub":
        yield from _cut_numbers(name, ours.astype(np.float64), theirs.astype(np.float64))
        return
    texts, known = ours.astype(str), theirs.astype(str)
    for text in np.unique(texts)[:MAX_TEXTS]:
        yield f"{name} = {str(text)!r}", texts == text, known == text


def _cut_numbers(name: str, ours: Any, known: Any) -> Iterator[tuple[str, Mask, Mask]]:
    yield f"{name} is missing", np.isnan(ours), np.isnan(known)
    finite = known[np.isfinite(known)]
    values = np.unique(finite)
    if len(values) <= FEW_VALUES:
        for value in values:
            yield f"{name} = {value:.6g}", ours == value, known == value
        return
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, 11)[1:-1]))
    for low, high in pairwise([-np.inf, *edges, np.inf]):
        title = f"{name} between {low:.6g} and {high:.6g}"
        title = f"{name} over {low:.6g}" if np.isinf(high) else title
        title = f"{name} up to {high:.6g}" if np.isinf(low) else title
        yield title, (ours > low) & (ours <= high), (known > low) & (known <= high)
