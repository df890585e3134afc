import numpy as np
import pytest

from mlops_project.reference.bins import MAX_BINS, BinFinder, find_edges

SHAPES = {
    "normal": lambda rng: rng.normal(size=5000),
    "lognormal": lambda rng: np.exp(2 * rng.normal(size=5000)),
    "heavy tail": lambda rng: rng.pareto(0.3, 5000),
    "whole numbers": lambda rng: rng.integers(-500, 500, 5000).astype(float),
    "few values": lambda rng: rng.integers(0, 3, 5000) / 10,
    "mostly zero": lambda rng: np.where(rng.random(5000) < 0.9, 0.0, rng.normal(size=5000)),
    "tiny range": lambda rng: 1.0 + rng.random(5000) * 1e-15,
    "huge range": lambda rng: rng.normal(size=5000) * 1e307,
    "constant": lambda _: np.full(5000, 7.0),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_bins_are_found_exactly_as_by_a_binary_search(rng, shape):
    edges = find_edges(SHAPES[shape](rng)[:1000])
    extremes = [-1.7e308, 1.7e308, 0.0, *np.nextafter(edges, -np.inf), *edges, *np.nextafter(edges, np.inf)]
    values = np.concatenate([SHAPES[shape](rng), extremes])
    np.testing.assert_array_equal(BinFinder(edges).find(values), np.searchsorted(edges, values))


def test_bins_hold_about_equal_counts_of_continuous_values(rng):
    values = rng.lognormal(size=5000)
    counts = np.bincount(np.searchsorted(find_edges(values), values))
    assert len(counts) == MAX_BINS
    assert counts.min() >= 99
    assert counts.max() <= 101


def test_each_of_few_values_and_a_frequent_one_among_many_has_its_own_bin(rng):
    assert find_edges(np.array([3.0, 1.0, 1.0, 7.0, np.nan])) == (2.0, 5.0)
    assert find_edges(np.array([np.nan, 4.0, 4.0])) == find_edges(np.zeros(0)) == ()
    values = np.concatenate([rng.normal(size=4000), np.full(1000, 0.5)])
    edges = find_edges(values)
    place = np.searchsorted(edges, 0.5)
    assert ((values > edges[place - 1]) & (values <= edges[place])).sum() == 1000
