"""What the gate finds when it compares two models, and the registry keeps."""

import msgspec


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger and the champion on the same rows, by the gate's metric.

    Attributes
    ----------
    metric
        Its name.
    challenger, champion
        Its value for each, in its own unit.
    gain
        The difference of the two, positive where the challenger is better.
    low, high
        The gain is over ``low``, and under ``high``, each with ``confidence``.
    confidence
        In (0, 1).
    tolerance
        How much worse is still accepted, in the metric's unit.
    rows
        How many were compared.
    against
        The champion's version; None if it is in no registry.
    """

    metric: str
    challenger: float
    champion: float
    gain: float
    low: float
    high: float
    confidence: float
    tolerance: float
    rows: int
    against: int | None = None
