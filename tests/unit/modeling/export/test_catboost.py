"""CatBoost: trees of both shapes, missing values on both sides, categories of its own; what else it reads is refused."""

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError, ExportError
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.export import parity as parity_module
from mlops_project.modeling.export.catboost import _read_document
from tests.pipelines import NUMBERS, export_and_compare, fit, make_table, prepared, with_estimator

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


def test_loss_without_an_exact_export_is_refused_with_the_cure():
    estimator = catboost.CatBoostClassifier(loss_function="MultiClassOneVsAll", **FEW)
    fitted, contract, _ = fit(with_estimator(estimator), "multiclass")
    with pytest.raises(ExportError, match=r"MultiClassOneVsAll.*; use RMSE"):
        export_onnx(fitted, contract)


def with_own_categories(estimator):
    """Return the estimator on the table's own columns, its texts filled."""
    filled = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"))
    prepare = make_column_transformer(
        (filled, ["town"]), ("passthrough", ["plan", *NUMBERS]), verbose_feature_names_out=False
    ).set_output(transform="pandas")
    return make_pipeline(prepare, estimator)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("binary", {}),
        ("binary", {"one_hot_max_size": 9, "grow_policy": "Lossguide"}),
        ("multiclass", {"max_ctr_complexity": 2}),
        ("multiclass", {"grow_policy": "Depthwise", "simple_ctr": ["Buckets", "Counter"]}),
        ("regression", {"loss_function": "Poisson"}),
        ("regression", {"simple_ctr": ["BinarizedTargetMeanValue", "Borders:TargetBorderCount=3"]}),
    ],
    ids=str,
)
def test_categories_of_its_own_are_exact_alone_and_combined_known_and_unknown(task, settings):
    kind = catboost.CatBoostRegressor if task == "regression" else catboost.CatBoostClassifier
    estimator = kind(cat_features=["town", "plan"], **FEW | {"iterations": 30}, **{"one_hot_max_size": 1} | settings)
    parity = export_and_compare(with_own_categories(estimator), task)[1]
    assert parity.max_difference < 1e-14
    assert parity.ties == 0


@pytest.mark.parametrize(
    ("combined", "settings"),
    [
        ({"cat_feature_value"}, {"iterations": 60, "nan_mode": "Min"}),
        ({"cat_feature_value", "cat_feature_exact_value", "float_feature"}, {"iterations": 40, "nan_mode": "Max"}),
    ],
    ids=["categories", "categories and numbers"],
)
def test_combinations_of_columns_have_the_same_hashes(combined, settings):
    rng = np.random.default_rng(0)
    few = len(combined) == 1
    frame = pd.DataFrame(
        {
            "size": pd.Series(rng.normal(size=300)).mask(rng.random(300) < 0.1),
            "colour": pd.Series(rng.choice([*("abc" if few else "abcdef")], 300)).astype("str"),
            "shape": pd.Series(rng.choice(["round", "flat"], 300)).astype("str"),
            "place": pd.Series(rng.integers(0, 3 if few else 9, 300)).astype("str"),
        }
    )
    colour, place = frame["colour"].map(ord), frame["place"].astype(int)
    pairs = (colour + place) % 3 == 1 if few else (colour < ord("d")) ^ (place % 3 == 1)
    target = pairs ^ ((frame["size"] > 0) & (frame["shape"] == "flat")) if few else pairs ^ (frame["size"] > 0)
    features = tuple(
        Feature(name, "category", categories=tuple(sorted(frame[name].unique())))
        if name != "size"
        else Feature(name, "float", nullable=True, minimum=-3, maximum=3)
        for name in frame
    )
    contract = Contract(features, "y", "binary", (False, True), ("no", "yes"))
    given = {"learning_rate": 0.5, "one_hot_max_size": 2, "max_ctr_complexity": 6, "random_seed": 3 if few else 0}
    estimator = catboost.CatBoostClassifier(cat_features=["colour", "shape", "place"], **FEW | given | settings)
    fitted = make_pipeline(estimator).fit(frame, target)
    texts = {place: features[place].categories for place in (1, 2, 3)}
    ctrs = _read_document(estimator, texts)["features_info"]["ctrs"]
    elements = [[element["combination_element"] for element in ctr["elements"]] for ctr in ctrs]
    assert max(map(len, elements)) > 1
    assert combined == {name for names in elements for name in names}
    runtime = load_exported(export_onnx(fitted, contract), contract)
    assert check_parity(fitted, runtime, frame).max_difference < 1e-14


def test_missing_category_has_no_answer_as_the_library_refuses_it():
    features, target, contract = make_table("binary", missing=0.0)
    fitted = make_pipeline(catboost.CatBoostClassifier(cat_features=["town", "plan"], **FEW)).fit(features, target)
    runtime = load_exported(export_onnx(fitted, contract), contract)
    assert check_parity(fitted, runtime, features).max_difference < 1e-14
    with pytest.raises(ContractError, match="no value in town"):
        runtime.predict(features.head(1).assign(town=None).to_dict("list"))


def test_numbers_as_categories_are_refused_with_the_cure():
    features, target, contract = make_table("binary")
    visits = type(contract)((contract.feature("visits"),), "y", "binary", contract.classes, contract.class_names)
    fitted = make_pipeline(catboost.CatBoostClassifier(cat_features=[0], **FEW)).fit(features[["visits"]], target)
    with pytest.raises(ExportError, match=r"catboost: the category 'visits' holds numbers; make it a text .*astype\('str'\)"):
        export_onnx(fitted, visits)


def test_category_of_more_texts_than_the_contract_lists_is_refused_with_the_cure():
    features, target, contract = make_table("binary", missing=0.0)
    many = tuple(Feature(item.name, "string") if item.name == "plan" else item for item in contract.features)
    fitted = make_pipeline(catboost.CatBoostClassifier(cat_features=["town", "plan"], **FEW)).fit(features, target)
    with pytest.raises(
        ExportError, match=r"category 'plan' has more texts than the contract lists; raise data\.max_categories"
    ):
        export_onnx(fitted, msgspec.structs.replace(contract, features=many))


def test_whole_table_with_gaps_is_compared():
    fitted, contract, features = fit(with_estimator(catboost.CatBoostRegressor(**FEW), prepared("passthrough")), "regression")
    parity = check_parity(fitted, load_exported(export_onnx(fitted, contract), contract), features)
    assert parity.rows > 1000
    assert parity.ties == 0
