"""Bundles that served, and what stands in for the place they are kept."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.train import train
from tests.unit.prediction_log.segments import Segments

MIXED = """
data: {source: mixed.csv, target: y, types: {when: datetime, word: string}}
model: {name: mixed, estimator: decision_tree, params: {max_depth: 4}}
evaluation: {bootstrap_rounds: 0, importance_repeats: 0}
tracking: {enabled: false}
gates: {minimum: {}}
"""


@pytest.fixture(scope="session")
def mixed_bundle(tmp_path_factory):
    """A model of every type of column, trained on a table with gaps."""
    root = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "gap": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "whole": rng.integers(0, 9, n),
            "flag": rng.random(n) < 0.5,
            "town": rng.choice(["Ulm", "Köln", None], n),
            "word": rng.choice([f"w{index}" for index in range(60)], n),
            "when": pd.date_range("2026-01-01", periods=n, freq="h").astype(str),
        }
    )
    frame["y"] = np.where(frame["x"] + frame["whole"] > 4, "yes", "no")
    frame.to_csv(root / "mixed.csv", index=False)
    (root / "model.yaml").write_text(MIXED)
    train(read_config(root / "model.yaml", root=root, env={}))
    return load_bundle(root / "artifacts" / "model")


@pytest.fixture
def segments(tmp_path) -> Segments:
    return Segments(tmp_path / "segments")


@pytest.fixture
def find(tiny_bundle, mixed_bundle):
    """Both models, in version 1 and 2."""
    bundles = {"tiny": tiny_bundle, "mixed": mixed_bundle}
    return lambda model, version: bundles.get(model) if version in ("1", "2") else None
