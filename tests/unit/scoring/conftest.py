import pandas as pd
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.runtime import Runtime
from mlops_project.scoring import csv_blocks, inputs


@pytest.fixture
def runtime(tiny_model, tiny_contract) -> Runtime:
    """p(yes) = clip(x, 0, 1)."""
    return Runtime(tiny_model, tiny_contract)


@pytest.fixture
def wide_contract() -> Contract:
    features = (
        Feature("x", "float", minimum=0.0, maximum=1.0),
        Feature("n", "integer", minimum=0, maximum=9),
        Feature("on", "boolean", nullable=True),
        Feature("city", "category", categories=("Recife", "Natal")),
        Feature("when", "datetime", minimum=0.0, maximum=4e9),
    )
    return Contract(features, "y", "regression")


@pytest.fixture
def small_units(monkeypatch):
    monkeypatch.setattr(inputs, "UNIT_ROWS", 20)
    monkeypatch.setattr(csv_blocks.split, "__defaults__", (200,))


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{row:04}" for row in range(95)], "x": rng.random(95)})
