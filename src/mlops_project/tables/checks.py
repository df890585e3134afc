"""What makes a table unfit for an honest model, and what only deserves a warning."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mlops_project.contract import FeatureType, Task
from mlops_project.findings import Finding

Columns = Mapping[str, "pd.Series[Any]"]

MIN_ROWS = 20
MIN_CLASS_ROWS = 5  # fewer cannot be split, resampled and judged
EXACT_INTEGERS = 2**53  # the model computes in float64, which has gaps between the integers above
IDENTIFIER_SHARE = 0.95
NUMBERED = 3  # numbers for each row, at most: rows that were left out took theirs along
IDENTIFIER_ROWS = 50
SHUFFLED_ROWS = 200  # of so many, no quantity has each of the numbers from 1 on just once
IDENTIFIER_NAME = re.compile(r"(^|[_\W])(?i:id|uuid|guid|key|index|no|nr)$|[a-z](Id|ID|Uuid|UUID|Key|No|Nr)$")
ROW_NAME = re.compile(r"(?i)(^|[_\W])(number|num|ref|reference|serial|ticket|record|token|guid)$")
DRAWN_DIGITS, DRAWN_RANGE = 7, 1000  # of whole numbers that were drawn at random as names: digits, and numbers for each row
MAX_FLOAT32 = float(np.finfo(np.float32).max)
MAX_OTHERS, NEARLY_NONE = 9, 0.02  # rows of another value than all others; of many rows one in a hundred
JITTER = 1e-9  # of a number's size: what computing leaves, not what somebody measured
TIME_NAME = re.compile(r"(?i)(^|[\W_])(date|time|timestamp|datetime|year|yr|month|week|day|quarter|period)([\W_]|$)")
GLANCE_ROWS = 1000  # enough to see that a column has more values than the target has classes


def find_unusable(features: Columns, hashes: Mapping[str, bytes]) -> dict[str, Finding]:
    """Return the columns that a model cannot learn from, with the reason: all missing, constant, or a copy."""
    unusable: dict[str, Finding] = {}
    first: dict[bytes, str] = {}
    for name, column in features.items():
        if column.isna().all():
            unusable[name] = _leave_out(name, code="no-values", seen=f"has no values in any of {len(column)} rows")
        elif pd.notna(column.iloc[0]) and (column == column.iloc[0]).all():
            unusable[name] = _leave_out(
                name, code="constant", seen=f"is {str(column.iloc[0])[:40]!r} in all {len(column)} rows"
            )
        elif hashes[name] in first and column.equals(features[first[hashes[name]]]):
            unusable[name] = _leave_out(name, code="copy-of-column", seen=f"is a copy of {first[hashes[name]]!r}")
        else:
            first.setdefault(hashes[name], name)
    return unusable


def _leave_out(name: str, *, code: str, seen: str) -> Finding:
    return Finding(
        code=code,
        columns=(name,),
        seen=f"column {name!r} {seen}",
        why="a model learns nothing from it, so it was left out",
        cure=f"nothing to do; add {name!r} to data.drop to leave it out without this note",
        severity="note",
    )


def describe_missing_target(name: str, n_missing: int, n_rows: int) -> Finding:
    """Return the finding about rows without a target."""
    return Finding(
        code="missing-target",
        columns=(name,),
        seen=f"{n_missing} of {n_rows} rows have no {name!r}",
        why="nothing can be learned from them, so they were left out",
        cure="if their answer is not missing at random, the model does not hold for such rows",
        severity="note",
    )


def find_infinite(features: Columns) -> list[Finding]:
    """Return the columns with infinite values, with how many and where."""
    found = []
    for name, column in features.items():
        if column.dtype.kind == "f":
            rows = np.flatnonzero(np.isinf(column.to_numpy()))
            if len(rows):
                first = column.index[rows[0]] + 1
                found.append(
                    Finding(
                        code="infinite-values",
                        columns=(name,),
                        seen=f"column {name!r} has {len(rows)} infinite values, the first in row {first}",
                        why="no model can compute with them",
                        cure="leave them empty, or set data.missing: [inf, -inf]",
                        severity="error",
                    )
                )
    return found


def find_huge(features: Columns) -> list[Finding]:
    """Return the columns with numbers beyond the range in which models compute, with how many and where."""
    found = []
    for name, column in features.items():
        huge = column[_is_huge(column)]
        if len(huge):
            marks = ", ".join(list_huge(column)[:3])
            found.append(
                Finding(
                    code="huge-values",
                    columns=(name,),
                    seen=f"column {name!r} has {len(huge)} values beyond {MAX_FLOAT32:.1e}, the first in row "
                    f"{huge.index[0] + 1}: {huge.iloc[0]:g}",
                    why="trees compute in float32, which ends there",
                    cure=f"mend them, or read them as missing, data.missing: [{marks}], or add {name!r} to data.drop",
                    severity="error",
                )
            )
    return found


def list_huge(column: "pd.Series[Any]") -> list[str]:
    """Return the different values of ``find_huge``, as data.missing takes them."""
    return [repr(float(value)) for value in column[_is_huge(column)].unique()]


def _is_huge(column: "pd.Series[Any]") -> Any:
    if column.dtype.kind != "f":
        return np.zeros(len(column), bool)
    values = np.abs(column.to_numpy())
    return (values > MAX_FLOAT32) & np.isfinite(values)


def find_nearly_constant(features: Columns) -> list[Finding]:
    """Return the columns with one value in all rows but a handful."""
    found = []
    for name, column in features.items():
        if len(column) >= IDENTIFIER_ROWS and _only_jitters(column):
            found.append(_describe_nearly_constant(name, f"is {column.iloc[0]!r} in all rows but for the last digits"))
            continue
        if len(column) < IDENTIFIER_ROWS or column.iloc[:GLANCE_ROWS].nunique() > MAX_OTHERS + 1:
            continue
        counts = column.value_counts(dropna=False)
        others = len(column) - int(counts.iloc[0])
        if others <= min(max(MAX_OTHERS, NEARLY_NONE / 2 * len(column)), NEARLY_NONE * len(column)):
            seen = f"is {str(counts.index[0])[:40]!r} in all rows but {others}"
            found.append(_describe_nearly_constant(name, seen))
    return found


def _only_jitters(column: "pd.Series[Any]") -> bool:
    """Whether numbers differ by rounding alone."""
    if column.dtype.kind != "f":
        return False
    low, high = column.min(), column.max()
    return bool(low < high and high - low <= JITTER * max(abs(low), abs(high)))


def _describe_nearly_constant(name: str, seen: str) -> Finding:
    return Finding(
        code="nearly-constant",
        columns=(name,),
        seen=f"column {name!r} {seen}",
        why="a model can learn by heart what these few rows answered, and no more",
        cure=f"if the others are faults, add {name!r} to data.drop",
        severity="note",
    )


def find_leaks(features: Columns, target: "pd.Series[Any]", task: Task) -> list[Finding]:
    """Return the columns that are the target in other words: renamed classes, or the number in another unit."""
    if task == "regression":
        names = [name for name, column in features.items() if _is_line(column, target)]
    else:
        codes, labels = pd.factorize(target)
        names = [name for name, column in features.items() if _is_renaming(column, codes, len(labels))]
    return [_describe_leak(name, str(target.name)) for name in names]


def _describe_leak(name: str, target: str) -> Finding:
    return Finding(
        code="leak-copy",
        columns=(name,),
        seen=f"column {name!r} equals the target {target!r} in other words (a leak)",
        why="the model would repeat that column, and it is not known yet when a prediction is needed",
        cure=f"add {name!r} to data.drop",
        severity="error",
    )


def _is_line(column: "pd.Series[Any]", target: "pd.Series[Any]") -> bool:
    if column.dtype.kind not in "fiu":
        return False
    values, truth = column.to_numpy(np.float64), target.to_numpy(np.float64)
    present = ~np.isnan(values)
    if not present.all():
        values, truth = values[present], truth[present]
    if len(values) < max(3, len(column) / 2):
        return False
    with np.errstate(all="ignore"):  # infinite or huge values are no line
        return bool(abs(np.corrcoef(values, truth)[0, 1]) > 1 - 1e-12)


def _is_renaming(column: "pd.Series[Any]", codes: Any, n_labels: int) -> bool:
    if column.iloc[:GLANCE_ROWS].nunique() > n_labels:
        return False
    values, distinct = pd.factorize(column)
    present = values >= 0
    if len(distinct) != n_labels or present.mean() < 0.5:
        return False
    return len(np.unique(values[present] * n_labels + codes[present])) == n_labels


def find_identifiers(features: Columns, types: Mapping[str, FeatureType]) -> list[Finding]:
    """Return the columns that look like identifiers, with what they look like."""
    found = []
    for name, column in features.items():
        reason = _identify(name, column, types[name]) if len(column) >= IDENTIFIER_ROWS else None
        if reason:
            found.append(
                Finding(
                    code="identifier",
                    columns=(name,),
                    seen=f"column {name!r} {reason}",
                    why="a name for a row says nothing about other rows",
                    cure=f"if it is an identifier, add {name!r} to data.drop",
                )
            )
    return found


def _identify(name: str, column: "pd.Series[Any]", kind: FeatureType) -> str | None:
    if kind == "integer":
        if column.abs().max() > EXACT_INTEGERS:
            return f"has integers over 2**53, which a model cannot tell apart (largest {column.max():.0f})"
        dense = column.max() - column.min() < NUMBERED * len(column)  # a quantity without two equal values has wider gaps
        dense &= len(column) >= SHUFFLED_ROWS or column.is_monotonic_increasing or column.is_monotonic_decreasing
        is_name = IDENTIFIER_NAME.search(name) or ROW_NAME.search(name)
        if column.is_unique and (is_name or (not TIME_NAME.search(name) and (dense or _is_drawn(column)))):
            return f"numbers the rows ({len(column)} different values)"
    if kind in ("category", "string"):
        distinct = column.nunique()
        if distinct > IDENTIFIER_SHARE * len(column):
            return f"has another text in almost every row ({distinct} in {len(column)})"
    return None


def _is_drawn(column: "pd.Series[Any]") -> bool:
    """Whether whole numbers look drawn at random as names: all of as many digits, spread evenly over a range far too wide."""
    low, high = float(column.min()), float(column.max())
    if low < 10 ** (DRAWN_DIGITS - 1) or len(str(int(low))) != len(str(int(high))) or high - low < DRAWN_RANGE * len(column):
        return False
    places = np.sort((column.to_numpy(np.float64) - low) / (high - low))
    even = np.arange(len(places)) / (len(places) - 1)
    return bool(np.abs(places - even).max() < 1.63 / np.sqrt(len(places)))  # Kolmogorov's limit at 1 %


def find_small_classes(target: "pd.Series[Any]") -> list[str]:
    """Return the labels with too few rows, with their counts."""
    counts = target.value_counts()
    return [f"{label!r} ({count})" for label, count in counts[counts < MIN_CLASS_ROWS].items()]


def joined(problems: Iterable[str]) -> str:
    """Return problems as lines of one message."""
    return "\n".join(f"  - {problem}" for problem in problems)
