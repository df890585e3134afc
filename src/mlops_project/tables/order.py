"""Time that a random split ignores."""

import numpy as np
from scipy import stats

from mlops_project.findings import Finding
from mlops_project.tables.checks import TIME_NAME
from mlops_project.tables.sample import Floats, Sample

MIN_ROWS = 100
BLOCKS = 10
DRIFT_SHARE = 0.1  # of the target, explained by the tenth of the time that a row lies in
SURE = 1e-6


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
