"""Rows that the model has an answer for, told from those that do not fit, each with its reason."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ContractError
from mlops_project.runtime import Predictions
from mlops_project.scoring.stores import BadRow
from mlops_project.wire.problems import MAX_PROBLEMS, RowsError
from mlops_project.wire.rows import Encoded

Answer = Callable[[Mapping[Any, Any], int], tuple[Encoded, Predictions]]


class Scored(NamedTuple):
    """Rows of a batch with answers; ``rows`` are their places in the batch."""

    rows: npt.NDArray[np.int64]
    encoded: Encoded
    predictions: Predictions


def sift(columns: Mapping[Any, Any], rows: npt.NDArray[np.int64], answer: Answer) -> Iterator[Scored | BadRow]:
    """Yield scored rows, in their order, and those that do not fit; where the reason does not say which, found by halving.

    Parameters
    ----------
    columns
        Of the batch.
    rows
        Places in the batch of those that are looked at.
    answer
        Reads so many rows of columns and lets the model answer them.
    """
    try:
        scored = Scored(rows, *answer(_take(columns, rows), len(rows)))
    except ContractError as error:
        reasons = find_rows(error, len(rows))
    else:
        yield scored
        return
    if not reasons:
        for half in np.array_split(rows, 2):
            yield from sift(columns, half, answer)
        return
    yield from (BadRow(int(rows[row]), reason) for row, reason in reasons.items())
    others = np.delete(rows, list(reasons))
    if len(others):
        yield from sift(columns, others, answer)


def _take(columns: Mapping[Any, Any], rows: npt.NDArray[np.int64]) -> Mapping[Any, Any]:
    if not len(rows) or all(len(values) in (0, len(rows)) for values in columns.values()):
        return columns
    return {
        name: values if not len(values) else values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
        for name, values in columns.items()
    }


def find_rows(error: ContractError, n_rows: int) -> dict[int, str]:
    """Return place → reason of rows that are bad; nothing if the error does not say which are, or not all that is wrong."""
    if not isinstance(error, RowsError):
        return {0: str(error).removeprefix("row 1: ")} if n_rows == 1 else {}
    if n_rows > 1 and error.n_problems > MAX_PROBLEMS:
        return {}
    reasons: dict[int, list[str]] = {}
    for problem in error.problems:
        text = problem.message if problem.column is None else f"column {problem.column!r}: {problem.message}"
        for row in problem.all_rows or range(n_rows):
            reasons.setdefault(row, []).append(text)
    return {row: "; ".join(texts) for row, texts in reasons.items()}
