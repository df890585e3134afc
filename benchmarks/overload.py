"""More clients than the server can answer, each asking again at once: ``make bench-overload``.

Interleaved rounds with 16 connections, which is a load that fits, and 10, 25 and 62 times as many, on the forest: with the
defaults, and with places for 16 requests only. Prints medians, and answers and their 99th percentile beside those of 16
connections in the same round. The load generator shares the machine's cores with the server. Options: ``--rounds 5``,
``--seconds 4``.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from serve import serving
from serving.contestants import CONTESTANTS
from serving.isolation import isolate
from serving.models import build_model
from serving.places import HERE
from serving.table import describe_machine, draw

FITS = 16
LOADS = {"defaults": (FITS, 160, 400, 1000), "max_waiting 16": (FITS, 160, 1000)}
VARIABLES = {"defaults": {}, "max_waiting 16": {"MLOPS_SERVING__MAX_WAITING": "16"}}


def measure(port: int, path: str, body_file: Path, connections: int, seconds: int) -> dict[str, float]:
    """Return answered and refused requests per second and the 99th percentile of answers."""
    command = [sys.executable, "-m", "serving.crowd", str(port), path, str(body_file), str(connections), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="per measurement")
    options = parser.parse_args()
    ours = next(contestant for contestant in CONTESTANTS if contestant.name == "ours")
    model = build_model("forest", on_python=False)
    isolate()
    body_file = ours.write_body(model, "single")
    rounds: list[dict[tuple[str, int], dict[str, float]]] = []
    for _ in range(options.rounds):
        found = {}
        for name, variables in VARIABLES.items():
            with serving(replace(ours, settings=variables), model) as (port, _, _):
                measure(port, ours.path, body_file, FITS, 1)
                for number in LOADS[name]:
                    found[name, number] = measure(port, ours.path, body_file, number, options.seconds)
        for (name, _), figures in found.items():
            figures["share"] = figures["answered"] / found[name, FITS]["answered"]
            figures["times"] = figures["p99_ms"] / found[name, FITS]["p99_ms"]
        rounds.append(found)
    head = ("settings", "connections", "answered/s", f"of {FITS} connections'", "refused/s", "p50 ms", "p99 ms")
    table: list[tuple[str, ...]] = [(*head, f"p99 ÷ that of {FITS}")]
    for name, number in rounds[0]:
        medians = {key: statistics.median(found[name, number][key] for found in rounds) for key in rounds[0][name, number]}
        cells = (
            f"{medians['answered']:,.0f}",
            f"{medians['share']:.0%}",
            f"{medians['refused']:,.0f}",
            f"{medians['p50_ms']:.2f}",
            f"{medians['p99_ms']:.1f}",
            f"{medians['times']:.1f}",
        )
        table.append((name, f"{number:,}", *cells))
    print(describe_machine(options.rounds, options.seconds), draw(table), sep="\n\n")


if __name__ == "__main__":
    main()
