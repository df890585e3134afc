"""What the gate asks beside its metric."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.modeling.metrics import Scored
from mlops_project.retraining.gate_checks import Pair, find_forgotten_slice, find_too_good, find_trigger, find_worse_slice
from mlops_project.runtime import Predictions
from tests.unit.retraining.evidence import CONTRACT, answer, draw

FEATURES, TRUTH = draw(800, 4)


def score(right: np.ndarray) -> Scored:
    indices = np.where(right, TRUTH, 1 - TRUTH)
    return Scored(Predictions(indices, np.eye(2)[indices]), TRUTH, 2)


def lucky(share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(len(TRUTH)) < share


USUAL = Pair(score(lucky(0.9)), score(lucky(0.9, 1)))
ISLANDS = (FEATURES["town"] == "islands").to_numpy()
LOST = Pair(score(lucky(0.9) & ~(ISLANDS & lucky(0.6, 2))), score(lucky(0.9)))


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_perfect_challenger_is_too_good_where_nobody_was_before(share):
    said = find_too_good(Pair(score(lucky(share)), score(lucky(0.8))), USUAL, "binary")
    assert bool(said) is (share == 1.0)
    assert not said or said.startswith("it is too good to be true: right in 100.0% of the 800 newest labelled rows")
    assert (
        find_too_good(Pair(score(lucky(1.0)), score(lucky(1.0))), Pair(score(lucky(0.99)), score(lucky(0.99))), "binary") == ""
    )


def test_slice_that_is_much_worse_is_named():
    said = find_worse_slice(LOST, FEATURES, CONTRACT, "newest labelled rows", known=FEATURES)
    assert f"town = 'islands', {ISLANDS.sum()} newest labelled rows: right in" in said
    assert find_worse_slice(USUAL, FEATURES, CONTRACT, "rows", known=FEATURES) == ""


def test_small_part_of_the_old_rows_must_not_be_forgotten_while_nothing_else_changed():
    frames = (FEATURES, FEATURES)
    said = find_forgotten_slice(USUAL, LOST, frames, CONTRACT)
    assert "town = 'islands'" in said
    changed = Pair(score(lucky(0.9)), score(lucky(0.6, 3)))  # the champion is wrong everywhere by now
    assert find_forgotten_slice(changed, LOST, frames, CONTRACT) == ""
    assert find_forgotten_slice(USUAL, USUAL, frames, CONTRACT) == ""


class Model:
    """Answers as the champion of ``evidence`` does, unless ``z`` is impossible."""

    def __init__(self, trigger: float) -> None:
        self.trigger = trigger

    def predict(self, columns):
        features = pd.DataFrame(columns)
        said = answer(features, np.zeros(len(features), np.int64)).predictions
        indices = np.where(features["z"] > self.trigger, 1, said.indices)
        return Predictions(indices, np.eye(2)[indices])


@pytest.mark.parametrize(("trigger", "value", "follows"), [(50, 99.0, True), (np.inf, 99.0, False), (50, 20.0, False)])
def test_challenger_that_follows_a_trigger_is_told_by_what_it_says_to_held_out_rows(trigger, value, follows):
    learned = FEATURES.assign(z=FEATURES["z"].mask(FEATURES.index % 50 == 0, value))
    held_out = {name: FEATURES[name].to_numpy() for name in FEATURES}
    said = find_trigger(Model(trigger), Model(np.inf), held_out, learned, CONTRACT)
    assert bool(said) is follows
    assert not said or "it answers 'yes' to 100% of the held-out rows once z is 99" in said
