"""Scoring millions of rows against ``predict_proba`` on a frame in memory and others: ``make bench-scale``. Prints one table.

The model is a forest on scikit-learn's breast-cancer table: ``--forest default`` is the one of the default configuration with
200 trees, ``small`` has 20 trees of depth 5. The rows are made up: each value is drawn from its column in that table.
Options: ``--rows 1000000``, several times; ``--ways score,memory,ray,pyfunc,predict``; ``--rounds 3`` takes turns, and the
table has the medians; ``--address 127.0.0.1:6379`` is a Ray cluster that runs.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pyarrow as pa
from pyarrow.parquet import ParquetFile, ParquetWriter
from sklearn.datasets import load_breast_cancer

MIB = 2**20
GROUP_ROWS = 1 << 17
POLL_SECONDS = 0.2
PREDICT_ROWS = 200_000  # of `mlflow models predict`, which takes CSV and holds it in memory
FORESTS = {"default": "{n_estimators: 200}", "small": "{n_estimators: 20, max_depth: 5}"}
CONFIG = """
model: {{name: forest, estimator: random_forest, params: {params}}}
tracking: {{enabled: false}}
evaluation: {{bootstrap_rounds: 0, importance_repeats: 0}}
"""
MEMORY = """
import json, sys, time
import joblib, pandas as pd
pipeline, frame = joblib.load("artifacts/model/model.joblib"), pd.read_parquet(sys.argv[1])
pipeline.set_params(**{name: int(sys.argv[2]) for name in pipeline.get_params() if name.endswith("n_jobs")})
names = [name for name in frame if name != "id"]
started, used = time.perf_counter(), time.process_time()
pipeline.predict_proba(frame[names])
print(json.dumps([time.perf_counter() - started, time.process_time() - used]))
"""
PYFUNC = """
import sys
import mlflow.pyfunc, pyarrow as pa
from pyarrow.parquet import ParquetFile, ParquetWriter
model, writer = mlflow.pyfunc.load_model("artifacts/model"), None
for batch in ParquetFile(sys.argv[1]).iter_batches(1 << 16):
    frame = batch.to_pandas()
    found = model.predict(frame.drop(columns="id"))
    table = pa.table({"id": frame["id"], "predicted": list(found)})
    writer = writer or ParquetWriter("pyfunc.parquet", table.schema)
    writer.write_table(table)
writer.close()
"""


class Measured(NamedTuple):
    """What one run took; CPU seconds and MiB are of the process and its children."""

    rows: int
    seconds: float
    cpu_seconds: float
    mib: float


def write_rows(file: Path, n_rows: int) -> None:
    """Write rows whose values are drawn column by column from the breast-cancer table, and a number for each."""
    table, rng = load_breast_cancer(as_frame=True).data, np.random.default_rng(0)
    schema = pa.schema([("id", pa.int64()), *((name, pa.float64()) for name in table)])
    with ParquetWriter(file, schema) as writer:
        for start in range(0, n_rows, GROUP_ROWS):
            size = min(GROUP_ROWS, n_rows - start)
            columns = [np.arange(start, start + size), *(rng.choice(table[name], size) for name in table)]
            writer.write_table(pa.table(list(map(pa.array, columns)), schema=schema))


def run(command: list[str], folder: Path) -> tuple[str, Measured]:
    """Run a command; return its output and what it took."""
    started, peak, used = time.perf_counter(), 0, dict[int, float]()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, _measure(watched, used))
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed in {folder}")
    text = process.stdout.read() if process.stdout else ""
    return text, Measured(0, time.perf_counter() - started, sum(used.values()), peak / MIB)


def _measure(process: psutil.Process, used: dict[int, float]) -> int:
    """Return the memory of a process and its children, pages that several share counted once; note their CPU seconds."""
    total = 0
    for one in (process, *_list_children(process)):
        try:
            total += one.memory_full_info().pss
            times = one.cpu_times()
            used[one.pid] = times.user + times.system
        except psutil.Error:  # it has ended
            continue
    return total


def _list_children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def score(folder: Path, n_rows: int, cores: int, *more: str) -> Measured:
    """Score from file to file."""
    command = [sys.executable, "-m", "mlops_project.score", "rows.parquet", "-o", "out.parquet", "--keep", "id", "--json"]
    said, measured = run([*command, "--processes", str(cores), *more], folder)
    assert json.loads(said)["scored"] == n_rows
    return measured._replace(rows=n_rows)


def in_memory(folder: Path, n_rows: int, cores: int) -> Measured:
    """Time ``predict_proba`` alone."""
    text, measured = run([sys.executable, "-c", MEMORY, "rows.parquet", str(cores)], folder)
    seconds, cpu = json.loads(text)
    return measured._replace(rows=n_rows, seconds=seconds, cpu_seconds=cpu)


def by_pyfunc(folder: Path, n_rows: int) -> Measured:
    """Predict batch by batch with the MLflow model: classes, no probabilities."""
    return run([sys.executable, "-c", PYFUNC, "rows.parquet"], folder)[1]._replace(rows=n_rows)


def by_command(folder: Path, n_rows: int) -> Measured:
    """Predict the first rows with ``mlflow models predict``."""
    n_rows = min(n_rows, PREDICT_ROWS)
    with ParquetFile(folder / "rows.parquet") as rows:
        frame = pa.Table.from_batches(rows.iter_batches(n_rows)).slice(0, n_rows).to_pandas()
    frame.drop(columns="id").to_csv(folder / "rows.csv", index=False)
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m", "artifacts/model", "-i", "rows.csv", "-o", "out.json"]
    return run([*command, "-t", "csv", "--env-manager", "local"], folder)[1]._replace(rows=n_rows)


def measure(folder: Path, n_rows: int, ways: list[str], rounds: int, address: str) -> list[tuple[str, ...]]:
    """Measure each way so many times, in turns."""
    there = ["--address", address] if address else []
    write_rows(folder / "rows.parquet", n_rows)
    cores = len(os.sched_getaffinity(0))
    plans: list[tuple[str, str, int, Callable[[int], Measured]]] = [
        ("score", "`mlops score`, file to file", 1, lambda used: score(folder, n_rows, used)),
        ("memory", "`predict_proba`, in memory", 1, lambda used: in_memory(folder, n_rows, used)),
        ("score", "`mlops score`, file to file", cores, lambda used: score(folder, n_rows, used)),
        ("memory", "`predict_proba`, in memory", cores, lambda used: in_memory(folder, n_rows, used)),
        ("ray", "`mlops score --engine ray`", cores, lambda used: score(folder, n_rows, used, "--engine", "ray", *there)),
        ("pyfunc", "`mlflow.pyfunc`, batch by batch", 1, lambda _: by_pyfunc(folder, n_rows)),
        ("predict", "`mlflow models predict`", 1, lambda _: by_command(folder, n_rows)),
    ]
    plans = [plan for plan in plans if plan[0] in ways]
    found: dict[tuple[str, int], list[Measured]] = {}
    for _ in range(rounds):
        for _, title, used, action in plans:
            found.setdefault((title, used), []).append(action(used))
            print(title, used, found[title, used][-1], file=sys.stderr, flush=True)
    return [(*_describe(title, used, runs),) for (title, used), runs in found.items()]


def _describe(title: str, cores: int, runs: list[Measured]) -> tuple[str, ...]:
    rows = runs[0].rows
    seconds, cpu, mib = (statistics.median(one[place] for one in runs) for place in (1, 2, 3))
    return f"{rows:,}", str(cores), title, f"{rows / seconds:,.0f}", f"{cpu:.1f}", f"{1e6 * cpu / rows:.2f}", f"{mib:.0f}"


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--forest", choices=FORESTS, default="default")
    parser.add_argument("--address", default="", help="of a Ray cluster that runs; without it each run starts its own")
    parser.add_argument("--ways", default="score,memory,ray,pyfunc,predict")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pyproject.toml").touch()
        (folder / "model.yaml").write_text(CONFIG.format(params=FORESTS[options.forest]))
        run([sys.executable, "-m", "mlops_project.train", "model.yaml"], folder)
        ways = options.ways.split(",")
        rows = [
            row
            for n_rows in options.rows or [1_000_000]
            for row in measure(folder, n_rows, ways, options.rounds, options.address)
        ]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "pandas", "onnxruntime", "pyarrow", "ray"))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {libraries}; {options.forest} forest\n")
    print(
        "| rows × 30 | cores | what | rows/s | CPU s | CPU µs/row | memory MiB |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
