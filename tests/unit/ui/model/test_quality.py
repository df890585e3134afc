import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_auc_score

from mlops_project.runtime import Predictions
from mlops_project.ui.model.quality import compute_calibration, compute_class_curves, compute_curves, count_confusion


def make_predictions(rng, n_rows: int, n_classes: int) -> tuple[Predictions, np.ndarray]:
    shares = rng.dirichlet(np.ones(n_classes), n_rows).round(2)  # rounded: ties
    return Predictions(shares.argmax(axis=1), shares), rng.integers(0, n_classes, n_rows)


def test_confusion_is_scikit_learns(rng):
    predictions, truth = make_predictions(rng, 200, 3)
    np.testing.assert_array_equal(count_confusion(predictions, truth, 3), confusion_matrix(truth, predictions.indices))


def test_area_under_the_roc_curve_is_scikit_learns(rng):
    scores, positive = rng.random(150).round(2), rng.random(150) < 0.4
    roc, _ = compute_curves(scores, positive)
    assert np.trapezoid(roc["y"], roc["x"]) == pytest.approx(roc_auc_score(positive, scores))


def test_precision_recall_points_are_scikit_learns(rng):
    scores, positive = rng.random(80).round(1), rng.random(80) < 0.4
    _, curve = compute_curves(scores, positive)
    precision, recall, _ = precision_recall_curve(positive, scores)
    ours = {(round(x, 9), round(y, 9)) for x, y in zip(curve["x"], curve["y"], strict=True) if x > 0}
    theirs = {(round(x, 9), round(y, 9)) for x, y in zip(recall, precision, strict=True) if x > 0}
    assert ours == theirs


def test_long_curves_are_thinned_and_keep_their_ends(rng):
    roc, _ = compute_curves(rng.random(5000), rng.random(5000) < 0.5)
    assert len(roc) <= 200
    assert roc.iloc[0][["x", "y"]].tolist() == [0, 0]
    assert roc.iloc[-1][["x", "y"]].tolist() == [1, 1]


def test_class_that_no_row_has_gets_no_curve(rng):
    predictions, truth = make_predictions(rng, 60, 3)
    roc, _ = compute_class_curves(predictions, np.where(truth == 2, 1, truth), ("a", "b", "c"))
    assert set(roc["series"]) == {"a", "b"}


def test_one_class_alone_gives_empty_curves(rng):
    predictions, truth = make_predictions(rng, 10, 2)
    assert all(not len(curve) for curve in compute_class_curves(predictions, np.zeros_like(truth), ("a", "b")))


def test_calibration_bins_hold_every_row():
    predictions = Predictions(np.array([1, 1, 0, 0]), np.array([[0.05, 0.95], [0.08, 0.92], [0.9, 0.1], [0.0, 1.0]]))
    found = compute_calibration(predictions, np.array([1, 0, 0, 1]))
    assert found["rows"].tolist() == [1, 3]
    assert found["y"].tolist() == [0.0, pytest.approx(2 / 3)]
