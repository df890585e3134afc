"""Reasons for an answer, for requests that ask: how much each column moved it."""

from typing import Any

NAME = "explain"
EXPLANATION = "explanation"  # of a row, in the answer
MAX_ROWS = 16  # of one request


def find_problem(value: Any, n_rows: int) -> str | None:
    """Return what is wrong with what a request asks; None if nothing is."""
    if type(value) is not bool:
        return f"{NAME}: expected true or false"
    if value and n_rows > MAX_ROWS:
        return f"{NAME}: {n_rows} rows are more than the {MAX_ROWS} of one request; send several"
    return None
