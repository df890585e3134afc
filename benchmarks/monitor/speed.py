"""How long a window of 100,000 × 30 takes, and how time and memory grow with the rows."""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.monitor.alarms import LARGE, say
from benchmarks.monitor.cases import POPULATIONS, Case
from benchmarks.monitor.contestants import Contestant, Line
from benchmarks.monitor.places import BUILD, HERE
from mlops_project.bundle import load_bundle
from mlops_project.prediction_log.layout import (
    ID,
    INSTANT,
    LOG,
    PREDICTION,
    PROBABILITY,
    RECOMPUTED,
    ROLE,
    ROW,
    THRESHOLD,
    TIME,
    VERSION,
)
from mlops_project.prediction_log.parts import ROW_GROUP_ROWS
from mlops_project.prediction_log.typed import build_schema
from mlops_project.runtime import Runtime

REFERENCE_ROWS = 10_000
MILLION = 1_000_000
TABLE = "cancer"  # 30 numbers
DRAWN = 10  # million rows
MODEL, DAY = "bench", "2026-01-01"


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


def write_log(case: Case, number: int) -> Path:
    """Write a million rows as the monitor keeps them, each of another draw, unless they are there."""
    file = BUILD / "scale" / "written" / f"{number}.parquet"
    if file.exists():
        return file
    say(f"writing a million rows: {file.name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(case.folder / "bundle")
    drawn = POPULATIONS[TABLE].draw(MILLION, 3, number)
    columns = {name: drawn[name].to_numpy() for name in bundle.contract.names}
    predictions = Runtime.load(bundle).predict(columns)
    assert predictions.indices is not None
    assert predictions.probabilities is not None
    seconds = np.arange(MILLION) * (86_000 / MILLION)
    keys = {
        ID: pa.array([f"{number:04x}{row:034x}" for row in range(MILLION)]),
        ROW: pa.array(np.zeros(MILLION, np.int32)),
        TIME: pa.array((np.datetime64(DAY, "us").astype(np.int64) + seconds * 1e6).astype(np.int64)).cast(INSTANT),
        VERSION: pa.repeat("1", MILLION),
        ROLE: pa.repeat("champion", MILLION),
    }
    answers = {RECOMPUTED: pa.repeat(False, MILLION), PREDICTION: predictions.indices}
    scores = {f"{PROBABILITY}.{index}": values for index, values in enumerate(predictions.probabilities.T)}
    scores[THRESHOLD] = np.full(MILLION, 0.5)  # the table has two classes
    rows = pa.table({**keys, **columns, **answers, **scores}, schema=build_schema(bundle.contract))
    unfinished = file.with_suffix(".part")
    pq.write_table(rows, unfinished, row_group_size=ROW_GROUP_ROWS, compression="zstd")
    return unfinished.rename(file)


def build_store(case: Case, millions: int) -> Path:
    """Return a log of so many million rows; beyond ``DRAWN`` million they are there several times."""
    store = BUILD / "scale" / str(millions)
    folder = store / LOG / f"model={MODEL}" / f"date={DAY}"
    shutil.rmtree(store, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(millions):
        (folder / f"{number}.parquet").hardlink_to(write_log(case, number % DRAWN))
    return store


def measure_pass(case: Case, store: Path) -> dict[str, Any]:
    """Evaluate a log in a process of its own; return its seconds and peak memory in MiB."""
    command = [sys.executable, str(HERE / "peers" / "one_pass.py"), str(case.folder / "model.yaml"), str(store), MODEL, DAY]
    start = time.perf_counter()
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(text) | {"whole_seconds": time.perf_counter() - start}


def measure_scale(millions: tuple[int, ...], rounds: int, *, keep: bool) -> dict[int, dict[str, float]]:
    """Return medians per number of rows; the sizes take turns."""
    case = Case.build(TABLE, REFERENCE_ROWS, 0, keep=keep)
    stores = {count: build_store(case, count) for count in millions}
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in millions}
    for number in range(rounds):
        for count, store in stores.items():
            say(f"one pass, round {number + 1} of {rounds}: {count} million rows")
            found[count].append(measure_pass(case, store))
    return {
        count: {key: statistics.median(item[key] for item in items) for key in ("seconds", "whole_seconds", "peak_mib")}
        for count, items in found.items()
    }
