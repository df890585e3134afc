"""Intervals of metrics that came out perfect, or as bad as can be."""

import numpy as np
import pytest
from scipy.stats import binomtest

from mlops_project.modeling.intervals import bootstrap_metrics
from mlops_project.modeling.metrics import CLASSIFICATION, Scored, compute_metrics
from mlops_project.runtime import Predictions


def answer(truth: list[int], said: list[int], n_classes: int = 2) -> Scored:
    """Return answers that are sure of themselves."""
    return Scored(Predictions(np.array(said), np.eye(n_classes)[said]), np.array(truth), n_classes)


def bound(scored: Scored, confidence: float = 0.95) -> dict[str, tuple[float, float]]:
    task = "binary" if scored.n_classes == 2 else "multiclass"
    values = compute_metrics(scored, task)
    return bootstrap_metrics(scored, values, task, rounds=50, confidence=confidence, seed=0).intervals


def test_perfect_shares_get_the_exact_interval_of_the_rows_that_decide_them():
    found = bound(answer([0] * 30 + [1] * 10, [0] * 30 + [1] * 10))
    of_all, of_positives = (binomtest(n, n).proportion_ci(0.95, "exact").low for n in (40, 10))
    assert found["accuracy"] == (pytest.approx(of_all), 1.0)
    for name in ("precision", "recall", "f1", "roc_auc", "pr_auc"):
        assert found[name] == (pytest.approx(of_positives), 1.0), name
    assert found["brier"] == found["calibration_error"] == (0.0, pytest.approx(1 - of_all))
    assert found["log_loss"][1] == pytest.approx(36.04 * (1 - of_all), rel=1e-3)


def test_classes_are_bounded_by_the_one_with_the_fewest_rows_that_has_any():
    found = bound(answer([0] * 30 + [1] * 10 + [2] * 5, [0] * 30 + [1] * 10 + [2] * 5, 4))
    assert found["recall"][0] == pytest.approx(binomtest(5, 5).proportion_ci(0.95, "exact").low)
    assert found["brier"][1] == pytest.approx(2 * (1 - 0.025 ** (1 / 45)))


def test_metrics_of_zero_are_bounded_from_above():
    found = bound(answer([0, 1] * 20, [1, 0] * 20))
    assert found["accuracy"] == (0.0, pytest.approx(binomtest(0, 40).proportion_ci(0.95, "exact").high))
    never = bound(answer([0, 1] * 20, [0] * 40))
    assert never["precision"] == (0.0, 1.0)
    assert never["recall"] == (0.0, pytest.approx(binomtest(0, 20).proportion_ci(0.95, "exact").high))
    assert never["roc_auc"] == (0.5, 0.5)  # an answer that is the same for all rows ranks none


def test_intervals_of_nearly_perfect_models_cover_the_truth():
    rng, share, covered = np.random.default_rng(0), 0.97, 0
    for _ in range(200):
        truth = rng.integers(0, 2, 25)
        said = np.where(rng.random(25) < share, truth, 1 - truth)
        low, high = bound(answer([*truth], [*said]))["accuracy"]
        covered += low <= share <= high
    assert covered >= 180  # nearly half of them have no error, and resampling says [1, 1] of those


def test_every_metric_of_a_perfect_model_has_a_width():
    scored = answer([0, 1, 2] * 8, [0, 1, 2] * 8, 3)
    assert all(low < high for low, high in bound(scored).values())
    assert bound(scored).keys() == CLASSIFICATION.keys()
