"""Bets against a claim: the error over a whole run of looks, whatever the outcomes are like; and the power."""

import numpy as np
import pytest

from mlops_project.canary.bets import bet, find_evidence, find_range, weigh

ERROR = 0.05


def ever_refutes(outcomes, drawn, share, bound, *, baseline=0.0, error=ERROR, every=200) -> bool:
    """Whether somebody who looks after every so many requests ever finds the challenger worse than the bound."""
    values = weigh(outcomes, drawn, share, baseline)
    logs = np.zeros(16)
    for start in range(0, len(values), every):
        logs += bet(values[start : start + every], bound, find_range(share, baseline).least)
        if find_evidence(logs) >= -np.log(error):
            return True
    return False


def drifting(rng, n_rows):
    """Outcomes that everybody finds harder by the hour, up to one in two: nothing of it is the challenger's."""
    return (rng.random(n_rows) < np.linspace(0.0, 0.5, n_rows)).astype(float)


def in_bursts(rng, n_rows):
    """Outcomes that come in bursts of a hundred requests."""
    return np.repeat(rng.random(n_rows // 100) < 0.2, 100).astype(float)


def at_random(rng, n_rows):
    return (rng.random(n_rows) < 0.1).astype(float)


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("world", [drifting, in_bursts, at_random])
def test_equal_variants_are_told_apart_no_oftener_than_the_error_however_often_one_looks(world, share):
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(150):
        outcomes = world(rng, 4000)
        wrong += ever_refutes(outcomes, rng.random(4000) < share, share, 0.02, baseline=0.1)
    assert wrong / 150 <= ERROR


def test_error_holds_where_the_challenger_is_exactly_as_much_worse_as_it_may_be():
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(150):
        drawn = rng.random(6000) < 0.25
        outcomes = (rng.random(6000) < np.where(drawn, 0.07, 0.05)).astype(float)
        wrong += ever_refutes(outcomes, drawn, 0.25, 0.02, baseline=0.05, error=0.25)
    assert 0 < wrong / 150 <= 0.25  # it is not that no test ever refutes


@pytest.mark.parametrize(("share", "rows"), [(0.05, 12000), (0.25, 4000), (0.5, 3000)])
def test_challenger_that_is_much_worse_is_found(share, rows):
    rng, found = np.random.default_rng(3), 0
    for _ in range(50):
        drawn = rng.random(rows) < share
        outcomes = (rng.random(rows) < np.where(drawn, 0.25, 0.05)).astype(float)
        found += ever_refutes(outcomes, drawn, share, 0.02, baseline=0.05, error=0.001)
    assert found >= 49


def test_capital_does_not_depend_on_the_order_nor_on_how_the_log_is_cut():
    rng = np.random.default_rng(4)
    values = weigh(rng.random(1000), rng.random(1000) < 0.3, 0.3, 0.5)
    least = find_range(0.3, 0.5).least
    whole = bet(values, 0.02, least)
    assert bet(values[::-1], 0.02, least) == pytest.approx(whole)
    assert bet(values[:300], 0.02, least) + bet(values[300:], 0.02, least) == pytest.approx(whole)


@pytest.mark.parametrize("baseline", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_no_value_is_outside_of_its_range_so_nobody_loses_more_than_everything(share, baseline):
    outcomes, drawn = np.array([0.0, 1.0, 0.0, 1.0]), np.array([True, True, False, False])
    values, within = weigh(outcomes, drawn, share, baseline), find_range(share, baseline)
    assert within.least == pytest.approx(values.min())
    assert within.most == pytest.approx(values.max())
    assert np.isfinite(bet(values, 0.02, within.least)).all()
    assert np.isfinite(bet(-values, -0.02, -within.most)).all()


def test_values_have_the_difference_of_the_means_for_a_mean():
    rng = np.random.default_rng(5)
    drawn = rng.random(400_000) < 0.2
    outcomes = np.where(drawn, 0.3, 0.1) + rng.normal(0, 0.01, 400_000)
    assert weigh(outcomes, drawn, 0.2, 0.1).mean() == pytest.approx(0.2, abs=0.005)
