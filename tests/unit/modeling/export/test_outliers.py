"""Isolation forests: the label turns at scikit-learn's own depth, and the score is its own."""

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import Pipeline

from mlops_project.errors import DataError, ExportError
from mlops_project.handover.wrapping import check_outlier_labels, take_outlier_scores
from mlops_project.modeling.encoders import OutlierScores
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.export.outliers import _expected_depth, _find_border
from tests.pipelines import COMPLETE, make_table

pytestmark = pytest.mark.usefixtures("fewer_rows")


@pytest.mark.parametrize(
    "settings",
    [{}, {"contamination": 0.1}, {"max_features": 0.5, "max_samples": 20, "contamination": 0.05}],
    ids=["plain", "share", "some-columns"],
)
def test_isolation_forest_is_exact(settings):
    features, _, contract = make_table("binary")
    forest = IsolationForest(n_estimators=9, random_state=0, **settings)
    theirs = Pipeline([("prepare", COMPLETE), ("forest", forest)]).fit(features)
    pipeline = take_outlier_scores(Pipeline([*theirs.steps]))
    own = msgspec.structs.replace(contract, classes=(-1, 1), class_names=("-1", "1"))
    runtime = load_exported(export_onnx(pipeline, own), own)
    assert check_parity(pipeline, runtime, features).max_difference < 1e-15
    answers = runtime.predict({name: features[name].to_numpy(object) for name in features})
    np.testing.assert_array_equal(np.take([-1, 1], answers.indices), theirs.predict(features))
    np.testing.assert_allclose(answers.probabilities[:, 0], -theirs.score_samples(features), atol=1e-15)


def test_border_is_the_last_depth_that_is_an_outlier():
    forest = IsolationForest(n_estimators=5, contamination=0.2, random_state=0).fit(
        np.random.default_rng(0).normal(size=(50, 2))
    )
    border, expected = _find_border(forest, _expected_depth(forest)), _expected_depth(forest)
    depths = np.array([border, np.nextafter(border, np.inf)])
    assert (-(2 ** -(depths / expected)) - forest.offset_ < 0).tolist() == [True, False]
    forest.offset_ = -2.0
    assert _find_border(forest, expected) < 0  # no row is an outlier


def test_labels_of_another_kind_and_a_bare_forest_are_refused_with_the_cure():
    features, target, contract = make_table("binary")
    forest = IsolationForest(n_estimators=2, random_state=0)
    with pytest.raises(
        DataError, match=r"IsolationForest answers -1 for outliers .* labels are 'high', 'low'; give the labels"
    ):
        check_outlier_labels(forest, features.assign(y=target)["y"])
    fitted = Pipeline([("prepare", COMPLETE), ("forest", forest)]).fit(features)
    with pytest.raises(ExportError, match=r"pipeline\.forest\.IsolationForest: hand the pipeline over with mlops\.export"):
        export_onnx(fitted, contract)


def test_wrapped_forest_is_fitted_like_any_classifier():
    rows = np.random.default_rng(0).normal(size=(60, 2))
    model = OutlierScores(IsolationForest(n_estimators=3, random_state=0)).fit(rows)
    assert {*model.predict(rows)} == {-1, 1}
    np.testing.assert_array_equal(model.predict(rows) == -1, model.predict_proba(rows)[:, 0] > 0.5)
