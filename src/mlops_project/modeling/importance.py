"""Permutation importance: how much worse the model gets when one column is shuffled (Breiman 2001; Fisher et al. 2019)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import DATETIME_PARTS, Contract
from mlops_project.findings import Finding
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import PRIMARY, Truth, compute_metric, higher_is_better, score_rows
from mlops_project.modeling.side_work import SideWork
from mlops_project.runtime import Floats, Predictions, Runtime

Block = npt.NDArray[np.float64] | npt.NDArray[np.object_]
Shuffled = tuple[int, Block, Block]  # feature, view of its encoded columns, other values for them

MAX_PREDICTED_ROWS = 300_000  # features x repeats x rows: 15 s of a deep 200-tree forest on one core (50 µs a row)
MIN_ROWS = 100  # fewer say nothing, however wide the table is
GROUP = 16  # columns of a wide table that are shuffled together first: where no answer changes, none of them is used
WIDE = 100
MIN_AGREEMENT, MIN_COLUMNS, JUDGED_ROWS = 0.4, 3, 60
MIN_SHARE = 0.3  # of what the model knows; less where columns stand in for each other, so that none of them matters alone
CORRELATED = 0.9
CORRELATED_BLOCK = 512  # columns: the matrix of 5,000 against 5,000 would take 200 MB


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
    agreement
        How far two halves of these rows agree: 1 where both say the same of every column, 0 where nothing is common to them.
    share
        What all columns come to, one by one, of what the model knows; little where columns stand in for each other.
    """

    metric: str
    names: tuple[str, ...]
    means: Floats
    deviations: Floats
    correlated: frozenset[str]
    repeats: int
    rows: int
    agreement: float = 1.0
    share: float = 1.0


def try_importance(
    runtime: Runtime, held_out: HeldOut, contract: Contract, config: Config, side: SideWork
) -> Importance | None:
    """Return what ``compute_importance`` does; None, and a note, if it fails."""
    return side.attempt(
        "the columns' importance was",
        lambda: compute_importance(runtime, held_out, contract, config),
        without="so every column counts the same in drift",
    )


def compute_importance(runtime: Runtime, held_out: HeldOut, contract: Contract, config: Config) -> Importance | None:
    """Shuffle each column of the held-out rows in turn; None if ``evaluation.importance_repeats`` is 0.

    scikit-learn's own function wants an estimator and shuffles a copy of the whole frame each time; this one takes the
    encoded rows, shuffles in place and predicts with the exported model. Of ``evaluation.importance_rows`` it takes fewer if
    features x repeats x rows would exceed ``MAX_PREDICTED_ROWS``, but never fewer than ``MIN_ROWS``; then it repeats less.
    """
    width = len(contract.names)
    repeats = min(config.evaluation.importance_repeats, max(1, MAX_PREDICTED_ROWS // (MIN_ROWS * width)))
    if not repeats:
        return None
    rng, metric = np.random.default_rng(config.random_state), PRIMARY[contract.task]
    affordable = max(MIN_ROWS, MAX_PREDICTED_ROWS // (repeats * width))
    rows = _choose_rows(held_out.truth, min(config.evaluation.importance_rows, affordable), rng)
    worsening, base = _shuffle_columns(runtime, held_out, contract, metric, rows, repeats, rng)
    worsening, halves = worsening[:, :repeats], worsening[:, repeats:]
    means = worsening.mean(axis=1)
    order = np.argsort(-means, kind="stable")
    known = abs(base - _score_nothing(metric, held_out.truth[rows]))
    return Importance(
        metric=metric,
        names=tuple(contract.names[index] for index in order),
        means=means[order],
        deviations=worsening.std(axis=1)[order],
        correlated=_find_correlated(held_out.features.iloc[rows]),
        repeats=repeats,
        rows=len(rows),
        agreement=_compare_halves(halves),
        share=float(np.maximum(means, 0).sum()) / max(known, 1e-12),
    )


def _shuffle_columns(
    runtime: Runtime,
    held_out: HeldOut,
    contract: Contract,
    metric: str,
    rows: npt.NDArray[np.int64],
    repeats: int,
    rng: np.random.Generator,
) -> tuple[Floats, float]:
    """Return how much worse the metric gets by each column, ``(n_features, repeats + 2)``, and the metric itself.

    The last two are of two halves of the rows, over all repeats.
    """
    stacked = np.tile(rows, repeats)
    numbers, texts = held_out.encoded[0][stacked], held_out.encoded[1][stacked]
    truth, weights = held_out.truth[stacked], None if held_out.weights is None else held_out.weights[stacked]
    places = np.arange(len(stacked))
    parts = [*np.split(places, repeats), *(places[places % len(rows) % 2 == half] for half in (0, 1))]

    def score(predictions: Predictions) -> Floats:
        scored = score_rows(predictions, truth, contract, weights)
        return np.array([compute_metric(metric, scored.take(part), contract.task) for part in parts])

    answers = runtime.run(numbers, texts)
    base, blocks = score(answers), list(_blocks(contract, numbers, texts))
    worsening = np.zeros((len(contract.names), len(parts)))
    for start in range(0, len(blocks), GROUP):
        shuffled = [
            (index, block, np.vstack([part[rng.permutation(len(rows))] for part in np.split(block, repeats)]))
            for index, block in blocks[start : start + GROUP]
        ]
        if len(blocks) > WIDE and _same_answers(runtime, numbers, texts, shuffled, answers):
            continue
        for index, block, values in shuffled:
            with _replaced([(index, block, values)]):
                worsening[index] = base - score(runtime.run(numbers, texts))
    return worsening if higher_is_better(metric) else -worsening, float(np.mean(base[:repeats]))


def _score_nothing(metric: str, truth: Truth) -> float:
    """Return the metric of one answer for all rows."""
    if metric == "roc_auc":
        return 0.5
    if metric == "rmse":
        return float(truth.std())
    shares = np.bincount(truth) / len(truth)
    return -float((shares * np.log(np.maximum(shares, 1e-12))).sum())


def _compare_halves(halves: Floats) -> float:
    """Return how far the importance of the columns agrees between two halves of the rows, ``(n_features, 2)``, 0 to 1."""
    total = float(np.abs(halves).sum())
    if not np.isfinite(total) or total <= 0:  # a half with one class has no area under the curve
        return 1.0
    return 1 - float(np.abs(halves[:, 0] - halves[:, 1]).sum()) / total


def judge_importance(importance: Importance) -> Finding | None:
    """Return the finding about importance that other rows would not confirm; None if they would."""
    few = len(importance.names) < MIN_COLUMNS or importance.rows < JUDGED_ROWS
    if few or importance.agreement >= MIN_AGREEMENT or importance.share < MIN_SHARE:
        return None
    agree = f"agree in {importance.agreement:.0%} of the columns' importance only"
    seen = f"two halves of the {importance.rows:,} held-out rows {agree}"
    if importance.correlated:
        seen += f"; {len(importance.correlated)} columns move together, so each answers for the others when it is shuffled"
    return Finding(
        code="unstable-importance",
        seen=seen,
        why="which columns matter would come out otherwise on other rows: nobody should act on their order",
        cure="hold out more rows, leave out columns that repeat others, or read the importance of groups of columns",
        severity="note",
    )


@contextmanager
def _replaced(columns: Sequence[Shuffled]) -> Iterator[None]:
    """Put other values into columns, and their own back afterwards."""
    originals = [block.copy() for _, block, _ in columns]
    for _, block, values in columns:
        block[:] = values
    yield
    for (_, block, _), original in zip(columns, originals, strict=True):
        block[:] = original


def _same_answers(
    runtime: Runtime, numbers: Floats, texts: npt.NDArray[np.object_], columns: Sequence[Shuffled], answers: Predictions
) -> bool:
    """Whether the model answers the same, to the last bit, with all these columns shuffled: trees read few of many columns."""
    with _replaced(columns):
        others = runtime.run(numbers, texts)
    if answers.values is not None:
        return bool(np.array_equal(np.asarray(others.values), answers.values))
    return bool(np.array_equal(np.asarray(others.probabilities), np.asarray(answers.probabilities)))


def _choose_rows(truth: Truth, limit: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Take rows evenly over the sorted truth, both ends included, so that two classes stay two."""
    shuffled = rng.permutation(len(truth))
    ordered = shuffled[np.argsort(truth[shuffled], kind="stable")]
    return ordered[np.linspace(0, len(truth) - 1, min(limit, len(truth))).astype(np.int64)]


def _blocks(contract: Contract, numbers: Floats, texts: npt.NDArray[np.object_]) -> Iterator[tuple[int, Block]]:
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
    ranked = sample.select_dtypes(["number", "bool"]).rank()
    ranks, gaps = ranked.to_numpy(np.float64, copy=True), ranked.isna().to_numpy(bool)  # of no columns it would be objects
    ranks[gaps] = 0.0
    present = len(ranks) - gaps.sum(axis=0)
    ranks -= ranks.sum(axis=0) / np.maximum(present, 1)
    ranks[gaps] = 0.0  # a missing value has the mean rank
    sizes = np.linalg.norm(ranks, axis=0)
    varying = sizes > 1e-6  # ranks that differ do so by a half
    ranks, names = ranks[:, varying] / sizes[varying], ranked.columns[varying]
    found = np.zeros(len(names), bool)
    for start in range(0, len(names), CORRELATED_BLOCK):
        matrix = np.abs(ranks[:, start : start + CORRELATED_BLOCK].T @ ranks)
        own = np.arange(len(matrix))
        matrix[own, start + own] = 0.0
        found[start + own] = matrix.max(axis=1) > CORRELATED
    return frozenset(str(name) for name in names[found])
