"""Rows on both sides of where a model's answer jumps, found in the exported model: an inexact threshold shows only there."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.errors import ContractError
from mlops_project.modeling.held_out import as_columns
from mlops_project.runtime import Predictions, Runtime

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
    contract = runtime.contract
    names = [feature.name for feature in contract.numbers if feature.type in ("float", "integer")]
    usable = [name for name in names if features[name].notna().any()]
    if not usable:
        return
    low = features.iloc[rng.integers(0, len(features), JUMP_ROWS)].reset_index(drop=True)
    owner = np.array(usable, dtype=object)[rng.integers(0, len(usable), JUMP_ROWS)]
    low = low.assign(**{name: low[name].astype("float64") for name in usable})
    high = low.copy()
    for name in usable:
        values = features[name].dropna().to_numpy(np.float64)
        chosen = owner == name
        low.loc[chosen, name] = rng.choice(values, chosen.sum())
        high.loc[chosen, name] = rng.choice(values, chosen.sum())
    try:
        size = {name: float(features[name].abs().max()) for name in usable}
        apart = distance * np.array([size[name] for name in owner])
        yield from _search(runtime, low, high, owner, apart)
    except ContractError:
        return  # rows of the table itself have gaps that the model refuses


def _search(
    runtime: Runtime,
    low: pd.DataFrame,
    high: pd.DataFrame,
    owner: npt.NDArray[np.object_],
    apart: npt.NDArray[np.float64],
) -> Iterator[pd.DataFrame]:
    start, end = _values(low, owner), _values(high, owner)
    at_start, at_end = _answer(runtime, low), _answer(runtime, high)
    frame = low
    for _ in range(STEPS):
        middle = start + (end - start) / 2
        if not ((middle != start) & (middle != end)).any():
            break
        frame = _with_values(frame, owner, middle)
        between = _answer(runtime, frame)
        left = np.abs(between - at_start).max(axis=1) >= np.abs(between - at_end).max(axis=1)
        end, at_end = np.where(left, middle, end), np.where(left[:, None], between, at_end)
        start, at_start = np.where(left, start, middle), np.where(left[:, None], at_start, between)
    size = 1.0 if runtime.contract.is_classification else float(np.median(np.abs(at_start)) or 1.0)
    jumps = np.abs(at_start - at_end).max(axis=1) > SMALLEST_JUMP * size
    if jumps.any():
        outwards = np.where(end >= start, apart, -apart)
        start, end = start - outwards, end + outwards
        pairs = [_with_values(frame, owner, values)[jumps] for values in (start, end)]
        yield pd.concat(pairs, ignore_index=True)


def _answer(runtime: Runtime, frame: pd.DataFrame) -> npt.NDArray[Any]:
    predictions: Predictions = runtime.predict(as_columns(frame))
    if predictions.values is not None:
        return predictions.values[:, None]
    return np.asarray(predictions.probabilities)


def _values(frame: pd.DataFrame, owner: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    values = np.empty(len(frame))
    for name in set(owner):
        values[owner == name] = frame[name].to_numpy(np.float64)[owner == name]
    return values


def _with_values(frame: pd.DataFrame, owner: npt.NDArray[np.object_], values: npt.NDArray[np.float64]) -> pd.DataFrame:
    columns = {}
    for name in sorted(set(owner)):
        column = frame[name].to_numpy(np.float64, copy=True)
        column[owner == name] = values[owner == name]
        columns[name] = column
    return frame.assign(**columns)
