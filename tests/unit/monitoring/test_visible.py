"""The smallest change of a column that would be seen."""

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.monitoring.visible import find_visible
from mlops_project.reference.distances import jensen_shannon
from mlops_project.reference.profile import Profiler, build_reference

rng = np.random.default_rng(0)
COLUMNS = {"number": rng.normal(size=5_000), "text": rng.choice(["a", "b", "c"], 5_000).astype(object), "same": np.ones(5_000)}
FEATURES = (Feature("number", "float"), Feature("text", "category", categories=("a", "b", "c")), Feature("same", "float"))
PROFILE = build_reference(COLUMNS, None, Contract(FEATURES, "y", "regression", (), ()), seed=0)


@pytest.mark.parametrize("limit", [0.1, 0.2, 0.5])
def test_a_shift_of_that_size_is_over_the_limit_and_half_of_it_is_not(limit):
    size = find_visible(PROFILE.features[0], limit)
    distances = []
    for share in (0.5, 1.1):
        counted = Profiler(PROFILE)
        counted.add(COLUMNS | {"number": COLUMNS["number"] + share * size * COLUMNS["number"].std()})
        profile, tally = PROFILE.features[0], counted.features[0]
        distances.append(jensen_shannon(profile.merge(np.array(profile.counts), 0), profile.merge(tally.counts, 0)))
    assert distances[0] < limit < distances[1]


def test_of_categories_it_is_the_share_of_rows_that_become_unknown():
    share = find_visible(PROFILE.features[1], 0.2)
    cells = np.array([1 - share, share])
    assert (
        jensen_shannon(np.array([1.0, 0.0]), cells)
        > 0.2
        > jensen_shannon(np.array([1.0, 0.0]), cells + np.array([0.01, -0.01]))
    )


def test_no_change_is_visible_over_a_limit_that_nothing_reaches_or_in_a_column_without_spread():
    assert find_visible(PROFILE.features[1], 1.0) is None
    assert find_visible(PROFILE.features[2], 0.1) is None
