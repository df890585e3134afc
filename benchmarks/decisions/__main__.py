"""Decisions that people act on, measured on real tables: ``make bench-decisions``.

Options: ``--stages`` (see ``STAGES``; several with commas), ``--splits 20``, ``--only OJ,Default``, ``--json costs.json``; of
checks ``--seeds 3``, and ``--only leak,dates`` for parts of the diseases' names.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.decisions.alarm import format_alarms, measure_alarms
from benchmarks.decisions.checks import format_corpus, judge_corpus
from benchmarks.decisions.counterfactuals import count_valid, format_counts
from benchmarks.decisions.coverage import format_coverage, measure_coverage
from benchmarks.decisions.explanations import compare_explanations
from benchmarks.decisions.groups import measure_groups
from benchmarks.decisions.shift import format_shift, measure_shift
from benchmarks.decisions.shifted_alarm import format_shifted, measure_shifted
from benchmarks.decisions.strangers import judge_strangers, list_findings
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
    only = tuple(filter(None, options.only.split(",")))
    install()
    for stage in options.stages.split(","):
        with tempfile.TemporaryDirectory() as folder:
            print(STAGES[stage](Path(folder), only, options))


Stage = Callable[[Path, tuple[str, ...], argparse.Namespace], str]
STAGES: dict[str, Stage] = {
    "thresholds": lambda folder, only, asked: compare_thresholds(asked.splits, only, asked.json) or "",
    "checks": lambda folder, only, asked: format_corpus(judge_corpus(asked.seeds, only)),
    "strangers": lambda folder, only, asked: judge_strangers(only),
    "plain": lambda folder, only, asked: "\n".join(list_findings(only)),
    "coverage": lambda folder, only, asked: format_coverage([*measure_coverage(folder, asked.splits, only)]),
    "width": lambda folder, only, asked: compare_widths(folder, asked.splits, only),
    "alarm": lambda folder, only, asked: format_alarms(measure_alarms(folder, asked.splits, only)),
    "shift": lambda folder, only, asked: format_shift(measure_shift(folder, asked.splits, only)),
    "shifted": lambda folder, only, asked: format_shifted(measure_shifted(folder, asked.splits, only)),
    "groups": lambda folder, only, asked: measure_groups(folder, asked.splits, only),
    "counterfactuals": lambda folder, only, asked: format_counts([*count_valid(folder, only)]),
    "explanations": lambda folder, only, asked: compare_explanations(folder, only),
}


if __name__ == "__main__":
    main()
