"""A small trained model that all tests of the interface ask."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mlops_project as mlops
from tests.shared import make_once

SMALL = {"evaluation": {"bootstrap_rounds": 20, "importance_repeats": 0}, "tracking": {"enabled": False}}


def build_table(n_rows: int = 240) -> pd.DataFrame:
    """People with an age, a visit, a city and a flag; some ages and cities are missing."""
    rng = np.random.default_rng(4)
    age = rng.normal(45, 12, n_rows).round(1)
    city = rng.choice(["Recife", "Natal", "Olinda"], n_rows)
    member = rng.random(n_rows) < 0.5
    score = (age - 45) / 12 + (city == "Natal") + rng.normal(0, 1.5, n_rows)
    return pd.DataFrame(
        {
            "age": np.where(rng.random(n_rows) < 0.05, np.nan, age),
            "visits": rng.integers(0, 9, n_rows),
            "city": pd.Series(city).mask(rng.random(n_rows) < 0.05),
            "member": member,
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1500, n_rows), "D"),
            "churned": np.where(score > 0.3, "yes", "no"),
        }
    )


@pytest.fixture(scope="package")
def project(tmp_path_factory) -> Path:
    """A folder with ``people.parquet`` and a model trained on it in ``artifacts/people``."""

    def make(folder: Path) -> None:
        build_table().to_parquet(folder / "people.parquet")
        settings = SMALL | {
            "data": {"source": str(folder / "people.parquet"), "target": "churned"},
            "model": {"name": "people", "estimator": "logistic_regression"},
            "paths": {"exported_model_dir": str(folder / "artifacts" / "people")},
        }
        mlops.train(settings, random_state=1)

    return make_once(tmp_path_factory, "interface", make)


@pytest.fixture(scope="package")
def model(project) -> mlops.Model:
    return mlops.load(project / "artifacts" / "people")


@pytest.fixture
def people() -> pd.DataFrame:
    return build_table(60).drop(columns="churned").set_index(np.arange(100, 160))
