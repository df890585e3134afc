"""Tree ensembles, one thread: ours, ONNX Runtime, their libraries, treelite, TL2cgen, lleaves, oneDAL. ``make bench-trees``.

Every contestant is a process of its own, one at a time, all of them once in each round; one that fails, or takes longer than
``--minutes``, is not asked again. Options: ``--rounds 3``, ``--minutes 10``, ``--only forest``, ``--build`` (the models alone).
"""

import argparse
import json
import os
import signal
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
ONEDAL = ("scikit-learn-intelex==2026.2.0", "lightgbm", "xgboost-cpu", "treelite==4.8.1", "joblib", "packaging")
PEERS = {  # environment, and the models that the contestant reads
    "treelite": (("treelite==4.8.1", "scikit-learn==1.9.1", "joblib"), ("default", "forest", "lightgbm", "xgboost")),
    "tl2cgen": (("tl2cgen==1.0.0", "treelite==4.8.1", "scikit-learn==1.9.1", "joblib"), ("default", "lightgbm", "xgboost")),
    "lleaves": (("lleaves==1.3.0", "llvmlite<0.44", "pandas"), ("lightgbm",)),
    "onedal": (ONEDAL, ("lightgbm", "xgboost")),
    "onedal_forest": (ONEDAL, ("default", "forest")),  # its own trees
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


def run(python: str, function: str, variables: dict[str, str], folder: Path, minutes: float) -> dict:
    """Measure one contestant; a failure in words instead of figures."""
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [python, str(Path(__file__).with_name("contestant.py")), function, str(folder)]
    pipes: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, env=os.environ | single | variables, **pipes) as process:
        try:
            said, complaints = process.communicate(timeout=60 * minutes)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the compilers that it started as well
            return {"failure": f"not done in {minutes:g} minutes"}
    lines = said.strip().splitlines()
    if process.returncode or not lines:
        return {"failure": (complaints.strip().splitlines() or ["no output"])[-1][:150]}
    return json.loads(lines[-1])


def main() -> None:
    """Measure, and print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--build", action="store_true")
    options = parser.parse_args()
    for model, folder in build_models(FOLDER, list(filter(None, options.only.split(",")))).items():
        contestants = list_contestants(model)
        records: dict[str, list[dict]] = {name: [] for name in contestants}
        for _ in range(0 if options.build else options.rounds):
            for name, how in contestants.items():
                if not any("failure" in found for found in records[name]):
                    records[name].append(run(*how, folder, options.minutes))
        if not options.build:
            show(model, records)


def show(model: str, records: dict[str, list[dict]]) -> None:
    """Print a table of medians of the rounds, in microseconds per call."""
    print(
        f"\n**{model}**, microseconds\n\n| | {' | '.join(f'{size:,} rows' for size in SIZES)} | off by | load, s |", flush=True
    )
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
