"""Labels that cannot be right together: noise, and contradictions in one source, delivery or region alone.

A world that changed contradicts the champion, too. What tells it from bad labels: a change can be learned from the labels
themselves, and other witnesses of the same time say the same.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binom
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import KFold

from mlops_project.findings import Finding
from mlops_project.modeling.metrics import Truth
from mlops_project.retraining.evidence import TAIL, Evidence, Surprise, encode_matrix, measure_errors
from mlops_project.retraining.regions import MAX_REGION, Mask, cut_feature
from mlops_project.runtime import Floats

MIN_GROUP, MIN_REST = 20, 30  # rows of a group that is judged, and of those that it is compared with
MAX_KEY_SHARE = 0.8  # share of the rows that a source or delivery may have and still be compared with the others
LEAST_EXCESS = 0.15  # contradictions beyond those expected, as a share of a group's labels
REST_SHARE = 0.1  # of the group's excess, that the others may have
ERROR = 0.001  # over all groups together
SPREAD = 0.1  # by how much regions differ in how often the champion errs beyond what its confidence says
LEAST_NOISE, NOISE_DEVIATIONS = 0.04, 4.0
FOLDS, MAX_NOISE_ROWS, MAX_TABLE_ROWS = 5, 20_000, 5_000


class Group(NamedTuple):
    """Labels that have something in common.

    Attributes
    ----------
    name
        In words, such as ``color = 'J'``.
    column
        The feature, if it is a region of one.
    rows, held_out
        Which labelled rows, and which held-out ones (none for sources and deliveries).
    rest
        Which other labelled rows it is compared with.
    """

    name: str
    column: str
    rows: Mask
    held_out: Mask
    rest: Mask


class Excess(NamedTuple):
    """How far a group's labels contradict the champion more than expected, and more than all others do."""

    group: Group
    share: float
    rest_share: float
    p_value: float


def find_bad_witnesses(evidence: Evidence) -> Iterator[Finding]:
    """Yield sources and deliveries whose labels alone contradict the champion, where others of the same time agree with it."""
    named = [*_list_witnesses(evidence, "source", "the source"), *_list_witnesses(evidence, "batch", "the delivery")]
    for found in _judge(evidence, named)[:1]:
        yield Finding(
            code="one-source-contradicts",
            seen=f"{_describe(evidence, found)}, and other labels of the same time do so in {found.rest_share:.0%} beyond that",
            why="what one witness alone says is more likely a fault of its labels than of the world",
            cure=f"have the labels of {found.group.name} looked at, beginning with rows {_name_worst(evidence, found.group)}, "
            "and send them again",
            severity="error",
        )


def find_bad_growth(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether the labels of the table's new rows contradict the champion, and those of the predictions do not."""
    if evidence.new_rows is None or len(evidence.new_rows.truth) < MIN_GROUP:
        return
    new, others = evidence.compare(evidence.new_rows), float(evidence.surprise[0].excess.mean())
    share, n_rows = float(new.excess.mean()), len(new.contradicts)
    by_chance = min(1.0, float(new.expected.mean()) + max(0.0, others))
    p_value = float(binom.sf(int(new.contradicts.sum()) - 1, n_rows, by_chance))
    if share >= LEAST_EXCESS and others <= _find_limit(share, evidence) and p_value < ERROR:
        yield Finding(
            code="new-rows-contradict",
            seen=f"the table has {n_rows:,} new rows, and {new.contradicts.mean():.0%} of their labels contradict version "
            f"{evidence.version}; {new.expected.mean():.0%} were to be expected, and the labelled predictions do so in "
            f"{max(0.0, others):.0%} beyond that",
            why="the world is the same for both, so one of them is labelled wrongly, and the predictions are those that judge",
            cure="look at how the new rows of the table came by their labels",
            severity="error",
        )


def _find_limit(share: float, evidence: Evidence) -> float:
    """Return how much all others may contradict beside a group that does: what is expected is known from so many rows only."""
    held_out = evidence.surprise[1]
    luck = 2 * float(np.sqrt(held_out.variance.mean() / len(held_out.excess)))
    return max(0.03 + luck, REST_SHARE * share)


def find_bad_regions(evidence: Evidence) -> Iterator[Finding]:
    """Yield small regions of a feature whose labels contradict the champion, where everywhere else they agree with it."""
    for found in _judge(evidence, [*_list_regions(evidence)])[:1]:
        yield Finding(
            code="one-region-contradicts",
            columns=(found.group.column,),
            seen=f"{_describe(evidence, found)}, and everywhere else in {found.rest_share:.0%} beyond that",
            why="labels that are turned over in a small part of the rows hardly show in a metric and are learned all the same",
            cure=f"look at rows {_name_worst(evidence, found.group)} with whoever labels them: the world changed just there, "
            "or somebody says so",
            severity="error",
        )


def _describe(evidence: Evidence, found: Excess) -> str:
    surprise = evidence.surprise[0]
    rows = found.group.rows
    said, expected = surprise.contradicts[rows].mean(), surprise.expected[rows].mean()
    return (
        f"{found.group.name} ({int(rows.sum()):,} of {len(rows):,} labelled rows): {said:.0%} of its labels contradict version "
        f"{evidence.version}, {expected:.0%} were to be expected"
    )


def _name_worst(evidence: Evidence, group: Group) -> str:
    return evidence.name_rows(group.rows & (evidence.surprise[0].contradicts > 0))


def _judge(evidence: Evidence, groups: list[Group]) -> list[Excess]:
    """Return the groups that contradict beyond chance and far more than their rest, the worst first."""
    labelled, held_out = evidence.surprise
    found = []
    for group in groups:
        others = float(labelled.excess[group.rest].mean())
        usual = _find_usual(held_out, group.held_out) if group.column else 0.0
        share = float(labelled.excess[group.rows].mean()) - usual
        by_chance = min(1.0, float(labelled.expected[group.rows].mean()) + usual + max(0.0, others))
        n_rows, count = int(group.rows.sum()), int(labelled.contradicts[group.rows].sum())
        p_value = float(binom.sf(count - 1, n_rows, by_chance)) * len(groups)
        if share >= LEAST_EXCESS and others <= _find_limit(share, evidence) and p_value < ERROR:
            found.append(Excess(group, share, max(0.0, others), p_value))
    return sorted(found, key=lambda item: -item.share * np.sqrt(item.group.rows.sum()))


def _find_usual(held_out: Surprise, rows: Mask) -> float:
    """Return how much more than expected the champion errs in a region from the start: what its held-out rows leave possible.

    Regions differ by about ``SPREAD``, and few rows tell little: the mean of what both say, and its standard deviation above.
    """
    n_rows, variance = int(rows.sum()), max(float(held_out.variance.mean()), 1e-6)
    precision = 1 / SPREAD**2 + n_rows / variance
    mean = float(held_out.excess[rows].sum()) / variance / precision
    return max(0.0, mean + 1 / float(np.sqrt(precision)))


def _list_witnesses(evidence: Evidence, key: str, title: str) -> Iterator[Group]:
    if not len(evidence.rows.witnesses):
        return
    names, times = evidence.rows.witnesses[key].to_numpy(), evidence.rows.times
    nothing = np.zeros(len(evidence.held_out.truth), bool)
    for name in dict.fromkeys(names):
        own = names == name
        if not name or not MIN_GROUP <= own.sum() <= MAX_KEY_SHARE * len(own):
            continue
        between = (times >= times[own].min()) & (times <= times[own].max())
        if (rest := between & ~own).sum() >= MIN_REST:
            yield Group(f"{title} {name!r}", "", own, nothing, rest)


def _list_regions(evidence: Evidence) -> Iterator[Group]:
    """Yield small regions, of all labelled rows and of the newest alone: what is turned over step by step shows there."""
    known = evidence.held_out.features
    for name in evidence.contract.names:
        ours, theirs = evidence.rows.features[name].to_numpy(), known[name].to_numpy()
        for title, own, held_out in cut_feature(name, ours, theirs):
            if own.sum() > MAX_REGION * len(own):
                continue
            for part, looked in ((title, np.ones(len(own), bool)), (f"{title} among the newest rows", evidence.is_judged)):
                if (own & looked).sum() >= MIN_GROUP:
                    yield Group(part, name, own & looked, held_out, looked & ~own)


def find_noise(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether more labels are wrong than in the table, whatever could be learned from them (Northcutt et al. 2021).

    A model is cross-fitted to the labelled rows alone, with the champion's answer as one more column; what neither it nor the
    champion can say is noise. Where half of the rows say less than all, more rows would say more: that is taken off. Beside it
    stands what the champion's held-out errors lead one to expect, or the same model's on the table, whichever is more.
    """
    rows = np.arange(len(evidence.rows))[-MAX_NOISE_ROWS:]
    surprise, held_out = evidence.surprise
    own, expected = surprise.contradicts[rows], float(surprise.expected[rows].mean())
    half, whole = (_fit_labelled(evidence, part) for part in (rows[::2], rows))
    learned = float(whole.mean()) - max(0.0, float(half.mean()) - float(whole.mean()))
    best, known = min(learned, float(own.mean())), _fit_table(evidence)
    expected = min(0.9, expected * max(1.0, float(known.mean()) / max(float(held_out.contradicts.mean()), 1 / len(known))))
    noise, spread = best - expected, expected * (1 - expected)
    if noise < max(LEAST_NOISE, NOISE_DEVIATIONS * np.sqrt(spread * (1 / len(rows) + 1 / len(known)))):
        return
    worst = np.zeros(len(evidence.rows), bool)
    worst[rows[(whole > 0) & (own > 0)]] = True
    yield Finding(
        code="label-noise",
        seen=f"of {len(rows):,} labels {best:.0%} contradict both version {evidence.version} and what the other labels say of "
        f"like rows, {expected:.0%} were to be expected: about {noise * len(rows):,.0f} are wrong",
        why="nothing can be learned from labels that follow from nothing, and no metric on them means anything",
        cure=f"look at how labels are joined to predictions, beginning with rows {evidence.name_rows(worst)}",
        severity="error",
    )


def _fit_labelled(evidence: Evidence, rows: Any) -> Floats:
    answers = evidence.labelled.predictions
    said = np.asarray(answers.probabilities) if answers.values is None else answers.values[:, None]
    matrix = np.hstack([encode_matrix(evidence.rows.features.iloc[rows], evidence.contract), said[rows]])
    return _cross_fit(matrix, evidence.labelled.truth[rows], evidence)


def _fit_table(evidence: Evidence) -> Floats:
    features = pd.concat([evidence.training, evidence.held_out.features])
    truth = np.concatenate([evidence.training_truth, evidence.held_out.truth])
    rows = np.random.default_rng(0).permutation(len(truth))[:MAX_TABLE_ROWS]
    return _cross_fit(encode_matrix(features.iloc[rows], evidence.contract), truth[rows], evidence)


def _cross_fit(matrix: Floats, truth: Truth, evidence: Evidence) -> Floats:
    """Return 1 for each row whose label a model of the other rows does not give."""
    options: dict[str, Any] = {"max_iter": 60, "min_samples_leaf": 10, "early_stopping": False, "random_state": 0}
    is_regression = not evidence.contract.is_classification
    limit = float(np.quantile(np.abs(measure_errors(evidence.held_out)), TAIL)) if is_regression else 0.0
    wrong = np.zeros(len(truth))
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(matrix):
        if is_regression:
            fitted = HistGradientBoostingRegressor(loss="absolute_error", **options).fit(matrix[train], truth[train])
            wrong[test] = np.abs(fitted.predict(matrix[test]) - truth[test]) > limit
        elif len(np.unique(truth[train])) > 1:
            model = HistGradientBoostingClassifier(**options).fit(matrix[train], truth[train])
            wrong[test] = model.predict(matrix[test]) != truth[test]
    return wrong
