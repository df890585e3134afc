"""Sets and intervals for rows of another mix: each held-out row counts as much as it is likelier among them than it was.

Weighted conformal prediction (Tibshirani, Barber, Candès & Ramdas 2019): where the columns' mix changes, and what follows from
them does not, quantiles weighted by the ratio of both densities keep the promise. A classifier that tells both kinds of rows
apart gives the ratio (Bickel, Brückner & Scheffer 2009), for each row by folds that it is not in. Measured beside unweighted
ones in ``benchmarks/decisions/shift.py``.
"""

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from mlops_project.contract import DATETIME_PARTS, Contract
from mlops_project.errors import DataError
from mlops_project.modeling.conformal import MAX_RANGES, RANGE_ROWS, count_needed
from mlops_project.runtime import Floats, Predictions
from mlops_project.tree_reasons import Inputs
from mlops_project.uncertainty import Intervals, Sets, Uncertainty

MIN_ROWS = 50  # of each kind, to tell them apart
MIN_EFFECTIVE = 50.0  # held-out rows, as many as weighted ones are worth: (Σw)² / Σw² (Kish 1965)
FOLDS = 5
STRENGTH = 0.1  # of the classifier: smaller keeps weights nearer to 1
WIDEST = 4.0  # standard deviations that a number counts at most
TOP_TEXTS = 20
ROUNDING = 1e-9
STRANGE = "the rows are too unlike the held-out ones: {}; train on newer rows"


class Weights(msgspec.Struct, frozen=True):
    """How likely held-out rows are among other rows.

    Attributes
    ----------
    held_out
        float64 ``(n_held_out,)``: ratio of the densities, mean about 1.
    own
        Mean ratio of the other rows themselves.
    effective
        How many rows the weighted ones are worth.
    """

    held_out: Floats
    own: float
    effective: float


def weigh_rows(held_out: Inputs, rows: Inputs, contract: Contract, seed: int) -> Weights:
    """Say how much likelier each held-out row is among other rows.

    Parameters
    ----------
    held_out, rows
        Encoded, see ``runtime.encode``.
    seed
        Of the folds.

    Raises
    ------
    DataError
        If there are too few rows, or they have so little in common that hardly a held-out row speaks for them.
    """
    n_held_out, n_rows = len(held_out[0]), len(rows[0])
    if min(n_held_out, n_rows) < MIN_ROWS:
        raise DataError(f"weights take {MIN_ROWS} held-out rows and as many others, there are {n_held_out} and {n_rows}")
    columns = _list_columns(held_out, rows, contract)
    is_other = np.repeat([False, True], [n_held_out, n_rows])
    odds = _tell_apart(columns, is_other, seed) * (n_held_out / n_rows)
    weights, own = odds[~is_other], float(odds[is_other].mean())
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    if effective < MIN_EFFECTIVE:
        said = f"weighted for them, the {n_held_out} that are kept are worth {effective:.0f}, and it takes {MIN_EFFECTIVE:.0f}"
        raise DataError(STRANGE.format(said))
    return Weights(weights, own, effective)


def reweigh(known: Uncertainty, answers: Predictions, truth: "npt.NDArray[np.generic]", weights: Weights) -> Uncertainty:
    """Return what is known of the model's uncertainty for rows of another mix.

    Parameters
    ----------
    known
        For rows like the held-out ones.
    answers, truth
        Of the held-out rows that the weights are of.

    Raises
    ------
    DataError
        If a new row weighs so much that no interval is wide enough, and no set is smaller than all classes.
    """
    rows = round(weights.effective)
    if answers.probabilities is not None:
        sets = _find_sets(answers.probabilities, truth.astype(np.int64), known.coverage, weights)
        return msgspec.structs.replace(known, sets=sets, rows=rows)
    intervals = _find_intervals(np.asarray(answers.values), truth.astype(np.float64), known.coverage, weights)
    return msgspec.structs.replace(known, intervals=intervals, rows=rows)


def _find_sets(probabilities: Floats, truth: "npt.NDArray[np.int64]", coverage: float, weights: Weights) -> Sets:
    least, rows = [], []
    for place in range(probabilities.shape[1]):
        own = truth == place
        order = np.argsort(probabilities[own, place])
        left_out = _count_outside(weights.held_out[own][order], weights.own, 1 - coverage)
        least.append(0.0 if left_out is None else float(probabilities[own, place][order][left_out]))
        rows.append(int(own.sum()))
    if not any(least):
        raise DataError(STRANGE.format("every class would be possible for every row"))
    return Sets(least=tuple(least), rows=tuple(rows))


def _find_intervals(values: Floats, truth: Floats, coverage: float, weights: Weights) -> Intervals:
    needed = max(RANGE_ROWS, count_needed(coverage, is_regression=True))
    n_ranges = int(np.clip(weights.effective // needed, 1, MAX_RANGES))
    order = np.argsort(values)
    shares = np.cumsum(weights.held_out[order]) / weights.held_out.sum()
    edges = np.unique(values[order][np.searchsorted(shares, np.arange(1, n_ranges) / n_ranges)])
    ranges = np.searchsorted(edges, values, side="right")
    if np.bincount(ranges, minlength=len(edges) + 1).min() < needed / 2:
        edges, ranges = np.array([]), np.zeros(len(values), np.int64)
    below, above, rows = [], [], []
    for place in range(len(edges) + 1):
        own = ranges == place
        errors, worth = (truth - values)[own], weights.held_out[own]
        order = np.argsort(errors)
        errors, worth = errors[order], worth[order]
        low, high = (_count_outside(part, weights.own, (1 - coverage) / 2) for part in (worth, worth[::-1]))
        if low is None or high is None:
            raise DataError(STRANGE.format("no width that was seen is enough"))
        below.append(float(errors[low]))
        above.append(float(errors[len(errors) - 1 - high]))
        rows.append(len(errors))
    return Intervals(edges=tuple(edges.tolist()), below=tuple(below), above=tuple(above), rows=tuple(rows))


def _count_outside(weights: Floats, own: float, share: float) -> int | None:
    """Return how many of the ordered rows may be left out at their end; None if even those of no row are too many.

    A new row may be farther out than all; it is left out first. With equal weights as ``uncertainty.count_outside``, less one.
    """
    allowed = share * (weights.sum() + own) - own + ROUNDING
    return None if allowed < 0 else int((np.cumsum(weights) <= allowed).sum())


def _tell_apart(columns: Floats, is_other: "npt.NDArray[np.bool_]", seed: int) -> Floats:
    """Return each row's odds of being one of the others, by a classifier that has not seen it."""
    odds = np.empty(len(columns))
    for known, left in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(columns, is_other):
        fitted = LogisticRegression(C=STRENGTH, max_iter=500).fit(columns[known], is_other[known])
        odds[left] = np.exp(fitted.decision_function(columns[left]))
    return odds


def _list_columns(held_out: Inputs, rows: Inputs, contract: Contract) -> Floats:
    """Return both kinds of rows as numbers of similar size: dates do not count, because time goes on."""
    numbers, found, place = np.concatenate([held_out[0], rows[0]]), [], 0
    for feature in contract.numbers:
        if feature.type == "datetime":
            place += len(DATETIME_PARTS)
            continue
        values, place = numbers[:, place], place + 1
        missing = np.isnan(values)
        middle, spread = np.nanmean(values[: len(held_out[0])]), np.nanstd(values[: len(held_out[0])])
        if np.isfinite(middle) and spread > 0:
            found.append(np.clip(np.where(missing, 0.0, (values - middle) / spread), -WIDEST, WIDEST))
        if missing.any():
            found.append(missing.astype(np.float64))
    for column in range(len(contract.texts)):
        texts = pd.Series(np.concatenate([held_out[1][:, column], rows[1][:, column]]))
        found += [(texts == text).to_numpy(np.float64) for text in texts.value_counts().index[:TOP_TEXTS]]
    return np.column_stack(found) if found else np.zeros((len(numbers), 1))
