"""Whether labels of one class take longer than others: the newest predictions have a label if they belong to the quick one.

Delays are learned from the older half of the labelled predictions, whose slow labels have had time to come. Where the delays of
the classes (of numbers: of the lower and the upper half) differ by more than chance, predictions younger than the slowest usual
delay are incomplete: they are neither judged nor learned from until their time has come.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from mlops_project.contract import Contract
from mlops_project.monitoring.results import Reason

USUAL = 0.95  # of a class's labels have come by its usual delay
MIN_ROWS = 30  # of a class, in the older half
ERROR = 1e-6  # deliveries make delays of like rows alike, so that chance does more than the test knows
LEAST_RATIO = 1.5  # of the usual delays

Times = npt.NDArray[np.int64]


class Maturity(NamedTuple):
    """Labels of one class come later than others.

    Attributes
    ----------
    is_mature
        Which predictions are older than the slowest usual delay, ``(n_rows,)``.
    slow, quick
        Codes of the slowest and the quickest class; of numbers 1 for the upper half and 0 for the lower.
    slow_seconds, quick_seconds
        Their usual delays.
    """

    is_mature: npt.NDArray[np.bool_]
    slow: int
    quick: int
    slow_seconds: float
    quick_seconds: float


def find_immature(predicted: Times, came: Times, truth: npt.NDArray[Any], *, is_classification: bool) -> Maturity | None:
    """Return which labelled predictions are old enough to be a fair sample; None if the delay says nothing of the label.

    Parameters
    ----------
    predicted, came
        When each row was predicted, and when its label came; microseconds, ``(n_rows,)``.
    truth
        Class indices or values.
    """
    if len(truth) < 2 * MIN_ROWS:
        return None
    now, groups = int(came.max()), np.asarray(truth) if is_classification else (truth > np.median(truth)).astype(np.int64)
    delays, old = (came - predicted) / 1e6, predicted <= (int(predicted.min()) + now) // 2
    known = {int(code): delays[old & (groups == code)] for code in np.unique(groups)}
    known = {code: part for code, part in known.items() if len(part) >= MIN_ROWS}
    if len(known) < 2:
        return None
    usual = {code: float(np.quantile(part, USUAL)) for code, part in known.items()}
    slow, quick = max(usual, key=lambda code: usual[code]), min(usual, key=lambda code: usual[code])
    if usual[slow] < LEAST_RATIO * usual[quick] or ks_2samp(known[slow], known[quick]).pvalue >= ERROR:
        return None
    is_mature = predicted <= now - usual[slow] * 1e6
    return None if is_mature.all() else Maturity(is_mature, slow, quick, usual[slow], usual[quick])


def name_group(contract: Contract, code: int) -> str:
    """Return what a class, or a half of the numbers, is called."""
    if contract.is_classification:
        return repr(contract.class_names[code])
    return f"{'large' if code else 'small'} values of {contract.target}"


def explain_immature(found: Maturity, contract: Contract) -> Reason:
    """Return what is left out of a live metric, and why."""
    slow, quick = (name_group(contract, code) for code in (found.slow, found.quick))
    delays = {"slow_delay": found.slow_seconds, "quick_delay": found.quick_seconds}
    count = int((~found.is_mature).sum())
    return Reason(kind="labels-young", values={"rows": count, "slow": slow, "quick": quick, **delays})
