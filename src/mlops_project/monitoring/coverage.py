"""Whether sets and intervals hold the truth as often as the model promises, by labels that came later."""

import numpy as np
from scipy.stats import binomtest

from mlops_project.modeling.metrics import Scored
from mlops_project.monitoring.results import MetricValue, Reason
from mlops_project.uncertainty import Uncertainty

COVERAGE = "coverage"  # its name among the metrics
CONFIDENCE = 0.95
ALPHA = 0.005  # share of healthy windows that are taken for lost
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


def explain_coverage(found: MetricValue) -> Reason:
    """Say how much less than promised is covered."""
    figures = {name: getattr(found, name) for name in ("value", "low", "high", "rows", "reference")}
    return Reason(kind="coverage-lost", values=figures)
