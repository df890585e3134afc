"""The training table cut into windows by its column of time, as the monitor cuts the log: the first past of a new model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.modeling.held_out import HeldOut, as_columns
from mlops_project.reference.bins import FeatureProfile, Tally
from mlops_project.reference.blocks import ColumnBlocks, TimeBlocks, build_column_blocks, build_pair_blocks
from mlops_project.reference.profile import Profiler, ReferenceProfile
from mlops_project.reference.thresholds import find_threshold
from mlops_project.runtime import Predictions
from mlops_project.sections import MonitoringConfig

if TYPE_CHECKING:
    from mlops_project.data_prep import Split

MAX_WINDOWS = 120
MAX_ROWS = 500_000  # of training rows kept for them while the model is fitted
BEYOND = 1.5  # times the distance that 95 % of windows of independent rows stay below: these do not come so far


class TrainingWindows(NamedTuple):
    """Rows of a table, window by window.

    Attributes
    ----------
    features
        Newest training rows, in the order of time.
    sizes
        Rows of each window of them, oldest first.
    held_out
        Positions among the held-out rows, ``(n_rows,)`` per window, oldest first.
    """

    features: pd.DataFrame
    sizes: tuple[int, ...]
    held_out: tuple[npt.NDArray[np.intp], ...]


def cut_windows(times: npt.NDArray[Any], settings: MonitoringConfig) -> list[tuple[int, int]]:
    """Return where windows begin and end among rows in the order of time, whole ones only.

    Dates are cut as the log is: after ``every_minutes`` or ``every_rows``, and not with fewer than ``min_rows``. Numbers
    say only which row came first, so their windows have ``every_rows``, or ``min_rows``.
    """
    least = settings.min_rows
    most = max(settings.every_rows, least) if settings.every_rows else None
    if times.dtype.kind != "M":
        size = most or least
        return [(start, start + size) for start in range(0, len(times) - size + 1, size)]
    step = np.timedelta64(max(1, round(settings.every_minutes * 60_000_000)), "us")
    moments = times.astype("datetime64[us]")
    found, start = [], 0
    while start + least <= len(moments):
        begin = moments[start]
        steps = (moments[start + least - 1] - begin) // step + 1
        end = int(np.searchsorted(moments, begin + steps * step))
        if most is not None:
            end = min(end, start + most)
        if end == len(moments) and end - start != most:
            break  # it may not have ended
        found.append((start, end))
        start = end
    return found


def take_training_windows(split: "Split", times: "pd.Series[Any] | None", settings: MonitoringConfig) -> TrainingWindows | None:
    """Keep the rows of the newest windows; None without a column of time.

    Parameters
    ----------
    split
        With its training features.
    times
        By position in the table. Rows that it does not have (labelled predictions) are left out.
    """
    if times is None:
        return None
    places = np.flatnonzero(split.train_features.index.isin(times.index))
    moments = times.loc[split.train_features.index[places]].to_numpy()
    order = np.argsort(moments, kind="stable")
    spans = cut_windows(moments[order], settings)[-MAX_WINDOWS:]
    while spans and spans[-1][1] - spans[0][0] > MAX_ROWS:
        spans = spans[1:]
    rows = places[order[spans[0][0] : spans[-1][1]]] if spans else places[:0]
    held = times.loc[split.test_features.index].to_numpy()
    held_order = np.argsort(held, kind="stable")
    held_out = tuple(held_order[start:end] for start, end in cut_windows(held[held_order], settings)[-MAX_WINDOWS:])
    return TrainingWindows(split.train_features.iloc[rows], tuple(end - start for start, end in spans), held_out)


def add_blocks(profile: ReferenceProfile, windows: TrainingWindows, held_out: HeldOut) -> ReferenceProfile:
    """Return the profile with how far the windows lie from it; as it is where there is no whole window.

    Scores are those of held-out windows alone: on rows that it learned from, a model is too sure.
    """
    blocks: list[Profiler] = []
    start = 0
    for size in windows.sizes:
        blocks.append(_count(profile, windows.features.iloc[start : start + size], None))
        start += size
    for rows in windows.held_out:
        answers = _take(held_out.predictions, rows) if profile.scores else None
        blocks.append(_count(profile, held_out.features.iloc[rows], answers))
    blocks = blocks[-MAX_WINDOWS:]
    if not blocks:
        return profile
    scored = min(len(windows.held_out), len(blocks))
    is_held_out = [place >= len(blocks) - scored for place in range(len(blocks))]
    features = _describe(profile.features, [block.features for block in blocks], is_held_out)
    scores = _describe(profile.scores, [block.scores for block in blocks[-scored:]], [True] * scored) if scored else ()
    sizes = tuple(block.rows for block in blocks)
    paired = [[block.pairs[place] for block in blocks] for place in range(len(profile.pairs))]
    pairs = tuple(build_pair_blocks(pair, found, is_held_out) for pair, found in zip(profile.pairs, paired, strict=True))
    aspects = (*pairs, *_describe_details(profile, blocks, is_held_out))
    beyond = _count_beyond(profile, features, sizes)
    blocked = TimeBlocks(rows=sizes, scored=scored, beyond=beyond, features=features, scores=scores, aspects=aspects)
    return msgspec.structs.replace(profile, blocks=blocked)


def _count(profile: ReferenceProfile, features: pd.DataFrame, predictions: Predictions | None) -> Profiler:
    profiler = Profiler(profile)
    profiler.add(as_columns(features), predictions)
    return profiler


def _take(predictions: Predictions, rows: npt.NDArray[np.intp]) -> Predictions:
    indices, probabilities, values = predictions
    return Predictions(
        None if indices is None else indices[rows],
        None if probabilities is None else probabilities[rows],
        None if values is None else values[rows],
    )


def _describe(
    profiles: Sequence[FeatureProfile], blocks: Sequence[Sequence[Tally]], is_held_out: Sequence[bool]
) -> tuple[ColumnBlocks, ...]:
    return tuple(
        build_column_blocks(profile, [block[place] for block in blocks], is_held_out) for place, profile in enumerate(profiles)
    )


def _describe_details(
    profile: ReferenceProfile, blocks: Sequence[Profiler], is_held_out: Sequence[bool]
) -> tuple[ColumnBlocks, ...]:
    return tuple(
        build_column_blocks(one, [block.details[place].tallies[detail] for block in blocks], is_held_out)
        for place, column in enumerate(profile.details)
        for detail, one in column.details.items()
    )


def _count_beyond(profile: ReferenceProfile, features: Sequence[ColumnBlocks], rows: Sequence[int]) -> int:
    limits = np.array([[BEYOND * find_threshold(one.thresholds, size) for size in rows] for one in profile.features])
    return int((np.array([one.reference for one in features]) > limits).any(axis=0).sum())
