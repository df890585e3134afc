"""Which diseases of tables training names, and what it says of their healthy twins. ``--stages checks``.

Each table is trained as ``mlops train`` does it, up to the findings: read, judged, split, fitted, exported, answered. Pictures,
the report and MLflow are left out, they find nothing.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.decisions.cases import CASES
from benchmarks.decisions.corpus import Case, read
from mlops_project.config import Config, build_config
from mlops_project.errors import DataError
from mlops_project.findings import Finding
from mlops_project.modeling.baselines import fit_rivals
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.export import answer_held_out, export_onnx, load_exported
from mlops_project.modeling.importance import try_importance
from mlops_project.modeling.judging import evaluate_held_out, judge_model, judge_split
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline, prepare_for_serving
from mlops_project.modeling.side_work import SideWork
from mlops_project.train import read_rows


class Outcome(NamedTuple):
    """What came of a case.

    Attributes
    ----------
    case, seed
        Which one.
    ill
        Codes of what was found in the ill table.
    well
        What was found in its twin.
    """

    case: Case
    seed: int
    ill: tuple[str, ...]
    well: tuple[Finding, ...]

    @property
    def is_named(self) -> bool:
        """Whether the disease is named by its code."""
        return any(code in self.ill for code in self.case.codes)


def find_findings(config: Config) -> tuple[Finding, ...]:
    """Train, and return everything that is found; a table that is refused: what the refusal says."""
    try:
        table, split, contract = read_rows(config)
    except DataError as error:
        return tuple(_read_refusal(str(error)))
    side = SideWork()
    pipeline = build_pipeline(contract, config)
    fit_pipeline(pipeline, split.train_features, split.train_target, groups=table.groups, times=table.times)
    prepare_for_serving(pipeline)
    runtime = load_exported(export_onnx(pipeline, contract), contract)
    held_out = answer_held_out(runtime, split.test_features, encode_target(split.test_target, contract))
    rivals = fit_rivals(split.train_features, split.train_target, split.test_features, contract, config, side)
    seen = judge_split(table, split, runtime, held_out, config, side, is_ours=True)
    evaluation = evaluate_held_out(held_out, rivals, contract, config, table.asides)
    importance = try_importance(runtime, held_out, contract, config, side)
    return judge_model(seen, table, held_out, evaluation, importance, contract, config, None)


def _read_refusal(message: str) -> Iterator[Finding]:
    """Yield the findings that a refusal names by their codes, ``[leak-copy]``."""
    for line in message.splitlines():
        for code in re.findall(r"\[([a-z][a-z-]+)\]$", line):
            yield Finding(code=code, seen=line.strip(" -"), why="", cure="", severity="error")


def configure(case: Case, folder: Path, seed: int, *, is_ill: bool) -> Config:
    """Write a case's table, or its twin's, and return the configuration of its training."""
    frame, target = read(case.table)
    change = case.ill if is_ill else case.well
    change(frame.copy(), target, np.random.default_rng(seed)).to_csv(folder / "table.csv", index=False)
    more = case.settings if is_ill or case.healthy is None else case.healthy
    values = {
        "random_state": seed,
        "data": {"source": "table.csv", "target": target} | dict(case.data),
        "model": case.model,
        "evaluation": {"bootstrap_rounds": 200},
        "gates": {"bootstrap_rounds": 300},
    }
    return build_config(values | dict(more), folder / "model.yaml", root=folder, env={})


def judge_corpus(seeds: int, only: tuple[str, ...] = ()) -> list[Outcome]:
    """Train every table and its twin with each of some seeds."""
    found = []
    for case in (case for case in CASES if not only or any(word in case.name for word in only)):
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                ill, well = (find_findings(configure(case, Path(folder), seed, is_ill=is_ill)) for is_ill in (True, False))
            found.append(Outcome(case, seed, tuple(dict.fromkeys(one.code for one in ill)), well))
            print(describe(found[-1]), flush=True)
    return found


def describe(outcome: Outcome) -> str:
    """Return one line about a case: whether its disease is named, what else is said, and of the twin."""
    case = outcome.case
    mark = "named" if outcome.is_named else "MISSED"
    others = [code for code in outcome.ill if code not in case.codes]
    false = "; ".join(f"FALSE {one.code}: {one.seen}" for one in outcome.well)
    return (
        f"{case.table:14s} {case.name:45s} {mark} {'/'.join(case.codes)}; also {', '.join(others) or '-'}; twin: {false or '-'}"
    )


def format_corpus(outcomes: list[Outcome]) -> str:
    """Return what came of it as a table in Markdown, and the sums."""
    lines = ["| disease | table | code | named | also | twin |", "| --- | --- | --- | ---: | --- | --- |"]
    for case in dict.fromkeys(outcome.case.name for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.case.name == case]
        also = dict.fromkeys(code for one in own for code in one.ill if code not in one.case.codes)
        false = dict.fromkeys(finding.code for one in own for finding in one.well)
        first = own[0].case
        lines.append(
            f"| {case} | {first.table} | {', '.join(f'`{code}`' for code in first.codes)} | "
            f"{sum(one.is_named for one in own)} of {len(own)} | {', '.join(also) or '–'} | {', '.join(false) or '–'} |"
        )
    named, false = sum(one.is_named for one in outcomes), sum(len({finding.code for finding in one.well}) for one in outcomes)
    return "\n".join([*lines, "", f"named: {named} of {len(outcomes)}; false codes: {false} in {len(outcomes)} healthy twins"])
