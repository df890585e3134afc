"""Groups: a feature's bins joined to six at most, coarse enough for two features, or a rule, to be looked at together."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.reference.bins import FeatureProfile

GROUPS = 6  # 36 cells of two features still hold a handful of rows each at 500
Groups = npt.NDArray[np.int8]


class Group(NamedTuple):
    """What rows of one group have in common.

    Attributes
    ----------
    low, high
        Numbers: over ``low`` and at most ``high``; None where there is no such bound.
    values
        Categories: its values; of the last group all the others, if ``others``.
    others
        Whether it holds every value but ``values``.
    """

    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    others: bool = False


def join_bins(profile: FeatureProfile, most: int = GROUPS) -> Groups:
    """Return the group of each bin, from 0.

    Numbers: ``most`` groups of neighbours at most, of about equal counts. Categories: the most frequent have a group each, the
    others share the last of ``GROUPS``.
    """
    counts = np.array(profile.counts, np.int64)
    if profile.kind == "numeric":
        place = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1)
        return np.unique((place * most).astype(np.int64), return_inverse=True)[1].astype(np.int8)
    order = np.argsort(-counts[:-1], kind="stable")
    groups = np.empty(len(counts), np.int8)
    groups[order] = np.minimum(np.arange(len(order)), GROUPS - 1)
    groups[-1] = min(len(order), GROUPS - 1)  # values that the model does not know
    return groups


def build_lookup(profile: FeatureProfile) -> Groups:
    """Return the group of each bin, and of rows without a value ``GROUPS``; for ``Tally.count``."""
    return np.append(join_bins(profile), np.int8(GROUPS))


def describe_groups(profile: FeatureProfile, most: int = GROUPS) -> tuple[Group, ...]:
    """Return what rows of each group of ``join_bins`` have in common."""
    groups = join_bins(profile, most)
    if profile.kind == "numeric":
        bounds = [edge for edge, step in zip(profile.edges, np.diff(groups), strict=True) if step]
        return tuple(Group(low, high) for low, high in pairwise((None, *bounds, None)))
    order = np.argsort(groups[:-1], kind="stable").tolist()
    values = [profile.categories[place] for place in order]
    last = int(groups[-1])
    return (*(Group(values=(value,)) for value in values[:last]), Group(values=tuple(values[:last]), others=True))
