"""Whether sets and intervals hold the truth as often as promised, by labels that came later; and, without, how wide they are.

Rows that are marked as not to be trusted are counted as well: many of them are work for people, whether or not labels come.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from mlops_project.contract import Contract
from mlops_project.errors import DataError
from mlops_project.modeling.metrics import Scored
from mlops_project.modeling.shift import reweigh, weigh_rows
from mlops_project.monitoring.past import KEPT, NEEDED, Judge, choose_quiet
from mlops_project.monitoring.results import Evaluation, MetricValue, Reason
from mlops_project.reference.bins import read_numbers
from mlops_project.runtime import Predictions
from mlops_project.tree_reasons import Inputs
from mlops_project.uncertainty import Uncertainty

COVERAGE, ABSTAINED, SET_SIZE, WIDTH = "coverage", "abstained", "set_size", "interval_width"  # names among the metrics
WEIGHTED = "coverage_weighted"
FIGURES = ("value", "low", "high", "rows", "reference")  # of a metric, that reasons say
CONFIDENCE = 0.95
ALPHA = 0.005  # share of healthy windows that are taken for lost
CHANCE = 2.576  # standard errors that chance exceeds in as many windows, to one side
DRAWS = 5_000


def judge_coverage(scored: Scored, promised: Uncertainty, seed: int) -> MetricValue:
    """Count how often the truth is in the set or interval, and whether that is less than chance explains.

    What is covered of rows like the held-out ones is itself drawn: of so many held-out rows per class or range follows a beta
    distribution of the true coverage (Vovk 2012), of the labelled rows a binomial one. A healthy window has fewer covered rows
    than the limit once in ``1 / ALPHA``.

    Parameters
    ----------
    scored
        Labelled rows, at least one.
    seed
        Of the draws.
    """
    return _count_covered(COVERAGE, scored, promised, promised.list_ranks(), seed)


class Mix(NamedTuple):
    """What is needed to judge coverage as if the held-out rows were of the labelled rows' mix.

    Attributes
    ----------
    held_out, answers, truth
        Held-out rows that the bundle keeps, encoded, with what the model says of them, and what is true.
    labelled
        The labelled rows, encoded.
    """

    held_out: Inputs
    answers: Predictions
    truth: npt.NDArray[Any]
    labelled: Inputs


def judge_weighted(scored: Scored, promised: Uncertainty, mix: Mix, contract: Contract, seed: int) -> MetricValue | None:
    """Count how often the truth would be in sets or intervals that are weighted for the labelled rows' mix.

    Returns
    -------
    MetricValue or None
        ``coverage_weighted``; None if the rows are too few, or too unlike the held-out ones.
    """
    try:
        weights = weigh_rows(mix.held_out, mix.labelled, contract, seed)
        mended = reweigh(promised, mix.answers, mix.truth, weights)
    except DataError:
        return None
    cells, ranks = mended.find_cells(mix.answers.values, mix.truth), []
    for place in range(len(mended.list_ranks())):
        worth = weights.held_out[cells == place]
        rows = float(worth.sum() ** 2 / (worth**2).sum()) if len(worth) else 0.0
        certain = mended.sets is not None and not mended.sets.least[place]
        ranks.append(((rows + 1) * (1.0 if certain else promised.coverage), rows + 1))
    return _count_covered(WEIGHTED, scored, mended, ranks, seed)


def _count_covered(
    name: str, scored: Scored, promised: Uncertainty, ranks: Sequence[tuple[float, float]], seed: int
) -> MetricValue:
    """Count covered rows.

    Parameters
    ----------
    ranks
        As of ``Uncertainty.list_ranks``.
    """
    predictions, truth = scored.predictions, np.asarray(scored.truth)
    covered = promised.is_covered(predictions.probabilities, predictions.values, truth)
    cells = np.bincount(promised.find_cells(predictions.values, truth), minlength=len(ranks))
    rng, drawn = np.random.default_rng(seed), np.zeros(DRAWS, np.int64)
    for rows, (inside, gaps) in zip(cells.tolist(), ranks, strict=True):
        certain = inside == gaps  # too few held-out rows to leave any out
        share = np.ones(DRAWS) if certain else rng.beta(inside, gaps - inside, DRAWS)
        drawn += rng.binomial(rows, share)
    bounds = binomtest(int(covered.sum()), len(covered)).proportion_ci(CONFIDENCE, method="wilson")
    return MetricValue(
        name=name,
        source="live",
        value=float(covered.mean()),
        low=float(bounds.low),
        high=float(bounds.high),
        reference=promised.coverage,
        rows=len(covered),
        lost=bool(covered.sum() < np.quantile(drawn, ALPHA)),
    )


class SurenessCounter:
    """Counts how sure the model is of a window's rows, batch by batch.

    Parameters
    ----------
    promised
        By the model.
    contract
        The model's.

    Attributes
    ----------
    usual
        Share of marked rows that the model's past windows come to: only more than that is a rise. See ``find_usual``.
    """

    def __init__(self, promised: Uncertainty, contract: Contract) -> None:
        self.usual = 0.0
        self._promised, self._contract = promised, contract
        self._rows = self._abstained = 0
        self._size = self._squares = 0.0

    def add(self, columns: Mapping[str, Any], predictions: Predictions) -> None:
        """Take a batch.

        Parameters
        ----------
        columns
            Feature name → ``(n_rows,)``, as ``Runtime.predict`` takes them.
        predictions
            What the model answered; rows with a probability or value that is not finite are left out.
        """
        promised, names = self._promised, self._contract.number_columns
        answers = predictions.values if predictions.probabilities is None else predictions.probabilities
        rows = np.asarray(answers).reshape(len(np.asarray(answers)), -1)
        numbers = np.full((len(rows), len(names)), np.nan)
        for place in promised.reach.columns:
            numbers[:, place] = read_numbers(columns[names[place]], names[place])
        unsure = promised.is_far(numbers)
        if predictions.probabilities is not None and predictions.indices is not None:
            members = promised.find_sets(predictions.probabilities, predictions.indices.astype(np.int64))
            unsure, sizes = unsure | members.all(axis=1), members.sum(axis=1).astype(np.float64)
        else:
            lower, upper = promised.find_intervals(np.asarray(predictions.values))
            sizes = upper - lower
        known = np.isfinite(rows).all(axis=1)
        self._rows += int(known.sum())
        self._abstained += int(unsure[known].sum())
        self._size += float(sizes[known].sum())
        self._squares += float((sizes[known] ** 2).sum())

    def judge(self, tolerance: float) -> tuple[MetricValue, ...]:
        """Return the share of rows that are marked, and the mean size, beside the held-out rows'; none without rows.

        Parameters
        ----------
        tolerance
            By how much more rows than held-out ones, as a share of all, may be marked, beyond chance.
        """
        if not self._rows:
            return ()
        checked, rows = self._promised.checked, self._rows
        share, size = self._abstained / rows, self._size / rows
        bounds = binomtest(self._abstained, rows).proportion_ci(CONFIDENCE, method="wilson")
        pooled = (self._abstained + checked.abstained * self._promised.rows) / (rows + self._promised.rows)
        error = float(np.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / self._promised.rows)))
        half = 1.96 * float(np.sqrt(max(self._squares / rows - size**2, 0.0) / rows))
        name = SET_SIZE if self._promised.sets is not None else WIDTH
        return (
            MetricValue(
                name=ABSTAINED,
                source="counted",
                value=share,
                low=float(bounds.low),
                high=float(bounds.high),
                reference=checked.abstained,
                rows=rows,
                lost=share - checked.abstained - CHANCE * error > tolerance and share > self.usual,
            ),
            MetricValue(
                name=name, source="counted", value=size, low=size - half, high=size + half, reference=checked.size, rows=rows
            ),
        )


def find_usual(judge: Judge, previous: Sequence[Evaluation], accepted: frozenset[str], rows: int) -> float:
    """Return the share of marked rows that must be exceeded where rows depend on when they came: by the past ones.

    0 where rows look like independent draws, and 1 while there are too few past windows to judge by.

    Parameters
    ----------
    previous, accepted
        As of ``past.collect_past``.
    rows
        Of the window.
    """
    if judge.by_rows:
        return 0.0
    quiet = choose_quiet(previous, accepted)[-KEPT:]
    shares = [value.value for one in quiet for value in one.performance.counted if value.name == ABSTAINED]
    return judge.find_share_limit(max(shares), rows) if len(shares) >= NEEDED else 1.0


def explain_abstained(found: MetricValue) -> Reason:
    """Say how many more rows than usual are marked."""
    return Reason(kind="abstained-more", values={name: getattr(found, name) for name in FIGURES})


def explain_coverage(found: MetricValue, weighted: MetricValue | None = None) -> tuple[Reason, ...]:
    """Say how much less than promised is covered, and whether the rows' mix explains it, if that is known."""
    said = Reason(kind="coverage-lost", values={name: getattr(found, name) for name in FIGURES})
    if weighted is None:
        return (said,)
    kind = "coverage-concept" if weighted.lost else "coverage-mix"
    return said, Reason(kind=kind, values={name: getattr(weighted, name) for name in FIGURES})
