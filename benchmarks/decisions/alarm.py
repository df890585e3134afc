"""The alarm of lost coverage: how often healthy windows raise it, and how often changed worlds do, beside the metric's alarm.

``--stages alarm``. The rows of a real table that a model has not learned from are divided at random into held-out ones and
windows of a log, again and again; nothing then depends on time, and each alarm of a healthy window is false. In the changed
worlds what follows from the columns is another, and the columns stay: labels of a share of the rows are another class's
(numbers: errors are larger), or the rows above the median of one column follow another rule.
"""

from collections.abc import Callable
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
from mlops_project.monitoring.coverage import judge_coverage
from mlops_project.monitoring.performance import compute_performance
from mlops_project.reference.performance import ReferencePerformance, build_reference_performance
from mlops_project.runtime import Floats, encode
from mlops_project.sections import GatesConfig, MonitoringConfig

TABLES = ("breast_cancer", "OJ", "Default", "germancredit", "Chile", "Bikeshare", "Wage", "Computers", "SLID", "apartments")
PROMISED = 0.9
WINDOW_ROWS = 150
FOREST = {"n_estimators": 40, "min_samples_leaf": 3}
DIVISIONS, JUDGED_DIVISIONS = 20, 2  # of one model's rows; the metric's bootstrap takes a hundred times as long
WORLDS = ("healthy", "noise", "rule")
TURNED, LOUDER, MOVED = 0.15, 0.75, 1.0  # share of labels; of the errors' deviation that is added; deviations of a moved number
ROUNDS = 100


class Alarms(NamedTuple):
    """Of one table: in each world whether coverage, and the metric, are lost in each window; windows of one log together."""

    table: str
    coverage: dict[str, list[list[bool]]]
    metric: dict[str, list[list[bool]]]


def measure_alarms(folder: Path, splits: int, only: tuple[str, ...] = ()) -> list[Alarms]:
    """Measure each table, or those of some names; print what came of each when it is done."""
    found = []
    for name in only or TABLES:
        one = Alarms(name, {world: [] for world in WORLDS}, {world: [] for world in WORLDS})
        for seed in range(splits):
            _replay(one, folder, seed)
        print(_format_line(name, [one], _share), flush=True)
        found.append(one)
    return found


def _replay(into: Alarms, folder: Path, seed: int) -> None:
    """Fit one model; divide the rows that it has not learned from into held-out ones and windows, again and again."""
    config = configure(into.table, folder, "random_forest", FOREST, max_rows=3000, seed=seed)
    whole, contract = divide(config, into.table, seed)
    rng, n_rows = np.random.default_rng(seed), len(whole.truth)
    for division in range(DIVISIONS):
        places = rng.permutation(n_rows)
        _watch(into, take(whole, places[: n_rows // 3]), take(whole, places[n_rows // 3 :]), contract, division)


def divide(config: Config, name: str, seed: int) -> tuple[HeldOut, Contract]:
    """Fit a table's model on some of its rows; return the others, answered."""
    table = judge_table(load_table(config), config, refuse=False)
    features, target = table.features.reset_index(drop=True), table.target.reset_index(drop=True)
    order = np.random.default_rng(seed).permutation(len(features))
    learned, rest = order[: int(0.45 * len(order))], order[int(0.45 * len(order)) :]
    split = Split(features.loc[learned], target.loc[learned], features.loc[rest], target.loc[rest])
    fitted = fit_split(name, table, split, config)
    contract = fitted.contract
    inputs = encode({one: split.test_features[one] for one in contract.names}, contract)
    truth = encode_target(split.test_target, contract)
    return HeldOut(split.test_features, inputs, truth, fitted.runtime.run(*inputs)), contract


def take(rows: HeldOut, places: npt.NDArray[Any]) -> HeldOut:
    """Return some of the rows."""
    encoded = rows.encoded[0][places], rows.encoded[1][places]
    return HeldOut(rows.features.iloc[places], encoded, rows.truth[places], rows.predictions.pick(places))


def _watch(into: Alarms, held_out: HeldOut, fresh: HeldOut, contract: Contract, division: int) -> None:
    """Judge the windows of one log, in each world."""
    promised = calibrate(held_out, contract, PROMISED, division)
    is_judged = division < JUDGED_DIVISIONS
    reference = None
    if is_judged:
        truth = held_out.truth
        reference = build_reference_performance(held_out.columns, held_out.predictions, truth, contract, Config(), seed=0)
    values = held_out.predictions.values
    spread = 0.0 if values is None else float(np.std(np.asarray(held_out.truth) - values))
    for world in WORLDS:
        real = change(world, np.asarray(fresh.truth), fresh.encoded[0], spread, contract, division)
        scored = score_rows(fresh.predictions, real, contract)
        starts = range(0, len(real) - WINDOW_ROWS + 1, WINDOW_ROWS)
        windows = [scored.take(np.arange(start, start + WINDOW_ROWS)) for start in starts]
        into.coverage[world].append([judge_coverage(window, promised, division).lost for window in windows])
        if reference is not None:
            into.metric[world].append([_judge_metric(window, reference, contract) for window in windows])


def _judge_metric(window: Scored, reference: ReferencePerformance, contract: Contract) -> bool:
    settings = MonitoringConfig(), GatesConfig()
    return compute_performance(reference, contract, *settings, labelled=window, rounds=ROUNDS).lost


def change(world: str, real: npt.NDArray[Any], numbers: Floats, spread: float, contract: Contract, seed: int) -> Any:
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


def format_alarms(found: list[Alarms]) -> str:
    """Return the shares of lost windows as a table in Markdown, and those of the alert, which takes two windows running."""
    head = (
        "| table | windows | healthy: coverage | the metric | larger errors: coverage | the metric | another rule: coverage "
        "| the metric |\n| --- |" + " ---: |" * 7
    )
    lines = [_format_line(one.table, [one], _share) for one in found]
    lines += [_format_line("all", found, _share), _format_line("all, the alert: two windows running", found, _share_of_two)]
    return "\n".join([head, *lines])


def _format_line(title: str, found: list[Alarms], share: Callable[[list[list[bool]]], float]) -> str:
    windows = sum(len(log) for one in found for log in one.coverage[WORLDS[0]])
    logs = [[log for one in found for log in of(one)[world]] for world in WORLDS for of in (_of_coverage, _of_metric)]
    return f"| {title} | {windows} | " + " | ".join(f"{share(item):.1%}" for item in logs) + " |"


def _of_coverage(one: Alarms) -> dict[str, list[list[bool]]]:
    return one.coverage


def _of_metric(one: Alarms) -> dict[str, list[list[bool]]]:
    return one.metric


def _share(logs: list[list[bool]]) -> float:
    return float(np.mean([lost for log in logs for lost in log] or [0.0]))


def _share_of_two(logs: list[list[bool]]) -> float:
    return float(np.mean([one and two for log in logs for one, two in pairwise(log)] or [0.0]))
