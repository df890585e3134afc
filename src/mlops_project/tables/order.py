"""Time that a random split ignores, and a split by time or by groups whose two sides differ."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from mlops_project.findings import Finding
from mlops_project.tables.checks import TIME_NAME
from mlops_project.tables.sample import Floats, Sample

MIN_ROWS = 100
BLOCKS = 10
DRIFT_SHARE = 0.1  # of the target, explained by the tenth of the time that a row lies in
SURE = 1e-6
COMPARED_ROWS = 5_000  # of each side
MIN_DISTANCE = 0.3  # between two distributions: the largest difference of their cumulative shares
MAX_SHOWN = 5


def find_time_order(sample: Sample) -> Finding | None:
    """Return the finding about a column that says when, along which the target changes."""
    if len(sample) < MIN_ROWS:
        return None
    clocks = [name for name in sample.values if _is_clock(sample, name)]
    drifts = {name: _drift(sample.values[name], sample.shares) for name in clocks}
    name = max(drifts, key=lambda name: drifts[name], default="")
    if not name or drifts[name] < DRIFT_SHARE:
        return None
    return Finding(
        code="time-order",
        columns=(name,),
        seen=f"the target {sample.name!r} changes along column {name!r}: the time of a row explains {drifts[name]:.0%} of it",
        why="a random split judges the model on times that it has learned from, and it will have to answer about later ones",
        cure=f"set data.time: {name}, which holds out the newest rows, if the model is to answer about later ones",
    )


def _is_clock(sample: Sample, name: str) -> bool:
    """Whether a column says when a row was made: dates, or numbers called so, in whose order the rows stand."""
    values = sample.values[name]
    if np.isnan(values).any():
        return False
    if sample.types[name] == "datetime":
        return True
    steps = np.diff(values)
    ordered = bool((steps >= 0).all() or (steps <= 0).all())
    return ordered and not sample.is_text(name) and TIME_NAME.search(name) is not None and len(np.unique(values)) >= BLOCKS


def _drift(values: Floats, shares: Floats) -> float:
    """Return the share of the target that tenths of the time explain beyond chance; 0 if it may be chance."""
    n_rows = len(values)
    ranks = stats.rankdata(values)
    blocks = np.minimum((ranks - 1) * BLOCKS // n_rows, BLOCKS - 1).astype(np.intp)
    blocks = np.unique(blocks, return_inverse=True)[1]
    n_blocks = int(blocks.max()) + 1
    if n_blocks < 2:
        return 0.0
    counts = np.bincount(blocks)[:, None]
    means = np.column_stack([np.bincount(blocks, weights=share) for share in shares.T]) / counts
    within = float(((shares - means[blocks]) ** 2).sum())
    total = float(((shares - shares.mean(axis=0)) ** 2).sum())
    if total <= 0 or within >= total:
        return 0.0
    share = 1 - within / (n_rows - n_blocks) * (n_rows - 1) / total
    ratio = (total - within) / (n_blocks - 1) / max(within / (n_rows - n_blocks), 1e-300)
    return share if stats.f.sf(ratio, n_blocks - 1, n_rows - n_blocks) < SURE else 0.0


def compare_sides(train: pd.DataFrame, test: pd.DataFrame, targets: "tuple[pd.Series[Any], pd.Series[Any]]") -> Finding | None:
    """Return the finding about columns, the target among them, that differ between training and held-out rows.

    Parameters
    ----------
    train, test
        Features of both sides.
    targets
        The target of both sides.
    """
    pairs = [(train[name], test[name]) for name in train.columns]
    distances: dict[str, float] = {str(one.name): _distance(one, other) for one, other in (targets, *pairs)}
    n_rows = min(len(train), len(test), COMPARED_ROWS)
    chance = float(np.sqrt(np.log(2 * len(distances) / SURE) / n_rows))  # Dvoretzky, Kiefer and Wolfowitz, for two sides
    differing = sorted(
        (name for name, far in distances.items() if far > max(MIN_DISTANCE, chance)), key=distances.__getitem__, reverse=True
    )
    if not differing:
        return None
    shown = ", ".join(f"{name!r} ({distances[name]:.2f})" for name in differing[:MAX_SHOWN])
    rest = f" and {len(differing) - MAX_SHOWN} more" if len(differing) > MAX_SHOWN else ""
    return Finding(
        code="drift-between-parts",
        columns=tuple(differing),
        seen=f"held-out rows differ from training rows in {shown}{rest} (0: same distribution, 1: nothing in common)",
        why="the model is judged on rows unlike those that it learned from; what comes later may differ as much",
        cure="leave out columns that only say when or which group, and retrain often if the change goes on",
    )


def _distance(one: "pd.Series[Any]", other: "pd.Series[Any]") -> float:
    both = [part.sample(min(len(part), COMPARED_ROWS), random_state=0) for part in (one, other)]
    if one.dtype.kind in "biufM":
        values = [_as_floats(part) for part in both]
        every = np.sort(np.concatenate(values))
        shares = [np.searchsorted(np.sort(part), every, side="right") / max(len(part), 1) for part in values]
        return float(np.abs(shares[0] - shares[1]).max()) if len(every) and all(map(len, values)) else 0.0
    parts = [part.value_counts(normalize=True) for part in both]
    every_value = parts[0].index.union(parts[1].index)
    first, second = (part.reindex(every_value, fill_value=0.0).to_numpy(np.float64) for part in parts)
    return float(np.abs(first - second).sum() / 2)


def _as_floats(column: "pd.Series[Any]") -> npt.NDArray[np.float64]:
    values = column.dropna().to_numpy()
    return values.astype("datetime64[us]").astype(np.float64) if values.dtype.kind == "M" else values.astype(np.float64)
