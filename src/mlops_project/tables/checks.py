"""What makes a table unfit for an honest model, and what only deserves a warning."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mlops_project.contract import FeatureType, Task

Columns = Mapping[str, "pd.Series[Any]"]

MIN_ROWS = 20
MIN_CLASS_ROWS = 5  # fewer cannot be split, resampled and judged
EXACT_INTEGERS = 2**53  # the model computes in float64, which has gaps between the integers above
IDENTIFIER_SHARE = 0.95
IDENTIFIER_ROWS = 50
IDENTIFIER_NAME = re.compile(r"(^|[_\W])(?i:id|uuid|guid|key|index|no|nr)$|[a-z](Id|ID|Uuid|UUID|Key|No|Nr)$")
GLANCE_ROWS = 1000  # enough to see that a column has more values than the target has classes


def find_unusable(features: Columns, hashes: Mapping[str, bytes]) -> dict[str, str]:
    """Return the columns that a model cannot learn from, with the reason: all missing, constant, or a copy."""
    unusable: dict[str, str] = {}
    first: dict[bytes, str] = {}
    for name, column in features.items():
        if column.isna().all():
            unusable[name] = f"has no values in any of {len(column)} rows"
        elif pd.notna(column.iloc[0]) and (column == column.iloc[0]).all():
            unusable[name] = f"is {str(column.iloc[0])[:40]!r} in all {len(column)} rows"
        elif hashes[name] in first and column.equals(features[first[hashes[name]]]):
            unusable[name] = f"is a copy of {first[hashes[name]]!r}"
        else:
            first.setdefault(hashes[name], name)
    return unusable


def find_infinite(features: Columns) -> dict[str, str]:
    """Return the columns with infinite values, with how many and where."""
    found: dict[str, str] = {}
    for name, column in features.items():
        if column.dtype.kind == "f":
            rows = np.flatnonzero(np.isinf(column.to_numpy()))
            if len(rows):
                found[name] = f"has {len(rows)} infinite values, the first in row {column.index[rows[0]] + 1}"
    return found


def find_leaks(features: Columns, target: "pd.Series[Any]", task: Task) -> list[str]:
    """Return the columns that are the target in other words: renamed classes, or the number in another unit."""
    if task == "regression":
        return [name for name, column in features.items() if _is_line(column, target)]
    codes, labels = pd.factorize(target)
    return [name for name, column in features.items() if _is_renaming(column, codes, len(labels))]


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


def find_identifiers(features: Columns, types: Mapping[str, FeatureType]) -> dict[str, str]:
    """Return the columns that look like identifiers, with what they look like."""
    found: dict[str, str] = {}
    for name, column in features.items():
        reason = _identify(name, column, types[name]) if len(column) >= IDENTIFIER_ROWS else None
        if reason:
            found[name] = reason
    return found


def _identify(name: str, column: "pd.Series[Any]", kind: FeatureType) -> str | None:
    if kind == "integer":
        if column.abs().max() > EXACT_INTEGERS:
            return f"has integers over 2**53, which a model cannot tell apart (largest {column.max():.0f})"
        ordered = column.is_monotonic_increasing or column.is_monotonic_decreasing
        if (ordered or IDENTIFIER_NAME.search(name)) and column.is_unique:
            return f"numbers the rows ({len(column)} different values)"
    if kind in ("category", "string"):
        distinct = column.nunique()
        if distinct > IDENTIFIER_SHARE * len(column):
            return f"has another text in almost every row ({distinct} in {len(column)})"
    return None


def find_small_classes(target: "pd.Series[Any]") -> list[str]:
    """Return the labels with too few rows, with their counts."""
    counts = target.value_counts()
    return [f"{label!r} ({count})" for label, count in counts[counts < MIN_CLASS_ROWS].items()]


def joined(problems: Iterable[str]) -> str:
    """Return problems as lines of one message."""
    return "\n".join(f"  - {problem}" for problem in problems)
