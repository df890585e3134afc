"""Start-up, training against the same by hand, and memory: ``make bench-train``. Prints one table of medians.

Contestants run as processes of their own, in turn, round by round, so that a busy machine slows all of them alike. Options:
``--rounds 5``, ``--rows 1000000``, ``--skip-memory``.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
MIB = 2**20
COLUMNS = 30


def run(command: list[str], folder: Path) -> tuple[float, float, int]:
    """Run a process to its end; return wall seconds, CPU seconds and peak resident bytes (of the process itself)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_"))}
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=kept, **QUIET)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed in {folder}; run it there by hand to see why")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return wall, usage.ru_utime + usage.ru_stime, peak


def project(root: Path, name: str) -> Path:
    """Return an empty project folder."""
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    return folder


def compare_speed(root: Path, rounds: int) -> list[tuple[str, ...]]:
    """Time the help page, and training with a fresh store and with one that has runs."""
    hand = [sys.executable, str(HERE / "by_hand.py")]
    contestants = {"ours": [sys.executable, "-m", "mlops_project.train"], "by hand": hand, "lean": [*hand, "--lean"]}
    times: dict[tuple[str, str], list[float]] = {}
    run([str(BIN / "mlops"), "--help"], root)  # warm the file cache
    for _ in range(rounds):
        times.setdefault(("help", ""), []).extend(run([str(BIN / "mlops"), "--help"], root)[0] for _ in range(3))
        for name, command in contestants.items():
            folder = project(root, name.replace(" ", "-"))
            for state in ("new", "existing"):
                times.setdefault((name, state), []).append(run(command, folder)[0])
    median = {key: statistics.median(values) for key, values in times.items()}
    rows: list[tuple[str, ...]] = [("mlops --help", f"{median['help', '']:.2f} s", "", "< 0.35 s")]
    for state in ("new", "existing"):
        ours = median["ours", state]
        compared = [f"{name} {median[name, state]:.2f} s: {ours / median[name, state]:.2f}×" for name in ("by hand", "lean")]
        rows.append((f"default training, {state} store", f"{ours:.2f} s", "; ".join(compared), "≤ 1.5×"))
    return rows


def write_table(file: Path, n_rows: int, dtype: str) -> int:
    """Write a table with a learnable target; return its size in memory, in bytes."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{index}": rng.normal(size=n_rows).astype(dtype) for index in range(COLUMNS - 1)})
    score = frame["x0"] + frame["x1"] * frame["x2"] + rng.normal(size=n_rows)
    frame["y"] = (score > 0).astype("int64")
    frame.to_parquet(file)
    return int(frame.memory_usage(index=False).sum())


CONFIG = """
data: {{source: {file}, target: y}}
model: {{name: big, estimator: {estimator}, params: {params}}}
"""
ESTIMATORS = {
    "hist_gradient_boosting": "{}",
    "random_forest": "{n_estimators: 20, max_depth: 10, n_jobs: -1}",
}


def measure_memory(root: Path, n_rows: int) -> list[tuple[str, ...]]:
    """Train on a large table and compare the peak with the table's own size."""
    rows: list[tuple[str, ...]] = []
    for dtype in ("float64", "float32"):
        folder = project(root, f"memory-{dtype}")
        size = write_table(folder / "big.parquet", n_rows, dtype)
        for estimator, params in ESTIMATORS.items():
            config = folder / f"{estimator}.yaml"
            config.write_text(CONFIG.format(file="big.parquet", estimator=estimator, params=params))
            wall, cpu, peak = run([sys.executable, "-m", "mlops_project.train", config.name], folder)
            detail = f"table {size / MIB:.0f} MiB: {peak / size:.2f}×; {wall:.0f} s, {cpu:.0f} s of CPU"
            target = "< 4×" if dtype == "float64" else ""
            rows.append((f"{n_rows:,} × {COLUMNS} {dtype}, {estimator}", f"{peak / MIB:.0f} MiB", detail, target))
    return rows


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--skip-memory", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare_speed(Path(folder), options.rounds)
        if not options.skip_memory:
            rows += measure_memory(Path(folder), options.rows)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "pandas", "mlflow", "onnxruntime"))
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
    print(f"{machine}, {libraries}; medians of {options.rounds} rounds\n")
    print("| what | measured | compared | target |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
