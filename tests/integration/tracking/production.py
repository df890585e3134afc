"""A small world: a table, a champion trained on it, and labelled predictions of a world that may have changed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mlops_project.config import Config, read_config
from mlops_project.prediction_log.reader import Labels

World = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (x, noise) → score; the label is its sign
SETTINGS = """
data: {source: world.csv, target: up}
model: {name: world, estimator: logistic_regression}
evaluation: {bootstrap_rounds: 20, importance_repeats: 0}
gates: {bootstrap_rounds: 300}
export: {reference_rows: 50}
retraining: {min_rows: 200, cool_down_minutes: 0}
monitoring: {min_labels: 100, label_rows: 400, on_alert: retrain-and-promote}
"""
NOW = datetime.now(UTC)


def same(x: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return 2 * x[:, 0] + noise


def moved(x: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Another feature counts as well by now: what was learned is not wrong, but no longer enough."""
    return 2 * x[:, 0] + 3 * x[:, 1] + noise


def inverted(x: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return -2 * x[:, 0] + noise


def draw(n_rows: int, world: World, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, 3)).round(6)
    score = world(x, rng.normal(0, 0.7, n_rows))
    return pd.DataFrame(x, columns=["a", "b", "c"]).assign(up=np.where(score > 0, "yes", "no"))


def write_project(root: Path, *overrides: str) -> Config:
    draw(600, same, 1).to_csv(root / "world.csv", index=False)
    (root / "world.yaml").write_text(SETTINGS)
    return read_config(root / "world.yaml", root=root, overrides=overrides, env={})


class Log:
    """Labelled predictions in memory, asked as the prediction log's reader is."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []

    def add(self, rows: pd.DataFrame, version: str = "1", *, minutes_ago: float = 0.0) -> None:
        """Add rows, a second apart, the last of them so long ago."""
        n_rows, end = len(rows), NOW - timedelta(minutes=minutes_ago)
        times = [end - timedelta(seconds=n_rows - number) for number in range(n_rows)]
        columns: dict[str, Any] = {
            "mlops.id": [f"{len(self._parts)}-{number}" for number in range(n_rows)],
            "mlops.row": np.zeros(n_rows, np.int32),
            "mlops.time": pa.array(times, pa.timestamp("us", "UTC")),
            "mlops.version": [version] * n_rows,
            **{name: rows[name].to_numpy() for name in ("a", "b", "c")},
            "mlops.label": [json.dumps(label) for label in rows["up"]],
        }
        self._parts.append(pa.table(columns))

    def newest_labelled(
        self, model: str, version: str | None, n_rows: int, *, since: datetime | None = None, witnesses: bool = False
    ) -> pa.Table:
        assert model == "world"
        if not self._parts:
            return pa.table({})
        whole = pa.concat_tables(self._parts).sort_by([("mlops.time", "descending")])
        if version is not None:
            whole = whole.filter(pa.compute.equal(whole["mlops.version"], version))
        if since is not None:
            whole = whole.filter(pa.compute.greater_equal(whole["mlops.time"], pa.scalar(since, pa.timestamp("us", "UTC"))))
        return whole.slice(0, n_rows)

    def describe_labels(self, labelled: pa.Table, model: str, version: str | None) -> Labels:
        assert (model, version) == ("world", None)
        return Labels(labelled.num_rows, max(labelled["mlops.time"].to_pylist()), 0.0, 1.0)
