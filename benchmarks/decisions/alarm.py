"""The alarm of lost coverage: how often healthy windows raise it, and how often changed worlds do, beside the metric's alarm.

``--stages alarm``. Windows of labelled rows are cut from fresh rows of real tables, in random order. Healthy ones are as they
are; in the changed worlds what follows from the columns is another, and the columns stay: labels of a share of the rows are
another class's (numbers: errors are larger), or the rows above the median of one column follow another rule.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.decisions.fitted import configure, fit_split
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.data_prep import Split, judge_table, load_table
from mlops_project.modeling.conformal import calibrate
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import Scored, score_rows
from mlops_project.monitoring.coverage import COVERAGE
from mlops_project.monitoring.performance import compute_performance
from mlops_project.reference.performance import build_reference_performance
from mlops_project.runtime import Floats, encode
from mlops_project.sections import GatesConfig, MonitoringConfig

TABLES = ("breast_cancer", "OJ", "Default", "germancredit", "Chile", "Bikeshare", "Wage", "Computers", "SLID", "apartments")
PROMISED = 0.9
WINDOW_ROWS = 150
WORLDS = ("healthy", "noise", "rule")
TURNED, LOUDER, MOVED = 0.15, 0.75, 1.0  # share of labels; of the errors' deviation that is added; deviations of a moved number
ROUNDS = 200


class Alarms(NamedTuple):
    """Of one table: windows, and in each world the shares of windows with which coverage and the metric are lost."""

    table: str
    windows: int
    shares: dict[str, tuple[float, float]]
    fired: dict[str, tuple[float, float]]


def measure_alarms(folder: Path, splits: int, only: tuple[str, ...] = ()) -> list[Alarms]:
    """Measure each table, or those of some names."""
    return [_measure(name, folder, splits) for name in only or TABLES]


def _measure(name: str, folder: Path, splits: int) -> Alarms:
    lost: dict[str, list[tuple[bool, bool]]] = {world: [] for world in WORLDS}
    fired: dict[str, list[tuple[bool, bool]]] = {world: [] for world in WORLDS}
    for seed in range(splits):
        for world, windows in _replay(name, folder, seed).items():
            lost[world] += windows
            pairs = pairwise(windows)
            fired[world] += [(one[0] and two[0], one[1] and two[1]) for one, two in pairs]
    shares, both = ({world: _average(found) for world, found in of.items()} for of in (lost, fired))
    return Alarms(name, len(lost["healthy"]), shares, both)


def _average(found: list[tuple[bool, bool]]) -> tuple[float, float]:
    coverage, metric = np.array(found, bool).reshape(-1, 2).mean(axis=0).tolist() if found else (0.0, 0.0)
    return coverage, metric


def _replay(name: str, folder: Path, seed: int) -> dict[str, list[tuple[bool, bool]]]:
    """Return for each world and window whether coverage and the metric are lost."""
    config = configure(name, folder, "random_forest", {"n_estimators": 60, "min_samples_leaf": 3}, max_rows=3000, seed=seed)
    table = judge_table(load_table(config), config, refuse=False)
    features, target = table.features.reset_index(drop=True), table.target.reset_index(drop=True)
    order = np.random.default_rng(seed).permutation(len(features))
    learned, held, fresh = np.split(order, [int(0.45 * len(order)), int(0.65 * len(order))])
    split = Split(features.loc[learned], target.loc[learned], features.loc[held], target.loc[held])
    fitted = fit_split(name, table, split, config)
    contract = fitted.contract

    def ask(rows: npt.NDArray[Any]) -> tuple[Any, Any, Any]:
        inputs = encode({one: features.loc[rows, one] for one in contract.names}, contract)
        return inputs, fitted.runtime.run(*inputs), encode_target(target.loc[rows], contract)

    inputs, answers, truth = ask(held)
    promised = calibrate(HeldOut(split.test_features, inputs, truth, answers), contract, PROMISED, seed)
    columns = {one: split.test_features[one].to_numpy() for one in contract.names}
    reference = build_reference_performance(columns, answers, truth, contract, Config(), seed=seed)
    known, said, real = ask(fresh)
    spread = float(np.std(np.asarray(truth) - answers.values)) if answers.values is not None else 0.0
    found: dict[str, list[tuple[bool, bool]]] = {}
    for world in WORLDS:
        changed = _change(world, np.asarray(real), known[0], spread, contract, seed)
        scored = score_rows(said, changed, contract)
        found[world] = [
            _judge(scored.take(np.arange(start, start + WINDOW_ROWS)), reference, contract, promised, seed)
            for start in range(0, len(fresh) - WINDOW_ROWS + 1, WINDOW_ROWS)
        ]
    return found


def _change(world: str, real: npt.NDArray[Any], numbers: Floats, spread: float, contract: Contract, seed: int) -> Any:
    """Return what is true in a world."""
    rng = np.random.default_rng(1000 + seed)
    if world == "healthy":
        return real
    if world == "noise":
        if not contract.is_classification:
            return real + rng.normal(0, LOUDER * spread, len(real))
        other = (real + rng.integers(1, len(contract.classes), len(real))) % len(contract.classes)
        return np.where(rng.random(len(real)) < TURNED, other, real)
    above = numbers[:, 0] > np.nanmedian(numbers[:, 0]) if numbers.shape[1] else rng.random(len(real)) < 0.5
    if not contract.is_classification:
        return np.where(above, real + MOVED * spread, real)
    return np.where(above & (rng.random(len(real)) < 2 * TURNED), (real + 1) % len(contract.classes), real)


def _judge(scored: Scored, reference: Any, contract: Contract, promised: Any, seed: int) -> tuple[bool, bool]:
    found = compute_performance(
        reference,
        contract,
        MonitoringConfig(),
        GatesConfig(),
        labelled=scored,
        promised=promised,
        coverage=1.0,
        rounds=ROUNDS,
        seed=seed,
    )
    return any(value.lost for value in found.live if value.name == COVERAGE), found.lost


def format_alarms(found: list[Alarms]) -> str:
    """Return the shares as a table in Markdown, with their means over all windows."""
    head = (
        "| table | windows | healthy: coverage | the metric | larger errors: coverage | the metric | another rule: coverage "
        "| the metric |\n| --- |" + " ---: |" * 7
    )
    lines = []
    for one in found:
        cells = " | ".join(f"{share:.1%}" for world in WORLDS for share in one.shares[world])
        lines.append(f"| {one.table} | {one.windows} | {cells} |")
    windows = np.array([one.windows for one in found])
    for title, shares in (("all", "shares"), ("all, two windows running (the alert)", "fired")):
        means = [
            float(np.average([getattr(one, shares)[world][side] for one in found], weights=windows))
            for world in WORLDS
            for side in (0, 1)
        ]
        lines.append(f"| {title} | {windows.sum()} | " + " | ".join(f"{share:.1%}" for share in means) + " |")
    return "\n".join([head, *lines])
