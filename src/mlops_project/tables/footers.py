"""Rows at the end of a table that are no data: totals, averages and remarks."""

import re

import numpy as np
import pandas as pd

MIN_ROWS = 5
MAX_FOOTERS = 6
MANY = 0.9  # share of a column's rows that makes it a column of numbers, or a full one
END = r"[\s:.\d()%/-]*"
TOTAL = re.compile(
    r"(?:(?:grand|sub|overall)?[\s-]?totals?|totale?s?|totaal|totalt|sum(?:me|ma|a|as)?|gesamt\w*|insgesamt|suma|razem|"
    r"ukupno|celkem|összesen|yhteensä|i alt|toplam|total (?:général|geral|general)|итого|всего|σύνολο|"
    rf"合計|总计|合计|총계){END}",
    re.IGNORECASE,
)
MEAN = re.compile(
    rf"(?:averages?|avg|means?|mittel(?:wert)?|durchschnitt|moyenne|m[eé]dia|promedio|gemiddelde|средн\w*){END}",
    re.IGNORECASE,
)
STATISTICS = ((TOTAL, "sum"), (MEAN, "mean"))


def count_footers(frame: pd.DataFrame) -> tuple[int, str]:
    """Return how many rows at a table's end are no data, and what was seen; 0 and what was seen, if that is doubtful.

    A total is a row whose numbers are the sums of those above, and which says so or lacks other values; a row may be of
    averages if it says so. A remark is a text in a row without anything else, in a column of numbers. Empty rows above these
    belong to them.
    """
    if len(frame) <= MIN_ROWS or frame.shape[1] < 2:
        return 0, ""
    kinds: list[str] = []
    while len(kinds) < min(MAX_FOOTERS, len(frame) - MIN_ROWS) and (kind := _name_kind(frame, len(frame) - 1 - len(kinds))):
        kinds.append(kind)
    n_rows = len(frame) - len(kinds)
    seen = []
    for place in range(n_rows, len(frame)):
        kind = kinds[len(frame) - 1 - place]
        added, others = _compare(frame, n_rows, place, kind) if kind in ("sum", "mean") else ([], [])
        label = _find_label(frame, place)
        if kind in ("sum", "mean") and (others or not added):
            return 0, "" if frame.iloc[
                place
            ].notna().all() else f"the last row says {label!r}, but its numbers are not the {kind}s of the others"
        if added:
            seen.append(f"a row {label!r} holds the {kind}s of {', '.join(added[:3])}{', …' if len(added) > 3 else ''}")
    seen += ["one holds only a remark" if kinds.count("remark") == 1 else "some hold only remarks"] if "remark" in kinds else []
    if n_rows > MIN_ROWS and (added := _find_silent_total(frame, n_rows - 1)):
        n_rows -= 1
        seen.insert(0, f"a row holds the sums of {', '.join(added[:3])}{', …' if len(added) > 3 else ''}")
    if not seen:
        return 0, ""
    while frame.iloc[n_rows - 1].isna().all():
        n_rows -= 1
    count = len(frame) - n_rows
    return count, f"at the end {'; '.join(seen)}"


def looks_like_data(row: list[str], n_columns: int) -> bool:
    """Whether the fields of a row at a file's end are all there, and none of them says that it is a total."""
    cells = [cell.strip() for cell in row]
    return (
        len(cells) == n_columns
        and all(cells)
        and not any(pattern.fullmatch(cell) for cell in cells for pattern, _ in STATISTICS)
    )


def _name_kind(frame: pd.DataFrame, place: int) -> str | None:
    """Return what a row says that it is: ``sum``, ``mean`` or ``remark``; None for nothing."""
    label = _find_label(frame, place)
    if label is not None:
        return next(kind for pattern, kind in STATISTICS if pattern.fullmatch(label))
    present = frame.iloc[place].dropna()
    if len(present) != 1 or frame.shape[1] < 3 or not isinstance(present.iloc[0], str) or _is_number(present.iloc[0]):
        return None
    above = frame[present.index[0]].iloc[: max(MIN_ROWS, place - MAX_FOOTERS)]
    return "remark" if pd.to_numeric(above, errors="coerce").notna().mean() > MANY else None


def _find_label(frame: pd.DataFrame, place: int) -> str | None:
    """Return the text by which a row says that it is a total or an average, if it is no value of other rows."""
    for index, value in enumerate(frame.iloc[place]):
        if isinstance(value, str) and any(pattern.fullmatch(value.strip()) for pattern, _ in STATISTICS):
            above = frame.iloc[: max(MIN_ROWS, place - MAX_FOOTERS), index]
            return None if (above == value).any() else value.strip()
    return None


def _is_number(text: str) -> bool:
    return bool(pd.notna(pd.to_numeric(text, errors="coerce")))


def _compare(frame: pd.DataFrame, n_rows: int, place: int, statistic: str) -> tuple[list[str], list[str]]:
    """Return the columns of numbers whose value in a row is the sum or mean of the first ``n_rows``, and those where not."""
    matched: list[str] = []
    others: list[str] = []
    for index, name in enumerate(frame.columns):
        column = frame.iloc[:, index]
        value = column.iloc[place]
        if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype) or pd.isna(value):
            continue
        values = column.iloc[:n_rows].to_numpy(np.float64, na_value=np.nan)
        if np.isnan(values).all():
            continue
        wanted = float(np.nansum(values) if statistic == "sum" else np.nanmean(values))
        close = abs(wanted - float(value)) <= max(10.0 ** -_count_decimals(float(value)), 1e-9 * abs(wanted))
        outside = statistic == "mean" or abs(float(value)) > np.nanmax(np.abs(values))
        (matched if close and outside else others).append(str(name))
        if others:
            break  # one is enough
    return matched, others


def _count_decimals(value: float) -> int:
    text = repr(value).partition("e")[0]
    return len(text.partition(".")[2].rstrip("0"))


def _find_silent_total(frame: pd.DataFrame, place: int) -> list[str]:
    """Return the columns that a row without a known word is the total of; it lacks a value or has one found nowhere else."""
    row = frame.iloc[place]
    if not row.isna().any() or frame.shape[1] < 3 or row.isna().all():
        return []
    texts = [index for index, name in enumerate(frame.columns) if not pd.api.types.is_numeric_dtype(frame[name].dtype)]
    above = frame.iloc[:place]
    full = [index for index in texts if above.iloc[:, index].notna().mean() > MANY]
    odd = [index for index in full if pd.isna(row.iloc[index]) or not (above.iloc[:, index] == row.iloc[index]).any()]
    if len(odd) < len(full) or (texts and not full):
        return []
    added, others = _compare(frame, place, place, "sum")
    return [] if others else added
