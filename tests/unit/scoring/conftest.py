import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.runtime import Runtime


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
