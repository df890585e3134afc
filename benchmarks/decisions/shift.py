"""Coverage under real changes of the mix: unweighted, weighted by what the product finds out, and where it refuses to.

``--stages shift``. Rows are called new by a column that moves: the odds of being new grow with it, so both kinds overlap; the
column stays in the table. What follows from the columns is the table's own, which need not stay the same along that column:
that is a change of concept, and no weight mends it. The second kind of split has no overlap: the upper third is new.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.decisions.fitted import configure, fit_split
from mlops_project.data_prep import Split, judge_table, load_table
from mlops_project.errors import DataError
from mlops_project.modeling.conformal import calibrate
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.shift import reweigh, weigh_rows
from mlops_project.runtime import encode

PROMISED = 0.9
TILT = 1.5  # log odds per standard deviation
COLUMNS = {
    "Bikeshare": "temp",
    "Wage": "age",
    "Computers": "trend",
    "SLID": "education",
    "apartments": "surface",
    "Default": "balance",
    "OJ": "WeekofPurchase",
    "Chile": "age",
    "germancredit": "duration_in_month",
    "Hdma": "dir",
}
SPLITS = 10


class Shifted(NamedTuple):
    """Means over the splits of one table."""

    table: str
    column: str
    kind: str
    before: float
    coverage: float
    weighted: float
    size: float
    weighted_size: float
    effective: float
    refused: float


def measure_shift(folder: Path, splits: int = SPLITS, only: tuple[str, ...] = ()) -> list[Shifted]:
    """Measure each table, or those of some names, with overlap and without."""
    found = []
    for name in only or tuple(COLUMNS):
        for is_hard in (False, True):
            values = [_measure(name, folder, seed, is_hard=is_hard) for seed in range(splits)]
            with np.errstate(all="ignore"):
                means = [float(np.nanmean(column)) if np.isfinite(column).any() else np.nan for column in np.array(values).T]
            found.append(Shifted(name, COLUMNS[name], "upper third" if is_hard else "tilted", *means))
    return found


def _measure(name: str, folder: Path, seed: int, *, is_hard: bool) -> list[float]:
    config = configure(name, folder, "random_forest", {"n_estimators": 60, "min_samples_leaf": 3}, seed=seed)
    table = judge_table(load_table(config), config, refuse=False)
    features, target = table.features.reset_index(drop=True), table.target.reset_index(drop=True)
    column = pd.to_numeric(features[COLUMNS[name]], errors="coerce")
    is_new = _choose_new(column.fillna(column.median()).to_numpy(np.float64), seed, is_hard=is_hard)
    old = np.random.default_rng(seed).permutation(np.flatnonzero(~is_new))
    learned, held, same = np.split(old, [int(0.5 * len(old)), int(0.8 * len(old))])
    new = np.flatnonzero(is_new)
    split = Split(features.loc[learned], target.loc[learned], features.loc[held], target.loc[held])
    fitted = fit_split(name, table, split, config)

    def ask(rows: npt.NDArray[Any]) -> tuple[Any, Any, Any]:
        part = features.loc[rows]
        inputs = encode({one: part[one] for one in fitted.contract.names}, fitted.contract)
        return inputs, fitted.runtime.run(*inputs), encode_target(target.loc[rows], fitted.contract)

    inputs, answers, truth = ask(held)
    known = calibrate(HeldOut(split.test_features, inputs, truth, answers), fitted.contract, PROMISED, seed)

    def judge(found: Any, rows: npt.NDArray[Any]) -> tuple[float, float]:
        _, said, real = ask(rows)
        covered = found.is_covered(said.probabilities, said.values, real)
        if found.sets is not None:
            return float(covered.mean()), float(found.find_sets(said.probabilities, said.indices).sum(axis=1).mean())
        lower, upper = found.find_intervals(said.values)
        return float(covered.mean()), float((upper - lower).mean())

    before, (plain, size) = judge(known, same)[0], judge(known, new)
    try:
        weights = weigh_rows(inputs, ask(new)[0], fitted.contract, seed)
        mended = reweigh(known, answers, truth, weights)
    except DataError:
        return [before, plain, np.nan, size, np.nan, np.nan, 1.0]
    weighted, weighted_size = judge(mended, new)
    return [before, plain, weighted, size, weighted_size, weights.effective / len(held), 0.0]


def _choose_new(values: npt.NDArray[np.float64], seed: int, *, is_hard: bool) -> npt.NDArray[np.bool_]:
    """Return which rows are new, about a third."""
    scaled = (values - values.mean()) / values.std()
    if is_hard:
        return values > np.quantile(values, 2 / 3)
    odds = np.exp(TILT * scaled - 1.0)
    return np.asarray(np.random.default_rng(seed).random(len(values)) < odds / (1 + odds))


def format_shift(found: list[Shifted]) -> str:
    """Return the figures as a table in Markdown."""
    head = (
        "| table | new rows by | how | coverage of rows like before | of new rows | weighted | size | weighted | worth of the "
        "held-out rows | refused |\n| --- | --- | --- |" + " ---: |" * 7
    )

    def show(value: float, *, is_share: bool) -> str:
        if np.isnan(value):
            return "–"
        return f"{value:.0%}" if is_share else f"{value:.3f}" if value < 10 else f"{value:,.0f}"

    lines = [
        f"| {one.table} | {one.column} | {one.kind} | "
        + " | ".join(show(getattr(one, name), is_share=False) for name in Shifted._fields[3:8])
        + f" | {show(one.effective, is_share=True)} | {show(one.refused, is_share=True)} |"
        for one in found
    ]
    return "\n".join([head, *lines])
