"""Permutation importance: how much worse the model gets when one column is shuffled (Breiman 2001; Fisher et al. 2019)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import DATETIME_PARTS, Contract
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import PRIMARY, Truth, compute_metric, higher_is_better, score_rows
from mlops_project.runtime import Floats, Runtime

MAX_PREDICTED_ROWS = 300_000  # features x repeats x rows: 15 s of a deep 200-tree forest on one core (50 µs a row)
MIN_ROWS = 100  # fewer say nothing, however wide the table is
CORRELATED = 0.9


@dataclass(frozen=True)
class Importance:
    """How much the metric worsens per shuffled column, most important first.

    Attributes
    ----------
    metric
        The metric that was watched, in whose unit the numbers are.
    names
        Feature names.
    means, deviations
        float64 ``(n_features,)``: mean and standard deviation over the repeats; positive means that the column helps.
    correlated
        Features that move with another one (|Spearman's ρ| over ``CORRELATED``). Shuffling one of them leaves the other to
        answer for it, so both look less important than they are together.
    repeats, rows
        How often each column was shuffled, and on how many held-out rows.
    """

    metric: str
    names: tuple[str, ...]
    means: Floats
    deviations: Floats
    correlated: frozenset[str]
    repeats: int
    rows: int


def compute_importance(runtime: Runtime, held_out: HeldOut, contract: Contract, config: Config) -> Importance | None:
    """Shuffle each column of the held-out rows in turn; None if ``evaluation.importance_repeats`` is 0.

    scikit-learn's own function wants an estimator and shuffles a copy of the whole frame each time; this one takes the
    encoded rows, shuffles in place and predicts with the exported model. Of ``evaluation.importance_rows`` it takes fewer if
    features x repeats x rows would exceed ``MAX_PREDICTED_ROWS``, but never fewer than ``MIN_ROWS``.
    """
    repeats = config.evaluation.importance_repeats
    if not repeats:
        return None
    rng = np.random.default_rng(config.random_state)
    affordable = max(MIN_ROWS, MAX_PREDICTED_ROWS // (repeats * len(contract.names)))
    rows = _choose_rows(held_out.truth, min(config.evaluation.importance_rows, affordable), rng)
    stacked, metric = np.tile(rows, repeats), PRIMARY[contract.task]
    numbers, texts = held_out.encoded[0][stacked], held_out.encoded[1][stacked]
    truth = held_out.truth[stacked]

    def score() -> Floats:
        scored = score_rows(runtime.run(numbers, texts), truth, contract)
        parts = np.split(np.arange(len(stacked)), repeats)
        return np.array([compute_metric(metric, scored.take(part), contract.task) for part in parts])

    base = score()
    worsening = np.empty((len(contract.names), repeats))
    for index, block in _blocks(contract, numbers, texts):
        original = block.copy()
        block[:] = np.vstack([part[rng.permutation(len(rows))] for part in np.split(original, repeats)])
        worsening[index] = base - score()
        block[:] = original
    if not higher_is_better(metric):
        worsening = -worsening
    means, deviations = worsening.mean(axis=1), worsening.std(axis=1)
    order = np.argsort(-means, kind="stable")
    names = tuple(contract.names[index] for index in order)
    correlated = _find_correlated(held_out.features.iloc[rows])
    return Importance(metric, names, means[order], deviations[order], correlated, repeats, len(rows))


def _choose_rows(truth: Truth, limit: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Take rows evenly over the sorted truth, both ends included, so that two classes stay two."""
    shuffled = rng.permutation(len(truth))
    ordered = shuffled[np.argsort(truth[shuffled], kind="stable")]
    return ordered[np.linspace(0, len(truth) - 1, min(limit, len(truth))).astype(np.int64)]


def _blocks(
    contract: Contract, numbers: Floats, texts: npt.NDArray[np.object_]
) -> Iterator[tuple[int, npt.NDArray[np.float64] | npt.NDArray[np.object_]]]:
    """Yield each feature's index and a view of its encoded columns; a date has several."""
    number = text = 0
    for index, feature in enumerate(contract.features):
        if feature.is_text:
            yield index, texts[:, text : text + 1]
            text += 1
        else:
            width = len(DATETIME_PARTS) if feature.type == "datetime" else 1
            yield index, numbers[:, number : number + width]
            number += width


def _find_correlated(sample: pd.DataFrame) -> frozenset[str]:
    """Return the numeric columns that have a near twin among the others, by rank."""
    ranks = sample.select_dtypes(["number", "bool"]).rank()
    ranks = ranks.fillna(ranks.mean())
    ranks = ranks.loc[:, ranks.std() > 0]
    if ranks.shape[1] < 2:
        return frozenset()
    matrix = np.abs(np.corrcoef(ranks.to_numpy(), rowvar=False))
    np.fill_diagonal(matrix, 0.0)
    return frozenset(str(name) for name in ranks.columns[matrix.max(axis=1) > CORRELATED])
