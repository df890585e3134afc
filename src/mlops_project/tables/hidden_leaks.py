"""Leaks that no column shows as it stands: by its gaps, a word in a text, a part of a date, two columns, the order of rows."""

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.findings import Finding
from mlops_project.tables.checks import IDENTIFIER_NAME, TIME_NAME
from mlops_project.tables.leaks import HARMLESS, MIN_ROWS, WHY, counts_rows, explain_together
from mlops_project.tables.pairs import explain_pairs
from mlops_project.tables.sample import Floats, Sample, explain_alone, explain_by_order, explain_by_value
from mlops_project.tables.table import Table

TELLING = {"regression": 0.95, "binary": 0.75, "multiclass": 0.75}  # of the target, or of one class, explained beyond chance
TELLING_PAIR = {"regression": 0.99, "binary": 0.9, "multiclass": 0.9}
PAIR_LEAD = 4.0  # times as much is left unexplained by all other columns, and by each of the two alone
MIN_SIDE = 10  # rows with a gap, or with a word, and rows without
LITTLE = 0.05  # explained by the gaps of a column, so that they may tell with those of others
MIN_TEXTS = 10  # different texts in which a word is looked for; fewer are codes
TEXT_ROWS = 5_000
MAX_WORDS = 300  # the most frequent ones
WORD = re.compile(r"[^\W\d_]+|\d+")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
HOLDS_NUMBERS = 0.8  # of the texts
PARTS = ("microsecond", "second", "minute", "hour", "day_of_week", "day", "month")
COARSE = ("day", "month")  # parts that tell what the whole date does, where that goes on for a year at most
PAIR_ROWS = 1_500
MAX_PAIRED = 30  # columns
MAX_JOINT_VALUES = 20  # of a column whose values are looked at together with another's
SAME_SCALE = 5.0  # standard deviations between the means of two columns whose difference says something


def find_hidden(table: Table, sample: Sample, skipped: frozenset[str], *, is_repeated: bool = False) -> Iterator[Finding]:
    """Yield the columns that tell the target in one of these ways.

    Parameters
    ----------
    skipped
        Columns that were named already.
    is_repeated
        Whether persons or things have several rows each: two columns may tell who it is then, and are not looked at.
    """
    if len(sample) < MIN_ROWS:
        return
    named = set(skipped)
    for name in [name for name in sample.values if name not in skipped]:
        column = table.features[name].iloc[sample.rows]
        finding = _judge_gaps(sample, name) or _judge_text(sample, name, column) or _judge_date(sample, name, column)
        if finding is not None:
            named.add(name)
            yield finding
    gaps = _judge_all_gaps(sample, [name for name in sample.values if name not in named])
    if gaps is not None:
        named.update(gaps.columns)
        yield gaps
    pair = None if is_repeated else _find_pair(sample, frozenset(named))
    if pair is not None:
        yield pair


def _describe(columns: tuple[str, ...], seen: str, *, code: str) -> Finding:
    named = " and ".join(map(repr, columns))
    return Finding(
        code=code,
        columns=columns,
        seen=seen,
        why=WHY,
        cure=f"find out when {named} {'is' if len(columns) == 1 else 'are'} known; if it is after the answer, name "
        f"{'it' if len(columns) == 1 else 'them'} in data.drop, else accept this with the reason",
    )


def _best_class(values: Floats, shares: Floats) -> float:
    """Return how much of the target, or of the class that they tell best, a few values explain."""
    return max(explain_by_value(values, shares[:, [place]]) for place in range(shares.shape[1]))


def _judge_gaps(sample: Sample, name: str) -> Finding | None:
    """Name a column that is missing just where the target has a certain value."""
    gaps = np.isnan(sample.values[name])
    if min(gaps.sum(), (~gaps).sum()) < MIN_SIDE:
        return None
    told = _best_class(gaps.astype(np.float64), sample.shares)
    if told < TELLING[sample.task]:
        return None
    seen = f"whether column {name!r} has a value explains {told:.1%} of {sample.name!r} (it is missing in {gaps.mean():.0%})"
    return _describe((name,), seen, code="leak-missing")


def _judge_all_gaps(sample: Sample, names: list[str]) -> Finding | None:
    """Name columns of which each row has several gaps, or none, by its class: tests that only the ill had."""
    if len(sample) < MIN_ROWS:
        return None
    gaps = {name: np.isnan(sample.values[name]).astype(np.float64) for name in names}
    gaps = {name: gap for name, gap in gaps.items() if MIN_SIDE <= gap.sum() <= len(gap) - MIN_SIDE}
    telling = {name: gap for name, gap in gaps.items() if _best_class(gap, sample.shares) >= LITTLE}
    if len(telling) < 2:
        return None
    told = _best_class(np.sum([*telling.values()], axis=0), sample.shares)
    if told < TELLING[sample.task]:
        return None
    shown = ", ".join(map(repr, telling))
    seen = f"how many of the columns {shown} have a value explains {told:.1%} of {sample.name!r}"
    return _describe(tuple(telling), seen, code="leak-missing")


def _judge_text(sample: Sample, name: str, column: "pd.Series[Any]") -> Finding | None:
    """Name a column of texts with a word, or a number, that tells the target."""
    if sample.types[name] not in ("category", "string") or column.iloc[:TEXT_ROWS].nunique() < MIN_TEXTS:
        return None
    texts = column.iloc[:TEXT_ROWS].fillna("").astype(str).str.lower()
    shares = sample.shares[: len(texts)]
    word, told = _find_word(texts, shares)
    if told >= TELLING[sample.task]:
        seen = f"the word {word!r} in column {name!r} explains {told:.1%} of {sample.name!r}"
        return _describe((name,), seen, code="leak-text")
    told = explain_by_order(np.asarray(texts.str.len(), np.float64), shares)
    if told >= TELLING[sample.task]:
        return _describe(
            (name,), f"the length of the texts in column {name!r} explains {told:.1%} of {sample.name!r}", code="leak-text"
        )
    numbers = texts.str.extract(f"({NUMBER.pattern})", expand=False).to_numpy(np.float64, na_value=np.nan)
    if np.isfinite(numbers).mean() < HOLDS_NUMBERS or len(np.unique(numbers[np.isfinite(numbers)])) < MIN_TEXTS:
        return None
    told = explain_by_order(numbers, shares, distinct=True)
    if told < TELLING[sample.task]:
        return None
    seen = f"the number in the texts of column {name!r} explains {told:.1%} of {sample.name!r}"
    return _describe((name,), seen, code="leak-text")


def _find_word(texts: "pd.Series[str]", shares: Floats) -> tuple[str, float]:
    """Return the word whose presence tells the target, or a class, best, and how much it tells."""
    from sklearn.feature_extraction.text import CountVectorizer

    reader = CountVectorizer(binary=True, token_pattern=WORD.pattern, min_df=MIN_SIDE, max_features=MAX_WORDS)
    try:
        counts = reader.fit_transform(texts)
    except ValueError:  # no word is in so many texts
        return "", 0.0
    present = counts.toarray().astype(np.float64)
    able = np.flatnonzero((len(present) - present.sum(axis=0)) >= MIN_SIDE)
    centred, spread = present[:, able] - present[:, able].mean(axis=0), shares - shares.mean(axis=0)
    norms = np.outer((centred**2).sum(axis=0), (spread**2).sum(axis=0))
    told = np.divide((centred.T @ spread) ** 2, norms, out=np.zeros_like(norms), where=norms > 0).max(axis=1, initial=0.0)
    if not len(told):
        return "", 0.0
    best = int(np.argmax(told))
    return str(reader.get_feature_names_out()[able[best]]), float(told[best])


def _judge_date(sample: Sample, name: str, column: "pd.Series[Any]") -> Finding | None:
    """Name a column of dates whose hour, weekday or the like tells the target."""
    if sample.types[name] != "datetime" or column.isna().mean() > HOLDS_NUMBERS:
        return None
    for part in PARTS:
        values = getattr(column.dt, part).to_numpy(np.float64, na_value=np.nan)
        if len(np.unique(values[~np.isnan(values)])) < 2:
            continue
        coarse = np.where(np.isnan(values), np.nan, values > 0) if part == "microsecond" else values
        told = _best_class(coarse, sample.shares)
        if told >= TELLING[sample.task] and not (part in COARSE and _tells_by_order(sample, name, told)):
            seen = f"the {part.replace('_', ' ')} of column {name!r} explains {told:.1%} of {sample.name!r}"
            return _describe((name,), seen, code="leak-date")
    return None


def _tells_by_order(sample: Sample, name: str, told: float) -> bool:
    """Whether the dates as they follow each other tell as much as a part of them does: that is an order in time."""
    return explain_by_order(sample.values[name], sample.shares) >= 0.9 * told


def find_row_order(sample: Sample) -> Iterator[Finding]:
    """Yield the columns that number the rows of a table that is sorted by its classes; numbers that grow are a trend."""
    if sample.task == "regression" or len(sample) < MIN_ROWS:
        return
    for name, values in sample.values.items():
        numbered = counts_rows(values) or IDENTIFIER_NAME.search(name)
        if sample.is_text(name) or sample.types[name] == "datetime" or TIME_NAME.search(name) or not numbered:
            continue
        if np.isnan(values).any() or len(np.unique(values)) < len(values):
            continue
        told = explain_by_order(values, sample.shares)
        if told >= TELLING[sample.task]:
            seen = f"the table was sorted by {sample.name!r} when column {name!r} numbered its rows, which explains {told:.1%}"
            yield _describe((name,), seen, code="leak-row-order")


def _find_pair(sample: Sample, skipped: frozenset[str]) -> Finding | None:
    """Name two columns that tell the target together, by their difference, their ratio or their values side by side."""
    names = [name for name in sample.values if name not in skipped][:MAX_PAIRED]
    if len(names) < 2:
        return None
    rows = np.sort(np.random.default_rng(0).permutation(len(sample))[:PAIR_ROWS])
    shares = sample.shares[rows]
    columns = {name: sample.values[name][rows] for name in names}
    scores = {
        (one, other, how): told
        for one, other in combinations(names, 2)
        for how, told in _explain_pair(sample, (one, other), columns, shares)
    }
    if sample.task == "regression":
        scores |= {(one, other, how): told for one, other, how, told in explain_pairs(sample, columns, shares[:, 0])}
    best = max(scores, key=scores.__getitem__, default=None)
    if best is None or scores[best] < TELLING_PAIR[sample.task]:
        return None
    one, other, how = best
    others = [name for name in sample.values if name not in (one, other)]
    rest = max([explain_together(sample, others) if others else 0.0, *(explain_alone(sample, name) for name in (one, other))])
    if rest >= HARMLESS or 1 - rest < PAIR_LEAD * (1 - scores[best]):
        return None
    seen = f"columns {one!r} and {other!r} together, by {how}, explain {scores[best]:.1%} of {sample.name!r}; "
    seen += f"either alone, or all others, at most {max(rest, 0):.0%}"
    return _describe((one, other), seen, code="leak-pair")


def _explain_pair(
    sample: Sample, pair: tuple[str, str], columns: dict[str, Floats], shares: Floats
) -> Iterator[tuple[str, float]]:
    first, second = (columns[name] for name in pair)
    codes = [pd.factorize(values, use_na_sentinel=False)[0] for values in (first, second)]
    sizes = [int(values.max()) + 1 for values in codes]
    if max(sizes) <= MAX_JOINT_VALUES:
        yield "their values", explain_by_value((codes[0] * sizes[1] + codes[1]).astype(np.float64), shares)
        return
    if sample.task == "regression" or any(sample.is_text(name) for name in pair) or min(sizes) <= MAX_JOINT_VALUES:
        return
    present: npt.NDArray[np.bool_] = np.isfinite(first) & np.isfinite(second)
    first, second, told = first[present], second[present], shares[present]
    if len(first) < max(MIN_ROWS, len(present) / 2):
        return
    spread = min(first.std(), second.std())
    if spread > 0 and abs(first.mean() - second.mean()) <= SAME_SCALE * max(first.std(), second.std()):
        yield "their difference", explain_by_order(first - second, told)
    if spread > 0 and (first > 0).all() and (second > 0).all():
        yield "their ratio", explain_by_order(np.log(first) - np.log(second), told)
