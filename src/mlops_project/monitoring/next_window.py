"""How far a window has come that has not ended, as `/status` and the application show it."""

import msgspec


class NextWindow(msgspec.Struct, frozen=True, kw_only=True):
    """How far a window has come that has not ended.

    Attributes
    ----------
    version
        Whose predictions.
    rows
        Predictions in it that were read so far.
    needed
        How many it must have at least.
    start
        When it began; ISO 8601, UTC; empty before the first prediction.
    end
        When it ends; ISO 8601, UTC; empty while that is open, because there are too few predictions.
    """

    version: str
    rows: int
    needed: int
    start: str = ""
    end: str = ""
