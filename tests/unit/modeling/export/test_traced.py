"""Functions of somebody's own in FunctionTransformer: followed by what they do with columns, or refused by what they do."""

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from mlops_project.contract import Feature
from mlops_project.errors import ExportError
from mlops_project.modeling.export import check_parity, export_onnx, jumps, load_exported
from mlops_project.modeling.export import parity as parity_module
from tests.pipelines import NUMBERS, export_and_compare, fit, make_table, with_estimator

FILL = SimpleImputer(strategy="median").set_output(transform="pandas")
FILL_ARRAY = SimpleImputer(strategy="median")


@pytest.fixture(autouse=True)
def _fewer_rows(monkeypatch):
    monkeypatch.setattr(parity_module, "RANDOM_ROWS", 300)
    monkeypatch.setattr(jumps, "JUMP_ROWS", 100)


def sine(x, period):
    return np.sin(x / period * 2 * np.pi)


def ratios(frame):
    out = frame.copy()
    out["per_visit"] = out["income"] / (out["visits"] + 1)
    out["is_old"] = (out["age"] > 0.5) & ~(out["score"] <= 40)
    out["capped"] = out.score.clip(10, upper=60)
    return out.drop(columns=["visits"])


def choose(frame):
    return frame.assign(
        size=lambda rows: np.where(rows["income"] > 2, np.log1p(np.abs(rows["income"])), rows["age"] ** 2),
        flag=frame["visits"] != 3,
        root=np.sqrt(np.abs(frame["age"])),
    )


FUNCTIONS = {
    "one expression": (FILL_ARRAY, lambda x: np.log1p(np.abs(x)) * 2 - 1),
    "a column by another": (FILL_ARRAY, lambda x: x[:, [1]] / (1 + np.abs(x[:, [0]]))),
    "columns side by side": (FILL_ARRAY, lambda x: np.hstack([x, np.maximum(x[:, :2], 1), x[:, 3][:, None] ** 3])),
    "comparisons": (FILL_ARRAY, lambda x: (x > 1) | (x == 0)),
    "bounds": (FILL_ARRAY, lambda x: np.clip(x, 0, 3)),
    "one number for each column": (FILL_ARRAY, lambda x: (x - np.array([1.0, 2.0, 3.0, 4.0])) / [1, 2, 3, 4]),
    "hours and days": (FILL_ARRAY, lambda x: np.hstack([x % 24, x // 7, -x % -3, x // -0.7])),
    "gaps": ("passthrough", lambda x: np.where(np.isnan(x), -1.0, x)),
    "columns of a frame": (FILL, ratios),
    "choices in a frame": (FILL, choose),
    "a frame's columns by place": (FILL, lambda frame: frame.iloc[:, 1:3] - frame[["age"]].to_numpy()),
    "gaps of a frame": ("passthrough", lambda frame: frame.fillna(0)[["age", "income"]] * 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_numbers_is_followed_exactly(name):
    before, function = FUNCTIONS[name]
    step = make_pipeline(before, FunctionTransformer(function))
    export_and_compare(
        with_estimator(DecisionTreeRegressor(max_depth=5), make_column_transformer((step, NUMBERS))), "regression"
    )


def test_function_with_settings_and_a_target_turned_by_functions_are_followed():
    waves = make_column_transformer((FunctionTransformer(sine, kw_args={"period": 24}), ["visits", "score"]))
    model = TransformedTargetRegressor(Ridge(), func=lambda y: np.log(y + 1), inverse_func=lambda y: np.exp(y) - 1)
    export_and_compare(make_pipeline(waves, model), "regression")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x - x.mean(), "'<lambda>' cannot be exported, .* (AttributeError: mean)"),
        (lambda x: x if (x > 0).all() else -x, "(AttributeError: all)"),
        (lambda x: x if x[0, 0] > 0 else -x, r"(\[(0, 0)\])"),
        (lambda x: np.cumsum(x, axis=1), "(cumsum)"),
        (lambda x: np.tanh(x) + 1, "(tanh)"),
        (lambda x: np.ones((len(x), 1)), "(the number of rows)"),
        (lambda x: x[:, :1] + x[:, 0], "(a column and a table in one operation)"),
        (lambda _: np.array([[1.0]] * 80), "(it returns ndarray)"),
    ],
    ids=["mean", "all", "cell", "cumsum", "tanh", "rows", "shapes", "constant"],
)
def test_function_that_does_something_else_is_refused_by_name_and_what_it_does(function, words):
    step = make_pipeline(FILL_ARRAY, FunctionTransformer(lambda x: np.zeros((len(x), 1))))
    fitted, contract, _ = fit(with_estimator(LinearRegression(), make_column_transformer((step, NUMBERS))), "regression")
    fitted.named_steps["prepare"].transformers_[0][1].steps[-1][1].func = function
    pattern = words.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ExportError, match=rf"functiontransformer\.FunctionTransformer: .*{pattern}"):
        export_onnx(fitted, contract)


def test_functions_that_choose_columns_of_any_kind_are_followed():
    """The way to texts beside numbers before there was ColumnTransformer."""
    texts = make_pipeline(FunctionTransformer(lambda frame: frame["town"].fillna("")), TfidfVectorizer())
    codes = make_pipeline(FunctionTransformer(lambda frame: frame[["plan"]]), OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(
        FunctionTransformer(lambda frame: frame.drop(columns=["town", "plan"])), SimpleImputer(), StandardScaler()
    )
    union = FeatureUnion([("texts", texts), ("codes", codes), ("numbers", numbers)])
    export_and_compare(make_pipeline(union, LogisticRegression()), "binary")


def test_functions_that_compare_texts_and_take_dates_apart_are_followed():
    def describe(frame):
        when = frame["when"]
        return pd.DataFrame(
            {
                "wave": np.sin(2 * np.pi * when.dt.hour / 24),
                "day": when.dt.day + when.dt.day_of_year + when.dt.year,
                "rest": when.dt.day_of_week >= 5,
                "rio": frame["town"] == "Rio",
                "paid": frame["plan"].map({"free": 0, "paid": 2}),
                "other": ~frame["town"].isin(["Rio", "rare"]) | frame["town"].isna(),
                "untouched": frame["income"],
            }
        )

    features, target, contract = make_table("regression")
    hours = pd.to_timedelta(np.arange(len(features)) * 401, unit="h")
    features = features.assign(when=(pd.Timestamp("2023-06-01 05:00") + hours).where(features["visits"] > 0), member=True)
    more = (Feature("when", "datetime", nullable=True), Feature("member", "boolean"))
    contract = msgspec.structs.replace(contract, features=(*contract.features, *more))
    pipeline = make_pipeline(FunctionTransformer(describe), SimpleImputer(), DecisionTreeRegressor(max_depth=8))
    fitted = pipeline.fit(features, target)
    check_parity(fitted, load_exported(export_onnx(fitted, contract), contract), features)


def test_columns_beside_each_other_by_index_tricks_are_followed():
    step = make_pipeline(FILL_ARRAY, FunctionTransformer(lambda x: np.c_[x, x[:, 1] / (1 + np.abs(x[:, 0]))]))
    export_and_compare(with_estimator(Ridge(), make_column_transformer((step, NUMBERS))), "regression")


def test_function_that_computes_with_texts_is_refused_by_name():
    function = lambda frame: frame[["age"]].assign(rio=np.where(frame["town"] > "M", 1.0, 0.0))  # noqa: E731
    prepare = make_column_transformer((make_pipeline(FunctionTransformer(function), SimpleImputer()), ["age", "town"]))
    fitted, contract, _ = fit(with_estimator(Ridge(), prepare), "regression")
    with pytest.raises(ExportError, match=r"the function '<lambda>' .*\(.*texts"):
        export_onnx(fitted, contract)
