"""Columns of free text in a configuration: weighed words beside the other columns, exported exactly."""

import numpy as np
import pandas as pd
import pytest
import skops.io

from mlops_project.config import Config, DataConfig, ModelConfig
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.encoders import WordWeights
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.export import parity as parity_module
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline
from mlops_project.python_engine.trusted import TRUSTED_TYPES

WORDS = np.array(["good", "bad", "İstanbul", "straße", "東京", "not", "very", "it's", "a", "42", "naïve", "GOOD"])


@pytest.fixture(scope="module")
def table():
    """Return a table of every kind of column and its contract: two texts, of which one has gaps."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "review": pd.Series([" ".join(rng.choice(WORDS, 6)) for _ in range(200)], dtype="str"),
            "stars": rng.normal(3, 1, 200),
            "city": pd.Series([f"city {number}" for number in rng.integers(0, 30, 200)], dtype="str"),
            "kind": pd.Series(rng.choice(["a", "b"], 200), dtype="str"),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 500, 200), "h"),
            "note": pd.Series([" ".join(rng.choice(WORDS, 3)) for _ in range(200)], dtype="str"),
        }
    ).astype({"when": "datetime64[us]"})
    frame["note"] = frame["note"].mask(rng.random(200) < 0.2)
    frame["stars"] = frame["stars"].mask(rng.random(200) < 0.1)
    target = pd.Series(np.where(frame["review"].str.contains("good") ^ (frame["stars"].fillna(3) > 3), "yes", "no"))
    seconds = frame["when"].to_numpy("datetime64[us]").astype(np.int64) / 1e6
    features = (
        Feature("review", "string"),
        Feature("stars", "float", nullable=True, minimum=0, maximum=6),
        Feature("city", "string", categories=tuple(frame["city"].unique())),
        Feature("kind", "category", categories=("a", "b")),
        Feature("when", "datetime", minimum=float(seconds.min()), maximum=float(seconds.max())),
        Feature("note", "string", nullable=True),
    )
    return frame, target, Contract(features, "y", "binary", ("no", "yes"), ("no", "yes"))


@pytest.mark.parametrize("estimator", ["logistic_regression", "random_forest", "hist_gradient_boosting"])
def test_words_beside_numbers_dates_and_categories_are_exported_exactly(estimator, table, monkeypatch):
    monkeypatch.setattr(parity_module, "RANDOM_ROWS", 300)
    frame, target, contract = table
    few = {"random_forest": {"n_estimators": 3}, "hist_gradient_boosting": {"max_iter": 3}}.get(estimator, {})
    config = Config(
        data=DataConfig(text=("review", "note"), max_categories=5), model=ModelConfig(estimator=estimator, params=few, words=8)
    )
    fitted = fit_pipeline(build_pipeline(contract, config), frame, target)
    names = fitted[0].named_transformers_["words"].get_feature_names_out(["review", "note"])
    assert sum(name.startswith("review: ") for name in names) == 8
    runtime = load_exported(export_onnx(fitted, contract), contract)
    assert runtime.word_columns == ["review", "note"]
    assert check_parity(fitted, runtime, frame).max_difference < 1e-12


def test_words_are_kept_by_skops():
    fitted = WordWeights(5).fit(pd.DataFrame({"t": ["good film", None, "bad film"]}))
    loaded = skops.io.loads(skops.io.dumps(fitted), trusted=list(TRUSTED_TYPES))
    rows = pd.DataFrame({"t": ["film film", "", None]})
    np.testing.assert_array_equal(loaded.transform(rows), fitted.transform(rows))
    assert fitted.transform(rows)[1:].sum() == 0
