"""Models that learned by heart are told from those that merely know their own rows better."""

import numpy as np
import pytest
from scipy.special import expit

from mlops_project.modeling.metrics import Scored
from mlops_project.modeling.overfitting import find_overfitting
from mlops_project.runtime import Predictions


def binary(rng, rows, odds, said=None):
    truth = (rng.random(rows) < expit(odds)).astype(np.int64)
    positive = expit(odds) if said is None else said(truth)
    return Scored(Predictions((positive > 0.5).astype(np.int64), np.column_stack([1 - positive, positive])), truth, 2)


def by_heart(truth):
    return np.where(truth == 1, 0.97, 0.03)


def number(rng, rows, factor, noise):
    x = rng.normal(size=rows)
    return Scored(Predictions(values=factor * x), x + rng.normal(0, noise, rows), 0)


@pytest.mark.parametrize("seed", range(5))
def test_answers_that_are_too_extreme_are_overfitting(seed):
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, 400)
    learned = binary(rng, 900, rng.normal(0, 1.5, 900), by_heart)
    extreme = binary(rng, 400, odds, lambda _: expit(4 * odds))
    found = find_overfitting(learned, extreme)
    assert found.code == "overfitting"
    assert found.seen.startswith("the model explains 100% of rows that it learned from, and ")
    assert find_overfitting(learned, binary(rng, 400, odds)) is None  # a forest: knows its rows, and is honest about others
    assert find_overfitting(binary(rng, 900, rng.normal(0, 1.5, 900)), binary(rng, 400, odds)) is None


def test_model_of_noise_is_no_better_than_one_answer(rng):
    learned, new = (
        binary(rng, 900, np.zeros(900), by_heart),
        binary(rng, 300, np.zeros(300), lambda _: rng.uniform(0.3, 0.7, 300)),
    )
    assert find_overfitting(learned, new).seen.endswith("where its answers are no better than one answer for all")


def test_numbers_are_judged_alike(rng):
    learned = number(rng, 900, 1.0, 0.1)
    assert find_overfitting(learned, number(rng, 300, 1.5, 1.0)).code == "overfitting"
    assert find_overfitting(learned, number(rng, 300, 1.0, 1.0)) is None
    assert find_overfitting(learned, number(rng, 12, 1.5, 1.0)) is None
