"""Boosters that split on sets of categories: known, unknown and missing ones, and numbers that are none."""

import lightgbm
import msgspec
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline, make_pipeline

from mlops_project.contract import Contract, Feature
from mlops_project.modeling.encoders import CategoryTypes, OriginalLabels
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.export import parity as parity_module
from tests.pipelines import NUMBERS, make_table

KINDS = ["q", "c", "q", "c"]  # XGBoost's words for the columns
LGBM = {"n_estimators": 5, "n_jobs": 1, "verbose": -1, "categorical_feature": [1, 3], "min_child_samples": 5}
XGB = {"n_estimators": 5, "n_jobs": 1, "enable_categorical": True, "feature_types": KINDS}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.normal(0, 1, 400),
            "code": rng.integers(0, 40, 400).astype(float),
            "weight": rng.normal(0, 1, 400),
            "kind": rng.integers(0, 7, 400).astype(float),
        }
    )
    effects = rng.normal(0, 1, 40)
    signal = effects[frame["code"].astype(int)] + effects[frame["kind"].astype(int)] + frame["size"]
    frame["code"] = frame["code"].mask(rng.random(400) < 0.1)
    frame["size"] = frame["size"].mask(rng.random(400) < 0.1)
    return frame, signal.to_numpy()


def compare(estimator, table, task):
    frame, signal = table
    limits = {"binary": [0.0], "multiclass": [-1.0, 1.0], "regression": []}[task]
    classes = tuple(range(len(limits) + 1)) if limits else ()
    target = np.digitize(signal, limits) if limits else signal
    features = tuple(
        Feature(name, "float", nullable=True, minimum=float(frame[name].min()), maximum=float(frame[name].max()))
        for name in frame
    )
    contract = Contract(features, "y", task, classes, tuple(map(str, classes)))
    fitted = make_pipeline("passthrough", estimator).fit(frame, target)
    model = export_onnx(fitted, contract)
    assert b"members" in model
    return check_parity(fitted, load_exported(model, contract), frame)


@pytest.mark.parametrize(
    ("estimator", "task", "largest"),
    [
        (HistGradientBoostingClassifier(max_iter=5, categorical_features=[1, 3], early_stopping=True), "binary", 1e-15),
        (HistGradientBoostingRegressor(max_iter=5, categorical_features=[3, 1]), "regression", 0),
        (lightgbm.LGBMClassifier(cat_smooth=1, min_data_per_group=5, **LGBM), "multiclass", 1e-15),
        (lightgbm.LGBMRegressor(max_cat_to_onehot=100, **LGBM), "regression", 0),
        (OriginalLabels(xgboost.XGBClassifier(**XGB)), "multiclass", 2e-7),
        (xgboost.XGBRegressor(max_cat_to_onehot=100, **XGB), "regression", 0),
        (xgboost.XGBRegressor(booster="dart", rate_drop=0.5, **XGB), "regression", 1e-6),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else None,
)
@pytest.mark.filterwarnings("ignore:categorical_feature keyword")  # LightGBM follows it all the same
def test_sets_of_categories_are_split_as_the_library_does(estimator, task, largest, table, monkeypatch):
    monkeypatch.setattr(parity_module, "RANDOM_ROWS", 1000)
    assert compare(estimator, table, task).max_difference <= largest


@pytest.mark.parametrize(
    "estimator",
    [
        lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1, min_child_samples=5, max_cat_to_onehot=1, cat_smooth=1),
        xgboost.XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True),
        xgboost.XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True, max_cat_to_onehot=20),
        HistGradientBoostingClassifier(max_iter=5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_types_of_pandas_are_read_as_the_booster_reads_them_with_unknown_and_missing_values(estimator):
    rng = np.random.default_rng(0)
    texts = pd.Categorical(rng.choice(["Ulm", "Köln", "Rio", "Bonn"], 300), categories=["Rio", "Ulm", "Bonn", "Köln", "Bari"])
    frame = pd.DataFrame({"size": rng.normal(size=300), "town": texts, "code": pd.Categorical(rng.choice([7, 3, 12], 300))})
    target = ((frame["town"].isin(["Ulm", "Bonn"])) ^ (frame["code"] == 7) ^ (frame["size"] > 1)).astype(int)
    frame.loc[::9, ["town", "code"]] = np.nan
    typed = frame.assign(town=frame["town"].astype("str"), code=frame["code"].astype("float64"))
    features = (
        Feature("size", "float", minimum=-3, maximum=3),
        Feature("town", "category", nullable=True, categories=("Bonn", "Köln", "Rio", "Ulm")),
        Feature("code", "integer", nullable=True, minimum=3, maximum=12),
    )
    contract = Contract(features, "y", "binary", (0, 1), ("0", "1"))
    categories = {name: frame[name].cat.categories.to_list() for name in ("town", "code")}
    fitted = Pipeline([("types", CategoryTypes(categories).fit(typed)), ("model", estimator.fit(frame, target))])
    np.testing.assert_array_equal(fitted.predict_proba(typed), estimator.predict_proba(frame))
    runtime = load_exported(export_onnx(fitted, contract), contract)
    assert check_parity(fitted, runtime, typed).max_difference < 2e-7


@pytest.mark.parametrize("settings", [{}, {"booster": "dart", "rate_drop": 0.5}], ids=["trees", "dart"])
def test_rounds_after_the_best_one_of_early_stopping_are_left_out(settings):
    features, target, contract = make_table("binary", missing=0.0)
    numbers, labels = features[NUMBERS], (target == "low").astype(int)
    noise = np.random.default_rng(0).permutation(labels)
    model = xgboost.XGBClassifier(n_estimators=30, early_stopping_rounds=3, n_jobs=1, random_state=0, **settings)
    model.fit(numbers, labels, eval_set=[(numbers, noise)], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    own = msgspec.structs.replace(
        contract, features=tuple(map(contract.feature, NUMBERS)), classes=(0, 1), class_names=("0", "1")
    )
    check_parity(model, load_exported(export_onnx(model, own), own), numbers)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_linear_models_in_leaves_are_exact_where_columns_are_missing_too(task):
    features, target, contract = make_table(task)
    own = msgspec.structs.replace(contract, features=tuple(map(contract.feature, NUMBERS)))
    kind = lightgbm.LGBMRegressor if task == "regression" else lightgbm.LGBMClassifier
    model = kind(n_estimators=4, linear_tree=True, min_child_samples=8, n_jobs=1, verbose=-1).fit(features[NUMBERS], target)
    assert '"leaf_features":[0' in str(model.booster_.dump_model()).replace("'", '"').replace(" ", "")
    runtime = load_exported(export_onnx(model, own), own)
    assert check_parity(model, runtime, features[NUMBERS]).max_difference < 1e-12
