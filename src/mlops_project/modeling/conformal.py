"""Held-out rows → how sure the model's answers are: sets of classes, intervals, rows out of reach.

Sets: per class, the least probability that all but a share of its own rows exceed, so that rare classes are covered as often as
common ones (Vovk, Gammerman & Shafer 2005, Mondrian conformal predictors; Sadinle, Lei & Wasserman 2019). Intervals: quantiles
of the errors at both ends, in ranges of the answer (Vovk et al. 2005; Boström & Johansson 2020). The rows are the held-out
ones: the model that is served has not learned from them, so nothing of the table is lost to a calibration set, and a finite
sample gives the promise exactly. MAPIE finds the same numbers (``tests/unit/modeling/test_conformal.py``).
"""

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from mlops_project.config import Config
from mlops_project.contract import DATETIME_PARTS, QUANTILE_LEVELS, Contract
from mlops_project.errors import DataError
from mlops_project.modeling.evaluation import format_number
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.side_work import SideWork
from mlops_project.runtime import Floats, Predictions
from mlops_project.uncertainty import Checked, Intervals, Reach, Sets, Uncertainty, count_outside, measure_reach

RANGE_ROWS = 100  # that speak for one range of answers, at least
MAX_RANGES = 10
FOLDS = 10
MIDDLE = (0.01, 0.99)  # quantiles of training's rows
WITHIN = 0.99  # of the held-out rows are not far


def count_needed(coverage: float, *, is_regression: bool) -> int:
    """Return how many held-out rows a statement needs: of each class, or of all."""
    return next(n for n in range(1, 10**7) if count_outside(n, coverage, 2 if is_regression else 1))


def find_uncertainty(held_out: HeldOut, contract: Contract, config: Config, side: SideWork) -> Uncertainty | None:
    """Say how sure the model's answers are, as the configuration asks; None and a note if that cannot be said."""
    coverage = config.uncertainty.coverage
    if coverage is None:
        return None
    return side.attempt(
        "sets and intervals of a stated coverage were",
        lambda: calibrate(held_out, contract, coverage, config.random_state),
        without="so the model does not say how sure it is",
    )


def calibrate(held_out: HeldOut, contract: Contract, coverage: float, seed: int) -> Uncertainty:
    """Say how sure the model's answers are.

    Parameters
    ----------
    coverage
        To be promised, in (0, 1).
    seed
        Of the tenths that the check draws.

    Raises
    ------
    DataError
        If there are too few held-out rows to say anything.
    """
    answers, truth, numbers = held_out.predictions, np.asarray(held_out.truth), held_out.encoded[0]
    needed, there = count_needed(coverage, is_regression=not contract.is_classification), _count_largest(truth, contract)
    if there < needed:
        of = "of one class " if contract.is_classification else ""
        raise DataError(f"at {coverage:.0%} it takes {needed} held-out rows {of}or more, there are {there}; hold out more")
    sets, intervals = _find(answers, truth, coverage, len(contract.classes))
    reach = _find_reach(contract, numbers)
    unknown = Checked(coverage=0.0, low=0.0, high=0.0, size=0.0, abstained=0.0)
    found = Uncertainty(coverage=coverage, rows=len(truth), sets=sets, intervals=intervals, reach=reach, checked=unknown)
    covered = _cross_check(answers, truth, found, seed)
    bounds = binomtest(int(covered.sum()), len(covered)).proportion_ci(0.95, method="wilson")
    size, unsure = _describe(answers, found)
    checked = Checked(
        coverage=float(covered.mean()),
        low=float(bounds.low),
        high=float(bounds.high),
        size=size,
        abstained=float((unsure | found.is_far(numbers)).mean()),
    )
    return msgspec.structs.replace(found, checked=checked)


def _count_largest(truth: npt.NDArray[np.generic], contract: Contract) -> int:
    if not contract.is_classification or not len(truth):
        return len(truth)
    return int(np.bincount(truth.astype(np.int64)).max())


def _find(
    answers: Predictions, truth: npt.NDArray[np.generic], coverage: float, n_classes: int
) -> tuple[Sets | None, Intervals | None]:
    if answers.probabilities is not None:
        return _find_sets(answers.probabilities, truth.astype(np.int64), coverage, n_classes), None
    assert answers.values is not None
    return None, _find_intervals(answers.values, truth.astype(np.float64), coverage)


def _find_sets(probabilities: Floats, truth: npt.NDArray[np.int64], coverage: float, n_classes: int) -> Sets:
    least, rows = [], []
    for place in range(n_classes):
        own = np.sort(probabilities[truth == place, place])
        outside = count_outside(len(own), coverage)
        least.append(float(own[outside - 1]) if outside else 0.0)
        rows.append(len(own))
    return Sets(least=tuple(least), rows=tuple(rows))


def _find_intervals(values: Floats, truth: Floats, coverage: float) -> Intervals:
    needed = max(RANGE_ROWS, count_needed(coverage, is_regression=True))
    n_ranges = int(np.clip(len(values) // needed, 1, MAX_RANGES))
    edges = np.unique(np.quantile(values, np.arange(1, n_ranges) / n_ranges))
    ranges = np.searchsorted(edges, values, side="right")
    sizes = np.bincount(ranges, minlength=len(edges) + 1)
    if sizes.min() < needed:  # equal answers fill some ranges and leave others empty
        edges, ranges = np.array([]), np.zeros(len(values), np.int64)
    below, above, rows = [], [], []
    for place in range(len(edges) + 1):
        errors = np.sort((truth - values)[ranges == place])
        outside = count_outside(len(errors), coverage, tails=2)
        below.append(float(errors[outside - 1] if outside else errors[0]))
        above.append(float(errors[-outside] if outside else errors[-1]))
        rows.append(len(errors))
    return Intervals(edges=tuple(edges.tolist()), below=tuple(below), above=tuple(above), rows=tuple(rows))


def _find_reach(contract: Contract, numbers: Floats) -> Reach:
    """Say where training's rows are, by the quantiles that the contract keeps of them."""
    places, low, high, place = [], [], [], 0
    for feature in contract.numbers:
        spread = dict(zip(QUANTILE_LEVELS, feature.quantiles, strict=False))
        if feature.type != "datetime" and spread and spread[MIDDLE[0]] < spread[MIDDLE[1]]:
            places.append(place)
            low.append(spread[MIDDLE[0]])
            high.append(spread[MIDDLE[1]])
        place += len(DATETIME_PARTS) if feature.type == "datetime" else 1
    reach = Reach(columns=tuple(places), low=tuple(low), high=tuple(high), most=0.0)
    outside = np.sort(measure_reach(numbers, reach))
    beyond = count_outside(len(outside), WITHIN)
    return Reach(columns=reach.columns, low=reach.low, high=reach.high, most=float(outside[-beyond] if beyond else outside[-1]))


def _cross_check(answers: Predictions, truth: npt.NDArray[np.generic], found: Uncertainty, seed: int) -> npt.NDArray[np.bool_]:
    """Return which rows are covered by what the other nine tenths say."""
    n_rows, n_classes = len(truth), len(found.sets.rows) if found.sets is not None else 0
    fold = np.random.default_rng(seed).permutation(n_rows) % FOLDS
    covered = np.zeros(n_rows, bool)
    for number in range(FOLDS):
        rest, own = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        sets, intervals = _find(answers.pick(rest), truth[rest], found.coverage, n_classes)
        other, part = msgspec.structs.replace(found, sets=sets, intervals=intervals), answers.pick(own)
        covered[own] = other.is_covered(part.probabilities, part.values, truth[own])
    return covered


def _describe(answers: Predictions, found: Uncertainty) -> tuple[float, npt.NDArray[np.bool_]]:
    """Return the mean size of sets or intervals, and which rows could be any class."""
    if answers.probabilities is not None and answers.indices is not None:
        members = found.find_sets(answers.probabilities, answers.indices)
        return float(members.sum(axis=1).mean()), np.asarray(members.all(axis=1))
    assert answers.values is not None
    lower, upper = found.find_intervals(answers.values)
    return float((upper - lower).mean()), np.zeros(len(lower), bool)


def describe_uncertainty(found: Uncertainty, contract: Contract) -> str:
    """Say in one sentence, without a full stop, what is promised and how it works on the held-out rows."""
    checked, what, size = found.checked, "intervals", f"{format_number(found.checked.size)} wide"
    if found.sets is not None:
        what, size = "sets", f"{found.checked.size:.2f} classes each"
    text = (
        f"{found.coverage:.0%} {what} hold the truth of {checked.coverage:.1%} of the held-out rows "
        f"[{checked.low:.1%}, {checked.high:.1%}], {size} on average"
    )
    vague = (
        [name for name, least in zip(contract.class_names, found.sets.least, strict=True) if not least] if found.sets else []
    )
    if vague:
        text += f"; every set holds {', '.join(vague)}, of which too few rows are held out"
    return f"{text}; {checked.abstained:.1%} of the rows are marked `abstain`"
