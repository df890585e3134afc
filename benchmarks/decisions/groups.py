"""The alert of unequal groups: how often it is raised where groups are alike, and how often where one is treated worse.

``--stages groups``. A model's answers to rows that it has not learned from are drawn into windows, again and again, and a real
column's values are given to them by lot: the groups have the sizes that they really have, and nothing else in common. In the
second world a group's labels turn, or its errors grow.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.decisions.alarm import FOREST, divide
from benchmarks.decisions.fitted import configure
from mlops_project.contract import Contract
from mlops_project.modeling.groups import find_gaps
from mlops_project.modeling.metrics import Scored, score_rows
from mlops_project.monitoring.groups import ALPHA

COLUMNS = {
    "Default": ("student",),
    "germancredit": ("personal_status_and_sex", "purpose", "age_in_years"),
    "Chile": ("region", "sex"),
    "Hdma": ("black",),
    "titanic": ("gender", "class"),
    "Wage": ("race", "education", "age"),
    "SLID": ("sex", "language"),
}
SIZES = (200, 600, 2000)  # labelled rows of a window
WINDOWS, ILL_WINDOWS = 100, 20
TURNED, LOUDER = 0.3, 1.0  # share of the group's labels; standard deviations that are added to its errors


def measure_groups(folder: Path, splits: int, only: tuple[str, ...] = ()) -> str:
    """Judge windows of each table, or of those of some names; return a table in Markdown."""
    lines = ["| table | column | groups | rows of a window | windows | alike: raised | one treated worse: raised |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for name in only or tuple(COLUMNS):
        whole, contract = divide(configure(name, folder, "random_forest", FOREST, max_rows=3000), name, 0)
        scored = score_rows(whole.predictions, whole.truth, contract)
        for column in COLUMNS[name]:
            for size in SIZES:
                lines.append(_measure(name, whole.features[column], scored, contract, size, splits))
                print(lines[-1], flush=True)
    return "\n".join(lines)


def _measure(name: str, column: "pd.Series[Any]", scored: Scored, contract: Contract, size: int, splits: int) -> str:
    alike, worse = [], []
    for seed in range(splits * WINDOWS):
        rng = np.random.default_rng(seed)
        rows, lot = (rng.integers(0, len(column), size) for _ in range(2))
        groups, window = pd.Series(column.to_numpy()[lot], name=column.name), scored.take(rows)
        alike.append(any(find_gaps(window, groups, str(column.name), contract, ALPHA)))
        if seed < splits * ILL_WINDOWS:
            ill = _harm(window, (groups == groups.mode()[0]).to_numpy(), rng)
            worse.append(any(find_gaps(ill, groups, str(column.name), contract, ALPHA)))
    return (
        f"| {name} | {column.name} | {column.nunique()} | {size} | {len(alike)} | {np.mean(alike):.1%} | {np.mean(worse):.0%} |"
    )


def _harm(window: Scored, here: Any, rng: np.random.Generator) -> Scored:
    """Return the rows with other labels in a group."""
    truth = np.asarray(window.truth)
    if not window.n_classes:
        louder = truth + rng.normal(0, LOUDER * window.error.std() * 2, len(truth))
        return Scored(window.predictions, np.where(here, louder, truth), 0)
    other = (truth + rng.integers(1, window.n_classes, len(truth))) % window.n_classes
    turned = here & (rng.random(len(truth)) < TURNED)
    return Scored(window.predictions, np.where(turned, other, truth), window.n_classes)
