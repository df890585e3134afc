"""Our monitoring against Evidently and NannyML with their defaults: ``make bench-monitor``. Prints tables.

Alarms in windows without a change and with faults, on the same files; ours alone on real tables in the order of time;
performance estimated without labels; seconds for 100,000 × 30; one pass over 10 million rows. Each tool runs in an environment
and a process of its own. Options: ``--quick`` (minutes instead of hours), ``--stages
quiet,sensitive,time,estimate,speed,scale``, ``--only ours,evidently``, ``--keep`` (the models of the run before), ``--render``
(measure nothing, print what was), ``--tables`` (each real table too), ``--rounds 5``, ``--markdown FILE``.
"""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from benchmarks.monitor import cbpe, in_order, report
from benchmarks.monitor.alarms import (
    QUICK_QUIET,
    QUICK_SENSITIVE,
    QUIET,
    SENSITIVE,
    find_contestants,
    read_records,
    try_all,
)
from benchmarks.monitor.cases import POPULATIONS
from benchmarks.monitor.contestants import CONTESTANTS
from benchmarks.monitor.places import BUILD
from benchmarks.monitor.seasons import SEASONS
from benchmarks.monitor.speed import measure_scale, time_windows

STAGES = ("quiet", "sensitive", "time", "estimate", "speed", "scale")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stages", type=lambda text: text.split(","), default=STAGES)
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of contestants, separated by commas")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    if unknown := set(options.stages) - set(STAGES):
        parser.error(f"{', '.join(sorted(unknown))}: unknown; choose from {', '.join(STAGES)}")
    if unknown := set(options.only or ()) - {contestant.name for contestant in CONTESTANTS}:
        parser.error(f"{', '.join(sorted(unknown))}: unknown; choose from {', '.join(item.name for item in CONTESTANTS)}")
    return options


def find_folder(options: argparse.Namespace) -> Path:
    """Return where the figures of this kind of run are."""
    folder = BUILD / ("quick" if options.quick else "full")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def list_files(stage: str, options: argparse.Namespace) -> dict[str, Path]:
    """Return where each contestant's records of a stage are."""
    folder = find_folder(options)
    return {contestant.name: folder / f"{stage}-{contestant.name}.jsonl" for contestant in CONTESTANTS}


def run_alarms(stage: str, options: argparse.Namespace) -> str:
    """Measure alarms, unless only what was measured is wanted; return the tables."""
    files = list_files(stage, options)
    quick, full = (QUICK_QUIET, QUIET) if stage == "quiet" else (QUICK_SENSITIVE, SENSITIVE)
    if not options.render:
        with ExitStack() as stack:
            lines = {item: stack.enter_context(item.running()) for item in find_contestants(options.only)}
            for contestant in lines:
                files[contestant.name].unlink(missing_ok=True)
            chosen = {contestant: files[contestant.name] for contestant in lines}
            try_all(quick if options.quick else full, lines, chosen, keep=options.keep)
    records = report.group(files, read_records)
    tables = tuple(POPULATIONS) if options.tables else ()
    return report.render_quiet(records, tables) if stage == "quiet" else report.render_sensitive(records, tables)


def run_speed(options: argparse.Namespace) -> str:
    """Time a window of 100,000 × 30."""
    file = find_folder(options) / "speed.json"
    if not options.render:
        with ExitStack() as stack:
            lines = {item: stack.enter_context(item.running()) for item in find_contestants(options.only)}
            file.write_text(json.dumps(time_windows(lines, 1 if options.quick else options.rounds, keep=options.keep)))
    return report.render_speed(json.loads(file.read_text()) if file.exists() else {})


def run_estimate(options: argparse.Namespace) -> str:
    """Estimate performance without labels, ours and NannyML's."""
    file = find_folder(options) / "estimate.csv"
    if not options.render:
        cbpe.measure(1 if options.quick else cbpe.SPLITS, alone=options.only == ["ours"]).to_csv(file, index=False)
    return cbpe.render(pd.read_csv(file, keep_default_na=False, na_values=[""])) if file.exists() else ""


def run_scale(options: argparse.Namespace) -> str:
    """Watch files of millions of rows."""
    file = find_folder(options) / "scale.json"
    if not options.render:
        millions, rounds = ((1, 2), 1) if options.quick else ((1, 2, 5, 10, 100), 3)
        file.write_text(json.dumps(measure_scale(millions, rounds, keep=options.keep)))
    return report.render_scale(json.loads(file.read_text()) if file.exists() else {})


def run_time(options: argparse.Namespace) -> str:
    """Replay real tables in the order of time; ours alone."""
    file = find_folder(options) / "time.jsonl"
    if not options.render:
        in_order.measure(file, tuple(SEASONS), in_order.QUICK if options.quick else in_order.FULL)
    return in_order.render(read_records([file]))


RUNS = {"time": run_time, "estimate": run_estimate, "speed": run_speed, "scale": run_scale}


def main() -> None:
    """Measure, print."""
    options = parse_options()
    BUILD.mkdir(parents=True, exist_ok=True)
    for contestant in find_contestants(options.only) if set(options.stages) != {"time"} else ():
        contestant.install()
    parts = [RUNS[stage](options) if stage in RUNS else run_alarms(stage, options) for stage in options.stages]
    text = "\n\n".join([report.describe_machine(), *parts]) + "\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
