"""Leaks that were computed from the answers: means of the target by category, and windows in time that hold later answers."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from mlops_project.findings import Finding
from mlops_project.tables.leaks import MIN_ROWS, WHY
from mlops_project.tables.sample import Floats, Sample
from mlops_project.tables.table import Table

MIN_VALUES, MIN_REPEATS = 15, 2.0  # different values, and rows for each on average
CHANCE = 1e-7  # that an honest column agrees with the table's own answers so closely
FEW_ANSWERS = 1.0  # rows of a class for each value, at least: with fewer nothing is told by chance being absent
LAGS = 31  # rows before and after
ROWS_PER_LAG, WINDOW_ROWS = 4, 3_000
EXACT = 1e-6  # share of a column's variance that rounding may leave
SAME_TIME = 0.02  # of the rows at most stand at a time of others: rows of many things have no row before


def find_computed(table: Table, sample: Sample, skipped: frozenset[str]) -> Iterator[Finding]:
    """Yield the columns that were computed from the answers of this very table.

    Parameters
    ----------
    skipped
        Columns that were named already.
    """
    names = [name for name in sample.values if name not in skipped and sample.types[name] in ("float", "integer")]
    if len(sample) < MIN_ROWS or not names:
        return
    later = _find_later(table, names)
    yield from (_describe_later(name, str(table.target.name), how) for name, how in later.items())
    for name in names:
        if name not in later and any(_is_mean(sample.values[name], share, sample.task) for share in sample.shares.T):
            yield _describe_mean(sample, name)


def _is_mean(values: Floats, share: Floats, task: str) -> bool:
    """Whether the means of the target by a column's values lie on a line closer than the spread of the rows allows.

    An honest rate was learned elsewhere, and misses the means of these rows by chance: (mean − line)² n / σ² follows χ².
    """
    present = ~np.isnan(values)
    levels, codes, counts = np.unique(values[present], return_inverse=True, return_counts=True)
    n_rows, n_values, answers = int(present.sum()), len(levels), share[present]
    if n_values < MIN_VALUES or n_rows < MIN_REPEATS * n_values or present.mean() < 0.5:
        return False
    if task != "regression" and min(answers.sum(), n_rows - answers.sum()) < FEW_ANSWERS * n_values:
        return False
    means = np.bincount(codes, weights=answers) / counts
    spread = float(((answers - means[codes]) ** 2).sum() / (n_rows - n_values))
    scaled = (levels - levels.mean()) / (levels.std() or 1.0)
    slope, middle = np.polyfit(scaled, means, 1, w=np.sqrt(counts))
    off = float((counts * (means - slope * scaled - middle) ** 2).sum())
    total = float((counts * (means - np.average(means, weights=counts)) ** 2).sum())
    if spread <= 1e-12 * max(total, 1e-300) or off > total / 2:  # one answer for each value, or no line at all
        return False
    return bool(chi2.cdf(off / spread, n_values - 2) < CHANCE)


def _describe_mean(sample: Sample, name: str) -> Finding:
    return Finding(
        code="leak-encoded",
        columns=(name,),
        seen=f"column {name!r} agrees with the means of {sample.name!r} over the rows of each of its values more closely than "
        "chance allows",
        why="it was made from the answers of these very rows, the held-out ones among them; a new row has none",
        cure=f"add {name!r} to data.drop and give the category itself (model.encoding makes such means from training rows), or "
        "take means of earlier rows",
    )


def _find_later(table: Table, names: list[str]) -> dict[str, str]:
    """Return the columns that are a weighted sum of the target's values around a row, later ones among them."""
    if table.times is None or table.task == "multiclass" or not names:
        return {}
    order = np.argsort(table.times.to_numpy(), kind="stable")[-WINDOW_ROWS:]
    times = table.times.to_numpy()[order]
    if (times[1:] == times[:-1]).mean() > SAME_TIME:
        return {}
    target = table.target.iloc[order]
    answers = target.to_numpy(np.float64) if table.task == "regression" else (target == table.classes[-1]).to_numpy(np.float64)
    lags = min(LAGS, len(order) // (2 * ROWS_PER_LAG) - 1)
    if lags < 1 or not answers.std():
        return {}
    windows = np.lib.stride_tricks.sliding_window_view((answers - answers.mean()) / answers.std(), 2 * lags + 1)
    found = {}
    for name in names:
        values = table.features[name].iloc[order].to_numpy(np.float64)[lags : len(order) - lags]
        if not _fits(values, windows) or _fits(values, windows[:, :lags]):
            continue
        found[name] = "the same row's" if _fits(values, windows[:, : lags + 1]) else "later rows'"
    return found


def _fits(values: Floats, windows: "npt.NDArray[np.float64]") -> bool:
    present = np.isfinite(values)
    x, y = windows[present], values[present]
    if len(y) < ROWS_PER_LAG * x.shape[1] or not y.std():
        return False
    x, y = np.column_stack([x, np.ones(len(x))]), (y - y.mean()) / y.std()
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return bool((rest**2).mean() < EXACT)


def _describe_later(name: str, target: str, how: str) -> Finding:
    return Finding(
        code="leak-future",
        columns=(name,),
        seen=f"column {name!r} is computed from {how} {target!r}: a weighted sum of its values around each row, in the "
        "order of time, gives it",
        why=WHY,
        cure=f"compute {name!r} from earlier rows alone, or add it to data.drop",
    )
