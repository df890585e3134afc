"""Rows on both sides of where a model's answer jumps, found in the exported model: an inexact threshold shows only there."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.errors import ContractError
from mlops_project.modeling.held_out import as_columns
from mlops_project.runtime import Runtime, encode

JUMP_ROWS = 600
STEPS = 80  # halves the distance between two float64 numbers until they are neighbours, across magnitudes as well
SMALLEST_JUMP = 1e-9  # a change of the answer between neighbours; a continuous answer changes less


def rows_at_jumps(
    runtime: Runtime, features: pd.DataFrame, rng: np.random.Generator, *, distance: float = 0.0
) -> Iterator[pd.DataFrame]:
    """Yield pairs of rows that differ by one unit in the last place of one number, and get different answers.

    Parameters
    ----------
    distance
        How far both are moved apart, as a share of the number's size in the table.
    """
    names = [feature.name for feature in runtime.contract.numbers if feature.type in ("float", "integer")]
    usable = [name for name in names if features[name].notna().any()]
    if not usable:
        return
    frame = features.iloc[rng.integers(0, len(features), JUMP_ROWS)].reset_index(drop=True)
    frame = frame.assign(**{name: frame[name].astype("float64") for name in usable})
    owner = np.array(usable, dtype=object)[rng.integers(0, len(usable), JUMP_ROWS)]
    start, end, apart = np.empty(JUMP_ROWS), np.empty(JUMP_ROWS), np.empty(JUMP_ROWS)
    for name in usable:
        values = features[name].dropna().to_numpy(np.float64)
        chosen = owner == name
        start[chosen], end[chosen] = rng.choice(values, (2, int(chosen.sum())))
        apart[chosen] = distance * np.abs(values).max()
    try:
        start, end, jumps = _search(_answer_changed(runtime, frame, owner), start, end)
    except ContractError:
        return  # rows of the table itself have gaps that the model refuses
    if jumps.any():
        outwards = np.where(end >= start, apart, -apart)
        pairs = [_with_values(frame, owner, values)[jumps] for values in (start - outwards, end + outwards)]
        yield pd.concat(pairs, ignore_index=True)


def _answer_changed(
    runtime: Runtime, frame: pd.DataFrame, owner: npt.NDArray[np.object_]
) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """Return a function: one new value for each row, in the column that ``owner`` names → the answers ``(n_rows, n)``."""
    numbers, texts = encode(as_columns(frame), runtime.contract)
    places = {name: runtime.contract.number_columns.index(name) for name in set(owner)}
    cells = np.arange(len(frame)), np.array([places[name] for name in owner])

    def answer(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        changed = numbers.copy()
        changed[cells] = values
        predictions = runtime.run(changed, texts)
        return np.asarray(predictions.probabilities if predictions.values is None else predictions.values[:, None])

    return answer


def _search(
    answer: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Bisect towards where the answer changes most; returns both sides, and which rows have a jump between them."""
    at_start, at_end = answer(start), answer(end)
    for _ in range(STEPS):
        middle = start + (end - start) / 2
        if not ((middle != start) & (middle != end)).any():
            break
        between = answer(middle)
        left = np.abs(between - at_start).max(axis=1) >= np.abs(between - at_end).max(axis=1)
        end, at_end = np.where(left, middle, end), np.where(left[:, None], between, at_end)
        start, at_start = np.where(left, start, middle), np.where(left[:, None], at_start, between)
    size = 1.0 if at_start.shape[1] > 1 else float(np.median(np.abs(at_start)) or 1.0)
    return start, end, np.abs(at_start - at_end).max(axis=1) > SMALLEST_JUMP * size


def _with_values(frame: pd.DataFrame, owner: npt.NDArray[np.object_], values: npt.NDArray[np.float64]) -> pd.DataFrame:
    columns = {}
    for name in sorted(set(owner)):
        column = frame[name].to_numpy(np.float64, copy=True)
        column[owner == name] = values[owner == name]
        columns[name] = column
    return frame.assign(**columns)
