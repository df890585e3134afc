"""What cannot be exported exactly stops with the setting and the cure; what the pipeline refuses, the runtime refuses."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from mlops_project.errors import ConfigError, ContractError, ExportError
from mlops_project.modeling.export import export_onnx, graph
from mlops_project.runtime import Runtime
from tests.pipelines import fit as fit_pipeline
from tests.pipelines import with_estimator


@pytest.mark.parametrize(
    ("estimator", "task", "params", "words"),
    [
        ("xgboost", "binary", {"booster": "gblinear"}, "booster='gblinear' .*; use gbtree"),
        ("xgboost", "binary", {"missing": 0.0}, "missing=0.0 .*; leave it out"),
        ("xgboost", "binary", {"objective": "binary:hinge"}, "objective='binary:hinge' .*; use one of the standard"),
        ("xgboost", "binary", {"objective": "binary:logitraw"}, "objective='binary:logitraw' .*; use one of the standard"),
        (
            "xgboost",
            "binary",
            {"objective": "reg:squarederror"},
            "predicts numbers, and the target holds classes; leave it out",
        ),
        ("xgboost", "multiclass", {"multi_strategy": "multi_output_tree"}, "multi_strategy=.*; use one_output_per_tree"),
        ("xgboost", "regression", {"objective": "rank:pairwise"}, "objective='rank:pairwise' .*; use one of the standard"),
        ("xgboost", "regression", {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}, "a single number"),
        ("lightgbm", "binary", {"zero_as_missing": True}, "zero_as_missing .*; set it to false"),
        ("lightgbm", "binary", {"objective": "cross_entropy"}, "objective 'cross_entropy' .*; use a standard objective"),
        ("lightgbm", "binary", {"objective": "regression"}, "predicts numbers, and the target holds classes; leave it out"),
        ("lightgbm", "multiclass", {"objective": "multiclassova"}, "objective 'multiclassova.*; use a standard objective"),
        ("lightgbm", "regression", {"reg_sqrt": True}, "sqrt.*; use a standard objective"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # the libraries warn of some of these as well
def test_setting_that_has_no_exact_export_is_named_with_the_cure(fit, estimator, task, params, words):
    with pytest.raises(ExportError, match=words):
        fit(estimator, "missing", task, **params)


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softmax"])
def test_booster_for_classes_on_a_number_target_is_refused(fit, objective):
    with pytest.raises((ConfigError, ExportError), match=r"cannot be trained|predicts classes, and the target holds numbers"):
        fit("xgboost", "numeric", "regression", objective=objective)


def test_pipeline_with_a_step_of_another_name_answers_the_same(fit):
    case = fit("ridge", "numeric", "regression")
    expected = case.runtime.predict(dict(case.features)).values
    case.pipeline.steps[0] = ("shift", case.pipeline.steps[0][1])
    other = Runtime(export_onnx(case.pipeline, case.contract), case.contract)
    np.testing.assert_array_equal(other.predict(dict(case.features)).values, expected)


def test_model_beyond_the_size_that_onnx_files_can_have_is_refused(fit, monkeypatch):
    case = fit("random_forest", "numeric", n_estimators=3)
    monkeypatch.setattr(graph, "MAX_BYTES", len(case.model) - 1)
    with pytest.raises(ExportError, match="train fewer or smaller trees"):
        export_onnx(case.pipeline, case.contract)


@pytest.mark.parametrize("calibration", ["none", "sigmoid", "isotonic"])
@pytest.mark.parametrize("estimator", ["gradient_boosting", "logistic_regression"])
def test_missing_number_is_refused_by_row_and_column_where_the_pipeline_refuses(fit, estimator, calibration):
    case = fit(estimator, "numeric", calibration=calibration)
    frame = case.features.head(3).astype("float64")
    frame.loc[1, ["wide", "whole"]] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        case.pipeline.predict(frame)
    with pytest.raises(ContractError, match="row 2: no value in wide, whole, and this model cannot do without"):
        case.runtime.predict(dict(frame))


@pytest.mark.parametrize("estimator", ["gradient_boosting", "ridge"])
def test_missing_number_is_refused_by_a_regression_that_cannot_do_without(fit, estimator):
    case = fit(estimator, "numeric", "regression")
    with pytest.raises(ContractError, match="row 1: no value in wide"):
        case.runtime.predict(dict(case.features.head(2).assign(wide=[np.nan, 1.0])))


@pytest.mark.parametrize("estimator", ["random_forest", "hist_gradient_boosting", "xgboost", "lightgbm"])
def test_missing_number_that_training_never_saw_is_answered_as_the_pipeline_does(fit, estimator):
    case = fit(estimator, "numeric")
    case.assert_exact(case.features.astype("float64").mask(np.random.default_rng(0).random(case.features.shape) < 0.3))


def test_missing_number_is_imputed_where_training_had_missing_ones(fit):
    case = fit("logistic_regression", "missing")
    case.assert_exact(pd.DataFrame({name: [np.nan] for name in case.contract.names}))


@pytest.mark.parametrize("settings", [{"sparse": True}, {"monotonic_cst": [1, 0, 0, 0, 0, 0, 0]}], ids=["sparse", "monotonic"])
@pytest.mark.parametrize("kind", [DecisionTreeRegressor, RandomForestRegressor])
def test_missing_number_is_refused_by_a_tree_that_does_not_take_it(kind, settings):
    """scikit-learn's trees take gaps, but not in a sparse matrix and not with monotonic constraints."""
    sparse = settings.get("sparse", False)
    blocks = [("numbers", "passthrough", ["age"]), ("texts", OneHotEncoder(handle_unknown="ignore"), ["town", "plan"])]
    prepare = ColumnTransformer(blocks, sparse_threshold=1.0 if sparse else 0)
    small = {"n_estimators": 2} if kind is RandomForestRegressor else {}
    model = kind(**small, max_depth=2, random_state=0, monotonic_cst=settings.get("monotonic_cst"))
    fitted, contract, features = fit_pipeline(with_estimator(model, prepare), "regression", missing=0)
    runtime = Runtime(export_onnx(fitted, contract), contract)
    row = features.head(1)
    assert runtime.predict(dict(row)).values == pytest.approx(fitted.predict(row))
    with pytest.raises(ContractError, match="no value in age, and this model cannot do without"):
        runtime.predict(dict(row.assign(age=np.nan)))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_number_is_refused_by_row_and_column(fit, value):
    case = fit("random_forest", "numeric", n_estimators=2)
    with pytest.raises(ContractError, match="column 'tiny': row 2 is infinite"):
        case.runtime.predict(dict(case.features.head(2).assign(tiny=[0.0, value])))


def test_number_too_large_for_the_arithmetic_is_refused(fit):
    case = fit("ridge", "numeric", "regression")
    frame = case.features.head(1).astype("float64").assign(tiny=1e308, wide=1e308)
    with pytest.raises(ContractError, match="row 1: the model has no answer for numbers this large"):
        case.runtime.predict(dict(frame))


def test_number_beyond_float32_is_answered_as_the_largest_one(fit):
    case = fit("random_forest", "numeric", n_estimators=5)
    huge, large = (case.runtime.predict(dict(case.features.assign(wide=value))) for value in (1e300, 1e37))
    np.testing.assert_array_equal(huge.probabilities, large.probabilities)
