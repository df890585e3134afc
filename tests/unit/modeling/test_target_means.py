"""Target encoding: exact in the export, honest in training, its folds apart where the rows are."""

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io

from mlops_project.config import Config, DataConfig, ModelConfig
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.encoders import FOLDS, TargetMeans
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.held_out import as_columns
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline, predict_frame
from mlops_project.modeling.preparation import choose_encoding
from mlops_project.python_engine.trusted import TRUSTED_TYPES

ODD = ["", "ß", "ẞ", "é", "e\u0301", "a b", " a b", "a b ", "日本", "🙂", "1.0", "1", "nan", "None", "\u200b", "x" * 500]
CLASSES = {"binary": ("no", "yes"), "multiclass": (1, 2, 3), "regression": ()}


def describe(frame: pd.DataFrame, task: str) -> Contract:
    """Return the contract of a frame whose object columns are open sets of strings, most frequent first."""
    features = []
    for name, column in frame.items():
        present = column.dropna()
        if column.dtype.kind != "f":
            known = tuple(present.value_counts().index)
            features.append(Feature(str(name), "string", nullable=bool(column.isna().any()), categories=known))
        else:
            features.append(Feature(str(name), "float", minimum=float(present.min()), maximum=float(present.max())))
    return Contract(tuple(features), "y", task, CLASSES[task], tuple(map(str, CLASSES[task])))


def build_cities(rng, n_cities, n_rows, task="binary", noise=1.0):
    """Return a frame and a target that a city of many carries; a third column of texts has gaps."""
    cities = np.array([*ODD[1:], *(f"city {number}" for number in range(n_cities - len(ODD) + 1))], dtype=object)
    place = rng.integers(0, n_cities, n_rows)
    score = rng.normal(size=n_cities)[place] * 2 + rng.normal(size=n_rows) * noise
    frame = pd.DataFrame({"city": cities[place], "x": rng.normal(size=n_rows).round(2)})
    frame["sparse"] = frame["city"].where(rng.random(n_rows) < 0.5)
    labels = {"binary": (score > 0).astype(int), "multiclass": np.digitize(score, [-1, 1])}
    target = pd.Series(score if task == "regression" else np.array(CLASSES[task], dtype=object)[labels[task]]).infer_objects()
    return frame, target


def fit(frame, target, task, estimator="decision_tree", *, encoding="auto", params=None, **apart):
    contract = describe(frame, task)
    model = ModelConfig(estimator=estimator, encoding=encoding, params=params or {})
    pipeline = build_pipeline(contract, Config(random_state=3, model=model, data=DataConfig(max_categories=5)))
    return fit_pipeline(pipeline, frame, target, **apart), contract


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("estimator", ["decision_tree", "hist_gradient_boosting", "linear"])
def test_export_is_exact_on_known_unknown_missing_and_odd_texts(rng, task, estimator):
    name = {"linear": "ridge" if task == "regression" else "logistic_regression"}.get(estimator, estimator)
    frame, target = build_cities(rng, 60, 400, task)
    pipeline, contract = fit(frame, target, task, name)
    runtime = load_exported(export_onnx(pipeline, contract), contract)
    check_parity(pipeline, runtime, frame)
    odd = pd.DataFrame({"city": [*ODD, "new"] * 2, "x": 0.5, "sparse": [None] * len(ODD) + [*ODD, None, "new"]})
    actual, expected = runtime.predict(as_columns(odd)), predict_frame(pipeline, odd, contract)
    if task == "regression":
        np.testing.assert_allclose(actual.values, expected.values, rtol=1e-12)
    else:
        np.testing.assert_array_equal(actual.indices, expected.indices)
        np.testing.assert_allclose(actual.probabilities, expected.probabilities, rtol=0, atol=1e-12)
    assert len(np.unique(expected.values if task == "regression" else expected.probabilities[:, 0])) > 1


def test_ten_thousand_categories_are_known_and_exact(rng):
    frame, target = build_cities(rng, 10_000, 20_000, "regression", noise=0.1)
    pipeline, contract = fit(frame[["city", "x"]], target, "regression", params={"min_samples_leaf": 50})
    assert len(contract.features[0].categories) > 8000
    model = export_onnx(pipeline, contract)
    runtime = load_exported(model, contract)
    head = frame[["city", "x"]].head(3000)
    check_parity(pipeline, runtime, head)
    assert np.corrcoef(runtime.predict(as_columns(head)).values, target.head(3000))[0, 1] > 0.9
    assert len(model) < 1_000_000


def test_unknown_values_get_the_mean_of_all_rows_and_missing_ones_their_own(rng):
    frame = pd.DataFrame({"t": np.array(["a", "b", None], dtype=object)[rng.integers(0, 3, 600)]})
    target = frame["t"].map({"a": 1.0, "b": 5.0}).fillna(9.0) + rng.normal(0, 0.01, 600)
    means = TargetMeans([np.array(["a", "b", ""], dtype=object)], "continuous").fit(frame, target)
    a, b, missing, unknown = means.transform(pd.DataFrame({"t": ["a", "b", None, "c"]}))[:, 0]
    assert (a, b, missing) == pytest.approx((1, 5, 9), abs=0.05)
    assert unknown == pytest.approx(target.mean())


def test_a_category_of_pure_noise_does_not_look_as_if_it_foretold_the_target(rng):
    frame = pd.DataFrame({"noise": rng.integers(0, 1000, 4000).astype(str).astype(object), "x": rng.normal(size=4000)})
    target = pd.Series(np.array(["no", "yes"])[rng.integers(0, 2, 4000)])
    contract = describe(frame, "binary")
    step = build_pipeline(contract, Config(model=ModelConfig(estimator="logistic_regression"))).steps[0][1]
    encoded = step.fit_transform(frame, target)[:, -1]
    truth = target == "yes"
    assert abs(np.corrcoef(encoded, truth)[0, 1]) < 0.1
    in_sample = step.transform(frame)[:, -1]  # what a model would learn from without cross-fitting
    assert np.corrcoef(in_sample, truth)[0, 1] > 0.3


def test_auto_takes_one_column_per_category_up_to_max_categories_and_means_beyond():
    config = Config(data=DataConfig(max_categories=3))
    few, many = (Feature("t", "category", categories=tuple("abcd"[:n])) for n in (3, 4))
    assert [choose_encoding(feature, config) for feature in (few, many)] == ["onehot", "target"]
    for encoding in ("onehot", "ordinal", "target"):
        chosen = Config(model=ModelConfig(encoding=encoding))
        assert choose_encoding(many, chosen) == encoding


def test_one_hot_encoding_of_an_open_set_has_at_most_a_hundred_columns():
    texts = (Feature("s", "string", categories=tuple(map(str, range(500)))), Feature("c", "category", categories=("a", "b")))
    contract = Contract(texts, "y", "binary", ("no", "yes"), ("no", "yes"))
    step = build_pipeline(contract, Config(model=ModelConfig(encoding="onehot")))["features"]
    assert [len(known) for known in step.transformers[0][1]["encoder"].categories] == [100, 2]


def encode_apart(frame, target, apart, *, ordered=False):
    means = TargetMeans([frame["t"].unique().astype(object)], "continuous", apart=apart, ordered=ordered)
    encoded = means.fit_transform(frame, target)[:, 0]
    assert means.apart is None
    return encoded


def test_rows_of_one_group_get_means_of_other_groups(rng):
    groups = pd.Series(np.repeat(np.arange(50), 8))
    frame = pd.DataFrame({"t": groups.astype(str).astype(object)})  # a category that says nothing but the group
    target = pd.Series(rng.normal(size=50)[groups])
    together, apart = (encode_apart(frame, target, value) for value in (None, groups))
    assert np.corrcoef(together, target)[0, 1] > 0.9
    assert abs(np.corrcoef(apart, target)[0, 1]) < 0.5
    assert len(np.unique(apart)) <= FOLDS  # the other folds' overall means: no group is known outside itself


def test_rows_of_one_stretch_of_time_get_means_of_other_stretches(rng):
    times = pd.Series(pd.date_range("2026-01-01", periods=400)).sample(frac=1, random_state=0).reset_index(drop=True)
    place = times.rank().astype(int) - 1
    frame = pd.DataFrame({"t": (place // 20).astype(str).astype(object)})  # one category per 20 days
    encoded = encode_apart(frame, pd.Series(rng.normal(size=20)[place // 20]), times, ordered=True)
    assert len(np.unique(encoded)) <= FOLDS


def test_rows_that_joined_later_have_no_group_and_no_time(rng):
    frame = pd.DataFrame({"t": ["a", "b"] * 50}, dtype=object)
    target = pd.Series(rng.normal(size=100))
    for ordered in (False, True):
        assert np.isfinite(encode_apart(frame, target, pd.Series(np.arange(60)), ordered=ordered)).all()


@pytest.mark.parametrize("apart", [pd.Series(0, range(100)), pd.Series([1] * 99 + [2])])
@pytest.mark.parametrize("ordered", [False, True])
def test_few_groups_or_times_are_enough(rng, apart, ordered):
    frame = pd.DataFrame({"t": ["a", "b"] * 50}, dtype=object)
    assert np.isfinite(encode_apart(frame, pd.Series(rng.normal(size=100)), apart, ordered=ordered)).all()


def test_a_fitted_pipeline_holds_no_groups_and_survives_skops_and_joblib(rng, tmp_path):
    frame, target = build_cities(rng, 40, 300)
    groups = pd.Series([f"patient {row}" for row in range(300)])
    pipeline, contract = fit(frame, target, "binary", groups=groups)
    expected = predict_frame(pipeline, frame, contract)
    joblib.dump(pipeline, tmp_path / "m.joblib")
    skops.io.dump(pipeline, tmp_path / "m.skops")
    assert b"patient" not in (tmp_path / "m.joblib").read_bytes()
    for loaded in (joblib.load(tmp_path / "m.joblib"), skops.io.load(tmp_path / "m.skops", trusted=[*TRUSTED_TYPES])):
        np.testing.assert_array_equal(predict_frame(loaded, frame, contract).probabilities, expected.probabilities)
