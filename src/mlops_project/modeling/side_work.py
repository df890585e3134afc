"""Side work: models and figures that training adds to the model and can do without. None of it stops the training."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from mlops_project.errors import MLOpsError
from mlops_project.modeling.evaluation import shorten

HUGE = 1e150  # squares of larger numbers overflow
MAX_NAMED = 3  # columns that a note names
MAX_REASON = 160  # characters

T = TypeVar("T")


class SideWork:
    """Does what training can do without, and keeps what was left out, in words.

    Attributes
    ----------
    notes
        One sentence per piece that failed.
    rows
        The held-out rows as the table has them, once there are some: what is searched for huge numbers by default.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rows: pd.DataFrame | None = None

    def attempt(self, what: str, work: Callable[[], T], *frames: pd.DataFrame, without: str) -> T | None:
        """Return what ``work`` returns; None, and a note, if it fails.

        Parameters
        ----------
        what
            What is attempted, for the note.
        frames
            The columns it reads, default ``rows``: those with numbers too large to compute with are named.
        without
            What the model goes without, a clause for the note.
        """
        try:
            with np.errstate(all="ignore"):
                return work()
        except Exception as error:  # noqa: BLE001 - libraries raise what they like, and the model itself is well
            searched = frames or (() if self.rows is None else (self.rows,))
            blamed = next(filter(None, map(name_huge_columns, searched)), "")
            reason = str(error) if isinstance(error, MLOpsError) else f"{type(error).__name__}: {error}"
            cause = f"{blamed}: mend them, or leave them empty" if blamed else shorten(reason, MAX_REASON)
            self.notes.append(f"{what} left out, {without}; {cause}")
            return None


def name_huge_columns(frame: pd.DataFrame) -> str:
    """Return which columns hold numbers that cannot be squared, with the first row of each; empty if none does.

    Parameters
    ----------
    frame
        Its index is the rows' position in the table.
    """
    found = []
    for name in frame.columns:
        if frame[name].dtype.kind != "f":
            continue
        values = frame[name].to_numpy()
        places = np.flatnonzero(np.abs(values) > HUGE)
        if len(places):
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            found.append(f"column {str(name)!r} holds {values[places[0]]:.3g} in row {_number(frame.index[places[0]])}{more}")
    rest = f" and {len(found) - MAX_NAMED} more columns" if len(found) > MAX_NAMED else ""
    return ", ".join(found[:MAX_NAMED]) + rest


def _number(position: Any) -> int:
    """Return a row's number in the table, from 1."""
    return int(position) + 1
