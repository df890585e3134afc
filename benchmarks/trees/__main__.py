"""Tree ensembles, one thread: ours, ONNX Runtime, the libraries themselves, treelite, lleaves, oneDAL. ``make bench-trees``.

Every contestant is a process of its own, one at a time, all of them once in each round. Options: ``--rounds 3``,
``--only forest``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import install
from benchmarks.monitor.places import BENCH
from benchmarks.trees.contestant import SIZES
from benchmarks.trees.models import build_models

FOLDER = BENCH / "trees"
ROOT = Path(__file__).parents[2]
PEERS = {  # environment, and the models that the contestant reads
    "treelite": (("treelite==4.8.1", "scikit-learn==1.9.1", "joblib"), ("default", "forest", "lightgbm", "xgboost")),
    "lleaves": (("lleaves==1.3.0", "llvmlite<0.44", "pandas"), ("lightgbm",)),
    "onedal": (
        ("daal4py==2024.7.0", "lightgbm", "xgboost-cpu", "scikit-learn", "joblib", "packaging"),
        ("lightgbm", "xgboost"),
    ),
}


def list_contestants(model: str) -> dict[str, tuple[str, str, dict[str, str]]]:
    """Return name → (Python, function, variables) of those that evaluate a model; the library comes first, as the reference."""
    here = {
        "library": (sys.executable, "library", {}),
        "trees in C": (sys.executable, "ours", {}),
        "ONNX Runtime": (sys.executable, "ours", {"NATIVE_TREES": "0"}),
    }
    for name, (requirements, models) in PEERS.items():
        if model in models:
            failure = install(FOLDER / "environments" / name, requirements)
            if failure:
                print(f"{name} {failure}", file=sys.stderr)
            else:
                here[name] = (str(FOLDER / "environments" / name / "bin" / "python"), name, {})
    return here


def run(python: str, function: str, variables: dict[str, str], folder: Path) -> dict:
    """Measure one contestant; a failure in words instead of figures."""
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    script = str(Path(__file__).with_name("contestant.py"))
    command = [python, script, function, str(folder)]
    done = subprocess.run(command, env=os.environ | single | variables, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"failure": (done.stderr.strip().splitlines() or ["no output"])[-1][:150]}
    return json.loads(lines[-1])


def main() -> None:
    """Measure, and print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    for model, folder in build_models(FOLDER, list(filter(None, options.only.split(",")))).items():
        contestants = list_contestants(model)
        records: dict[str, list[dict]] = {name: [] for name in contestants}
        for _ in range(options.rounds):
            for name, how in contestants.items():
                records[name].append(run(*how, folder))
        show(model, records)


def show(model: str, records: dict[str, list[dict]]) -> None:
    """Print a table of medians of the rounds, in microseconds per call."""
    print(f"\n**{model}**, microseconds\n\n| | {' | '.join(f'{size:,} rows' for size in SIZES)} | off by | load, s |")
    print("|" + "---|" * (len(SIZES) + 3))
    for name, rounds in records.items():
        if failure := next((item["failure"] for item in rounds if "failure" in item), None):
            print(f"| {name} | {failure} |")
            continue
        cells = [f"{statistics.median(item['microseconds'][str(size)] for item in rounds):,.1f}" for size in SIZES]
        loads = statistics.median(item["load_seconds"] for item in rounds)
        print(f"| {name} | {' | '.join(cells)} | {rounds[0]['off']:.1e} | {loads:.1f} |")


if __name__ == "__main__":
    main()
