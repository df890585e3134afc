"""Decisions that people act on, measured on real tables: ``make bench-decisions``.

Options: ``--stages thresholds,coverage,explanations,counterfactuals,shift,shifted,alarm,width,checks``, ``--splits 20``,
``--only OJ,Default``, ``--json thresholds.json``; of checks ``--seeds 3``, and ``--only leak,dates`` for parts of the diseases'
names.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.decisions.alarm import format_alarms, measure_alarms
from benchmarks.decisions.checks import format_corpus, judge_corpus
from benchmarks.decisions.counterfactuals import count_valid, format_counts
from benchmarks.decisions.coverage import format_coverage, measure_coverage
from benchmarks.decisions.explanations import compare_explanations
from benchmarks.decisions.shift import format_shift, measure_shift
from benchmarks.decisions.shifted_alarm import format_shifted, measure_shifted
from benchmarks.decisions.thresholds import compare_thresholds
from benchmarks.decisions.width import compare_widths
from benchmarks.defaults.tables import install


def main() -> None:
    """Measure what the options name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stages", default="thresholds,coverage,checks")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    stages, only = options.stages.split(","), tuple(filter(None, options.only.split(",")))
    install()
    if "thresholds" in stages:
        compare_thresholds(options.splits, only, options.json)
    if "checks" in stages:
        print(format_corpus(judge_corpus(options.seeds, only)))
    if "coverage" in stages:
        with tempfile.TemporaryDirectory() as folder:
            print(format_coverage([*measure_coverage(Path(folder), options.splits, only)]))
    if "width" in stages:
        with tempfile.TemporaryDirectory() as folder:
            print(compare_widths(Path(folder), options.splits, only))
    if "alarm" in stages:
        with tempfile.TemporaryDirectory() as folder:
            print(format_alarms(measure_alarms(Path(folder), options.splits, only)))
    if "shift" in stages:
        with tempfile.TemporaryDirectory() as folder:
            print(format_shift(measure_shift(Path(folder), options.splits, only)))
    if "shifted" in stages:
        with tempfile.TemporaryDirectory() as folder:
            print(format_shifted(measure_shifted(Path(folder), options.splits, only)))
    if "counterfactuals" in stages:
        with tempfile.TemporaryDirectory() as folder:
            print(format_counts([*count_valid(Path(folder), only)]))
    if "explanations" in stages:
        with tempfile.TemporaryDirectory() as folder:
            print(compare_explanations(Path(folder), only))


if __name__ == "__main__":
    main()
