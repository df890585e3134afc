"""Whether the rows that have a label are chosen by the model's own answer, and weights that make up for it.

Who labels what the model flagged sees another mix of rows than the model does. Of rows with like answers the choice says
nothing more, so each labelled row is weighed by how many predictions with such an answer it stands for (inverse-probability
weights, Horvitz & Thompson 1952). Where answers of which nothing is labelled are many, no weight makes up for them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from mlops_project.contract import Contract
from mlops_project.modeling.metrics import Scored
from mlops_project.monitoring.results import Reason
from mlops_project.monitoring.selection import NEARLY_ALL
from mlops_project.prediction_log.layout import PREDICTION, PROBABILITY
from mlops_project.prediction_log.reader import LogReader, Window, to_predictions
from mlops_project.reference.bins import Tally
from mlops_project.reference.distances import Floats
from mlops_project.reference.profile import Profiler, ReferenceProfile, take_scores

ERROR = 1e-6  # chance that rows drawn at random are taken for chosen; times of labels make them less random than that
LEAST_GAP = 0.1  # share of the labelled rows that would need another answer
LEAST_LABELS = 5  # of like answers, from which on they stand for the others
MOST_UNLABELLED = 0.05  # share of the predictions of whose answers hardly anything is labelled


class Choice(NamedTuple):
    """Labelled rows that were chosen by the answer.

    Attributes
    ----------
    score
        Class, or ``value``, whose scores show it most.
    answers
        Which answers have more labels than others, as a range.
    share, usual
        Of the labelled rows, and of all predictions of the same time, that have such an answer.
    unlabelled
        Share of the predictions of whose answers hardly anything is labelled.
    weights
        Of the labelled rows, 1 on the mean, ``(n_rows,)``; None if they cannot make up for the choice.
    """

    score: str
    answers: str
    share: float
    usual: float
    unlabelled: float
    weights: Floats | None


def count_answers(reader: LogReader, window: Window, contract: Contract, profile: ReferenceProfile) -> list[Tally]:
    """Return how the answers to all predictions of a window are spread, one tally for each score of the profile."""
    columns = [PREDICTION, *(f"{PROBABILITY}.{index}" for index in range(len(contract.classes)))]

    def count() -> list[Tally]:
        tallies = Profiler(profile).scores
        for batch in reader.batches(window, columns):
            scores = take_scores(to_predictions(batch, contract), profile.score_columns)
            for tally, values in zip(tallies, scores, strict=True):
                tally.add(tally.count(values))
        return tallies

    return reader.leave_out_unreadable(count)


def find_choice(labelled: Scored, answers: Sequence[Tally], columns: tuple[int, ...], coverage: float | None) -> Choice | None:
    """Return how labelled rows were chosen by their answer; None if they look like all predictions, or nearly all are labelled.

    Parameters
    ----------
    answers
        From ``count_answers``, of the time of the labelled rows.
    columns
        Which column of the probabilities each score is.
    coverage
        Share of the predictions that have a label.
    """
    if coverage is None or coverage >= NEARLY_ALL or not len(labelled.truth):
        return None
    scores = take_scores(labelled.predictions, columns)
    found = [_compare(values, tally) for values, tally in zip(scores, answers, strict=True)]
    chosen = [one for one, is_chosen in found if is_chosen]
    if not chosen:
        return None
    worst = max(chosen, key=lambda one: one.share - one.usual)
    weights = worst.weights
    if weights is not None and any(_compare(values, tally, weights)[1] for values, tally in zip(scores, answers, strict=True)):
        weights = None  # of several classes, one alone does not say how they were chosen
    return worst._replace(weights=weights)


def _compare(values: Floats, tally: Tally, weights: Floats | None = None) -> tuple[Choice, bool]:
    """Return how the answers to labelled rows differ from those to all predictions, and whether rows were chosen by them."""
    profile = tally.profile
    places = profile.cells[profile.finder.find(np.where(np.isfinite(values), values, 0.0))]
    everyone = profile.merge(tally.counts, 0)[:-1]
    labels = np.bincount(places, minlength=len(everyone))
    own = np.bincount(places, weights, len(everyone)) / (len(values) if weights is None else weights.sum())
    whole = everyone / max(int(everyone.sum()), 1)
    gaps = own - whole
    scarce = labels < LEAST_LABELS
    unlabelled = float(whole[scarce].sum())
    place = int(gaps.argmax())
    is_chosen = bool(gaps[gaps > 0].sum() >= LEAST_GAP and _test(own * len(values), whole * len(values)) < ERROR)
    made_up = whole[places] / own[places] if weights is None and unlabelled <= MOST_UNLABELLED else None
    choice = Choice(profile.name, profile.labels[place], float(own[place]), float(whole[place]), unlabelled, made_up)
    return choice, is_chosen


def _test(seen: Floats, expected: Floats) -> float:
    """Return how likely rows drawn at random lie so far from what was expected (χ², Pearson 1900); unexpected ones count."""
    statistic = float(((seen - expected) ** 2 / np.maximum(expected, 0.5)).sum())
    return float(special.chdtrc(max(len(seen) - 1, 1), statistic))


def explain_choice(found: Choice, coverage: float, rows: int) -> Reason:
    """Say how labelled rows were chosen, and what became of it."""
    return Reason(
        kind="live-chosen" if found.weights is None else "live-weighted",
        values={
            "name": found.score,
            "answers": found.answers,
            "share": found.share,
            "usual": found.usual,
            "rows": rows,
            "coverage": coverage,
            "unlabelled": found.unlabelled,
        },
    )
