import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from mlops_project.config import Config, ModelConfig
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ConfigError, DataError
from mlops_project.modeling.encoders import OriginalLabels
from mlops_project.modeling.pipeline import build_pipeline, class_order, fit_pipeline, predict_frame, prepare_for_serving

NUMBERS = (Feature("a", "float"), Feature("b", "integer"), Feature("c", "boolean"))
GAPS = (Feature("a", "float", nullable=True), Feature("b", "integer"))
TEXT = Feature("t", "category", categories=("x", "y"))


def _contract(features=NUMBERS, task="binary", classes=("no", "yes")):
    return Contract(tuple(features), "y", task, classes, tuple(map(str, classes)))


def _build(contract=None, **model):
    return build_pipeline(contract or _contract(), Config(random_state=11, model=ModelConfig(**model)))


def _numbers(rng, n_rows=60):
    return pd.DataFrame({"a": rng.normal(size=n_rows), "b": rng.integers(0, 9, n_rows), "c": rng.random(n_rows) < 0.5})


def test_numeric_table_gets_the_walkthroughs_pipeline():
    pipeline = _build(params={"n_estimators": 9})
    assert [name for name, _ in pipeline.steps] == ["scaler", "clf"]
    assert isinstance(pipeline["scaler"], StandardScaler)
    assert pipeline["scaler"].with_mean is False
    assert isinstance(pipeline["clf"], RandomForestClassifier)
    assert (pipeline["clf"].n_estimators, pipeline["clf"].random_state) == (9, 11)


def test_regression_step_is_called_reg():
    assert _build(_contract(task="regression", classes=())).steps[-1][0] == "reg"


@pytest.mark.parametrize(
    ("estimator", "first"),
    [
        ("random_forest", "scaler"),
        ("hist_gradient_boosting", "scaler"),
        ("xgboost", "scaler"),
        ("lightgbm", "scaler"),
        ("gradient_boosting", "features"),
        ("logistic_regression", "features"),
    ],
)
def test_gaps_are_imputed_only_where_the_estimator_cannot_take_them(estimator, first):
    assert _build(_contract(GAPS), estimator=estimator).steps[0][0] == first


@pytest.mark.parametrize("estimator", ["logistic_regression", "gradient_boosting"])
def test_calibrated_estimator_that_cannot_take_gaps_gets_an_imputer_too(estimator):
    assert _build(_contract(GAPS), estimator=estimator, calibration="sigmoid").steps[0][0] == "features"


@pytest.mark.parametrize("features", [(NUMBERS[2], TEXT), (NUMBERS[2], Feature("g", "boolean", nullable=True))])
def test_booleans_alone_can_be_imputed(rng, features):
    frame = pd.DataFrame({"c": rng.random(40) < 0.5, "t": ["x", "y"] * 20, "g": [1.0, np.nan] * 20})
    contract = _contract(features)
    pipeline = fit_pipeline(
        _build(contract, estimator="logistic_regression"), frame[list(contract.names)], pd.Series(["no", "yes"] * 20)
    )
    assert np.isfinite(pipeline.predict_proba(frame)).all()


def test_ordinal_encoding_replaces_one_hot():
    features = _build(_contract([*NUMBERS, TEXT]), encoding="ordinal")["features"]
    assert isinstance(features, ColumnTransformer)
    encoder = features.transformers[1][1]["encoder"]
    assert isinstance(encoder, OrdinalEncoder)
    assert encoder.categories[0].tolist() == ["x", "y"]


def test_one_hot_columns_take_a_byte_each_until_they_join_the_numbers(rng):
    frame = _numbers(rng).assign(t=["x", "y", "z"] * 20)
    features = _build(_contract([*NUMBERS, TEXT]))["features"].fit(frame)
    assert features.named_transformers_["texts"].transform(frame[["t"]]).dtype == np.uint8
    joined = features.transform(frame)
    assert joined.dtype == np.float64
    np.testing.assert_array_equal(joined[:3, -2:], [[1, 0], [0, 1], [0, 0]])


def test_text_column_without_a_known_value_is_refused():
    with pytest.raises(DataError, match=r"column 't' has no known value to encode; add it to data\.drop"):
        _build(_contract([Feature("t", "category")]))


@pytest.mark.parametrize(
    ("contract", "model", "words"),
    [
        (_contract(), {"estimator": "ridge"}, "ridge predicts numbers, and 'y' is binary; use logistic_regression"),
        (_contract(task="regression", classes=()), {"estimator": "logistic_regression"}, "predicts classes, .* use ridge"),
        (_contract(task="regression", classes=()), {"calibration": "isotonic"}, "calibrate; use none for regression"),
        (_contract(), {"params": {"n_estimator": 3}}, r"n_estimator: random_forest has no such parameter; did you mean 'n_est"),
        (_contract(), {"params": {"x": 1, "zz": 2}}, r"model\.params\.x: .*\nmodel\.params\.zz: "),
        (_contract(), {"estimator": "lightgbm", "params": {"min_data_in_leave": 3}}, "did you mean 'min_data_in_leaf'"),
    ],
)
def test_wrong_model_setting_is_a_config_error_with_the_cure(contract, model, words):
    with pytest.raises(ConfigError, match=words):
        _build(contract, **model)


@pytest.mark.parametrize(
    ("estimator", "params", "words"),
    [
        ("random_forest", {"n_estimators": 0}, "RandomForestClassifier cannot be trained: .*n_estimators.* Got 0"),
        ("random_forest", {"n_estimators": "many"}, "Got 'many'"),
        ("random_forest", {"class_weight": {"nein": 1}}, r"\['no', 'yes'\], are not in class_weight"),
        ("random_forest", {"bootstrap": False, "oob_score": True}, "only available if bootstrap=True"),
        ("random_forest", {"monotonic_cst": [1]}, "monotonic_cst has shape 1 but the input data X has 3 features"),
        ("logistic_regression", {"solver": "nonsense"}, "'solver' parameter"),
        ("xgboost", {"objective": "nonsense"}, "Unknown objective function: `nonsense`"),
        ("xgboost", {"early_stopping_rounds": 3}, "validation dataset"),
        ("xgboost", {"callbacks": 3}, "not iterable"),
        ("lightgbm", {"boosting_type": "nonsense"}, "Unknown boosting type nonsense"),
        ("lightgbm", {"n_estimators": "x"}, "not supported"),
    ],
)
def test_setting_that_the_library_refuses_is_a_config_error(rng, estimator, params, words):
    pipeline = _build(estimator=estimator, params=params)
    with pytest.raises(ConfigError, match=words) as caught:
        fit_pipeline(pipeline, _numbers(rng), pd.Series(["no", "yes"] * 30))
    assert "Stack trace" not in str(caught.value)


@pytest.mark.parametrize("calibration", ["none", "sigmoid"])
@pytest.mark.parametrize("estimator", ["random_forest", "xgboost", "lightgbm"])
def test_serving_uses_one_thread_in_every_fitted_part(rng, estimator, calibration):
    pipeline = _build(estimator=estimator, calibration=calibration, params={"n_jobs": 2, "n_estimators": 2})
    prepare_for_serving(fit_pipeline(pipeline, _numbers(rng), pd.Series(["no", "yes"] * 30)))
    clf = pipeline["clf"]
    fitted = [fold.estimator for fold in clf.calibrated_classifiers_] if calibration == "sigmoid" else [clf]
    assert {(part.estimator_ if isinstance(part, OriginalLabels) else part).n_jobs for part in fitted} == {1}


@pytest.mark.parametrize("classes", [("yes", "no"), ("no", "yes")])
@pytest.mark.parametrize("estimator", ["random_forest", "logistic_regression"])
def test_predictions_are_in_the_contracts_order_of_classes(rng, estimator, classes):
    contract = _contract(classes=classes)
    frame = _numbers(rng)
    target = pd.Series(np.where(frame["a"] > 0, "yes", "no"))
    pipeline = fit_pipeline(_build(contract, estimator=estimator), frame, target)
    predictions = predict_frame(pipeline, frame, contract)
    np.testing.assert_array_equal(np.array(classes)[predictions.indices], pipeline.predict(frame))
    np.testing.assert_array_equal(predictions.probabilities[:, classes.index("yes")], pipeline.predict_proba(frame)[:, 1])


@pytest.mark.parametrize("calibration", ["none", "sigmoid", "isotonic"])
@pytest.mark.parametrize("estimator", ["random_forest", "extra_trees", "decision_tree", "hist_gradient_boosting", "xgboost"])
def test_predicted_labels_are_the_pipelines_own(rng, estimator, calibration):
    """Few distinct rows and fully grown trees give ties, which each library breaks in its own way."""
    frame = _numbers(rng, 90).round(0)
    contract = _contract(classes=("a", "b", "c"), task="multiclass")
    few = {"decision_tree": {}, "hist_gradient_boosting": {"max_iter": 3}}
    params = few.get(estimator, {"n_estimators": 4, "n_jobs": 1})
    pipeline = _build(contract, estimator=estimator, calibration=calibration, params=params)
    fit_pipeline(pipeline, frame, pd.Series(rng.choice(["a", "b", "c"], 90)))
    labels = np.array(contract.classes)[predict_frame(pipeline, frame, contract).indices]
    np.testing.assert_array_equal(labels, pipeline.predict(frame))


def test_regression_predicts_a_flat_vector(rng):
    contract = _contract(task="regression", classes=())
    frame = _numbers(rng)
    predictions = predict_frame(fit_pipeline(_build(contract, estimator="ridge"), frame, frame["a"]), frame, contract)
    assert predictions.values.shape == (60,)
    assert predictions.indices is None


def test_class_order_finds_numpy_labels():
    assert class_order(np.array([False, True]), _contract(classes=(True, False))) == [1, 0]
