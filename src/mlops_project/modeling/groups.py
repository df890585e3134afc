"""Groups of people: the shares of them that are found and wrongly suspected, and whether probabilities mean the same in each.

Equal opportunity and equalised odds: Hardt, Price and Srebro (2016); calibration within groups: Kleinberg et al. (2017). Groups
are compared pairwise; p-values are corrected for the number of pairs and of comparisons.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from mlops_project.contract import Contract
from mlops_project.findings import Finding
from mlops_project.modeling.group_figures import GroupFigures, Measured
from mlops_project.modeling.metrics import Scored
from mlops_project.modeling.parts import Part, cut
from mlops_project.runtime import Floats

ALPHA = 0.003  # chance of a finding about a column that somebody asked about, if its groups are alike
CONFIDENCE = 0.95
GROUP_ROWS = 30
COMPARED_ROWS = 15  # of the class, or of the others, in each group
SHARE_GAP = 0.1  # between shares of errors that matters
LEVEL_GAP = 0.05  # between how far probabilities are off
NUMBER_GAP = 0.25  # the same of numbers, in standard deviations of the error
TIMES = 1.5  # as large errors
Kind = Literal["found", "suspected", "level", "size"]


class Gap(NamedTuple):
    """Two groups that a model treats differently, beyond chance.

    Attributes
    ----------
    kind
        In which respect: rows of a class that are found, rows wrongly suspected of it, the level of answers, or the size of
        errors.
    column, label
        Which groups, and which class; "" for numbers.
    one, other
        Values or ranges of the two groups.
    first, second
        Their figures.
    difference
        First less second.
    """

    kind: Kind
    column: str
    label: str
    one: str
    other: str
    first: float
    second: float
    difference: Measured


def measure_groups(scored: Scored, column: "pd.Series[Any]", name: str) -> Iterator[GroupFigures]:
    """Yield how a model treats each value or range of a column."""
    for part in cut(column, name, GROUP_ROWS):
        rows = part.rows
        if not scored.n_classes:
            errors = scored.error[rows]
            yield GroupFigures(part.column, part.value, part.size, None, None, _bound_mean(errors), _bound_mean(np.abs(errors)))
        elif scored.n_classes == 2:
            said, came, answered = scored.probabilities[rows, 1], scored.truth[rows] == 1, scored.indices[rows] == 1
            found, suspected = (_bound_share(answered[asked]) for asked in (came, ~came))
            yield GroupFigures(part.column, part.value, part.size, found, suspected, _bound_mean(said - came), None)
        else:
            sure, right = scored.probabilities[rows].max(axis=1), scored.correct[rows]
            yield GroupFigures(
                part.column, part.value, part.size, _bound_share(right > 0), None, _bound_mean(sure - right), None
            )


def find_gaps(scored: Scored, column: "pd.Series[Any]", name: str, contract: Contract, alpha: float = ALPHA) -> Iterator[Gap]:
    """Yield the largest difference between two groups in each respect, if it matters and is beyond chance."""
    parts = list(cut(column, name, GROUP_ROWS))
    pairs = list(combinations(parts, 2))
    if not pairs:
        return
    if not scored.n_classes:
        errors = scored.error
        scale = float(errors.std())
        yield from _choose([_compare_means(errors, *pair, "level", "") for pair in pairs], NUMBER_GAP * scale, alpha / 2)
        sizes = [_compare_means(np.abs(errors), *pair, "size", "") for pair in pairs]
        much = [one for one in sizes if max(one[0].first, one[0].second) >= TIMES * min(one[0].first, one[0].second)]
        yield from _choose(much, 0.0, alpha / 2 / len(pairs) * max(len(much), 1))
        return
    places = [1] if contract.task == "binary" else range(len(contract.classes))
    for place in places:
        answered, is_class, label = scored.indices == place, np.asarray(scored.truth) == place, contract.class_names[place]
        share = alpha / 3 / len(places)
        for kind, asked in (("found", is_class), ("suspected", ~is_class)):
            yield from _choose([_compare_shares(answered, asked, *pair, kind, label) for pair in pairs], SHARE_GAP, share)  # type: ignore[arg-type] # one of Kind
        off = scored.probabilities[:, place] - is_class
        yield from _choose([_compare_means(off, *pair, "level", label) for pair in pairs], LEVEL_GAP, share)


def _choose(compared: "Sequence[tuple[Gap, float] | None]", least: float, alpha: float) -> Iterator[Gap]:
    """Yield the pair that differs most, if by so much and beyond chance over all pairs."""
    known = [item for item in compared if item is not None]
    if not known:
        return
    sure = [item for item in known if item[1] * len(known) <= alpha and abs(item[0].difference.value) >= least]
    if sure:
        yield max(sure, key=lambda item: abs(item[0].difference.value))[0]


def _compare_shares(answered: Any, asked: Any, one: Part, other: Part, kind: Kind, label: str) -> "tuple[Gap, float] | None":
    """Compare two groups' shares of rows that are answered with a class (Fisher's exact test); None if they have few."""
    sides = [answered[asked & part.rows] for part in (one, other)]
    if min(map(len, sides)) < COMPARED_ROWS:
        return None
    (first, second), table = (_bound_share(side) for side in sides), [[int(side.sum()), int((~side).sum())] for side in sides]
    low = first.value - second.value - float(np.hypot(first.value - first.low, second.high - second.value))  # Newcombe 1998
    high = first.value - second.value + float(np.hypot(first.high - first.value, second.value - second.low))
    difference = Measured(first.value - second.value, low, high)
    gap = Gap(kind, one.column, label, one.value, other.value, first.value, second.value, difference)
    return gap, float(stats.fisher_exact(table)[1])


def _compare_means(values: Floats, one: Part, other: Part, kind: Kind, label: str) -> "tuple[Gap, float]":
    """Compare two groups' means, by Welch's test and by Student's: the less sure one counts.

    In a small group the rows that are far off may be lacking, as of a rare class; its own spread is then too small.
    """
    sides = [values[part.rows] for part in (one, other)]
    means = [float(side.mean()) for side in sides]
    found = stats.ttest_ind(*sides, equal_var=False)
    low, high = found.confidence_interval(CONFIDENCE)
    difference = Measured(means[0] - means[1], float(low), float(high))
    p_values = [float(found.pvalue), float(stats.ttest_ind(*sides).pvalue)]
    p_value = max(p_values) if np.isfinite(p_values).all() else 1.0
    return Gap(kind, one.column, label, one.value, other.value, means[0], means[1], difference), p_value


def _bound_share(hits: Any) -> Measured:
    if not len(hits):
        return Measured(np.nan, 0.0, 1.0)
    bounds = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(CONFIDENCE, method="wilson")
    return Measured(float(hits.mean()), float(bounds.low), float(bounds.high))


def _bound_mean(values: Floats) -> Measured:
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return Measured(mean, mean - half, mean + half)


def describe_gap(gap: Gap) -> Finding:
    """Return the finding about two groups."""
    return _describe_level(gap) if gap.kind == "level" else _describe_errors(gap)


def _describe_errors(gap: Gap) -> Finding:
    one, other = f"where {gap.column!r} is {gap.one}", f"where it is {gap.other}"
    if gap.kind == "size":
        seen = f"answers are off by {gap.first:.4g} on the mean {one}, and by {gap.second:.4g} {other} ({_bound(gap, '+.4g')})"
    else:
        rows, verb = ("rows of", "found") if gap.kind == "found" else ("other rows than", "taken for it wrongly")
        seen = (
            f"of {rows} {gap.label!r}, {gap.first:.0%} are {verb} {one}, and {gap.second:.0%} {other} ({_bound(gap, '+.0%')})"
        )
    return Finding(
        code="unequal-errors",
        columns=(gap.column,),
        seen=seen,
        why="people of one group bear more of the errors than others, beyond chance",
        cure="look for what the model lacks about one of them; a threshold of its own for each group is a decision for "
        "people; accept it with a reason if it is right as it stands",
    )


def _describe_level(gap: Gap) -> Finding:
    what, form = (f"probabilities of {gap.label!r}", "+.2f") if gap.label else ("answers", "+.4g")
    return Finding(
        code="unequal-calibration",
        columns=(gap.column,),
        seen=f"{what} lie {gap.first:{form}} over what came true where {gap.column!r} is {gap.one}, and {gap.second:{form}} "
        f"where it is {gap.other} ({_bound(gap, form)})",
        why="the same answer means something else for people of one group than for others",
        cure="a column that says what is different there, more rows of the group, or model.calibration; accept it with a "
        "reason if it is right as it stands",
    )


def _bound(gap: Gap, form: str) -> str:
    found = gap.difference
    return f"difference {found.value:{form}}, 95% from {found.low:{form}} to {found.high:{form}}"
