"""More clients than the server can answer, each asking again at once: ``make bench-overload``.

Interleaved rounds with 16, 400 and 1,000 connections on the forest; prints medians, and what is answered as a share of what 16
connections get in the same round. The load generator shares the machine's cores with the server. Options: ``--rounds 5``,
``--seconds 4``.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from serve import serving
from serving.contestants import CONTESTANTS
from serving.isolation import isolate
from serving.models import build_model
from serving.places import HERE
from serving.table import describe_machine, draw

CONNECTIONS = (16, 400, 1000)


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
    rounds = []
    with serving(ours, model) as (port, _, _):
        measure(port, ours.path, body_file, CONNECTIONS[0], 1)
        for _ in range(options.rounds):
            found = {number: measure(port, ours.path, body_file, number, options.seconds) for number in CONNECTIONS}
            for figures in found.values():
                figures["share"] = figures["answered"] / found[CONNECTIONS[0]]["answered"]
            rounds.append(found)
    table: list[tuple[str, ...]] = [("connections", "answered/s", "of 16 connections'", "refused/s", "p99 ms of answers")]
    for number in CONNECTIONS:
        medians = {name: statistics.median(found[number][name] for found in rounds) for name in rounds[0][number]}
        cells = (
            f"{medians['answered']:,.0f}",
            f"{medians['share']:.0%}",
            f"{medians['refused']:,.0f}",
            f"{medians['p99_ms']:.1f}",
        )
        table.append((f"{number:,}", *cells))
    print(describe_machine(options.rounds, options.seconds), draw(table), sep="\n\n")


if __name__ == "__main__":
    main()
