"""Bundles whose pipelines have no exact graph."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import mlops_project as mlops
from mlops_project.bundle import Bundle, load_bundle
from tests.custom_steps import Clip
from tests.shared import make_once

ROOT = Path(__file__).parents[3]
QUICK = {"evaluation": {"bootstrap_rounds": 0, "importance_repeats": 0, "baselines": False}}


def build_rows(n_rows: int = 160) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"x": rng.normal(0, 2, n_rows), "n": rng.integers(0, 9, n_rows), "z": rng.normal(0, 1, n_rows)})
    return frame.assign(y=np.where(frame["x"] + frame["n"] / 3 + rng.normal(0, 1, n_rows) > 1, "yes", "no"))


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let child processes find the tests' own steps."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(scope="package")
def clipped(tmp_path_factory) -> Bundle:
    """A logistic regression behind a step of somebody's own."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(ROOT))
            rows = build_rows()
            X, y = rows.drop(columns="y"), rows["y"]
            model = make_pipeline(Clip(), LogisticRegression()).fit(X[:110], y[:110])
            mlops.export(
                model, X[:110], y[:110], X[110:], y[110:], path=folder / "model", name="own", export__engine="python", **QUICK
            )

    return load_bundle(make_once(tmp_path_factory, "clipped", make) / "model")
