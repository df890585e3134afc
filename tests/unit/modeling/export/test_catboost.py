"""CatBoost on numbers: trees of both shapes, missing values on both sides; what else it reads is refused with the cure."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlops_project.errors import ExportError
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.export import parity as parity_module
from tests.pipelines import export_and_compare, fit, make_table, prepared, with_estimator

catboost = pytest.importorskip("catboost", reason="needs the extra catboost")
FEW = {"iterations": 5, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


@pytest.fixture(autouse=True)
def _fewer_rows(monkeypatch):
    monkeypatch.setattr(parity_module, "RANDOM_ROWS", 500)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"grow_policy": "Depthwise", "depth": 3}, {"grow_policy": "Lossguide", "nan_mode": "Max"}, {"depth": 1}],
    ids=str,
)
def test_classifier_is_exact(settings, task):
    pipeline = with_estimator(catboost.CatBoostClassifier(**FEW, **settings), prepared(StandardScaler()))
    assert export_and_compare(pipeline, task)[1].max_difference < 1e-14


@pytest.mark.parametrize(
    "settings", [{}, {"loss_function": "Quantile:alpha=0.8", "nan_mode": "Max"}, {"loss_function": "MAE", "depth": 8}], ids=str
)
def test_regressor_is_exact(settings):
    pipeline = with_estimator(catboost.CatBoostRegressor(**FEW, **settings), prepared("passthrough"))
    assert export_and_compare(pipeline, "regression")[1].max_difference < 1e-14


def test_missing_numbers_of_a_column_that_was_complete_and_of_one_that_was_not():
    features, target, contract = make_table("binary")
    numbers = features[["age", "income", "score"]]
    known = type(contract)(tuple(map(contract.feature, numbers)), "y", "binary", contract.classes, contract.class_names)
    fitted = make_pipeline(catboost.CatBoostClassifier(**FEW)).fit(numbers, target)
    runtime = load_exported(export_onnx(fitted, known), known)
    rows = pd.DataFrame({"age": [np.nan, 0.1, 0.2], "income": [1.0, np.nan, 2.0], "score": [50.0, 60.0, np.nan]})
    answers = runtime.predict(rows.to_dict("list")).probabilities
    np.testing.assert_allclose(answers, fitted.predict_proba(rows), rtol=0, atol=1e-15)


def test_calibrated_one_is_exact():
    pipeline = with_estimator(CalibratedClassifierCV(catboost.CatBoostClassifier(**FEW), cv=2))
    export_and_compare(pipeline, "binary")


@pytest.mark.parametrize(
    ("estimator", "task", "words"),
    [
        (catboost.CatBoostRegressor(loss_function="Poisson", **FEW), "regression", "loss_function='Poisson' .*; use RMSE"),
        (catboost.CatBoostClassifier(loss_function="MultiClassOneVsAll", **FEW), "multiclass", "MultiClassOneVsAll.*; use"),
    ],
    ids=["Poisson", "MultiClassOneVsAll"],
)
def test_loss_without_an_exact_export_is_refused_with_the_cure(estimator, task, words):
    fitted, contract, _ = fit(with_estimator(estimator), task)
    with pytest.raises(ExportError, match=words):
        export_onnx(fitted, contract)


def test_categories_of_its_own_are_refused_with_the_cure():
    features, target, contract = make_table("binary")
    visits = type(contract)((contract.feature("visits"),), "y", "binary", contract.classes, contract.class_names)
    fitted = make_pipeline(catboost.CatBoostClassifier(cat_features=[0], **FEW)).fit(features[["visits"]], target)
    with pytest.raises(ExportError, match=r"catboost: categories of its own .*leave cat_features out .*TargetEncoder"):
        export_onnx(fitted, visits)


def test_whole_table_with_gaps_is_compared():
    fitted, contract, features = fit(with_estimator(catboost.CatBoostRegressor(**FEW), prepared("passthrough")), "regression")
    parity = check_parity(fitted, load_exported(export_onnx(fitted, contract), contract), features)
    assert parity.rows > 1000
    assert parity.ties == 0
