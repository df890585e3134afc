"""Ours, Evidently and NannyML on the same windows of real tables in the order of time.

Run by ``python -m benchmarks.monitor.rivals FILE``. The held-out rows are the table's newest before its log begins
(``data.time``). Of every tool what counts is the alarm of a window, and two in a row. A fault is found if its first or second
window (a trend: one of thirty) has an alarm that the same window has not without it.
"""

import argparse
import json
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.monitor import seasons
from benchmarks.monitor.contestants import CONTESTANTS, Contestant, Line
from benchmarks.monitor.overlays import OVERLAYS, Scene
from benchmarks.monitor.replay import Case, Replay
from benchmarks.monitor.report import Rows, draw, percent

TABLES = (("weather", "day"), ("bicycles", "day"), ("pizza", "day"), ("parking", "day"), ("air", "day"))
WINDOWS, ONSETS = 45, 2
LASTING = {"trend": 30}
RIVALS = tuple(contestant for contestant in CONTESTANTS if contestant.requirements)
OURS = ("window", "firing")
Alarms = dict[str, list[bool]]  # detector → alarm per window


class Log:
    """A model, its log's windows, and who is asked about them."""

    def __init__(self, table: str, length: str, lines: dict[Contestant, Line]) -> None:
        season = seasons.SEASONS[table]
        self.replay = Replay(season, season.load(), Case(table, length, by_time=True), logged=WINDOWS)
        self.lines, self.folder = lines, tempfile.TemporaryDirectory()

    def ask_rivals(self, windows: list[pd.DataFrame]) -> Alarms:
        """Return what each rival says of each window."""
        folder, replay = Path(self.folder.name), self.replay
        files = [folder / f"{number}.parquet" for number in range(len(windows))]
        for file, rows in zip((folder / "reference.parquet", *files), (replay.held_out, *windows), strict=True):
            rows.reset_index(drop=True).to_parquet(file)
        job: dict[str, Any] = {"kind": "drift", "reference": str(folder / "reference.parquet"), "windows": [*map(str, files)]}
        job |= {"numeric": list(replay.numbers), "categories": list(replay.categories)}
        found: Alarms = {}
        for contestant, line in self.lines.items():
            answers = line.ask(job)["alarms"]
            found |= {f"{contestant.name} {name}": [answer[name] for answer in answers] for name in answers[0]}
        return found

    def ask_ours(self, windows: list[pd.DataFrame], place: int) -> Alarms:
        """Return what ours says of windows that follow the first ``place`` ones: of each alone, and whether an alert fires."""
        fork = self.replay.fork()
        fork.history = fork.history[:place]
        found: Alarms = {name: [] for name in OURS}
        for rows in windows:
            evaluation = fork.evaluate(rows, fork.times[rows.index.to_numpy()])
            fork.history.append(evaluation)
            found["window"].append(bool(evaluation.alerts))
            found["firing"].append(bool(evaluation.firing))
        if place == 0:
            self.replay.history = fork.history
        return found

    def take_windows(self, first: int, count: int) -> list[pd.DataFrame]:
        """Return windows as they are."""
        return [self.replay.features.iloc[start:end] for start, end in self.replay.spans[first : first + count]]

    def spoil(self, fault: str, place: int, count: int, seed: int) -> list[pd.DataFrame] | None:
        """Return windows with a fault; None if this table cannot have it."""
        replay, changed = self.replay, []
        for number, rows in enumerate(self.take_windows(place, count)):
            target = replay.target.loc[rows.index]
            rng = np.random.default_rng(seed)
            found = OVERLAYS[fault](rows, Scene(replay.held_out, replay.numbers, replay.categories, target, rng, number))
            if found is None:
                return None
            changed.append(found)
        return changed


def plan_faults(log: Log) -> Iterator[tuple[str, int, list[pd.DataFrame]]]:
    """Yield each fault, where it begins, and its windows."""
    for fault in OVERLAYS:
        lasting = LASTING.get(fault, 2)
        places = np.linspace(10, len(log.replay.spans) - lasting, 1 if fault in LASTING else ONSETS).astype(int)
        for seed, place in enumerate(map(int, places)):
            windows = log.spoil(fault, place, lasting, seed)
            if windows is not None:
                yield fault, place, windows


def measure_log(log: Log) -> Iterator[dict[str, Any]]:
    """Yield a record of the quiet log, and one of each fault and onset. The rivals are asked once: they remember nothing."""
    about = {"table": log.replay.case.table, "length": log.replay.case.length}
    parts = [("", 0, log.take_windows(0, len(log.replay.spans))), *plan_faults(log)]
    rivals = log.ask_rivals([rows for _, _, windows in parts for rows in windows])
    quiet: Alarms = {}
    first = 0
    for fault, place, windows in parts:
        ours = {f"ours {name}": alarms for name, alarms in log.ask_ours(windows, place).items()}
        alarms = ours | {name: found[first : first + len(windows)] for name, found in rivals.items()}
        first += len(windows)
        quiet = quiet or alarms
        new = {
            name: any(now and not then for now, then in zip(found, quiet[name][place:], strict=False))
            for name, found in alarms.items()
        }
        yield about | {"fault": fault, "alarms": alarms} | ({"found": new} if fault else {})


def render(records: list[dict[str, Any]]) -> str:
    """Return the tables: alarms without a fault, and faults found."""
    quiet = [record for record in records if not record["fault"]]
    names = list(quiet[0]["alarms"])
    lines: Rows = [("", *(record["table"] for record in quiet), "all windows", "two in a row", "worst table")]
    for name in names:
        alarms = [record["alarms"][name] for record in quiet]
        shares = [float(np.mean(found)) for found in alarms]
        pairs = [float(np.mean(np.logical_and(found[1:], found[:-1]))) for found in alarms]
        whole = float(np.mean(np.concatenate(alarms)))
        lines.append((name, *map(percent, shares), percent(whole), percent(float(np.mean(pairs))), percent(max(shares))))
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for name, hit in record.get("found", {}).items():
            found[name][record["fault"]].append(hit)
    faults: Rows = [("", *OVERLAYS, "all")]
    for name in names:
        hits = [found[name][fault] for fault in OVERLAYS]
        cells = [f"{sum(part)}/{len(part)}" for part in hits]
        faults.append((name, *cells, f"{sum(map(sum, hits))}/{sum(map(len, hits))}"))
    count = sum(len(record["alarms"][names[0]]) for record in quiet)
    return f"{count} windows without a fault: share with an alarm\n\n{draw(lines)}\n\nFaults found:\n\n{draw(faults)}"


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--render", action="store_true", help="measure nothing, print what was")
    options = parser.parse_args()
    if not options.render:
        warnings.filterwarnings("ignore")
        seasons.install()
        for contestant in RIVALS:
            contestant.install()
        with ExitStack() as stack, options.file.open("w") as file:
            lines = {contestant: stack.enter_context(contestant.running()) for contestant in RIVALS}
            for table, length in TABLES:
                for record in measure_log(Log(table, length, lines)):
                    file.write(json.dumps(record) + "\n")
                    file.flush()
                print(f"{table}: done", flush=True)
    print(render([json.loads(line) for line in options.file.read_text().splitlines()]))


if __name__ == "__main__":
    main()
