"""Groups whose errors or probabilities differ, and groups that are treated alike."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from mlops_project.contract import Contract, Feature
from mlops_project.modeling.groups import describe_gap, find_gaps, measure_groups
from mlops_project.modeling.metrics import Scored
from mlops_project.runtime import Predictions

BINARY = Contract((Feature("x", "float"),), "y", "binary", ("no", "yes"), ("no", "yes"))
NUMBER = Contract((Feature("x", "float"),), "y", "regression")
ROWS = 1200


@pytest.fixture
def sex(rng):
    return pd.Series(rng.choice(["f", "m"], ROWS), name="sex")


def answer(rng, odds, said):
    positive = expit(said)
    truth = (rng.random(len(odds)) < expit(odds)).astype(np.int64)
    return Scored(Predictions((positive > 0.5).astype(np.int64), np.column_stack([1 - positive, positive])), truth, 2)


def find(scored, column, contract=BINARY):
    return [describe_gap(gap) for gap in find_gaps(scored, column, "sex", contract)]


def test_group_that_is_found_less_often_is_named_with_the_interval(rng, sex):
    odds = rng.normal(0, 2, ROWS)
    found = {finding.code: finding for finding in find(answer(rng, odds, odds - 2.0 * (sex == "f")), sex)}
    assert set(found) == {"unequal-errors", "unequal-calibration"}
    assert found["unequal-calibration"].columns == ("sex",)
    assert ", 95% from " in found["unequal-errors"].seen


def test_probabilities_that_mean_something_else_are_named_where_errors_are_alike(rng, sex):
    odds = np.where(rng.random(ROWS) < 0.5, 3.0, -3.0)
    found = find(answer(rng, odds, np.where(sex == "f", odds * 0.5, odds)), sex)
    assert {finding.code for finding in found} <= {"unequal-calibration"}
    shifted = find(answer(rng, odds - 1.0 * (sex == "f"), odds), sex)
    assert "unequal-calibration" in {finding.code for finding in shifted}


def test_groups_of_numbers_are_compared_by_level_and_size_of_errors(rng, sex):
    truth = rng.normal(size=ROWS)
    wrong = rng.normal(0, np.where(sex == "f", 2.0, 1.0))
    found = find(Scored(Predictions(values=truth + wrong), truth, 0), sex, NUMBER)
    assert [finding.code for finding in found] == ["unequal-errors"]
    assert found[0].seen.startswith("answers are off by ")
    low = find(Scored(Predictions(values=truth + rng.normal(0, 1, ROWS) - (sex == "f")), truth, 0), sex, NUMBER)
    assert [finding.code for finding in low] == ["unequal-calibration"]


@pytest.mark.parametrize("seed", range(20))
def test_groups_that_are_treated_alike_are_left_in_peace(seed):
    rng = np.random.default_rng(seed)
    group, odds = pd.Series(rng.choice(["a", "b", "c"], ROWS)), rng.normal(0, 2, ROWS)
    assert find(answer(rng, odds, odds), group) == []
    truth = rng.normal(size=ROWS)
    assert find(Scored(Predictions(values=truth + rng.normal(0, 1, ROWS)), truth, 0), group, NUMBER) == []


def test_figures_of_a_group_have_intervals_that_hold_them(rng, sex):
    odds = rng.normal(0, 2, ROWS)
    women, men = measure_groups(answer(rng, odds, odds), sex, "sex")
    assert {women.value, men.value} == {"'f'", "'m'"}
    for figure in (women.found, women.suspected, women.off):
        assert figure.low < figure.value < figure.high
    assert women.off.low < 0 < women.off.high


def test_small_groups_in_which_a_rare_class_happens_to_lack_are_left_in_peace():
    found = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        odds = np.full(600, -2.0)  # the model knows the share of the class, and no more
        column = pd.Series(rng.permutation(np.repeat(["f", "m"], [35, 565])), name="sex")
        found += bool(find(answer(rng, odds, odds + rng.normal(0, 0.05, 600)), column))
    assert found == 0, "one group in a hundred has no row of the class, and its own spread says that this is sure"
