"""Who raises an alarm in which window: without a change, and with each fault."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.monitor.cases import POPULATIONS, Case
from benchmarks.monitor.contestants import CONTESTANTS, Contestant, Line
from benchmarks.monitor.faults import CONCEPTS, FAULTS

LARGE = 100_000


@dataclass(frozen=True)
class Plan:
    """How much is tried: ``cases`` models per table and size of reference, each watched for ``windows`` windows in a row."""

    cases: int
    windows: int
    reference_rows: tuple[int, ...]
    window_rows: tuple[int, ...]
    faults: tuple[str | None, ...]

    @property
    def jobs(self) -> int:
        """How many windows are written."""
        return len(POPULATIONS) * len(self.reference_rows) * len(self.window_rows) * len(self.faults) * self.cases


QUIET = Plan(10, 10, (1_000, 10_000), (500, 5_000, LARGE), (None,))
SENSITIVE = Plan(3, 4, (1_000, 10_000), (500, 5_000), tuple(FAULTS))
QUICK_QUIET = Plan(2, 5, (1_000, 10_000), (500, 5_000), (None,))
QUICK_SENSITIVE = Plan(1, 4, (1_000, 10_000), (500, 5_000), tuple(FAULTS))


def try_all(plan: Plan, lines: dict[Contestant, Line], files: dict[Contestant, Path], *, keep: bool) -> None:
    """Write every window of a plan, ask every contestant about it, and write down what it says."""
    done = 0
    for reference_rows in plan.reference_rows:
        for table in POPULATIONS:
            for number in range(plan.cases):
                case = Case.build(table, reference_rows, number, keep=keep)
                for rows in plan.window_rows:
                    for fault in plan.faults:
                        done += 1
                        say(f"{done}/{plan.jobs}: {table}, reference {reference_rows}, model {number}, window {rows}, {fault}")
                        watch(case, rows, fault, plan, lines, files)


def watch(
    case: Case, rows: int, fault: str | None, plan: Plan, lines: dict[Contestant, Line], files: dict[Contestant, Path]
) -> None:
    """Ask the contestants about one model's windows."""
    where = {"table": case.table, "reference_rows": case.reference_rows, "number": case.number, "rows": rows, "fault": fault}
    with case.windows(rows, plan.windows, fault) as windows:
        for contestant, line in lines.items() if windows else ():
            if rows == LARGE and case.number * plan.windows >= contestant.windows:
                continue
            for kind in list_kinds(rows, fault):
                answer = line.ask(case.describe() | {"windows": windows, "kind": kind})
                with files[contestant].open("a") as file:
                    file.write(json.dumps({**where, "kind": kind, **answer}) + "\n")


def list_kinds(rows: int, fault: str | None) -> tuple[str, ...]:
    """Return what is looked for: labels change performance, the other faults the features."""
    if fault in CONCEPTS:
        return ("loss",)
    return ("drift", "loss") if fault is None and rows < LARGE else ("drift",)


def find_contestants(names: list[str] | None) -> list[Contestant]:
    """Return those that take part."""
    return [contestant for contestant in CONTESTANTS if not names or contestant.name in names]


def read_records(files: list[Path]) -> list[dict[str, Any]]:
    """Return what was written down, now or in an earlier run."""
    return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)
