import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from mlops_project.reference.distances import jensen_shannon, stability_index, wasserstein


def test_jensen_shannon_is_scipys_and_ranges_from_nothing_to_one(rng):
    reference, current = rng.multinomial(100, np.ones(5) / 5), rng.multinomial(999, [0.1, 0.4, 0.3, 0.2, 0.0])
    assert jensen_shannon(reference, current) == pytest.approx(jensenshannon(reference, current, base=2))
    assert jensen_shannon(reference, reference * 3) == pytest.approx(0.0, abs=1e-7)
    assert jensen_shannon(np.array([5, 0]), np.array([0, 7])) == pytest.approx(1.0)


def test_stability_index_is_finite_with_empty_bins_and_is_the_textbooks_without():
    reference, current = np.array([1000, 2000, 7000]), np.array([20_000, 20_000, 60_000])
    p, q = reference / 10_000, current / 100_000
    assert stability_index(reference, current) == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=1e-2)
    assert np.isfinite(stability_index(np.array([10, 0]), np.array([0, 10])))


def test_wasserstein_is_scipys_where_bins_hold_one_value(rng):
    samples = [rng.integers(0, 30, 300), rng.integers(5, 25, 700)]
    counts = [np.bincount(sample, minlength=30) for sample in samples]
    sums = [tally * np.arange(30.0) for tally in counts]
    assert wasserstein(counts[0], sums[0], counts[1], sums[1]) == pytest.approx(stats.wasserstein_distance(*samples))
