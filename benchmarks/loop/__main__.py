"""What the loop does with bad food and good: ``make bench-loop``. Prints a table.

Twenty-nine attacks and accidents on labels, rows and the table, on three real tables of packages, and seven healthy
retrainings on each of six (numbers: six), each played in a project of its own: prediction log, monitor, retraining, gate,
registry. Options:
``--worlds diamonds,affairs``, ``--only TEXT,TEXT``, ``--no-attacks``, ``--no-healthy``, ``--out FILE`` (JSON lines),
``--compare FILE`` (of an earlier run, shown beside this one).
"""

import argparse
import json
import logging
import time
import traceback
import warnings
from pathlib import Path

from benchmarks.loop.cases import ATTACKS, HEALTHY, Case
from benchmarks.loop.project import Outcome, Project, clear_environment, make_project
from benchmarks.loop.report import render
from benchmarks.loop.variants import HEALTHY_VARIANTS, VARIANTS
from benchmarks.loop.worlds import LOADERS, World, load_world

BUILD = Path("build/benchmarks/loop").absolute()
ATTACKED = ("diamonds", "affairs", "insurance")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=lambda text: text.split(","), default=list(LOADERS))
    parser.add_argument("--only", type=lambda text: text.split(","), default=[""])
    parser.add_argument("--no-healthy", action="store_true")
    parser.add_argument("--no-attacks", action="store_true")
    parser.add_argument("--out", type=Path, default=BUILD / "outcomes.jsonl")
    parser.add_argument("--compare", type=Path)
    return parser.parse_args()


def choose_cases(world: World, options: argparse.Namespace) -> list[Case]:
    """Return what is played in a world."""
    cases: list[Case] = []
    if world.name in ATTACKED and not options.no_attacks:
        cases += ATTACKS + VARIANTS
    if not options.no_healthy:
        cases += HEALTHY if world.is_regression else HEALTHY + HEALTHY_VARIANTS
    return [case for case in cases if any(text in case.name for text in options.only)]


def play_all(options: argparse.Namespace) -> list[Outcome]:
    """Play every case in every world that was asked for."""
    outcomes = []
    with options.out.open("w", encoding="utf-8") as stream:
        for name in options.worlds:
            world, made = load_world(name), BUILD / "worlds" / f"{name}-{time.time_ns()}"
            make_project(world, made)
            for case in choose_cases(world, options):
                started = time.monotonic()
                try:
                    outcome = Project(world, made, BUILD / "projects" / f"{name}-{time.time_ns()}").play(case)
                except Exception as error:  # noqa: BLE001 - the other cases are played all the same
                    traceback.print_exc()
                    outcome = Outcome(name, case.name, case.healthy, result="crashed", text=repr(error))
                outcomes.append(outcome)
                stream.write(outcome.to_json() + "\n")
                stream.flush()
                seconds = time.monotonic() - started
                print(f"{name}: {case.name}: {outcome.result}: {outcome.text[:600]} ({seconds:.0f} s)", flush=True)
    return outcomes


def main() -> None:
    """Play, print."""
    options = parse_options()
    BUILD.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    clear_environment()
    outcomes = play_all(options)
    before = []
    if options.compare:
        before = [Outcome(**json.loads(line)) for line in options.compare.read_text(encoding="utf-8").splitlines()]
    print(render(outcomes, before))


if __name__ == "__main__":
    main()
