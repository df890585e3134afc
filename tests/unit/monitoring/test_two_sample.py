import numpy as np
import pytest
from scipy import stats

from mlops_project.monitoring.two_sample import (
    NO_TEST,
    adjust_holm,
    compare_cells,
    compare_distributions,
    compare_increase,
    compare_ranks,
    compare_shares,
)


def count(values: np.ndarray, n_bins: int) -> np.ndarray:
    return np.bincount(values, minlength=n_bins)


@pytest.fixture
def samples(rng) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of the numbers 0 to 29, many of them equal."""
    return np.clip(rng.normal(15, 5, 300).round(), 0, 29).astype(int), np.clip(rng.normal(16, 6, 700).round(), 0, 29).astype(
        int
    )


def test_kolmogorov_smirnov_is_scipys_on_one_bin_per_value(samples):
    found = compare_distributions(*(count(sample, 30) for sample in samples))
    expected = stats.ks_2samp(*samples, method="asymp")
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.1)


def test_mann_whitney_is_scipys_with_ties(samples):
    reference, current = samples
    found = compare_ranks(count(reference, 30), count(current, 30))
    expected = stats.mannwhitneyu(current, reference, use_continuity=False, method="asymptotic")
    assert found.statistic == pytest.approx(expected.statistic / (300 * 700))
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.05)


def test_mann_whitney_of_a_rare_value_is_near_the_exact_test_where_the_normal_tail_is_not():
    reference, current = np.array([111, 3]), np.array([500, 0])
    exact = compare_shares(3, 114, 0, 500).p_value
    normal = stats.mannwhitneyu(np.zeros(500), np.repeat([0, 1], [111, 3]), use_continuity=False, method="asymptotic").pvalue
    assert compare_ranks(reference, current).p_value == pytest.approx(exact, rel=0.5)
    assert normal < exact / 10


def test_chi_square_is_scipys_where_no_cell_is_rare(rng):
    reference, current = rng.multinomial(400, [0.4, 0.3, 0.2, 0.1]), rng.multinomial(900, [0.3, 0.3, 0.2, 0.2])
    found, expected = compare_cells(reference, current), stats.chi2_contingency([reference, current], correction=False)
    assert (found.name, found.statistic, found.p_value) == ("χ²", pytest.approx(expected[0]), pytest.approx(expected[1]))


def test_chi_square_joins_rare_cells_and_leaves_two_to_the_exact_test():
    found = compare_cells(np.array([94, 2, 2, 2]), np.array([170, 10, 10, 10]))
    assert found.name == "Fisher"
    assert found == compare_shares(94, 100, 170, 200)
    assert compare_cells(np.array([98, 1, 1]), np.array([200, 1, 0])) == NO_TEST


@pytest.mark.parametrize(("n", "m"), [(114, 500), (114, 100_000), (20_000, 500), (400, 400)])
@pytest.mark.parametrize(
    "cells", [0.6 ** np.arange(20), np.array([0.97, 0.02, 0.01]), np.ones(20)], ids=["thinning", "rare", "even"]
)
def test_p_values_hold_in_unequal_and_sparse_samples(rng, n, m, cells):
    draws = [rng.multinomial(rows, cells / cells.sum(), 400) for rows in (n, m)]
    for test in (compare_distributions, compare_ranks, compare_cells):
        p_values = np.array([test(*pair).p_value for pair in zip(*draws, strict=True)])
        assert np.mean(p_values <= 0.01) <= 0.03  # 4 standard errors; without joining cells χ² is at 0.08 in the thinning ones


def test_increase_is_fishers_one_sided_test():
    expected = stats.fisher_exact([[7, 493], [1, 113]], alternative="greater").pvalue
    assert compare_increase(1, 114, 7, 500) == pytest.approx(expected)
    assert compare_increase(1, 114, 0, 500) == 1.0


def test_nothing_to_compare_is_no_test_and_not_a_fault():
    empty, some = np.zeros(3, np.int64), np.array([4, 0, 0])
    for test in (compare_distributions, compare_ranks, compare_cells):
        assert test(some, empty).p_value == 1.0
        assert test(some, some).p_value == 1.0
    assert compare_shares(0, 10, 0, 20) == compare_shares(10, 10, 20, 20) == compare_shares(0, 0, 3, 9) == NO_TEST


def test_holm_is_the_step_down_of_his_paper():
    assert adjust_holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert adjust_holm(np.zeros(0)).tolist() == []
