"""Scoring a table of millions of rows against ``predict_proba`` on a frame in memory: ``make bench-scale``. Prints one table.

The model is a forest of 200 trees, trained on scikit-learn's breast-cancer table. The rows are made up: each
value is drawn from its column in that table. Options: ``--rows 1000000``, several times.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from pyarrow.parquet import ParquetWriter
from sklearn.datasets import load_breast_cancer

MIB = 2**20
GROUP_ROWS = 1 << 17
POLL_SECONDS = 0.2
CONFIG = """
model: {name: forest, estimator: random_forest, params: {n_estimators: 200}}
tracking: {enabled: false}
evaluation: {bootstrap_rounds: 0, importance_repeats: 0}
"""
BY_HAND = """
import json, sys, time
import joblib, pandas as pd
pipeline, frame = joblib.load("artifacts/model/model.joblib"), pd.read_parquet(sys.argv[1])
pipeline.set_params(**{name: int(sys.argv[2]) for name in pipeline.get_params() if name.endswith("n_jobs")})
names = [name for name in frame if name != "id"]
started = time.perf_counter()
pipeline.predict_proba(frame[names])
print(json.dumps(time.perf_counter() - started))
"""


def write_rows(file: Path, n_rows: int) -> None:
    """Write rows whose values are drawn column by column from the breast-cancer table, and a number for each."""
    table, rng = load_breast_cancer(as_frame=True).data, np.random.default_rng(0)
    schema = pa.schema([("id", pa.int64()), *((name, pa.float64()) for name in table)])
    with ParquetWriter(file, schema) as writer:
        for start in range(0, n_rows, GROUP_ROWS):
            size = min(GROUP_ROWS, n_rows - start)
            columns = [np.arange(start, start + size), *(rng.choice(table[name], size) for name in table)]
            writer.write_table(pa.table(list(map(pa.array, columns)), schema=schema))


def run(command: list[str], folder: Path) -> tuple[str, float, float, float]:
    """Run a command; return its output, wall seconds, CPU seconds and the most memory of it and its children, in MiB."""
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    watched = psutil.Process(process.pid)
    before = os.times()
    while process.poll() is None:
        peak = max(peak, _measure(watched))
        time.sleep(POLL_SECONDS)
    after = os.times()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed in {folder}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return process.stdout.read() if process.stdout else "", time.perf_counter() - started, cpu, peak / MIB


def _measure(process: psutil.Process) -> int:
    """Return the memory of a process and its children; pages that several share are counted once."""
    total = 0
    for one in (process, *_list_children(process)):
        try:
            total += one.memory_full_info().pss
        except psutil.Error:  # it has ended
            continue
    return total


def _list_children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def measure(folder: Path, n_rows: int, cores: int) -> list[tuple[str, ...]]:
    """Score so many rows, each way with one core and with all."""
    write_rows(folder / "rows.parquet", n_rows)
    rows: list[tuple[str, ...]] = []
    for n_used in sorted({1, cores}):
        command = [sys.executable, "-m", "mlops_project.score", "rows.parquet", "-o", "out.parquet", "--keep", "id", "--json"]
        said, wall, cpu, peak = run([*command, "--processes", str(n_used)], folder)
        assert json.loads(said)["scored"] == n_rows
        text, _, cpu_by_hand, peak_by_hand = run([sys.executable, "-c", BY_HAND, "rows.parquet", str(n_used)], folder)
        seconds = float(text)
        rows += [
            (f"{n_rows:,}", str(n_used), "`mlops score`, file to file", f"{n_rows / wall:,.0f}", f"{cpu:.1f}", f"{peak:.0f}"),
            (
                f"{n_rows:,}",
                str(n_used),
                "`predict_proba`, in memory",
                f"{n_rows / seconds:,.0f}",
                f"{cpu_by_hand:.1f}",
                f"{peak_by_hand:.0f}",
            ),
        ]
    return rows


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, action="append")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pyproject.toml").touch()
        (folder / "model.yaml").write_text(CONFIG)
        run([sys.executable, "-m", "mlops_project.train", "model.yaml"], folder)
        rows = [row for n_rows in options.rows or [1_000_000] for row in measure(folder, n_rows, cores)]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "pandas", "onnxruntime", "pyarrow"))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {libraries}\n")
    print("| rows × 30 | cores | what | rows/s | CPU s | memory MiB |\n| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
