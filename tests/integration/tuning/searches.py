"""A small table, a quick search in it, and how a test runs that in a process of its own."""

import multiprocessing
from pathlib import Path

import numpy as np
import pandas as pd

from mlops_project.config import Config, read_config
from mlops_project.tune import tune

ROWS = 300
CONFIG = """
data: {source: table.csv, target: y, time: when}
model: {name: tuned, estimator: decision_tree, params: {min_samples_leaf: 3}}
search: {trials: 6, space: {max_depth: {low: 1, high: 4}, ccp_alpha: {low: 0.00001, high: 0.1, log: true}}}
evaluation: {bootstrap_rounds: 0, importance_repeats: 0}
gates: {minimum: {}}
"""


def make_project(folder: Path) -> Path:
    rng, days = np.random.default_rng(0), pd.date_range("2026-01-01", periods=ROWS)
    frame = pd.DataFrame({"a": rng.normal(size=ROWS), "b": rng.normal(size=ROWS), "when": days})
    frame["y"] = np.where((frame["a"] > 0) ^ (rng.random(ROWS) < 0.1), "yes", "no")
    frame.to_csv(folder / "table.csv", index=False)
    (folder / "pyproject.toml").touch()
    (folder / "model.yaml").write_text(CONFIG)
    return folder


def read(project: Path, *overrides: str) -> Config:
    return read_config(project / "model.yaml", root=project, overrides=["tracking.enabled=false", *overrides], env={})


def run_search(project: Path, overrides: tuple[str, ...]) -> None:
    """Search; to be called in a process of its own."""
    tune(read(project, *overrides))


def prepare_processes() -> multiprocessing.context.ForkServerContext:
    """Return a context whose processes have imported everything already: each starts in milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "mlops_project.tuning.follow", "mlops_project.data_prep"])
    return context


def tell(trials) -> list[tuple]:
    """Return what was tried and how it went, without when, and without what was lost."""
    return [(trial.params, trial.state, trial.loss) for trial in trials if trial.counts]
