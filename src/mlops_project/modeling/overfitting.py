"""Whether a model learned its training rows by heart: it knows far more of them than of others, and that does harm.

A gap alone is no fault: a forest answers rows that it has seen nearly perfectly, and others well. It does harm where answers to
other rows are too extreme, so that they would be better if they were shrunk towards the base rate (the calibration slope; Van
Houwelingen and Le Cessie 1990), or where they are no better than the base rate.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from mlops_project.contract import Contract
from mlops_project.findings import Finding
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import Scored
from mlops_project.runtime import Floats, Runtime
from mlops_project.tables.splits import Split

LEARNED_ROWS = 2_000  # of the training rows, which the model answers once more
MIN_ROWS = 20  # held out
GAP = 0.2  # between what is explained of training and of held-out rows
ALPHA = 0.001
SLOPE = 0.9  # answers that are best moved farther than that towards the base rate are too extreme
SURE = 1.645  # standard errors


class Share(NamedTuple):
    """Which share of the target answers explain, beside one answer for all rows, and its standard error."""

    value: float
    error: float


def answer_learned(runtime: Runtime, split: Split, contract: Contract, seed: int) -> Scored:
    """Let the model answer some of the rows that it learned from.

    Raises
    ------
    ContractError
        If it cannot read them.
    """
    rows = np.random.default_rng(seed).permutation(len(split.train_target))[:LEARNED_ROWS]
    truth = encode_target(split.train_target.iloc[rows], contract)
    return HeldOut.predict(runtime, split.train_features.iloc[rows], truth).score(contract)


def find_overfitting(learned: Scored, held_out: Scored) -> Finding | None:
    """Compare what a model explains of rows that it learned from and of others.

    Parameters
    ----------
    learned, held_out
        Both kinds of rows, answered by the model.
    """
    if len(held_out.truth) < MIN_ROWS:
        return None
    base = list_targets(learned).mean(axis=0)
    known, new = explain(learned, base), explain(held_out, base)
    gap, error = known.value - new.value, float(np.hypot(known.error, new.error))
    if gap < GAP or gap < stats.norm.isf(ALPHA) * error:
        return None
    slope = _find_slope(held_out, base)
    useless = new.value < SURE * new.error and gap >= 2 * GAP
    if not useless and slope.value + SURE * slope.error > SLOPE:
        return None
    harm = (
        "are no better than one answer for all" if useless else f"would be better {slope.value:.2f} times as far from the mean"
    )
    return Finding(
        code="overfitting",
        seen=f"the model explains {known.value:.0%} of rows that it learned from, and {max(new.value, 0):.0%} of the held-out "
        f"ones, where its answers {harm}",
        why="it has learned chance by heart, and is surer than it is right",
        cure="a simpler model: a larger min_samples_leaf, fewer leaves or rounds, a stronger penalty, fewer columns; or "
        "model.estimator: auto, or more rows",
    )


def list_targets(scored: Scored) -> Floats:
    """Return the truth as columns: one of ones and zeros for each class, or the number; ``(n_rows, n_columns)``."""
    if scored.n_classes:
        return np.eye(scored.n_classes)[np.asarray(scored.truth, np.int64)]
    return np.asarray(scored.truth, np.float64)[:, None]


def list_answers(scored: Scored) -> Floats:
    """Return the answers beside ``list_targets``: probabilities, or the number; ``(n_rows, n_columns)``."""
    if scored.n_classes:
        return scored.probabilities
    return np.asarray(scored.predictions.values, np.float64)[:, None]


def explain(scored: Scored, base: Floats) -> Share:
    """Return which share of the squared distance between truth and trivial answers a model's answers save, as Brier and R² do.

    Parameters
    ----------
    base
        The trivial answers, ``(n_columns,)`` or ``(n_rows, n_columns)``.
    """
    truth = list_targets(scored)
    lost, trivial = (((truth - said) ** 2).sum(axis=1) for said in (list_answers(scored), base))
    total = float(trivial.mean())
    if total <= 0 or len(lost) < 2:
        return Share(0.0, np.inf)
    value = 1 - float(lost.mean()) / total
    error = float((lost - (1 - value) * trivial).std(ddof=1)) / total / np.sqrt(len(lost))  # of a ratio of means
    return Share(value, error)


def _find_slope(scored: Scored, base: Floats) -> Share:
    """Return the factor by which answers are to be moved away from the base rate to explain most, and its standard error."""
    said, came = list_answers(scored) - base, list_targets(scored) - base
    size = float((said**2).sum())
    if size <= 0:
        return Share(1.0, np.inf)
    value = float((said * came).sum()) / size
    return Share(value, float(np.sqrt((((said * (came - value * said)).sum(axis=1)) ** 2).sum())) / size)
