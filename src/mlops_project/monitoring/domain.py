"""The domain classifier tries to tell a window's rows from reference rows by all their features together.

It sees what no feature shows alone: columns that no longer go together. A ridge regression on who is who with a quadratic
kernel (means, and products of any two columns) is enough for that, and cheap enough to permute: its cross-validated answers for
any labelling come from one matrix. Measured on 500 reference rows and 1,000 of the window with 30 features, two of which lost
their correlation of 0.8: AUC 0.59, with a random forest 0.53, with gradient boosting 0.57; neither could be permuted in time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import linalg, special, stats

from mlops_project.monitoring.results import DomainDrift
from mlops_project.reference.bins import FeatureProfile, read_numbers

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]

REFERENCE_ROWS, CURRENT_ROWS = 500, 1000  # at most; 0.5 s on one core, and more of the window would not help 500 rows
SAMPLE_ROWS = 10_000  # of a window, for segments; the classifier takes ``CURRENT_ROWS`` of them
MIN_ROWS = 50  # of each
FOLDS = 5
ROUNDS, FIRST_ROUNDS = 999, 99
PENALTY = 1.0  # in mean diagonal entries of the kernel; 0.1 sees weaker correlations, 10 weaker shifts
LEAST_AUC = 0.55  # less, even if it is no chance, is no change that matters
TEXT_VALUES = 10  # of a text column; the others count as one
NAMES = 5


class RowSample:
    """Rows drawn at random from all that are added, each as likely as any other; the same for the same seed and batches.

    Attributes
    ----------
    columns
        Feature → ``(n_rows,)``, or fewer if fewer were added. In random order, so the first of them are a smaller sample.
    """

    def __init__(self, seed: int, n_rows: int = CURRENT_ROWS) -> None:
        self.columns: dict[str, npt.NDArray[Any]] = {}
        self._n_rows, self._random = n_rows, np.random.default_rng(seed)
        self._keys = np.empty(0)  # a number per kept row; the rows with the smallest are kept

    def add(self, columns: Mapping[str, Any]) -> None:
        """Let a batch take part."""
        keys = self._random.random(len(next(iter(columns.values()), ())))
        is_full = len(self._keys) == self._n_rows
        chosen = np.flatnonzero(keys < self._keys[-1]) if is_full else np.arange(len(keys))
        keys = np.concatenate([self._keys, keys[chosen]])
        order = np.argsort(keys, kind="stable")[: self._n_rows]
        before = self.columns or {name: values[:0] for name, values in columns.items()}
        self._keys = keys[order]
        self.columns = {name: np.concatenate([before[name], values[chosen]])[order] for name, values in columns.items()}


def compare_rows(
    reference: Mapping[str, Any],
    current: Mapping[str, Any],
    features: Sequence[FeatureProfile],
    *,
    alpha: float,
    seed: int,
) -> DomainDrift | None:
    """Learn to tell the rows apart; None if there are too few of either, or nothing to go by.

    The AUC's null is drawn by permuting who is who within each fold and learning anew (``ROUNDS`` times, Good 2005): answers of
    models that share rows depend on each other, and Mann–Whitney's formula takes their spread for a quarter less than it is.
    If chance reached the AUC so often in the ``FIRST_ROUNDS`` that the others cannot change the decision, they are left out.

    Parameters
    ----------
    reference, current
        Feature name → ``(n_rows,)``.
    features
        Which to go by. Dates are left out: time alone would tell every window.
    alpha
        Chance of a false alarm.
    """
    rng = np.random.default_rng(seed)
    names = [profile.name for profile in features if profile.type != "datetime"]
    parts = [_choose(rows, names, limit, rng) for rows, limit in ((reference, REFERENCE_ROWS), (current, CURRENT_ROWS))]
    sizes = [len(next(iter(part.values()), ())) for part in parts]
    if min(sizes) < MIN_ROWS:
        return None
    blocks = [_spread(np.concatenate([part[name] for part in parts]), name, features) for name in names]
    columns = np.hstack(blocks)
    if not columns.shape[1]:
        return None
    labels = np.repeat([False, True], sizes)
    folds = _deal(labels, rng)
    kernel = columns @ columns.T / columns.shape[1]
    kernel += kernel**2 / 2
    kernel -= kernel.mean(axis=0) + kernel.mean(axis=1)[:, None] - kernel.mean()
    inverse = _invert(kernel + PENALTY * np.trace(kernel) / len(kernel) * np.eye(len(kernel)))
    aucs = _compute_aucs(inverse, np.column_stack([labels, *_permute(labels, folds, FIRST_ROUNDS, rng)]), folds)
    if (aucs >= aucs[0]).sum() <= alpha * (ROUNDS + 1):
        others = np.column_stack(_permute(labels, folds, ROUNDS - FIRST_ROUNDS, rng))
        aucs = np.append(aucs, _compute_aucs(inverse, others, folds))
    threshold = max(LEAST_AUC, float(np.quantile(aucs[1:], 1 - alpha)))
    p_value = float((aucs >= aucs[0]).mean())  # never 0: the window itself is one of the labellings (Phipson & Smyth 2010)
    owners = np.repeat(np.arange(len(names)), [block.shape[1] for block in blocks])
    told = _find_telling(columns, inverse @ (labels - labels.mean()), owners)
    return DomainDrift(
        auc=float(aucs[0]),
        threshold=threshold,
        p_value=p_value,
        drifted=p_value <= alpha and float(aucs[0]) > LEAST_AUC,
        names=tuple(names[index] for index in told),
    )


def _choose(columns: Mapping[str, Any], names: Sequence[str], limit: int, rng: np.random.Generator) -> dict[str, Any]:
    arrays = {name: np.asarray(columns[name]) for name in names}
    rows = len(next(iter(arrays.values()), ()))
    if rows <= limit:
        return arrays
    chosen = rng.choice(rows, limit, replace=False)
    return {name: values[chosen] for name, values in arrays.items()}


def _spread(values: npt.NDArray[Any], name: str, features: Sequence[FeatureProfile]) -> Floats:
    """Return a feature as float64 columns ``(n_rows, n_columns)`` of mean 0: normal scores of its ranks, or its values apart.

    Ranks do not mind outliers and units. A missing number stands in the middle, and a column says that it is missing.
    """
    if next(profile for profile in features if profile.name == name).kind == "category":
        texts = pd.Series(values, dtype=object).where(~pd.isna(values), "")
        common = texts.value_counts().index[:TEXT_VALUES]
        return _scale(np.column_stack([(texts == text).to_numpy(np.float64) for text in common]))
    numbers = read_numbers(values, name)
    missing = np.isnan(numbers)
    scores = np.zeros(len(numbers))
    present = int((~missing).sum())
    scores[~missing] = special.ndtri((stats.rankdata(numbers[~missing]) - 0.5) / max(present, 1))
    return np.hstack([_scale(scores[:, None]), _scale(missing[:, None].astype(np.float64))])


def _scale(columns: Floats) -> Floats:
    """Bring columns to mean 0 and, together, variance 1; rare marks keep less; constant ones are left out."""
    centred = columns - columns.mean(axis=0)
    varying = centred[:, centred.std(axis=0) > 0]
    scaled: Floats = varying / max(float(np.sqrt(varying.var(axis=0).sum())), 0.2)
    return scaled


def _deal(labels: Labels, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return each row's fold, both sides dealt out evenly."""
    folds = np.empty(len(labels), np.int64)
    for side in (False, True):
        rows = rng.permutation(np.flatnonzero(labels == side))
        folds[rows] = np.arange(len(rows)) % FOLDS
    return folds


def _permute(labels: Labels, folds: npt.NDArray[np.int64], rounds: int, rng: np.random.Generator) -> list[Labels]:
    """Return labellings with who is who drawn anew within each fold."""
    drawn = []
    for _ in range(rounds):
        permuted = labels.copy()
        for fold in range(FOLDS):
            permuted[folds == fold] = rng.permutation(labels[folds == fold])
        drawn.append(permuted)
    return drawn


def _invert(matrix: Floats) -> Floats:
    """Invert a symmetric positive definite matrix."""
    inverse: Floats = linalg.inv(matrix, assume_a="pos", overwrite_a=True, check_finite=False)
    return inverse


def _cross_validate(inverse: Floats, labellings: Labels, folds: npt.NDArray[np.int64]) -> Floats:
    """Return the answer for each row of a model that did not see its fold, ``(n_rows, n_labellings)``.

    Kernel ridge regression leaves rows out in closed form: with C = (K + λI)⁻¹ the fold's residuals are C_ff⁻¹ (C y)_f
    (Allen's PRESS, 1974; Cawley & Talbot 2003 for kernels).
    """
    targets = labellings - labellings.mean(axis=0)
    duals = inverse @ targets
    answers = np.empty_like(duals)
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds == fold)
        answers[rows] = targets[rows] - linalg.solve(inverse[np.ix_(rows, rows)], duals[rows], assume_a="pos")
    return np.asarray(answers, np.float64)


def _compute_aucs(inverse: Floats, labellings: Labels, folds: npt.NDArray[np.int64]) -> Floats:
    """Return the cross-validated ROC AUC of each labelling by its rank sum (Mann & Whitney 1947); answers do not tie."""
    answers = _cross_validate(inverse, labellings, folds)
    ranks = np.empty(answers.shape, np.int32)
    np.put_along_axis(ranks, np.argsort(answers, axis=0), np.arange(1, len(answers) + 1, dtype=np.int32)[:, None], axis=0)
    current = labellings.sum(axis=0)
    sums = np.where(labellings, ranks, 0).sum(axis=0)
    aucs: Floats = (sums - current * (current + 1) / 2) / (current * (len(labellings) - current))
    return aucs


def _find_telling(columns: Floats, duals: Floats, owners: npt.NDArray[np.int64]) -> list[int]:
    """Return the features with the largest single weight in the classifier, alone or in a product, largest first."""
    width = columns.shape[1]
    products = np.abs(columns.T * duals @ columns).max(axis=1) / width
    largest = np.zeros(int(owners.max()) + 1)
    np.maximum.at(largest, owners, np.maximum(products, np.abs(columns.T @ duals)))
    order = np.argsort(-largest, kind="stable")[:NAMES]
    return [int(index) for index in order if largest[index] >= largest[order[0]] / 2]
