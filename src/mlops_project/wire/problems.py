"""What is wrong with a request's rows, for people: by column and row, all at once, bounded, without the caller's values."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from mlops_project.errors import ContractError

MAX_PROBLEMS = 20
MAX_ROWS = 5
MAX_NAME = 64

# Where a request fails: ``value``, a value cannot be read as its column's type; ``column``, columns are missing or given
# twice; ``model``, all is readable but the model has no answer. MLflow's error codes differ by it.
Stage = Literal["value", "column", "model"]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """One thing that is wrong.

    Attributes
    ----------
    column
        Which column; None if it is not one column's fault. Names are cut at 64 characters.
    message
        What was expected, and what to do.
    rows
        The first rows that have it, counted from 1, at most ``MAX_ROWS``; empty if it is not about rows.
    count
        How many rows have it.
    """

    column: str | None
    message: str
    rows: tuple[int, ...] = ()
    count: int = 0

    @property
    def all_rows(self) -> Sequence[int]:
        """Positions of all rows that have it, from 0, where ``at_rows`` was told them; no part of an answer."""
        known: Sequence[int] = self.__dict__.get("all_rows_", ())
        return known

    def __str__(self) -> str:
        where = f"column {self.column!r}: " if self.column is not None else ""
        if not self.rows:
            return f"{where}{self.message}"
        noun = "row" if self.count == 1 else "rows"
        more = f" and {self.count - len(self.rows)} more" if self.count > len(self.rows) else ""
        return f"{where}{noun} {', '.join(map(str, self.rows))}{more}: {self.message}"


class RowsError(ContractError):
    """Rows do not fit the model; lists every problem, at most ``MAX_PROBLEMS``."""

    def __init__(self, problems: Sequence[Problem], stage: Stage = "value") -> None:
        self.problems = tuple(problems[:MAX_PROBLEMS])
        self.n_problems = len(problems)
        self.stage: Stage = stage
        super().__init__(self._describe())

    def without_columns(self) -> "RowsError":
        """Return the same for somebody who is not to see the model's columns: how many problems, and the first rows."""
        rows = sorted({row for problem in self.problems for row in problem.rows})[:MAX_ROWS]
        where = f", in rows {', '.join(map(str, rows))}" if rows else ""
        count = f"{self.n_problems} problem{'s' if self.n_problems > 1 else ''}{where}"
        told = f"the request does not fit the model: {count}; whoever runs this server can tell which columns"
        return RowsError([Problem(None, told)], self.stage)

    def _describe(self) -> str:
        if self.n_problems == 1:
            return str(self.problems[0])
        hidden = self.n_problems - len(self.problems)
        lines = [f"  - {problem}" for problem in self.problems] + ([f"  - … and {hidden} more"] if hidden else [])
        return "\n".join([f"{self.n_problems} problems", *lines])


class Problems:
    """Problems of rows that are read in blocks: the same one in several blocks becomes one, with all its rows."""

    def __init__(self) -> None:
        self._found: dict[tuple[str | None, str], Problem] = {}
        self._stages: list[Stage] = []

    def add(self, error: RowsError, n_before: int) -> None:
        """Note the problems of a block that has ``n_before`` rows before it."""
        self._stages.append(error.stage)
        for problem in error.problems:
            key = (problem.column, problem.message)
            earlier = self._found.get(key, Problem(*key))
            rows = (*earlier.rows, *(row + n_before for row in problem.rows))[:MAX_ROWS]
            self._found[key] = Problem(*key, rows, earlier.count + problem.count)

    def found(self) -> list[Problem]:
        """Return each problem, with its rows counted over all blocks."""
        return [*self._found.values()]

    def raise_if_any(self) -> None:
        """Raise the problems that were noted.

        Raises
        ------
        RowsError
            If there are any.
        """
        if self._found:
            raise RowsError(self.found(), "value" if "value" in self._stages else self._stages[0])


def shorten(name: object) -> str:
    """Return a name from the request in a form that is safe to show: at most 64 printable characters."""
    text = "".join(sign if sign.isprintable() else "?" for sign in str(name)[: MAX_NAME + 1])
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"


def at_rows(column: str | None, message: str, rows: Sequence[int]) -> Problem:
    """Return a problem of some rows.

    Parameters
    ----------
    column
        Which column; None if it is not one column's fault.
    message
        What was expected, and what to do.
    rows
        Positions of all rows that have it, from 0.
    """
    problem = Problem(column, message, tuple(row + 1 for row in rows[:MAX_ROWS]), len(rows))
    problem.__dict__["all_rows_"] = rows
    return problem


def check_once(names: Sequence[str]) -> None:
    """Refuse names that are given several times.

    Raises
    ------
    RowsError
        Naming each.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise RowsError([Problem(shorten(name), "stands there twice; give it once") for name in twice], "column")
