"""What is known of a window without its rows: how many there are, and how many labels."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Counts:
    """How much a window holds.

    Attributes
    ----------
    rows, labelled
        Predictions, and those with a label. ``labelled`` is 0 if it was not asked for.
    first, last
        Times of the oldest and the newest; None without rows.
    """

    rows: int
    labelled: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class Labels:
    """What is known of a window's labels.

    Attributes
    ----------
    rows
        Predictions with a label.
    newest
        When the last label came.
    delay_seconds
        Median time from a prediction to its (last) label.
    coverage
        Share of labelled predictions in [0, 1], from the oldest labelled one to the newest: what is newer may still come.
    """

    rows: int
    newest: datetime | None = None
    delay_seconds: float | None = None
    coverage: float | None = None
