from itertools import pairwise

import numpy as np
import pytest
from msgspec.structs import replace
from sklearn.datasets import load_breast_cancer, load_wine

from mlops_project.reference.bins import FeatureProfile, Tally, find_edges
from mlops_project.reference.groups import GROUPS, Group, build_lookup, describe_groups
from mlops_project.reference.pairs import PairProfile, PairTally, choose_pairs, measure_information


def profile_column(name: str, values: np.ndarray, weight: float = 1.0) -> FeatureProfile:
    if values.dtype == object:
        known = tuple(sorted({value for value in values if value}))
        blank = FeatureProfile(name=name, type="category", kind="category", categories=known, weight=weight)
    else:
        blank = FeatureProfile(name=name, type="float", kind="numeric", edges=find_edges(values), weight=weight)
    return replace(blank, counts=tuple(Tally(blank).count(values).counts.tolist()))


def group_rows(profiles: list[FeatureProfile], columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {one.name: Tally(one).count(columns[one.name], build_lookup(one)).groups for one in profiles}


def choose(columns: dict[str, np.ndarray]) -> tuple[PairProfile, ...]:
    profiles = [profile_column(name, values) for name, values in columns.items()]
    return choose_pairs(profiles, group_rows(profiles, columns))


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_every_feature_of_a_real_table_is_tied_to_the_others(load):
    table = load(as_frame=True).data
    pairs = choose({name: table[name].to_numpy() for name in table})
    joined = {table.columns[0]}
    for _ in pairs:
        joined |= {name for pair in pairs for name in pair.columns if joined & set(pair.columns)}
    assert joined == set(table.columns)
    assert len(pairs) == len(table.columns) - 1
    assert all(sum(pair.counts) == len(table) for pair in pairs)


def test_features_that_have_nothing_to_do_with_each_other_make_no_pair():
    rng = np.random.default_rng(3)
    found = [choose({f"x{place}": rng.normal(size=400) for place in range(4)}) for _ in range(25)]
    assert sum(map(bool, found)) <= 1


def test_kind_of_tie_and_of_feature_does_not_matter(rng):
    x = rng.normal(size=800)
    city = np.where(x > 0.5, "Natal", "Recife").astype(object)
    bowl = x**2 + rng.normal(0, 0.2, 800)  # no correlation
    assert {pair.columns for pair in choose({"x": x, "city": city, "bowl": bowl})} == {("x", "city"), ("x", "bowl")}
    assert not choose({"x": x, "still": np.zeros(800)})


def test_rows_without_a_value_in_either_are_left_out_and_parts_add_up(rng):
    x = rng.normal(size=600)
    columns = {"x": np.where(rng.random(600) < 0.1, np.nan, x), "city": np.where(x > 0, "Natal", "").astype(object)}
    columns["city"][x < -1] = "Recife"
    profiles = [profile_column(name, values) for name, values in columns.items()]
    groups = group_rows(profiles, columns)
    pair = PairProfile(columns=("x", "city"), shape=(6, 3), counts=(0,) * 18, information=1.0)
    whole, parts = PairTally(pair).count(groups), PairTally(pair)
    for rows in (slice(0, 250), slice(250, 600)):
        parts.add(PairTally(pair).count({name: found[rows] for name, found in groups.items()}))
    assert parts.table.tolist() == whole.table.tolist()
    assert whole.table.sum() == (~np.isnan(columns["x"]) & (columns["city"] != "")).sum()
    assert set(groups["x"][np.isnan(columns["x"])]) == {GROUPS}


def test_groups_say_what_their_rows_have_in_common(rng):
    numbers = profile_column("age", rng.integers(20, 80, 3000).astype(float))
    found = describe_groups(numbers)
    assert len(found) == GROUPS
    assert (found[0].low, found[-1].high) == (None, None)
    assert all(one.high == other.low for one, other in pairwise(found))
    values = np.array([f"c{place}" for place in range(9) for _ in range(10 - place)], object)
    codes = describe_groups(profile_column("code", values))
    assert codes[0] == Group(values=("c0",))
    assert codes[-1] == Group(values=("c0", "c1", "c2", "c3", "c4"), others=True)


def test_information_is_that_of_a_correlation(rng):
    x = rng.normal(size=200_000)
    y = 0.8 * x + 0.6 * rng.normal(size=200_000)
    table = np.histogram2d(x, y, 60)[0]
    assert measure_information(table) == pytest.approx(-np.log(0.6), abs=0.03)
