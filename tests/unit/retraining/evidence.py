"""Labelled predictions of a world in which the label is the sign of ``x`` with noise, and a champion that knows it."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from mlops_project.contract import Contract, Feature
from mlops_project.modeling.held_out import HeldOut, as_columns
from mlops_project.retraining.evidence import Evidence, TableRows
from mlops_project.runtime import Predictions, encode
from mlops_project.tables.production import ProductionRows

CONTRACT = Contract(
    (Feature("x", "float"), Feature("z", "float"), Feature("town", "category")),
    "y",
    "binary",
    classes=("no", "yes"),
    class_names=("no", "yes"),
)
NOISE = 0.4
TABLES: dict[float, TableRows] = {}


def draw(n_rows: int, seed: int, noise: float = NOISE) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    towns = rng.choice(["north", "south", "east", "islands"], n_rows, p=[0.4, 0.3, 0.2, 0.1])
    frame = pd.DataFrame({"x": rng.normal(size=n_rows), "z": rng.gamma(3, 2, n_rows), "town": towns.astype(object)})
    return frame, (frame["x"] + noise * rng.normal(size=n_rows) > 0).to_numpy().astype(np.int64)


def answer(features: pd.DataFrame, truth: np.ndarray) -> HeldOut:
    positive = 1 / (1 + np.exp(-4 * features["x"].to_numpy()))
    predictions = Predictions((positive > 0.5).astype(np.int64), np.column_stack([1 - positive, positive]))
    return HeldOut(features, encode(as_columns(features), CONTRACT), truth, predictions)


Change = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame], tuple[pd.DataFrame, np.ndarray, pd.DataFrame]]


def make_evidence(
    change: Change | None = None, *, n_rows: int = 800, coverage: float | None = 1.0, noise: float = NOISE, **more
) -> Evidence:
    """Return evidence of a good day, unless ``change`` spoils features, truth or witnesses."""
    features, truth = draw(n_rows, 1, noise)
    known, known_truth = draw(600, 2, noise)
    training, training_truth = draw(1800, 3, noise)
    numbers = np.arange(n_rows)
    witnesses = pd.DataFrame(
        {
            "id": [f"id-{number}" for number in numbers],
            "version": "1",
            "source": np.where(numbers % 2, "lab-a", "lab-b"),
            "batch": [f"batch-{number}" for number in numbers % 8],
        }
    )
    if change is not None:
        features, truth, witnesses = change(features, truth, witnesses)
    times = np.datetime64("2026-11-01", "us") + numbers * np.timedelta64(1, "m")
    labels = np.array(CONTRACT.classes, object)[truth]
    rows = ProductionRows(features, pd.Series(labels), times, witnesses)
    n_learned = n_rows * 7 // 10
    labelled, held_out = answer(features, truth), answer(known, known_truth)
    evidence = Evidence(rows, n_learned, labelled, held_out, training, training_truth, CONTRACT, "1", coverage, **more)
    if noise not in TABLES:
        TABLES[noise] = evidence.table
    vars(evidence)["table"] = TABLES[noise]  # of the same rows: its models are fitted once
    return evidence
