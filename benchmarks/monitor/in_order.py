"""The stage ``time``: false alarms per window and per model on real tables in the order of time, and twelve faults over them.

Each table is cut where its log begins; what came before is the training table. Held-out rows are drawn at random from it (as
without ``data.time``) or its newest. The log's windows follow one another; the alarm that counts is the one that fires.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.monitor import seasons
from benchmarks.monitor.overlays import OVERLAYS
from benchmarks.monitor.replay import MIN_ROWS, Case, Replay
from benchmarks.monitor.report import Rows, draw, percent
from mlops_project.monitoring.past import NEEDED

ONSETS = 6  # per model and fault
LASTING = {"trend": 30}  # windows that a fault has to be found in; the others have two
FEWEST = 20  # windows of a log


@dataclass(frozen=True)
class Plan:
    """How much is tried."""

    parts: int = 2
    windows: int = 200
    onsets: int = ONSETS
    domain: bool = True
    shuffled: bool = True
    faults: bool = True


FULL = Plan()
QUICK = Plan(parts=1, windows=100, onsets=3, domain=False)


def list_cases(tables: tuple[str, ...], plan: Plan) -> list[tuple[Case, bool]]:
    """Return every model, and whether its rows are shuffled (the control)."""
    kept = [
        (Case(name, length, by_time, part), False)
        for name in tables
        for length, by_time, part in product(seasons.SEASONS[name].lengths, (False, True), range(plan.parts))
    ]
    control = [(Case(name, seasons.SEASONS[name].lengths[0], False), True) for name in tables] if plan.shuffled else []
    return kept + control


def watch(table: str, plan: Plan) -> list[dict[str, Any]]:
    """Replay every model of a table; return a record for each."""
    warnings.filterwarnings("ignore")
    season = seasons.SEASONS[table]
    frame = season.load()
    records = []
    for case, shuffled in list_cases((table,), plan):
        try:
            replay = Replay(season, frame, case, shuffled=shuffled, domain=plan.domain, logged=plan.windows)
        except IndexError:  # the table has no such part
            continue
        if len(replay.spans) < FEWEST:
            continue
        records.append(case.describe() | {"shuffled": shuffled} | replay_quiet(replay) | replay_faults(replay, plan))
        print(f"{case}, {'shuffled' if shuffled else 'in order'}: {len(replay.spans)} windows", flush=True)
    return records


def replay_quiet(replay: Replay) -> dict[str, Any]:
    """Evaluate the whole log."""
    start = time.perf_counter()
    for _ in replay.spans:
        replay.step()
    windows = []
    for one in replay.history:
        past = one.drift.past
        windows.append(
            {
                "firing": [alert.name for alert in one.firing],
                "reasons": [alert.reason for alert in one.firing],
                "beyond": past is not None and past.beyond_chance,
                "by": past.judged_by if past else "rows",
                "rows": one.rows,
            }
        )
    return {"windows": windows, "seconds": time.perf_counter() - start}


def replay_faults(replay: Replay, plan: Plan) -> dict[str, Any]:
    """Let faults begin at several windows; return per fault whether each was found in time."""
    if not plan.faults:
        return {"faults": {}}
    found: dict[str, list[bool]] = defaultdict(list)
    first = 1 if replay.case.by_time else NEEDED + 1
    quiet = [bool(not one.firing) for one in replay.history]
    for name, fault in OVERLAYS.items():
        lasting = LASTING.get(name, 2)
        ends = range(first + lasting, len(replay.spans) + 1)
        places = [end - lasting for end in ends if all(quiet[end - lasting - 1 : end])]  # quiet without the fault
        chosen = [places[index] for index in np.linspace(0, len(places) - 1, plan.onsets).astype(int)] if places else []
        for number, place in enumerate(chosen[: 1 if name in LASTING else None]):
            fork = replay.fork()
            fork.history = fork.history[:place]
            before = {alert.name for alert in fork.history[-1].firing}
            steps = [fork.step(fault, seed=number, since=place) for _ in range(lasting)]
            if None not in steps:
                found[name].append(any({alert.name for alert in one.firing} - before for one in steps if one))
    return {"faults": found}


def measure(file: Path, tables: tuple[str, ...], plan: Plan) -> None:
    """Replay all tables on two processes; write the records."""
    seasons.install()
    with ProcessPoolExecutor(2) as pool:
        records = [record for part in pool.map(watch, tables, [plan] * len(tables)) for record in part]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def summarise(records: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the cells of one line: models, windows, standing, begun, worst model, models with any."""
    standing, begun, windows, per_model = 0, 0, 0, []
    for record in records:
        first = 0 if record["by_time"] or record["shuffled"] else NEEDED
        fires = [bool(one["firing"]) for one in record["windows"]][first:]
        starts = sum(now and not before for before, now in zip([False, *fires], fires, strict=False))
        standing, begun, windows = standing + sum(fires), begun + starts, windows + len(fires)
        per_model.append(sum(fires) / max(len(fires), 1))
    yield from (str(len(records)), str(windows), percent(standing / max(windows, 1)), f"{1000 * begun / max(windows, 1):.1f}")
    yield from (percent(max(per_model, default=0)), f"{sum(share > 0 for share in per_model)}")


def render(records: list[dict[str, Any]]) -> str:
    """Return the tables."""
    head = ("", "models", "windows", "standing", "begun per 1,000", "worst model", "models with any")
    quiet: Rows = [head]
    for shuffled, by_time, title in (
        (False, False, "in order, drawn held-out rows"),
        (False, True, "in order, `data.time`"),
        (True, False, "shuffled"),
    ):
        kind = [one for one in records if one["shuffled"] == shuffled and one["by_time"] == by_time]
        for table in dict.fromkeys(one["table"] for one in kind):
            quiet.append((f"{table}, {title}", *summarise([one for one in kind if one["table"] == table])))
        if kind:
            quiet.append((f"**all, {title}**", *summarise(kind)))
    found: Rows = [("", *OVERLAYS)]
    for shuffled, title in ((False, "in order"), (True, "shuffled")):
        kind = [one for one in records if one["shuffled"] == shuffled]
        groups = {
            table: [one for one in kind if one["table"] == table] for table in dict.fromkeys(one["table"] for one in kind)
        }
        for name, group in [*groups.items(), ("**all**", kind)]:
            trials = [[hit for one in group for hit in one["faults"].get(fault, [])] for fault in OVERLAYS]
            found.append((f"{name}, {title}", *(f"{sum(hits)} of {len(hits)}" if hits else "" for hits in trials)))
    said = (
        f"Windows of at least {MIN_ROWS} rows; without `data.time` the first {NEEDED} windows are the warm-up and do not count."
    )
    return f"{said}\n\n{draw(quiet)}\n\nFaults found by their second window (trend: within 30):\n\n{draw(found)}"


def main() -> None:
    """Measure by itself: ``python -m benchmarks.monitor.in_order FILE [--quick] [--tables flights,pizza]``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="no faults")
    parser.add_argument("--ordered", action="store_true", help="no shuffled control")
    parser.add_argument("--tables", type=lambda text: tuple(text.split(",")), default=tuple(seasons.TRIED))
    parser.add_argument("--render", action="store_true")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    plan = replace(plan, faults=not options.quiet, shuffled=not options.ordered)
    if not options.render:
        measure(options.file, options.tables, plan)
    print(render([json.loads(line) for line in options.file.read_text().splitlines()]))


if __name__ == "__main__":
    main()
