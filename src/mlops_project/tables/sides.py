"""Two sides of a split that differ: columns, the target, and what is constant on one of them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from mlops_project.findings import Finding

COMPARED_ROWS = 5_000  # of each side
MIN_DISTANCE = 0.3  # between two distributions: the largest difference of their cumulative shares
SURE_SIDES, SURE_TARGET = 1e-4, 3e-3  # chance of a finding where both sides are alike
TARGET_SHIFT = 0.25  # standard deviations by which the mean of a number changes
TARGET_STEP = 0.1  # by which a class's share changes
SMALL_STEP, TARGET_RATIO = 0.03, 1.5  # the same for a rare class
GLANCE_ROWS = 1_000
MAX_SHOWN = 5


def compare_sides(
    train: pd.DataFrame, test: pd.DataFrame, targets: "tuple[pd.Series[Any], pd.Series[Any]]", *, by_time: bool = False
) -> list[Finding]:
    """Return the findings about columns, the target among them, that differ between training and held-out rows.

    Parameters
    ----------
    train, test
        Features of both sides.
    targets
        The target of both sides.
    by_time
        Whether the held-out rows are the newest: a target that changed then has a finding of its own, which sees less.
    """
    drifted = _compare_targets(*targets) if by_time else None
    pairs = [(train[name], test[name]) for name in train.columns]
    asked = pairs if drifted is not None else [targets, *pairs]
    distances: dict[str, float] = {str(one.name): _distance(one, other) for one, other in asked}
    sizes = [min(len(side), COMPARED_ROWS) for side in (train, test)]
    n_rows = sizes[0] * sizes[1] / max(sum(sizes), 1)
    chance = float(
        np.sqrt(np.log(2 * max(len(distances), 1) / SURE_SIDES) / (2 * max(n_rows, 1)))
    )  # Smirnov's limit for two sides
    differing = sorted(
        (name for name, far in distances.items() if far > max(MIN_DISTANCE, chance)), key=distances.__getitem__, reverse=True
    )
    found = [] if drifted is None else [drifted]
    return [*found, _describe_differing(differing, distances)] if differing else found


def _describe_differing(differing: list[str], distances: dict[str, float]) -> Finding:
    shown = ", ".join(f"{name!r} ({distances[name]:.2f})" for name in differing[:MAX_SHOWN])
    rest = f" and {len(differing) - MAX_SHOWN} more" if len(differing) > MAX_SHOWN else ""
    return Finding(
        code="drift-between-parts",
        columns=tuple(differing),
        seen=f"held-out rows differ from training rows in {shown}{rest} (0: same distribution, 1: nothing in common)",
        why="the model is judged on rows unlike those that it learned from; what comes later may differ as much",
        cure="leave out columns that only say when or which group, and retrain often if the change goes on",
    )


def _compare_targets(before: "pd.Series[Any]", after: "pd.Series[Any]") -> Finding | None:
    """Return the finding about a target whose level, or whose classes' shares, changed since the training rows."""
    seen = _compare_numbers(before, after) if before.dtype.kind == "f" else _compare_shares(before, after)
    if not seen:
        return None
    return Finding(
        code="target-drift",
        columns=(str(before.name),),
        seen=seen,
        why="what is asked about changes with time: the model has learned another level than it is judged on and will meet",
        cure="learn from newer rows alone, retrain often, or find the column that says why it changed",
    )


def _compare_numbers(before: "pd.Series[Any]", after: "pd.Series[Any]") -> str:
    shift, spread = float(after.mean() - before.mean()), float(pd.concat([before, after]).std())
    far, by_rank = stats.ks_2samp(before, after)[:2]
    by_mean = float(stats.ttest_ind(before, after, equal_var=False)[1])
    if (abs(shift) < TARGET_SHIFT * spread and far < MIN_DISTANCE) or not 2 * min(by_rank, by_mean) < SURE_TARGET:
        return ""
    return (
        f"{before.name!r} is {before.mean():.4g} on the mean in the training rows, and {after.mean():.4g} in the held-out ones"
    )


def _compare_shares(before: "pd.Series[Any]", after: "pd.Series[Any]") -> str:
    counts = pd.concat([before.value_counts(), after.value_counts()], axis=1).fillna(0)
    shares = (counts / counts.sum()).to_numpy(np.float64)
    steps, ratios = np.abs(shares[:, 1] - shares[:, 0]), shares.max(axis=1) / np.maximum(shares.min(axis=1), 1e-9)
    matters = (steps >= TARGET_STEP) | ((steps >= SMALL_STEP) & (ratios >= TARGET_RATIO))
    if not matters.any() or float(stats.chi2_contingency(counts.to_numpy())[1]) >= SURE_TARGET:
        return ""
    place = int(np.argmax(np.where(matters, ratios, 0.0)))  # of two classes the rarer one
    then, now = shares[place].tolist()
    return (
        f"{then:.1%} of the training rows have {before.name!r} {str(counts.index[place])!r}, and {now:.1%} of the held-out ones"
    )


def find_constant_in_training(train: pd.DataFrame, test: pd.DataFrame) -> Finding | None:
    """Return the finding about columns with one value in all training rows, and others in the held-out ones."""
    names = [str(name) for name in train.columns if _is_constant(train[name]) and not _goes_on(train[name], test[name])]
    if not names:
        return None
    shown = ", ".join(map(repr, names[:MAX_SHOWN])) + (f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else "")
    return Finding(
        code="constant-in-training",
        columns=tuple(names),
        seen=f"{shown} {'has' if len(names) == 1 else 'have'} one value in all {len(train):,} training rows, and others in the "
        f"{len(test):,} held-out ones",
        why="nothing can be learned of values that come only later: the model answers as if they were not there",
        cure="name them in data.drop, or take training rows in which they vary",
    )


def _is_constant(column: "pd.Series[Any]") -> bool:
    return bool(column.iloc[:GLANCE_ROWS].nunique(dropna=False) == 1 and column.nunique(dropna=False) == 1)


def _goes_on(train: "pd.Series[Any]", test: "pd.Series[Any]") -> bool:
    value = train.iloc[0]
    return bool(test.isna().all() if pd.isna(value) else test.notna().all() and (test == value).all())


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
