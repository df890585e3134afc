"""Width of intervals beside MAPIE's and beside quantile boosting, plain and conformalised. ``--stages width``.

Quantile boosting learns both ends, and promises nothing: on fresh rows it holds what it happens to. Ours and MAPIE's intervals
stand around one forest's answers.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from mapie.regression import ConformalizedQuantileRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from benchmarks.decisions.coverage import (
    NAMES,
    PROMISED,
    answer_rows,
    ask_mapie,
    calibrate_answers,
    judge_ends,
    measure_size,
    read_table,
    split_rows,
)
from benchmarks.defaults.tables import SOURCES

NUMBERS = NAMES[5:]
WAYS = ("ours", "MAPIE, one width for all", "quantile boosting", "quantile boosting, conformalised")


def compare_widths(folder: Path, splits: int, only: tuple[str, ...] = ()) -> str:
    """Measure each table, or those of some names; return a table in Markdown."""
    head = "| table | " + " | ".join(f"{way}: coverage | width" for way in WAYS) + " |\n| --- |" + " ---: |" * (2 * len(WAYS))
    lines = [head]
    for name in only or NUMBERS:
        features, truth = read_table(next(item for item in SOURCES if item.name == name), folder)
        found = np.array([_measure(features, truth, seed) for seed in range(splits)]).mean(axis=0)
        cells = [
            f"{coverage:.3f} | {width:,.3g}" if width < 100 else f"{coverage:.3f} | {width:,.0f}" for coverage, width in found
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def _measure(features: Any, truth: Any, seed: int) -> list[tuple[float, float]]:
    """Return coverage and width of each way on fresh rows."""
    split = split_rows(features, truth, seed)
    model = RandomForestRegressor(60, min_samples_leaf=3, random_state=seed).fit(*split.learned)
    ours, answers = calibrate_answers(model, *split.held_out, seed), answer_rows(model, split.fresh[0])
    covered = ours.is_covered(None, answers.values, split.fresh[1])
    levels = ((1 - PROMISED) / 2, (1 + PROMISED) / 2, 0.5)
    fitted = [
        HistGradientBoostingRegressor(loss="quantile", quantile=level, max_iter=60, random_state=seed).fit(*split.learned)
        for level in levels
    ]
    plain = np.stack([fitted[0].predict(split.fresh[0]), fitted[1].predict(split.fresh[0])], axis=1)[:, :, None]
    mended = ConformalizedQuantileRegressor(fitted, confidence_level=PROMISED, prefit=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mended.conformalize(*split.held_out)
        ends = mended.predict_interval(split.fresh[0])[1]
    return [
        (float(covered.mean()), measure_size(ours, answers)),
        ask_mapie(model, split, is_number=True),
        judge_ends(plain, split.fresh[1]),
        judge_ends(ends, split.fresh[1]),
    ]
