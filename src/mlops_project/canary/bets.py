"""Sequential tests that may be looked at after every request: bets against a claim, whose capital is the evidence.

Each test claims that the mean of some values is at most ``bound``. Whoever bets against that begins with a capital of 1, and
stakes a part of it on every value. If the claim holds, no strategy makes capital on average, so it ever reaches ``1 / error``
with a probability of at most ``error``, however often one looks (Ville's inequality). Sixteen stakes from timid to bold are
played at once and their capitals averaged, so nobody has to know beforehand how large an effect would be (Waudby-Smith and
Ramdas, "Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86, 2024).

The values come from the draw alone. An outcome counts ``1 / share`` if the challenger was drawn and ``-1 / (1 - share)`` if the
champion was: the mean is the difference between the two, whatever outcomes there are, whether they depend on each other, and
however they change over the day; nothing but the draw has to be random (Ham, Bojinov, Lindon and Tingley, "Design-based
confidence sequences", arXiv:2210.08639, 2022). The product of the bets does not depend on the order of the values, so reading
the same log again gives the same capital.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MOST = 0.95  # part of what may be staked without losing everything at once
STAKES = np.geomspace(0.002, MOST, 16)  # parts of that
WEIGHTS = np.geomspace(0.02, 64.0, 16)  # stakes beside ``share * (1 - share)``: of values that come from several shares


class Range(NamedTuple):
    """The smallest and the largest value that an outcome can become."""

    least: float
    most: float


def weigh(outcomes: Floats, drawn: npt.NDArray[np.bool_], share: float, baseline: float) -> Floats:
    """Return values whose mean is the challenger's mean outcome less the champion's.

    Parameters
    ----------
    outcomes
        In [0, 1], ``(n,)``; large is bad.
    drawn
        Whether the challenger was drawn for it.
    share
        Probability of that, in (0, 1).
    baseline
        In [0, 1], known before: the nearer outcomes usually are, the less the values scatter. It changes no mean.
    """
    return np.where(drawn, 1 / share, -1 / (1 - share)) * (outcomes - baseline)


def find_range(share: float, baseline: float, *, champion_varies: bool = True) -> Range:
    """Return between what ``weigh`` can put values.

    Parameters
    ----------
    share, baseline
        As of ``weigh``.
    champion_varies
        False if the champion's outcome is the baseline, 0, by definition.
    """
    ours, theirs = 1 / share, 1 / (1 - share)
    if not champion_varies:
        return Range(-baseline * ours, (1 - baseline) * ours)
    return Range(-max(baseline * ours, (1 - baseline) * theirs), max((1 - baseline) * ours, baseline * theirs))


def bet(values: Floats, bound: float, least: float, share: float | None = None) -> Floats:
    """Return the logarithm of what each stake makes of a capital of 1 that bets against a mean of at most ``bound``.

    Parameters
    ----------
    values
        ``(n,)``, none smaller than ``least``.
    bound
        Above ``least``.
    share
        At which the values were drawn, if those of several shares are one test. They scatter as ``1 / (share * (1 - share))``,
        so what is best to stake differs by as much; else a stake that suits half of the requests would lose its capital at a
        twentieth.

    Returns
    -------
    ndarray
        float64 ``(len(STAKES),)``; those of two sets of values add up to that of both.
    """
    stakes = STAKES if share is None else np.minimum(WEIGHTS * share * (1 - share) * (bound - least), MOST)
    return np.asarray(np.log1p(np.outer(stakes / (bound - least), values - bound)).sum(axis=1))


def find_evidence(logs: Floats) -> float:
    """Return the logarithm of the mean capital; from ``log(1 / error)`` on the claim is refuted at that error."""
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).mean()))
