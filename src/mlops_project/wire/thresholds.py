"""A threshold that a request names: from which probability of the positive class on its rows are answered with it."""

from typing import Any

from mlops_project.contract import Contract

NAME = "threshold"


def find_problem(value: Any, contract: Contract) -> str | None:
    """Return what is wrong with a request's threshold; None if nothing is."""
    if contract.task != "binary":
        return f"{NAME}: this model has no positive class (its task is {contract.task}); leave it out"
    if type(value) not in (int, float) or not 0 <= value <= 1:
        return f"{NAME}: expected a number from 0 to 1"
    return None
