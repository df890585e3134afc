"""Coverage of windows of another mix: how far it falls, and what alarms with and without weights say. ``--stages shifted``.

The rows that a model has not learned from are one population; the held-out ones are drawn from it evenly, each window with odds
that grow with a column. What follows from the columns is the same for both, so that the mix alone moves coverage. The share of
the population, with the same odds, that the served sets and intervals hold is what they really come to there: an alarm is false
if that is as much as promised, to a point, and true if it is not. In the second world labels turn, or errors grow, as well.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.decisions.alarm import FOREST, PROMISED, WINDOW_ROWS, change, divide, take
from benchmarks.decisions.fitted import configure
from benchmarks.decisions.shift import COLUMNS
from mlops_project.contract import Contract
from mlops_project.modeling.conformal import calibrate
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import score_rows
from mlops_project.monitoring.coverage import Mix, judge_coverage, judge_weighted
from mlops_project.runtime import Floats
from mlops_project.uncertainty import Uncertainty

TILTS = (0.0, 0.75, 1.5)  # log odds per standard deviation
FARTHEST = 2.0  # standard deviations
KEPT = 500  # held-out rows that a bundle keeps
DIVISIONS, WINDOWS = 10, 4
WORLDS = ("healthy", "noise")


class Judged(NamedTuple):
    """One window.

    Attributes
    ----------
    real
        What the served sets or intervals hold of the whole population at these odds, labels as they are.
    plain, weighted
        Whether coverage is lost; the second None where no weights were found.
    """

    real: float
    plain: bool
    weighted: bool | None


Found = dict[tuple[str, float, str], list[Judged]]


def measure_shifted(folder: Path, splits: int, only: tuple[str, ...] = ()) -> Found:
    """Judge windows of each table, or of those of some names, at each tilt in each world."""
    found: Found = {}
    for name in only or tuple(COLUMNS):
        for seed in range(splits):
            whole, contract = divide(configure(name, folder, "random_forest", FOREST, max_rows=3000, seed=seed), name, seed)
            column = pd.to_numeric(whole.features[COLUMNS[name]], errors="coerce")
            values = column.fillna(column.median()).to_numpy(np.float64)
            place = np.clip((values - values.mean()) / values.std(), -FARTHEST, FARTHEST)  # or few rows are all of a window
            _judge_table(found, name, whole, contract, place)
        for tilt in TILTS:
            print(_format_line(name, found, [name], tilt), flush=True)
    return found


def _judge_table(found: Found, name: str, whole: HeldOut, contract: Contract, place: Floats) -> None:
    n_rows = len(whole.truth)
    for division in range(DIVISIONS):
        rng = np.random.default_rng(division)
        order = rng.permutation(n_rows)
        held, rest = order[: n_rows // 3], order[n_rows // 3 :]
        held_out = take(whole, held)
        promised = calibrate(held_out, contract, PROMISED, division)
        for tilt in TILTS:
            odds = np.exp(tilt * place[rest])
            for _ in range(WINDOWS):
                rows = rng.choice(rest, WINDOW_ROWS, replace=True, p=odds / odds.sum())
                for world in WORLDS:
                    judged = _judge_window(take(whole, rows), held_out, promised, contract, world, division)
                    real = _hold(whole, promised, np.exp(tilt * place))
                    found.setdefault((name, tilt, world), []).append(Judged(real, *judged))


def _judge_window(
    window: HeldOut, held_out: HeldOut, promised: Uncertainty, contract: Contract, world: str, seed: int
) -> tuple[bool, bool | None]:
    values = held_out.predictions.values
    spread = 0.0 if values is None else float(np.std(np.asarray(held_out.truth) - values))
    real = change(world, np.asarray(window.truth), window.encoded[0], spread, contract, seed)
    scored, kept = score_rows(window.predictions, real, contract), take(held_out, np.arange(min(KEPT, len(held_out.truth))))
    mix = Mix(kept.encoded, kept.predictions, kept.truth, window.encoded)
    weighted = judge_weighted(scored, promised, mix, contract, seed)
    return judge_coverage(scored, promised, seed).lost, None if weighted is None else weighted.lost


def _hold(whole: HeldOut, promised: Uncertainty, odds: Floats) -> float:
    covered = promised.is_covered(whole.predictions.probabilities, whole.predictions.values, whole.truth)
    return float(np.average(covered, weights=odds))


def format_shifted(found: Found) -> str:
    """Return the figures as a table in Markdown."""
    head = (
        "| table | tilt | really held | lost: as served | weighted | no weights | larger errors too: as served | weighted |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    names = [*dict.fromkeys(name for name, _, _ in found)]
    lines = [_format_line(name, found, [name], tilt) for name in names for tilt in TILTS]
    lines += [_format_line("all", found, names, tilt) for tilt in TILTS]
    windows = [one for (_, tilt, world), part in found.items() if world == WORLDS[0] and tilt for one in part]
    kept, lost = ([one for one in windows if (one.real >= PROMISED - 0.01) == is_kept] for is_kept in (True, False))
    shares = [
        f"- of {len(part)} windows of another mix whose sets and intervals hold {said} than promised: as served "
        f"{_share([one.plain for one in part]):.1%} are lost, weighted {_share([one.weighted for one in part]):.1%}"
        for said, part in (("no less", kept), ("less", lost))
    ]
    return "\n".join([head, *lines, "", *shares])


def _format_line(title: str, found: Found, names: list[str], tilt: float) -> str:
    healthy, noisy = ([one for name in names for one in found[name, tilt, world]] for world in WORLDS)
    cells = [
        f"{np.mean([one.real for one in healthy]):.1%}",
        f"{_share([one.plain for one in healthy]):.1%}",
        f"{_share([one.weighted for one in healthy]):.1%}",
        f"{np.mean([one.weighted is None for one in healthy]):.0%}",
        f"{_share([one.plain for one in noisy]):.1%}",
        f"{_share([one.weighted for one in noisy]):.1%}",
    ]
    return f"| {title} | {tilt:g} | " + " | ".join(cells) + " |"


def _share(lost: "list[Any]") -> float:
    known: npt.NDArray[np.bool_] = np.array([one for one in lost if one is not None], bool)
    return float(known.mean()) if len(known) else float("nan")
