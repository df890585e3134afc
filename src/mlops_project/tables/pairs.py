"""How much of a number two columns explain together: by a weighted sum, a product, or a line for each value of one of them."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mlops_project.tables.sample import Floats, Sample

MAX_LINES = 20  # values of a column that have a line each
MIN_ROWS = 50
LINE_ROWS = 5  # rows for each line
LIKE = 0.999  # correlation of two columns that are one quantity: their difference is rounding


def explain_pairs(sample: Sample, columns: dict[str, Floats], target: Floats) -> Iterator[tuple[str, str, str, float]]:
    """Yield two columns, how they are put together, and which share of the target's variance that explains.

    Parameters
    ----------
    columns
        Name → values of some of the sample's rows.
    target
        Of the same rows.
    """
    numbers = {name: values for name, values in columns.items() if _is_number(sample, name, values)}
    yield from _explain_sums(numbers, target, "a weighted sum")
    if (target > 0).all():
        positive = {name: np.log(values) for name, values in numbers.items() if (values > 0).all()}
        yield from _explain_sums(positive, np.log(target), "a product or a ratio")
    for name, values in columns.items():
        codes = pd.factorize(values, use_na_sentinel=False)[0]
        if 2 <= codes.max() + 1 <= MAX_LINES and np.bincount(codes).min() >= LINE_ROWS:
            for other, numeric in numbers.items():
                if other != name:
                    yield (
                        name,
                        other,
                        f"a line over {other!r} for each value of {name!r}",
                        _explain_lines(codes, numeric, target),
                    )


def _is_number(sample: Sample, name: str, values: Floats) -> bool:
    enough = len(values) >= MIN_ROWS and len(np.unique(values)) > MAX_LINES
    return enough and not sample.is_text(name) and bool(np.isfinite(values).all())


def _explain_sums(numbers: dict[str, Floats], target: Floats, how: str) -> Iterator[tuple[str, str, str, float]]:
    """Yield what each pair explains by its best weights, from correlations: (r₁² + r₂² − 2 r₁ r₂ r₁₂) / (1 − r₁₂²)."""
    names = [*numbers]
    if len(names) < 2 or not target.std():
        return
    with np.errstate(all="ignore"):
        every = np.corrcoef(np.vstack([*numbers.values(), target]))
    own, between = every[:-1, -1], every[:-1, :-1]
    with np.errstate(all="ignore"):
        told = (own[:, None] ** 2 + own**2 - 2 * own[:, None] * own * between) / (1 - between**2)
    told = np.where(np.abs(between) < LIKE, np.nan_to_num(told), 0.0)
    for place, other in zip(*np.triu_indices(len(names), 1), strict=True):
        yield names[place], names[other], how, float(told[place, other])


def _explain_lines(codes: "np.ndarray[tuple[int], np.dtype[np.intp]]", values: Floats, target: Floats) -> float:
    counts = np.bincount(codes)
    x, y = (part - (np.bincount(codes, weights=part) / counts)[codes] for part in (values, target))
    squares, products = np.bincount(codes, weights=x * x), np.bincount(codes, weights=x * y)
    told = np.divide(products**2, squares, out=np.zeros(len(counts)), where=squares > 0).sum()
    return float(1 - ((y**2).sum() - told) / ((target - target.mean()) ** 2).sum())
