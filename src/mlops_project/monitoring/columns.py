"""One column against its reference: the test that says whether it is chance, the distance that says whether it matters."""

from collections.abc import Sequence

import numpy as np

from mlops_project.monitoring.results import Bins, FeatureDrift
from mlops_project.monitoring.two_sample import (
    NO_TEST,
    TwoSampleTest,
    adjust_holm,
    compare_cells,
    compare_distributions,
    compare_ranks,
    compare_shares,
)
from mlops_project.reference.bins import Tally
from mlops_project.reference.distances import jensen_shannon, stability_index, wasserstein
from mlops_project.reference.thresholds import find_threshold
from mlops_project.sections import MonitoringConfig


def compare_columns(tallies: Sequence[Tally], settings: MonitoringConfig, alpha: float) -> list[FeatureDrift]:
    """Compare features, or scores: one family, whose p-values are corrected together."""
    outcomes = [judge_change(tally) for tally in tallies]
    adjusted = adjust_holm(np.array([outcome.p_value for outcome in outcomes]))
    return [
        _describe(tally, outcome, float(p_adjusted), settings, alpha)
        for tally, outcome, p_adjusted in zip(tallies, outcomes, adjusted, strict=True)
    ]


def judge_change(tally: Tally) -> TwoSampleTest:
    """Test a feature's values and its gaps; return the test with the smallest p-value, multiplied by how many there were.

    Numbers: Mann–Whitney sees that they moved, Kolmogorov–Smirnov any other change. Categories: χ² over the frequent ones and
    Fisher's test on unknown ones, which χ² may have joined with rare ones. Either: Fisher's test on missing values.
    """
    reference, current = np.array(tally.profile.counts, np.int64), tally.counts
    rows, current_rows = int(reference.sum()), int(current.sum())
    if tally.profile.kind == "numeric":
        outcomes = [compare_ranks(reference, current), compare_distributions(reference, current)]
    else:
        unknown = compare_shares(int(reference[-1]), rows, int(current[-1]), current_rows)
        outcomes = [compare_cells(reference, current), unknown]
    gaps = compare_shares(tally.profile.missing, rows + tally.profile.missing, tally.missing, tally.rows)
    outcomes = [outcome for outcome in (*outcomes, gaps) if outcome != NO_TEST]
    if not outcomes:
        return NO_TEST
    strongest = min(outcomes, key=lambda outcome: outcome.p_value)
    return strongest._replace(p_value=min(1.0, strongest.p_value * len(outcomes)))


def _describe(
    tally: Tally, outcome: TwoSampleTest, p_adjusted: float, settings: MonitoringConfig, alpha: float
) -> FeatureDrift:
    profile = tally.profile
    cells = profile.merge(np.array(profile.counts, np.int64), profile.missing)
    current = profile.merge(tally.counts, tally.missing)
    threshold = max(settings.min_effect, find_threshold(profile.thresholds, tally.rows))
    distance = float(jensen_shannon(cells, current)) if tally.rows else 0.0
    present, reference_rows = max(int(tally.counts.sum()), 1), max(int(cells.sum()), 1)
    category = profile.kind == "category"
    return FeatureDrift(
        name=profile.name,
        kind=profile.kind,
        weight=profile.weight,
        rows=tally.rows,
        psi=stability_index(cells, current) if tally.rows else 0.0,
        jensen_shannon=distance,
        wasserstein=None if category else _normalised_wasserstein(tally),
        test=outcome.name,
        statistic=outcome.statistic,
        p_value=outcome.p_value,
        p_adjusted=p_adjusted,
        threshold=threshold,
        drifted=p_adjusted < alpha and distance > threshold,
        missing_ratio=tally.missing / max(tally.rows, 1),
        missing_reference_ratio=profile.missing / reference_rows,
        out_of_range_ratio=tally.outside / present,
        unseen_ratio=int(tally.counts[-1]) / present if category else 0.0,
        smallest=tally.smallest if np.isfinite(tally.smallest) else None,
        largest=tally.largest if np.isfinite(tally.largest) else None,
        bins=Bins(
            labels=profile.labels,
            edges=() if category else profile.cell_edges,
            reference=tuple(cells.tolist()),
            current=tuple(current.tolist()),
        ),
    )


def _normalised_wasserstein(tally: Tally) -> float | None:
    """Return the distance in reference standard deviations; None where those are 0, or the numbers too large to add up."""
    profile = tally.profile
    if not profile.deviation or not np.isfinite(tally.sums).all():
        return None
    reference, sums = np.array(profile.counts, np.int64), np.array(profile.sums)
    distance = wasserstein(reference, sums, tally.counts, tally.sums) / profile.deviation
    return distance if np.isfinite(distance) else None
