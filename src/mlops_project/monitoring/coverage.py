"""Whether sets and intervals hold the truth as often as promised, by labels that came later; and, without, how wide they are.

Rows that are marked as not to be trusted are counted as well: many of them are work for people, whether or not labels come.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import binomtest

from mlops_project.contract import Contract
from mlops_project.modeling.metrics import Scored
from mlops_project.monitoring.results import MetricValue, Reason
from mlops_project.reference.bins import read_numbers
from mlops_project.runtime import Predictions
from mlops_project.uncertainty import Uncertainty

COVERAGE, ABSTAINED, SET_SIZE, WIDTH = "coverage", "abstained", "set_size", "interval_width"  # names among the metrics
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
    predictions, truth = scored.predictions, np.asarray(scored.truth)
    covered = promised.is_covered(predictions.probabilities, predictions.values, truth)
    cells = np.bincount(promised.find_cells(predictions.values, truth), minlength=len(promised.list_ranks()))
    rng, drawn = np.random.default_rng(seed), np.zeros(DRAWS, np.int64)
    for rows, (inside, gaps) in zip(cells.tolist(), promised.list_ranks(), strict=True):
        certain = inside == gaps  # too few held-out rows to leave any out
        share = np.ones(DRAWS) if certain else rng.beta(inside, gaps - inside, DRAWS)
        drawn += rng.binomial(rows, share)
    bounds = binomtest(int(covered.sum()), len(covered)).proportion_ci(CONFIDENCE, method="wilson")
    return MetricValue(
        name=COVERAGE,
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
    """

    def __init__(self, promised: Uncertainty, contract: Contract) -> None:
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
                lost=share - checked.abstained - CHANCE * error > tolerance,
            ),
            MetricValue(
                name=name, source="counted", value=size, low=size - half, high=size + half, reference=checked.size, rows=rows
            ),
        )


def explain_abstained(found: MetricValue) -> Reason:
    """Say how many more rows than usual are marked."""
    figures = {name: getattr(found, name) for name in ("value", "low", "high", "rows", "reference")}
    return Reason(kind="abstained-more", values=figures)


def explain_coverage(found: MetricValue) -> Reason:
    """Say how much less than promised is covered."""
    figures = {name: getattr(found, name) for name in ("value", "low", "high", "rows", "reference")}
    return Reason(kind="coverage-lost", values=figures)
