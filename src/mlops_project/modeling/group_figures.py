"""How a model treats groups of people, in figures with their intervals."""

from typing import NamedTuple


class Measured(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class GroupFigures(NamedTuple):
    """How a model treats a group.

    Attributes
    ----------
    column, value, rows
        The group, in words, and how many held-out rows it has.
    found, suspected
        Two classes: shares of the positive and of the negative rows that are answered with the positive class. Several: share
        of rows answered rightly, and None. Numbers: None.
    off
        How far probabilities lie over what came true (of the positive class, or of the class that is answered); numbers: the
        mean error.
    size
        Numbers: the mean size of the error; else None.
    """

    column: str
    value: str
    rows: int
    found: Measured | None
    suspected: Measured | None
    off: Measured
    size: Measured | None
