"""Copies among a window's rows, beyond what such rows come to by chance.

Two rows drawn at random are equal with some probability, however large the sample (a U statistic, Hoeffding 1948). So the share
of equal pairs is compared with the held-out rows', and with that of past windows. Where values are many, few pairs are equal:
with 1,000 held-out rows without a copy, half of 100,000 may be copies by chance, and only past windows show that they are not.
"""

import numpy as np
from scipy import special, stats

from mlops_project.monitoring.past import NEEDED, Judge
from mlops_project.monitoring.results import Reason, Repeats
from mlops_project.reference.profile import Profiler, ReferenceProfile
from mlops_project.reference.repeats import RepeatCounter, RepeatProfile

LEAST_SHARE = 0.02  # of the rows that must be copies beyond the usual; fewer move no figure that matters
TIMES = 2.0  # as many equal pairs as usual
DENSE_TIMES = 10.0  # the same where rows are copies by nature: there, a shift to frequent values makes a few times as many
DENSE = 30  # equal pairs from which on their number is nearly normal
RARE = 0.02  # copies among the held-out rows, below which every copy is one too many


def find_repeats(reference: ReferenceProfile, counter: RepeatCounter, alpha: float, judge: Judge | None) -> Repeats | None:
    """Return how many rows are copies, and whether that is too many; None if nothing says what is usual.

    Parameters
    ----------
    alpha
        Chance of a false alarm.
    judge
        The model's past windows; None: rows are independent draws.
    """
    if reference.repeats is None or not counter.rows:
        return None
    usual = _pool(reference.repeats, judge)
    found = [(one, share) for one, share in zip(counter.describe(), (counter.share, 1.0), strict=True) if one.rows > 1]
    p_value = min([1.0, *(len(found) * _test(one, share, usual) for one, share in found)])
    rate, chances = max((one.pairs / one.chances for one, _ in found), default=0.0), usual[1]
    known, error = usual[0] / max(chances, 1.0), (3 * np.sqrt(usual[0]) + 3) / max(chances, 1.0)  # three errors
    share = max(counter.copies, _find_heavy(found[-1][0]) if found else 0.0)
    expected = float(min(1.0, max(reference.repeats.pairs / max(reference.rows, 1), (known + error) * counter.rows / 2)))
    times = TIMES if known * reference.rows / 2 <= RARE else DENSE_TIMES
    excess = min((rate - known) * counter.rows / 2, share)
    repeated = bool(p_value < alpha and excess >= LEAST_SHARE and rate > max(times * known, known + error))
    if judge is not None and not judge.by_rows:
        past = [one.share for one in judge.past.repeats]
        repeated = repeated and len(past) >= NEEDED and share > judge.find_share_limit(max(past), counter.rows)
    return Repeats(
        rows=counter.rows,
        pairs=round(rate * counter.rows * (counter.rows - 1) / 2, 1),
        share=share,
        expected=expected,
        p_value=p_value,
        repeated=repeated,
    )


def _pool(reference: RepeatProfile, judge: Judge | None) -> tuple[float, float]:
    """Return equal pairs, and all pairs, of the held-out rows and of past windows."""
    past = judge.past.repeats if judge is not None else ()
    return (
        reference.pairs + sum(one.pairs for one in past),
        reference.chances + sum(one.rows * (one.rows - 1) / 2 for one in past),
    )


def _find_heavy(strided: RepeatProfile) -> float:
    """Return the share of the most frequent row, one of them aside."""
    return max(0.0, strided.most - 1) / max(strided.rows, 1)


def _test(found: RepeatProfile, share: float, usual: tuple[float, float]) -> float:
    """Return how likely the usual rate brings as many equal pairs or more.

    Few pairs come as rare events do, so of all of them the window's part is binomial (Przyborowski & Wilenski 1940). Many are
    nearly normal; a value that is frequent makes their number vary more than its root.
    """
    seen, chances = found.pairs * share, found.chances * share
    if seen + usual[0] <= 0 or not usual[1]:
        return 1.0
    part = chances / (chances + usual[1])
    if usual[0] < DENSE:
        return float(stats.binom.sf(round(seen) - 1, round(seen + usual[0]), part))
    rate = usual[0] / usual[1]
    heavy = rate * max(found.most / max(found.rows, 1), np.sqrt(rate))  # bounds Σp³, by which pairs that share a row vary
    variance = rate * (1 / chances + 1 / usual[1]) + 4 * heavy * (1 / found.rows + 1 / np.sqrt(2 * usual[1]))
    return float(special.ndtr(-(seen / chances - rate) / np.sqrt(variance)))


def describe_repeats(found: Repeats | None) -> tuple[Reason, ...]:
    """Say how many rows are copies, if they are too many."""
    if found is None or not found.repeated:
        return ()
    return (Reason(kind="rows-repeated", values={"share": found.share, "expected": found.expected}),)


def count_once(reference: ReferenceProfile, counter: RepeatCounter) -> Profiler:
    """Return the window's rows counted with each of them once; as often as is usual, where copies are."""
    known = reference.repeats
    most = 1
    if known is not None and known.pairs > RARE * known.rows:
        most = int(np.ceil(1.5 * counter.rows * known.most / known.rows)) + 3
    profiler = Profiler(reference)
    profiler.add(*counter.take_once(most))
    return profiler
