"""A real table, fitted and exported as `mlops train` does it, without the report: for what needs the model alone."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.defaults.tables import SOURCES, write_table
from mlops_project.config import Config, build_config
from mlops_project.contract import Contract
from mlops_project.data_prep import Split, Table, build_contract, judge_table, load_table, split_table
from mlops_project.modeling.export import export_onnx, load_exported
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline
from mlops_project.runtime import Runtime


class Fitted(NamedTuple):
    """A table's model, and its rows: those that it learned from, and those that were held out."""

    name: str
    runtime: Runtime
    contract: Contract
    split: Split
    config: Config
    pipeline: Any

    @property
    def held_out(self) -> pd.DataFrame:
        """The features of the held-out rows."""
        return self.split.test_features


def configure(
    name: str, folder: Path, estimator: str, params: dict[str, Any], *, max_rows: int = 2000, seed: int = 0
) -> Config:
    """Return the configuration of one training; parameters as of ``fit_table``."""
    source = next(item for item in SOURCES if item.name == name)
    values = {
        "random_state": seed,
        "test_size": 0.3,
        "data": {"source": write_table(source, folder, max_rows), "target": source.target},
        "model": {"name": name, "estimator": estimator, "params": params},
    }
    return build_config(values, folder / f"{name}.yaml", root=folder, env={})


def fit_split(name: str, table: Table, split: Split, config: Config) -> Fitted:
    """Fit a table's rows that are to be learned from."""
    contract = build_contract(table, split)
    pipeline = fit_pipeline(build_pipeline(contract, config), split.train_features, split.train_target)
    return Fitted(name, load_exported(export_onnx(pipeline, contract), contract), contract, split, config, pipeline)


def fit_table(
    name: str, folder: Path, estimator: str, params: dict[str, Any] | None = None, *, max_rows: int = 2000, seed: int = 0
) -> Fitted:
    """Fit the table of a name.

    Parameters
    ----------
    folder
        Where its file is written.
    estimator, params
        As ``model.estimator`` and ``model.params``.
    """
    config = configure(name, folder, estimator, params or {}, max_rows=max_rows, seed=seed)
    table = judge_table(load_table(config), config, refuse=False)
    return fit_split(name, table, split_table(table, config), config)
