"""Pipelines from code beside the configuration."""

import os
import sys

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import HuberRegressor
from sklearn.pipeline import Pipeline

import mlops_project as mlops
from mlops_project.config import build_config
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ConfigError
from mlops_project.modeling.pipeline import build_pipeline

CODE = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC


class Sign(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.sign(np.asarray(X, float)) + np.asarray(X, float)


def build(contract):
    assert contract.names == ("x", "z")
    return make_pipeline(Sign(), RandomForestClassifier(5))


def plain():
    return make_pipeline(StandardScaler(), LogisticRegression())


def square(values):
    return np.square(values)


def curved():
    return make_pipeline(FunctionTransformer(square), StandardScaler(), LogisticRegression())


def bare():
    return LinearSVC()


def fail():
    raise ValueError("no such luck")


def nothing():
    return 3
"""
NUMBERS = Contract((Feature("x", "float"), Feature("z", "float")), "y", "binary", ("no", "yes"), ("no", "yes"))
MIXED = Contract((Feature("x", "float", nullable=True), Feature("c", "category", categories=("a", "b"))), "y", "regression")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Return a configuration whose pipeline comes from a module beside it."""
    (tmp_path / "beside.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    sys.modules.pop("beside", None)

    def make(pipeline: str, **model):
        values = {"model": {"name": "m", "pipeline": pipeline, **model}}
        return build_config(values, tmp_path / "model.yaml", root=tmp_path, env={})

    yield make
    sys.modules.pop("beside", None)


def test_function_is_called_and_its_pipeline_seeded_and_set(config):
    pipeline = build_pipeline(NUMBERS, config("beside:build", params={"randomforestclassifier__max_depth": 3}))
    assert [name for name, _ in pipeline.steps] == ["sign", "randomforestclassifier"]
    assert (pipeline[-1].max_depth, pipeline[-1].random_state) == (3, 42)


def test_bare_estimators_get_the_preprocessing_of_the_table(config):
    pipeline = build_pipeline(MIXED, config("sklearn.linear_model:HuberRegressor", params={"epsilon": 2.0}))
    assert isinstance(pipeline, Pipeline)
    assert (pipeline.steps[0][0], type(pipeline[-1]), pipeline[-1].epsilon) == ("features", HuberRegressor, 2.0)


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("besides:build", "besides cannot be imported: ModuleNotFoundError"),
        ("beside:built", "beside has no function 'built'; did you mean 'build'"),
        ("beside:fail", "beside:fail ended with ValueError: no such luck"),
        ("beside:nothing", "gave int; expected an estimator"),
        ("beside:bare", "has no probabilities; put its last step into CalibratedClassifierCV"),
        ("sklearn.linear_model:Ridge", "predicts numbers, and 'y' is binary"),
    ],
)
def test_what_cannot_be_used_is_said(config, pipeline, said):
    with pytest.raises(ConfigError, match=said):
        build_pipeline(NUMBERS, config(pipeline))


def test_unknown_parameters_and_malformed_names_are_refused(config):
    with pytest.raises(ConfigError, match=r"params\.standardscaler__with_men.*did you mean 'standardscaler__with_mean'"):
        build_pipeline(NUMBERS, config("beside:plain", params={"standardscaler__with_men": False}))
    with pytest.raises(ConfigError, match=r"package\.module:function"):
        config("beside.build")


@pytest.fixture
def train(config, tmp_path):
    """Return a function that trains a pipeline from the module beside the configuration."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"x": rng.normal(0, 1, 160), "z": rng.normal(0, 1, 160)})
    rows["y"] = np.where(rows["x"] + rng.normal(0, 0.5, 160) > 0, "yes", "no")
    rows.to_csv(tmp_path / "rows.csv", index=False)

    def run(pipeline: str, **evaluation):
        settings = {"data": {"source": "rows.csv", "target": "y"}, "tracking": {"enabled": False}, "export": {"engine": "auto"}}
        quick = {"bootstrap_rounds": 0, "importance_repeats": 0, "cv_folds": 2} | evaluation
        values = {**settings, "evaluation": quick, "model": {"name": "m", "pipeline": pipeline}}
        return rows, mlops.train(build_config(values, tmp_path / "model.yaml", root=tmp_path, env={}))

    return run


def test_model_is_trained_and_answers_with_code_from_beside(train):
    rows, trained = train("beside:build")
    metadata = trained.bundle.metadata
    assert (metadata.engine, metadata.estimator) == ("python", "RandomForestClassifier")
    assert metadata.python.types == ("beside.Sign", "sklearn.tree._tree.Tree")
    assert {item.name for item in metadata.baselines} == {"dummy", "linear"}
    assert mlops.load(trained.bundle).predict_proba(rows).shape == (160, 2)


def test_functions_from_beside_have_an_exact_graph_that_mlflow_answers_with(train):
    rows, trained = train("beside:curved", baselines=False)
    assert trained.bundle.metadata.engine == "onnx"
    served = mlflow.pyfunc.load_model(str(trained.bundle.path)).predict(rows[["x", "z"]])
    np.testing.assert_array_equal(served, mlops.load(trained.bundle).predict(rows))
