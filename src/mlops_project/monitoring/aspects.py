"""What values of single features do not show: each aspect of a window against the same one of the held-out rows."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from mlops_project.monitoring.columns import compare_columns
from mlops_project.monitoring.pairs import compare_pair, find_cell, measure_strength
from mlops_project.monitoring.results import AspectDrift, Bins, Reason
from mlops_project.monitoring.rules import describe_rule
from mlops_project.monitoring.two_sample import adjust_holm
from mlops_project.reference.bins import FeatureProfile, Tally
from mlops_project.reference.details import Detail
from mlops_project.reference.distances import stability_index
from mlops_project.reference.pairs import PairTally
from mlops_project.reference.profile import Profiler, ReferenceProfile
from mlops_project.sections import MonitoringConfig


def compare_details(current: Profiler, settings: MonitoringConfig, alpha: float) -> list[AspectDrift]:
    """Compare what texts look like and when dates are: one family, whose p-values are corrected together (Holm 1979).

    Parameters
    ----------
    alpha
        Chance of a false alarm, over all details of all columns.
    """
    chosen = [
        (detail, one.profile.column, tally)
        for one in current.details
        for detail, tally in one.tallies.items()
        if one.is_comparable(detail)
    ]
    found = compare_columns([tally for _, _, tally in chosen], settings, alpha)
    return [
        AspectDrift(
            **{name: getattr(one, name) for name in one.__struct_fields__},
            aspect=detail,
            columns=(column,),
            change=_describe_detail(detail, column, tally) if one.drifted else None,
        )
        for one, (detail, column, tally) in zip(found, chosen, strict=True)
    ]


def _describe_detail(detail: Detail, column: str, tally: Tally) -> Reason:
    """Say what changed: the mean of a number, else the value whose share grew most."""
    profile = tally.profile
    if detail in ("length", "known"):
        before = sum(profile.sums) / max(sum(profile.counts), 1)
        now = float(tally.sums.sum()) / max(int(tally.counts.sum()), 1)
        return Reason(kind=f"{detail}-changed", values={"name": column, "before": before, "now": now})
    cells = profile.merge(np.array(profile.counts, np.int64), 0)[:-1], profile.merge(tally.counts, 0)[:-1]
    shares = [counts / max(int(counts.sum()), 1) for counts in cells]
    place = int(np.argmax(shares[1] - shares[0]))
    then, value = float(shares[0][place]), profile.labels[place]
    return Reason(
        kind=f"{detail}-changed", values={"name": column, "value": value, "before": then, "now": float(shares[1][place])}
    )


def compare_pairs(
    reference: ReferenceProfile, current: Profiler, settings: MonitoringConfig, alpha: float, seed: int
) -> list[AspectDrift]:
    """Compare how features go together: one family, whose p-values are corrected together (Holm 1979).

    Parameters
    ----------
    alpha
        Chance of a false alarm, over all pairs.
    seed
        Of the draws behind the thresholds.
    """
    features = {one.name: one for one in reference.features}
    found = [_compare(tally, features, settings, seed) for tally in current.pairs]
    adjusted = adjust_holm(np.array([one.p_value for one in found]))
    return [
        _decide(one, float(p_adjusted), tally, features, alpha)
        for one, p_adjusted, tally in zip(found, adjusted, current.pairs, strict=True)
    ]


def _compare(tally: PairTally, features: Mapping[str, FeatureProfile], settings: MonitoringConfig, seed: int) -> AspectDrift:
    pair = tally.profile
    outcome = compare_pair(pair.table, tally.table, seed)
    cells = pair.table.ravel(), tally.table.ravel()
    return AspectDrift(
        name=pair.name,
        kind="category",
        aspect="pair",
        columns=pair.columns,
        weight=sum(features[name].weight for name in pair.columns),
        rows=tally.rows,
        psi=stability_index(*cells) if tally.rows else 0.0,
        jensen_shannon=outcome.distance,
        test="interaction",
        statistic=outcome.distance,
        p_value=outcome.p_value,
        p_adjusted=1.0,
        threshold=max(settings.min_effect, outcome.threshold),
        drifted=False,
        bins=Bins(labels=(), current=tuple(cells[1].tolist()), reference=()),
    )


def _decide(
    found: AspectDrift, p_adjusted: float, tally: PairTally, features: Mapping[str, FeatureProfile], alpha: float
) -> AspectDrift:
    drifted = p_adjusted < alpha and found.jensen_shannon > found.threshold
    change = _describe_pair(tally, [features[name] for name in found.columns]) if drifted else None
    return msgspec.structs.replace(found, p_adjusted=p_adjusted, drifted=drifted, change=change)


def _describe_pair(tally: PairTally, features: Sequence[FeatureProfile]) -> Reason:
    """Say how firmly the features went together, how firmly they do now, and where that shows most."""
    before, now, ordered = tally.profile.table, tally.table, all(one.kind == "numeric" for one in features)
    row, column, share, expected = find_cell(before, now)
    return Reason(
        kind="pair-changed",
        values={
            "first": features[0].name,
            "second": features[1].name,
            "before": measure_strength(before, ordered=ordered),
            "now": measure_strength(now, ordered=ordered),
            "rule": describe_rule([(features[0], row), (features[1], column)]),
            "share": share,
            "expected": expected,
        },
    )
