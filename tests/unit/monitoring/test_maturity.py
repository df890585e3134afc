"""Labels of one class that come later than others make the newest rows a biased sample."""

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.monitoring.maturity import explain_immature, find_immature
from mlops_project.monitoring.reasons import say

HOUR = 3_600_000_000
CONTRACT = Contract((Feature("x", "float"),), "state", "binary", classes=("on time", "late"), class_names=("on time", "late"))


def draw(slow_hours: float, n_rows: int = 2000, seed: int = 0):
    """Return what is labelled after 100 hours: rows over all of them, one class after an hour or so, the other later."""
    rng = np.random.default_rng(seed)
    predicted = np.sort(rng.integers(0, 100 * HOUR, n_rows))
    truth = (rng.random(n_rows) < 0.3).astype(np.int64)
    delay = np.where(truth == 1, slow_hours, 1.0) * HOUR * rng.gamma(20, 1 / 20, n_rows)
    came = (predicted + delay).astype(np.int64)
    known = came <= 100 * HOUR
    return predicted[known], came[known], truth[known]


def test_rows_younger_than_the_slow_class_takes_do_not_count():
    predicted, came, truth = draw(24)
    newest = truth[predicted > 80 * HOUR]
    assert newest.mean() < 0.05  # of 0.3: the others are still to come
    found = find_immature(predicted, came, truth, is_classification=True)
    assert (found.slow, found.quick) == (1, 0)
    assert 28 * 3600 < found.slow_seconds < 40 * 3600
    assert truth[found.is_mature].mean() == pytest.approx(0.3, abs=0.04)
    assert found.is_mature.mean() > 0.6
    said = say(explain_immature(found, CONTRACT))
    assert said.startswith("490 labelled rows younger than 32.2 h do not count")
    assert said.endswith("labels of 'late' take so long, those of 'on time' 85.7 min")


def test_large_numbers_that_come_late_are_told_like_a_class():
    predicted, came, truth = draw(24)
    values = truth * 10 + np.random.default_rng(1).random(len(truth))
    found = find_immature(predicted, came, values, is_classification=False)
    assert (found.slow, found.quick) == (1, 0)
    assert not found.is_mature.all()


@pytest.mark.parametrize("seed", range(20))
def test_delay_that_says_nothing_of_the_label_leaves_all_rows_in(seed):
    predicted, came, truth = draw(1.0, seed=seed)
    assert find_immature(predicted, came, truth, is_classification=True) is None
    rng = np.random.default_rng(seed)
    in_two_deliveries = np.where(predicted < 50 * HOUR, 50 * HOUR, 100 * HOUR)
    assert find_immature(predicted, in_two_deliveries, truth, is_classification=True) is None
    shuffled = rng.permutation(truth)
    assert find_immature(predicted, came, shuffled, is_classification=True) is None


def test_too_few_rows_say_nothing():
    predicted, came, truth = draw(24, n_rows=60)
    assert find_immature(predicted, came, truth, is_classification=True) is None
    predicted, came, truth = draw(24)
    assert find_immature(predicted, came, np.zeros_like(truth), is_classification=True) is None
