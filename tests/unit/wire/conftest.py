import pytest

from mlops_project.contract import Contract, Feature


@pytest.fixture
def mixed() -> Contract:
    """One column of each type; ``gap`` and ``note`` may be missing."""
    return Contract(
        (
            Feature("size", "float", minimum=0.0, maximum=9.0, default=1.5),
            Feature("gap", "float", nullable=True, minimum=0.0, maximum=9.0, default=2.5),
            Feature("count", "integer", minimum=0.0, maximum=9.0, default=3),
            Feature("flag", "boolean", default=True),
            Feature("colour", "category", categories=("red", "green"), default="red"),
            Feature("note", "string", nullable=True, categories=("a", "b"), default="a"),
            Feature("day", "datetime", default="2026-01-01T00:00:00"),
        ),
        "y",
        "binary",
        classes=(0, 1),
        class_names=("no", "yes"),
    )


@pytest.fixture
def numeric() -> Contract:
    return Contract(
        (Feature("a", "float", default=1.0), Feature("b", "float", default=2.0)), "y", "binary", (0, 1), ("no", "yes")
    )
