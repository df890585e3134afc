"""How long a window of 100,000 × 30 takes, and how time and memory grow with the rows."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.monitor.alarms import LARGE, say
from benchmarks.monitor.cases import POPULATIONS, Case, add_predictions
from benchmarks.monitor.contestants import Contestant, Line
from benchmarks.monitor.places import BUILD, HERE
from mlops_project.runtime import Runtime

REFERENCE_ROWS = 10_000
MILLION = 1_000_000
TABLE = "cancer"  # 30 numbers


def time_windows(lines: dict[Contestant, Line], rounds: int, *, keep: bool) -> dict[str, float]:
    """Return the median seconds per contestant, which take turns; reading the files is not counted, warming up neither."""
    case = Case.build(TABLE, REFERENCE_ROWS, 0, keep=keep)
    seconds: dict[str, list[float]] = {}
    with case.windows(LARGE, 1) as windows:
        job = case.describe() | {"windows": windows, "kind": "drift", "timed": True}
        for number in range(rounds + 1):
            for contestant, line in lines.items() if number % 2 else reversed(lines.items()):
                say(f"speed, round {number} of {rounds}: {contestant.name}")
                answer = line.ask(job)["alarms"]
                for taken in answer if number else ():
                    seconds.setdefault(taken["name"], []).append(taken["seconds"])
    return {name: statistics.median(values) for name, values in seconds.items()}


def write_rows(case: Case, millions: int) -> Path:
    """Write a file of so many million rows, each of another draw, unless it is there."""
    file = BUILD / "scale" / f"{millions}.parquet"
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    runtime = Runtime.load(case.folder / "bundle")
    unfinished, writer = file.with_suffix(".part"), None
    for number in range(millions):
        say(f"writing {file.name}: {number + 1} of {millions} million rows")
        rows = pa.Table.from_pandas(add_predictions(POPULATIONS[TABLE].draw(MILLION, 3, number), runtime), preserve_index=False)
        writer = writer or pq.ParquetWriter(unfinished, rows.schema, compression="zstd")
        writer.write_table(rows, row_group_size=LARGE)
    if writer:
        writer.close()
    return unfinished.rename(file)


def measure_pass(case: Case, file: Path) -> dict[str, Any]:
    """Watch a file in a process of its own, in one pass; return its seconds and peak memory in MiB."""
    command = [sys.executable, str(HERE / "peers" / "one_pass.py"), str(case.folder / "bundle"), str(file)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return json.loads(text) | {"whole_seconds": time.perf_counter() - start, "peak_mib": peak}


def measure_scale(millions: tuple[int, ...], rounds: int, *, keep: bool) -> dict[int, dict[str, float]]:
    """Return medians per number of rows; the sizes take turns."""
    case = Case.build(TABLE, REFERENCE_ROWS, 0, keep=keep)
    files = {count: write_rows(case, count) for count in millions}
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in millions}
    for number in range(rounds):
        for count, file in files.items():
            say(f"one pass, round {number + 1} of {rounds}: {count} million rows")
            found[count].append(measure_pass(case, file))
    return {
        count: {key: statistics.median(item[key] for item in items) for key in ("seconds", "whole_seconds", "peak_mib")}
        for count, items in found.items()
    }
