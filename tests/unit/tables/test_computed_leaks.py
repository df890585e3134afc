"""Columns that were computed from the answers of the same table, each beside an honest one of the same kind."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mlops_project.config import Config
from mlops_project.tables.judge import judge_table
from tests.unit.tables.test_copies import make_table

N, ZONES = 1200, 80


def judge(frame, target, task="binary", times=None):
    table = dataclasses.replace(make_table(frame, target, task), times=times)
    return {found.code: found for found in judge_table(table, Config(), refuse=False).findings}


@pytest.fixture
def zones(rng):
    """Return a frame, the zone of each row, the share of each zone, and answers by that share."""
    zone, share = rng.integers(0, ZONES, N), rng.uniform(0.2, 0.6, ZONES)
    return pd.DataFrame({"a": rng.normal(size=N)}), zone, share, (rng.random(N) < share[zone]).astype(int)


@pytest.mark.parametrize("smooth", [0, 10])
def test_means_of_the_same_rows_by_category_are_a_leak(zones, smooth):
    frame, zone, _, y = zones
    sums, sizes = np.bincount(zone, y), np.bincount(zone)
    rate = ((sums + smooth * y.mean()) / (sizes + smooth)).round(4)
    assert judge(frame.assign(rate=rate[zone]), y)["leak-encoded"].columns == ("rate",)


def test_rates_that_were_learned_elsewhere_are_none(zones, rng):
    frame, zone, share, y = zones
    earlier = rng.binomial(40, share) / 40
    assert judge(frame.assign(rate=earlier[zone], true=share[zone], size=np.bincount(zone)[zone]), y) == {}


def test_means_of_a_number_by_category_are_a_leak_and_levels_of_before_are_none(zones, rng):
    frame, zone, share, _ = zones
    price = 100 * share[zone] + rng.gamma(3, 5, N)
    level = (np.bincount(zone, price) / np.bincount(zone))[zone]
    assert judge(frame.assign(level=level), price, "regression")["leak-encoded"].columns == ("level",)
    before = 100 * share + rng.normal(15, 2, ZONES)
    assert judge(frame.assign(level=before[zone]), price, "regression") == {}


@pytest.fixture
def days(rng):
    return pd.Series(pd.date_range("2024-01-01", periods=N)), pd.Series(
        50 + np.cumsum(rng.normal(size=N)) * 0.2 + rng.gamma(2, 3, N)
    )


def test_windows_that_hold_the_answer_or_later_ones_are_a_leak(days, rng):
    times, sold = days
    frame, order = pd.DataFrame({"a": rng.normal(size=N)}), rng.permutation(N)  # the rows stand in any order

    def ask(column):
        return judge(
            frame.assign(x=column).iloc[order].reset_index(drop=True),
            sold.iloc[order].to_numpy(),
            "regression",
            times.iloc[order].reset_index(drop=True),
        )

    assert "later rows'" in ask(sold.shift(-1))["leak-future"].seen
    assert "later rows'" in ask(sold.rolling(7, center=True).mean())["leak-future"].seen
    assert "the same row's" in ask(sold.rolling(7).mean())["leak-future"].seen
    assert "leak-future" not in ask(sold.shift(1).rolling(7).mean())
    assert "leak-future" not in ask(sold.rolling(7, center=True).mean() + rng.normal(0, 0.5, N))


def test_yes_or_no_of_tomorrow_is_a_leak_and_rows_of_many_things_have_no_tomorrow(days, rng):
    times, sold = days
    y = (sold > 55).astype(int)
    frame = pd.DataFrame({"a": rng.normal(size=N), "next": y.shift(-1)})
    assert judge(frame, y, times=times)["leak-future"].columns == ("next",)
    assert "leak-future" not in judge(frame, y, times=pd.Series(np.arange(N) // 10))
