"""Columns that deserve a note: a mark for missing values, hardly any values, one column twice, too few rows for them."""

import hashlib
from collections.abc import Iterator

import numpy as np

from mlops_project.findings import Finding
from mlops_project.tables.sample import Floats, Sample
from mlops_project.tables.table import Table

MIN_ROWS = 50
MARKS = (-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0)
MARK_SHARE, MARK_ROWS = 0.005, 3  # of the rows have the mark
MARK_VALUES = 10  # other values that the column has
MINUS_ONE_SHARE = 0.02
MOSTLY = 0.9  # of the rows have no value
SAME_QUANTITY = 0.99999  # correlation of two columns that are one quantity
MAX_COMPARED = 400  # columns
RECODED_SHARE = 0.5  # a column with another value in more rows than that is a number or a name, not a code
ROWS_PER_COLUMN = 3  # to learn from


def find_odd_columns(sample: Sample, skipped: frozenset[str]) -> Iterator[Finding]:
    """Yield what is odd about single columns, and about two that say the same.

    Parameters
    ----------
    skipped
        Columns that were named already.
    """
    if len(sample) < MIN_ROWS:
        return
    names = [name for name in sample.values if name not in skipped]
    for name in names:
        values = sample.values[name]
        missing = float(np.isnan(values).mean())
        if missing > MOSTLY:
            yield Finding(
                code="mostly-missing",
                columns=(name,),
                seen=f"column {name!r} has a value in {1 - missing:.1%} of the rows only",
                why="what is learned from so few rows may be chance, and a request without it looks like most rows",
                cure=f"add {name!r} to data.drop, unless that it is missing says something",
                severity="note",
            )
        elif sample.types[name] in ("float", "integer") and (mark := _find_mark(values)) is not None:
            yield _describe_mark(name, mark, values)
    yield from _find_recoded(sample, names)


def _find_mark(values: Floats) -> float | None:
    """Return the number that stands for a missing value in a column; None if none does."""
    for mark in MARKS:
        marked = values == mark
        others = values[~marked & ~np.isnan(values)]
        if marked.sum() < max(MARK_ROWS, MARK_SHARE * len(values)) or len(others) < MIN_ROWS / 2:
            continue
        low, high = float(others.min()), float(others.max())
        if len(np.unique(others)) < MARK_VALUES or low <= mark <= high:
            continue
        gap = low - mark if mark < low else mark - high
        never_negative = mark < 0 <= low and (mark <= -9 or marked.mean() >= MINUS_ONE_SHARE)
        if never_negative or (abs(mark) >= 99 and gap >= high - low):
            return mark
    return None


def _describe_mark(name: str, mark: float, values: Floats) -> Finding:
    others = values[(values != mark) & ~np.isnan(values)]
    return Finding(
        code="mark-for-missing",
        columns=(name,),
        seen=f"column {name!r} is {mark:g} in {int((values == mark).sum()):,} of {len(values):,} rows, and from "
        f"{others.min():g} to {others.max():g} in the others",
        why="such a number mostly stands for a missing value, and a model computes with it as with any other",
        cure=f"set data.missing: [{mark:g}] if it stands for one, else accept this with the reason",
    )


def _find_recoded(sample: Sample, names: list[str]) -> Iterator[Finding]:
    """Yield the columns that say what an earlier one says: the same categories by other names, a number in another unit."""
    first: dict[bytes, str] = {}
    found: set[str] = set()
    for name in names:
        codes = np.unique(sample.values[name], return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(codes[1]))[codes[2]].astype(np.int32)  # by the row in which a value comes first
        if not 2 <= len(codes[0]) <= RECODED_SHARE * len(sample):
            continue
        key = hashlib.sha256(order.tobytes()).digest()
        if key in first:
            found.add(name)
            yield _describe_recoded(name, first[key], "has a value of its own for each value of")
        first.setdefault(key, name)
    numeric = [name for name in names if name not in found and sample.types[name] in ("float", "integer")][:MAX_COMPARED]
    able = [name for name in numeric if np.isfinite(sample.values[name]).all() and np.ptp(sample.values[name]) > 0]
    if len(able) < 2:
        return
    with np.errstate(all="ignore"):
        strength = np.triu(np.abs(np.corrcoef(np.vstack([sample.values[name] for name in able]))), 1)
    for place in np.flatnonzero((strength > SAME_QUANTITY).any(axis=0)).tolist():
        other = able[int(np.argmax(strength[:, place]))]
        yield _describe_recoded(able[place], other, "is, in another unit or up to rounding, the number of")


def _describe_recoded(name: str, other: str, how: str) -> Finding:
    return Finding(
        code="recoded-column",
        columns=(name,),
        seen=f"column {name!r} {how} column {other!r}",
        why="it adds nothing, and importance and reasons are divided between the two as chance has it",
        cure=f"name one of the two in data.drop: [{name}]",
        severity="note",
    )


def find_few_rows(table: Table, test_size: float) -> Iterator[Finding]:
    """Yield the finding about a table with too few rows for its columns."""
    n_columns, rows = len(table.types), round(len(table.target) * (1 - test_size))
    if rows < ROWS_PER_COLUMN * n_columns:
        yield Finding(
            code="few-rows-for-columns",
            seen=f"{rows:,} rows to learn from have {n_columns:,} columns",
            why="with so many columns some fit the target by chance, and a model cannot tell which",
            cure="more rows, or fewer columns: those that are known to matter",
        )
