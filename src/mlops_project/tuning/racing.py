"""Which trial is left before all its folds are done.

Folds are the same rows for every trial, so a trial is compared with the best one fold by fold; how far the first folds have
been from the whole, in the trials that were finished, says how far behind is too far (racing, Maron & Moore 1994).
"""

from collections.abc import Sequence

import numpy as np

LEAST = 3  # finished trials: fewer do not say how folds differ


def is_behind(scores: Sequence[float], finished: Sequence[Sequence[float]]) -> bool:
    """Whether a trial is behind the best one by more than the same folds are usually off.

    Parameters
    ----------
    scores
        Of its folds that are done; the lower, the better.
    finished
        Of each trial whose folds are all done.
    """
    if len(finished) < LEAST:
        return False
    done, others = len(scores), np.asarray(finished, np.float64)
    best = others[others.mean(axis=1).argmin()]
    ahead = others - best
    off = ahead[:, :done].mean(axis=1) - ahead.mean(axis=1)
    usual = np.sqrt(np.sum(off**2) / (len(others) - 1))  # the best is not off itself
    return bool(np.mean(scores) - best[:done].mean() > usual)
