"""Labels that cannot be right together: noise, and contradictions in one source, delivery or region alone.

A world that changed contradicts the champion, too. What tells it from bad labels: a change can be learned from the labels
themselves, and other witnesses of the same time say the same.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binom

from mlops_project.findings import Finding
from mlops_project.retraining.evidence import Evidence, encode_matrix
from mlops_project.retraining.regions import Mask, cut_feature
from mlops_project.retraining.turned_regions import (
    LEAST_EXCESS,
    MIN_GROUP,
    MIN_REST,
    find_least,
    find_limit,
    find_turned,
)
from mlops_project.runtime import Floats

MAX_KEY_SHARE = 0.8  # share of the rows that a source or delivery may have and still be compared with the others
MAX_SOURCES = 5  # those with most labels, whose labels are compared with the others' in every region
LEAST_NOISE, NOISE_DEVIATIONS = 0.04, 4.0
MAX_NOISE_ROWS = 20_000
ERROR = 0.001  # over all groups together


class Group(NamedTuple):
    """Labels that one witness gave.

    Attributes
    ----------
    name
        In words, such as ``the source 'lab-a'``.
    witness
        The same without the region, if it is about one.
    rows, rest
        Which labelled rows, and which others they are compared with.
    """

    name: str
    witness: str
    rows: Mask
    rest: Mask


class Excess(NamedTuple):
    """How far a group's labels contradict the champion more than expected, and more than all others do."""

    group: Group
    share: float
    rest_share: float


def find_bad_witnesses(evidence: Evidence) -> Iterator[Finding]:
    """Yield sources and deliveries whose labels alone contradict the champion, where others of the same time agree with it."""
    named = [*_list_witnesses(evidence, "source", "the source"), *_list_witnesses(evidence, "batch", "the delivery")]
    alone = _judge(evidence, named) or _judge(evidence, [*_list_regions_of_sources(evidence)], spread=2.0)
    for found in alone[:1]:
        said = _describe(evidence, found.group.name, found.group.rows)
        where = "of the same time" if found.group.name == found.group.witness else "of that region"
        yield Finding(
            code="one-source-contradicts",
            seen=f"{said}, and other labels {where} do so in {found.rest_share:.0%} beyond that",
            why="what one witness alone says is more likely a fault of its labels than of the world",
            cure=f"have the labels of {found.group.witness} looked at, beginning with rows "
            f"{_name_worst(evidence, found.group.rows)}, "
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
    if share >= LEAST_EXCESS and others <= find_limit(share, evidence) and p_value < ERROR:
        yield Finding(
            code="new-rows-contradict",
            seen=f"the table has {n_rows:,} new rows, and {new.contradicts.mean():.0%} of their labels contradict version "
            f"{evidence.version}; {new.expected.mean():.0%} were to be expected, and the labelled predictions do so in "
            f"{max(0.0, others):.0%} beyond that",
            why="the world is the same for both, so one of them is labelled wrongly, and the predictions are those that judge",
            cure="look at how the new rows of the table came by their labels",
            severity="error",
        )


def find_bad_regions(evidence: Evidence) -> Iterator[Finding]:
    """Yield the small regions of features whose labels contradict the champion, where everywhere else they agree with it."""
    found, others = find_turned(evidence)
    if not found:
        return
    rows: Mask = np.any([region.rows for region in found], axis=0)
    said = "; ".join(_describe(evidence, region.name, region.rows) for region in found)
    yield Finding(
        code="one-region-contradicts",
        columns=tuple(dict.fromkeys(region.column for region in found)),
        seen=f"{said}, and everywhere else in {others:.0%} beyond that",
        why="labels that are turned over in a small part of the rows hardly show in a metric and are learned all the same",
        cure=f"look at rows {_name_worst(evidence, rows)} with whoever labels them: the world changed just there, "
        "or somebody says so",
        severity="error",
    )


def _describe(evidence: Evidence, name: str, rows: Mask) -> str:
    surprise = evidence.surprise[0]
    said, expected = surprise.contradicts[rows].mean(), surprise.expected[rows].mean()
    return (
        f"{name} ({int(rows.sum()):,} of {len(rows):,} labelled rows): {said:.0%} of its labels contradict version "
        f"{evidence.version}, {expected:.0%} were to be expected"
    )


def _name_worst(evidence: Evidence, rows: Mask) -> str:
    return evidence.name_rows(rows & (evidence.surprise[0].contradicts > 0))


def _judge(evidence: Evidence, groups: list[Group], *, spread: float = 0.0) -> list[Excess]:
    """Return the groups that contradict beyond chance and far more than their rest, the worst first.

    Parameters
    ----------
    spread
        By how many standard deviations the rest may contradict more than it shows: where it is small.
    """
    labelled, found = evidence.surprise[0], list[Excess]()
    for group in groups:
        others, n_rows = float(labelled.excess[group.rest].mean()), int(group.rows.sum())
        expected = float(labelled.expected[group.rows].mean())
        share = float(labelled.excess[group.rows].mean())
        unsure = spread * float(np.sqrt(labelled.variance[group.rest].mean() / group.rest.sum()))
        by_chance = min(1.0, expected + max(0.0, others) + unsure)
        p_value = float(binom.sf(int(labelled.contradicts[group.rows].sum()) - 1, n_rows, by_chance)) * len(groups)
        least = float(find_least(np.array(expected)))
        if share >= least and others <= find_limit(share, evidence) and p_value < ERROR:
            found.append(Excess(group, share, max(0.0, others)))
    return sorted(found, key=lambda item: -item.share * np.sqrt(item.group.rows.sum()))


def _list_witnesses(evidence: Evidence, key: str, title: str) -> Iterator[Group]:
    if not len(evidence.rows.witnesses):
        return
    names, times = evidence.rows.witnesses[key].to_numpy(), evidence.rows.times
    for name in dict.fromkeys(names):
        own = names == name
        if not name or not MIN_GROUP <= own.sum() <= MAX_KEY_SHARE * len(own):
            continue
        between = (times >= times[own].min()) & (times <= times[own].max())
        if (rest := between & ~own).sum() >= MIN_REST:
            witness = f"{title} {name!r}"
            yield Group(witness, witness, own, rest)


def _list_regions_of_sources(evidence: Evidence) -> Iterator[Group]:
    """Yield what a source says of one region, beside what the others of its time say of the same: who lies about some rows."""
    sources = sorted(_list_witnesses(evidence, "source", "the source"), key=lambda group: -int(group.rows.sum()))
    for name in evidence.contract.names:
        values = evidence.rows.features[name].to_numpy()
        for title, region, _ in cut_feature(name, values, evidence.training[name].to_numpy()):
            for source in sources[:MAX_SOURCES]:
                own, rest = source.rows & region, source.rest & region
                if own.sum() >= MIN_GROUP and rest.sum() >= MIN_REST:
                    yield Group(f"{source.name} where {title}", source.name, own, rest)


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
    best, known = min(learned, float(own.mean())), evidence.table.fitted.wrong
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
    """Return 1 for each row whose label a model of the other labelled rows does not give."""
    answers = evidence.labelled.predictions
    said = np.asarray(answers.probabilities) if answers.values is None else answers.values[:, None]
    matrix = np.hstack([encode_matrix(evidence.rows.features.iloc[rows], evidence.contract), said[rows]])
    return evidence.cross_fit(matrix, evidence.labelled.truth[rows]).wrong
