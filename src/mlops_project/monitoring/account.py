"""Every predicted row ends in one window, waits for one, or is missing for a reason: what is known of each model's rows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlops_project.monitoring.reasons import say
from mlops_project.monitoring.results import Reason
from mlops_project.prediction_log.missing import ANY_MODEL, REASONS, Rows, add_rows
from mlops_project.prediction_log.missing import Reason as Cause

MISSING_SHARE = 0.01  # of a window's rows; more that are in no window raise an alert


class Losses(NamedTuple):
    """Rows that are in no window.

    Attributes
    ----------
    own
        Rows of the model: reason → how many.
    anyone
        Rows of the log that are this model's or another's, because what named their model is gone.
    """

    own: Mapping[Cause, int]
    anyone: Mapping[Cause, int]

    @property
    def both(self) -> dict[Cause, int]:
        """Reason → rows, of either."""
        return add_rows(add_rows({}, {ANY_MODEL: self.own}), {ANY_MODEL: self.anyone}).get(ANY_MODEL, {})


def find_losses(total: Rows, model: str) -> Losses:
    """Return what is missing of a model."""
    return Losses(total.get(model, {}), total.get(ANY_MODEL, {}))


def find_new(now: Mapping[Cause, int], before: Mapping[str, int]) -> dict[str, int]:
    """Return what is missing now and was not before; what was deleted from the record meanwhile counts for nothing."""
    return {reason: rows - before.get(reason, 0) for reason, rows in now.items() if rows > before.get(reason, 0)}


def explain_missing(missing: Mapping[Any, int], rows: int) -> Reason | None:
    """Return why rows are in no window; None if there are none.

    Parameters
    ----------
    missing
        Reason → rows.
    rows
        How many are in windows, to compare with.
    """
    count = sum(missing.values())
    if count <= 0:
        return None
    named = tuple(Reason(kind=f"missing-{cause}", values={"rows": missing[cause]}) for cause in REASONS if missing.get(cause))
    return Reason(kind="rows-missing", values={"rows": count, "share": count / (count + rows), "named": named})


def is_alarming(missing: Reason | None) -> bool:
    """Whether so many rows are missing that the window does not show what was asked."""
    return missing is not None and float(str(missing.values["share"])) > MISSING_SHARE


def write_notes(losses: Losses, evaluated: int) -> list[str]:
    """Return a sentence on the rows that are in no window; none if all are.

    Parameters
    ----------
    evaluated
        Rows in windows.
    """
    own, anyone = explain_missing(losses.own, evaluated), explain_missing(losses.anyone, evaluated)
    notes = [f"{say(own)}."] if own else []
    return [*notes, f"Of this model or another, {say(anyone)}."] if anyone else notes
