"""Rows at the end of a table that are no data: totals and remarks."""

import re
from typing import Any

import numpy as np
import pandas as pd

MIN_ROWS = 5
MAX_REMARKS = 5
TOTAL = re.compile(
    r"(?:(?:grand|sub|overall)?[\s-]?totals?|totale?s?|totaal|totalt|sum(?:me|ma|a|as)?|gesamt\w*|insgesamt|suma|razem|"
    r"ukupno|celkem|összesen|yhteensä|i alt|toplam|total (?:général|geral|general)|итого|всего|σύνολο|"
    r"合計|总计|合计|총계)[\s:.\d()%/-]*",
    re.IGNORECASE,
)


def count_footers(frame: pd.DataFrame) -> tuple[int, str]:
    """Return how many rows at a table's end are no data, and what was seen; 0 and what was seen, if that is doubtful.

    A total is a row whose numbers are the sums of those above, and which says so or lacks other values. A remark is a text in a
    row without anything else, in a column of numbers.
    """
    if len(frame) <= MIN_ROWS or frame.shape[1] < 2:
        return 0, ""
    remarks = 0
    while remarks < MAX_REMARKS and _is_remark(frame, len(frame) - 1 - remarks):
        remarks += 1
    last = len(frame) - 1 - remarks
    row = frame.iloc[last]
    label = next((str(value).strip() for value in row if isinstance(value, str) and TOTAL.fullmatch(value.strip())), None)
    n_missing = int(row.isna().sum())
    if label is None and (not n_missing or frame.shape[1] < 3):
        return remarks, _say_remarks(remarks)
    added, others = _compare_sums(frame, last)
    if added and not others and (label is not None or _lacks_texts(frame, row, last)):
        said = f"the last row ({label!r})" if label else "the last row"
        below = f"; {_say_remarks(remarks)} below" if remarks else ""
        return remarks + 1, f"{said} holds the sums of {', '.join(added[:3])}{', …' if len(added) > 3 else ''}{below}"
    if label is not None and n_missing and not remarks:
        return 0, f"the last row says {label!r}, but its numbers are not the sums of the others"
    return remarks, _say_remarks(remarks)


def _say_remarks(count: int) -> str:
    return {0: "", 1: "the last row holds only a remark"}.get(count, f"the last {count} rows hold only remarks")


def _is_remark(frame: pd.DataFrame, place: int) -> bool:
    row = frame.iloc[place].dropna()
    if len(row) != 1 or frame.shape[1] < 3 or not isinstance(row.iloc[0], str):
        return False
    column = frame[row.index[0]].iloc[: max(MIN_ROWS, place - MAX_REMARKS)]
    return bool(pd.to_numeric(column, errors="coerce").notna().mean() > 0.9) and np.isnan(_number(row.iloc[0]))


def _number(value: Any) -> float:
    return float(pd.to_numeric(value, errors="coerce"))


def _compare_sums(frame: pd.DataFrame, last: int) -> tuple[list[str], list[str]]:
    """Return the columns of numbers whose value in a row is the sum of those above, and those where it is not."""
    added: list[str] = []
    others: list[str] = []
    for place, name in enumerate(frame.columns):
        column = frame.iloc[: last + 1, place]
        if (
            not pd.api.types.is_numeric_dtype(column.dtype)
            or pd.api.types.is_bool_dtype(column.dtype)
            or pd.isna(column.iloc[-1])
        ):
            continue
        values = column.iloc[:-1].to_numpy(np.float64, na_value=np.nan)
        total, value = float(np.nansum(values)), float(column.iloc[-1])
        step = 10.0 ** -_decimals(value)
        close = abs(total - value) <= max(step, 1e-9 * abs(total))
        (added if close and abs(value) > np.nanmax(np.abs(values), initial=0.0) else others).append(str(name))
    return added, others


def _decimals(value: float) -> int:
    text = repr(value).partition("e")[0]
    return len(text.partition(".")[2].rstrip("0"))


def _lacks_texts(frame: pd.DataFrame, row: "pd.Series[Any]", last: int) -> bool:
    """Whether a row has gaps, or a text found nowhere else, in all columns that are no numbers and full in the rows above."""
    texts = [place for place, name in enumerate(frame.columns) if not pd.api.types.is_numeric_dtype(frame[name].dtype)]
    if not texts:
        return bool(row.isna().any())
    above = frame.iloc[:last]
    full = [place for place in texts if above.iloc[:, place].notna().mean() > 0.9]
    odd = [place for place in full if pd.isna(row.iloc[place]) or not (above.iloc[:, place] == row.iloc[place]).any()]
    return bool(full) and len(odd) == len(full)
