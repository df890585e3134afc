"""A table with a column of each kind, large enough that shares and means show."""

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.simulation.rows import Rows, Source

N_TABLE = 4000


@pytest.fixture
def contract() -> Contract:
    """``size`` decides; ``gap`` may be missing."""
    return Contract(
        (
            Feature("noise", "float"),
            Feature("size", "float"),
            Feature("count", "integer"),
            Feature("gap", "float", nullable=True),
            Feature("flag", "boolean"),
            Feature("town", "category", categories=("Köln", "Rio", "Recife")),
            Feature("note", "string", nullable=True, categories=("a", "b")),
            Feature("day", "datetime"),
        ),
        "y",
        "binary",
        classes=("no", "yes"),
        class_names=("No", "Yes"),
    )


@pytest.fixture
def table(rng) -> Rows:
    size = rng.normal(50, 10, N_TABLE)
    gap = rng.normal(0, 1, N_TABLE)
    gap[::10] = np.nan
    note = rng.choice(np.array(["a", "b", None], object), N_TABLE)
    columns = {
        "noise": rng.normal(0, 1, N_TABLE),
        "size": size,
        "count": rng.integers(0, 30, N_TABLE).astype(np.float64),
        "gap": gap,
        "flag": rng.integers(0, 2, N_TABLE).astype(np.float64),
        "town": rng.choice(np.array(["Köln", "Rio", "Recife"], object), N_TABLE, p=[0.5, 0.3, 0.2]),
        "note": note,
        "day": np.datetime64("2026-01-01", "us") + rng.integers(0, 10**12, N_TABLE).astype("timedelta64[us]"),
    }
    return Rows(columns, (size + rng.normal(0, 3, N_TABLE) > 55).astype(np.int64))


@pytest.fixture
def source(table, contract) -> Source:
    return Source(table, contract)


@pytest.fixture
def prices(table) -> Source:
    """The same table, with a value to predict."""
    contract = Contract((Feature("size", "float"), Feature("count", "integer")), "price", "regression")
    columns = {name: table.columns[name] for name in contract.names}
    return Source(Rows(columns, 3 * columns["size"]), contract)
