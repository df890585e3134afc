"""Every estimator on every kind of table, and the settings that bend trees, scores or links: exact, row by row."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.modeling.export import check_parity, load_exported

FEW = {
    "decision_tree": {},
    "random_forest": {"n_estimators": 7},
    "extra_trees": {"n_estimators": 7},
    "gradient_boosting": {"n_estimators": 7},
    "hist_gradient_boosting": {"max_iter": 7},
    "xgboost": {"n_estimators": 7, "n_jobs": 1},
    "lightgbm": {"n_estimators": 7, "n_jobs": 1},
    "logistic_regression": {},
}
SMOOTH = {"svm": {}, "knn": {"weights": "distance"}, "mlp": {"max_iter": 5, "hidden_layer_sizes": [5]}}
TABLES = [("numeric", "onehot"), ("missing", "onehot"), ("mixed", "onehot"), ("mixed", "ordinal")]


@pytest.mark.parametrize("calibration", ["none", "sigmoid", "isotonic"])
@pytest.mark.parametrize(("kind", "encoding"), TABLES)
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("estimator", FEW)
def test_classifier_is_exact(fit, exact, estimator, task, kind, encoding, calibration):
    exact(fit(estimator, kind, task, encoding=encoding, calibration=calibration, **FEW[estimator]))


@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("estimator", [*SMOOTH, "naive_bayes"])
def test_classifier_without_trees_is_exact(fit, exact, estimator, task):
    exact(fit(estimator, "missing", task, **SMOOTH.get(estimator, {})))


@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
@pytest.mark.parametrize("estimator", [*SMOOTH, "elastic_net"])
def test_regressor_without_trees_is_exact(fit, exact, estimator):
    exact(fit(estimator, "mixed", "regression", **SMOOTH.get(estimator, {})))


@pytest.mark.usefixtures("fewer_rows")
@pytest.mark.parametrize("calibration", ["none", "sigmoid", "isotonic"])
@pytest.mark.parametrize("kind", ["numeric", "mixed without gaps"])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("estimator", FEW)
def test_export_answers_missing_values_as_the_pipeline_where_training_had_none(fit, estimator, task, kind, calibration):
    case = fit(estimator, kind, task, calibration=calibration, **FEW[estimator])
    check_parity(case.pipeline, load_exported(case.model, case.contract), case.features)


@pytest.mark.usefixtures("fewer_rows")
@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("estimator", ["xgboost", "logistic_regression"])
def test_calibrated_classifier_of_fractional_classes_is_exact(fit, estimator, calibration):
    case = fit(estimator, "numeric", labels=(0.5, 1.5), calibration=calibration, **FEW[estimator])
    check_parity(case.pipeline, load_exported(case.model, case.contract), case.features)


@pytest.mark.parametrize(("kind", "encoding"), TABLES)
@pytest.mark.parametrize("estimator", [*(name for name in FEW if name != "logistic_regression"), "ridge"])
def test_regressor_is_exact(fit, exact, estimator, kind, encoding):
    exact(fit(estimator, kind, "regression", encoding=encoding, **FEW.get(estimator, {})))


FOREST = [
    {"n_estimators": 1},
    {"max_depth": 1},
    {"min_samples_leaf": 500},  # trees of a single leaf
    {"max_leaf_nodes": 5, "max_samples": 0.5, "ccp_alpha": 0.01},
    {"warm_start": True, "bootstrap": False},
]
SETTINGS = {
    ("random_forest", "binary"): [
        *FOREST,
        {"class_weight": "balanced"},
        {"class_weight": {"no": 1, "yes": 5}},
        {"criterion": "entropy"},
        {"monotonic_cst": [1, 0, 0, 0, -1]},
        {"n_estimators": 60, "oob_score": True},
    ],
    ("random_forest", "multiclass"): [*FOREST, {"class_weight": "balanced_subsample"}],
    ("random_forest", "regression"): [*FOREST, {"criterion": "absolute_error"}, {"criterion": "poisson"}],
    ("extra_trees", "binary"): FOREST[:3],
    ("decision_tree", "binary"): [{"splitter": "random"}, {"max_depth": 1}, {"min_samples_leaf": 500}],
    ("decision_tree", "regression"): [{"criterion": "poisson"}, {"criterion": "absolute_error"}, {"max_depth": 1}],
    ("gradient_boosting", "binary"): [
        {"loss": "exponential"},
        {"init": "zero"},
        {"n_iter_no_change": 2, "subsample": 0.5},
        {"min_samples_leaf": 500},
    ],
    ("gradient_boosting", "multiclass"): [{"init": "zero"}, {"max_depth": 1}],
    ("gradient_boosting", "regression"): [
        {"loss": "huber"},
        {"loss": "quantile"},
        {"loss": "absolute_error"},
        {"init": "zero"},
    ],
    ("hist_gradient_boosting", "binary"): [
        {"early_stopping": True},
        {"class_weight": "balanced", "max_features": 0.5, "max_bins": 8},
        {"min_samples_leaf": 500},
        {"monotonic_cst": [1, 0, 0, 0, 0], "interaction_cst": "pairwise"},
    ],
    ("hist_gradient_boosting", "regression"): [
        {"loss": "poisson"},
        {"loss": "gamma"},
        {"loss": "absolute_error"},
        {"loss": "quantile", "quantile": 0.9},
    ],
    ("logistic_regression", "binary"): [
        {"C": 1e6},
        {"solver": "liblinear"},
        {"fit_intercept": False},
        {"class_weight": "balanced"},
    ],
    ("logistic_regression", "multiclass"): [{"solver": "newton-cg", "C": 1e-4}, {"fit_intercept": False}],
    ("ridge", "regression"): [{"alpha": 0.0}, {"positive": True}, {"fit_intercept": False, "solver": "svd"}],
    ("xgboost", "binary"): [
        {"base_score": 0.3},
        {"base_score": 0.9999},
        {"max_delta_step": 1},
        {"num_parallel_tree": 4, "subsample": 0.5, "colsample_bynode": 0.5},
        {"gamma": 1e9},
        {"grow_policy": "lossguide", "max_leaves": 7, "max_depth": 0},
        {"tree_method": "exact", "scale_pos_weight": 9},
        {"tree_method": "approx", "monotone_constraints": "(1,0)"},
        {"booster": "dart", "rate_drop": 0.5},
    ],
    ("xgboost", "multiclass"): [
        {"objective": "multi:softmax"},
        {"base_score": 0.3},
        {"num_parallel_tree": 3, "subsample": 0.7},
    ],
    ("xgboost", "regression"): [
        {"base_score": 1e7},
        {"gamma": 1e9},
        {"objective": "reg:absoluteerror"},
        {"objective": "count:poisson"},
        {"objective": "reg:gamma", "base_score": 3.3},
        {"objective": "reg:tweedie", "tweedie_variance_power": 1.2},
        {"objective": "reg:pseudohubererror"},
        {"objective": "reg:squaredlogerror"},
        {"objective": "reg:quantileerror", "quantile_alpha": 0.8},
    ],
    ("lightgbm", "binary"): [
        {"boosting_type": "dart"},
        {"boosting_type": "goss"},
        {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1},
        {"is_unbalance": True},
        {"extra_trees": True, "path_smooth": 1.0},
        {"min_child_samples": 500},  # no tree splits
        {"min_child_samples": 1, "num_leaves": 200},
        {"min_data_in_leaf": 3, "max_bin": 4},
        {"sigmoid": 2.5, "boost_from_average": False},
        {"use_missing": False},
    ],
    ("lightgbm", "multiclass"): [{"min_child_samples": 500}, {"class_weight": "balanced"}],
    ("lightgbm", "regression"): [
        {"min_child_samples": 500},
        *({"objective": name} for name in ("regression_l1", "huber", "fair", "quantile", "mape")),
        *({"objective": name} for name in ("poisson", "gamma", "tweedie")),
        {"objective": "poisson", "boosting_type": "dart"},
    ],
}


@pytest.mark.parametrize("kind", ["numeric", "missing"])
@pytest.mark.parametrize(
    ("estimator", "task", "params"),
    [(*key, params) for key, several in SETTINGS.items() for params in several],
    ids=lambda value: ",".join(f"{key}={item}" for key, item in value.items()) if isinstance(value, dict) else value,
)
@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB scores", "ignore:Parameters")
def test_setting_is_exact(fit, exact, estimator, task, params, kind):
    exact(fit(estimator, kind, task, **FEW.get(estimator, {}) | params))


@pytest.mark.parametrize("estimator", ["random_forest", "xgboost", "lightgbm", "logistic_regression"])
@pytest.mark.parametrize(
    "labels", [(True, False), (1, 0), (-1, 4), (0.5, -2.5, 9.0), ("b", "a", "ä"), (10, 2, -7), ("1", "0")], ids=str
)
def test_labels_of_any_type_and_order_are_exact(fit, exact, estimator, labels):
    task = "binary" if len(labels) == 2 else "multiclass"
    exact(fit(estimator, "numeric", task, labels=labels, **FEW[estimator]))


@pytest.mark.parametrize("estimator", [*FEW, "ridge"])
def test_neighbouring_numbers_and_dates_where_the_answer_jumps_get_the_pipelines_answer(fit, estimator):
    """Halve intervals of single cells, asking the pipeline alone, down to adjacent float64 numbers or microseconds."""
    case = fit(estimator, "mixed", "regression" if estimator == "ridge" else "binary", **FEW.get(estimator, {}))
    present = case.features.dropna()
    ends = [present.sample(12, random_state=seed) for seed in (1, 2)]
    codes = np.sort([[_encode(end[name]) for name in JUMPING] for end in ends], axis=0)
    low, high = codes
    start = _answers(case, ends[0], low)
    while (middle := (low >> 1) + (high >> 1) + (low & high & 1)).tolist() != low.tolist():
        same = (_answers(case, ends[0], middle) == start).reshape(low.shape)
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    for code in (low, high):
        case.assert_exact(_frame(ends[0], code))


JUMPING = ("rounded", "wide", "day")


def _ordered(bits):
    """Turn a float64's bits into an int64 that orders as the number does, and back."""
    return np.where(bits < 0, np.iinfo(np.int64).min - bits, bits)


def _encode(column):
    values = column.to_numpy()
    return _ordered(values.view(np.int64)) if values.dtype.kind == "f" else values.astype("datetime64[us]").astype(np.int64)


def _frame(base, codes):
    values = [_ordered(code).view(np.float64) for code in codes[:-1]] + [codes[-1].astype("datetime64[us]")]
    parts = [base.assign(**{name: value}) for name, value in zip(JUMPING, values, strict=True)]
    return pd.concat(parts, ignore_index=True)


def _answers(case, base, codes):
    predict = case.pipeline.predict_proba if case.contract.is_classification else case.pipeline.predict
    return np.asarray(predict(_frame(base, codes))).reshape(codes.size, -1)[:, -1]
