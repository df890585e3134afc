"""Every name of ``model.estimator``: it trains with its own defaults, has probabilities, and is exported exactly."""

import warnings
from typing import get_args

import msgspec
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.exceptions import ConvergenceWarning

from mlops_project.config import Config, ModelConfig
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ConfigError
from mlops_project.modeling.estimators import KINDS, list_params, list_weighable
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline
from mlops_project.python_engine.trusted import find_strangers
from mlops_project.sections import Estimator, PreparationConfig, PreprocessingConfig

FEATURES = (
    Feature("a", "float", nullable=True),
    Feature("b", "integer"),
    Feature("town", "category", categories=("north", "south")),
)
FEW = {"n_estimators": 4, "max_iter": 200, "forest__n_estimators": 4, "booster__max_iter": 4}  # enough to be exported


def contract_of(task, classes=("no", "yes")):
    classes = {"binary": classes, "multiclass": ("low", "mid", "top")}.get(task, ())
    return Contract(FEATURES, "y", task, classes, tuple(map(str, classes)))


def draw(task, classes=("no", "yes"), n_rows=120):
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"a": rng.normal(size=n_rows), "b": rng.integers(0, 9, n_rows)})
    rows["town"] = rng.choice(["north", "south"], n_rows)
    score = rows["a"] + rows["b"] / 4 + (rows["town"] == "north") + rng.normal(0, 0.7, n_rows)
    rows["a"] = rows["a"].mask(rng.random(n_rows) < 0.05)
    if task == "regression":
        return rows, np.exp(score / 3)
    cut = score.rank(pct=True)
    labels = np.select([cut < 0.34, cut < 0.67], ["low", "mid"], "top") if task == "multiclass" else None
    return rows, pd.Series(labels if labels is not None else np.where(cut > 0.4, classes[1], classes[0]))


def build(name, task="binary", classes=("no", "yes"), **model):
    contract = contract_of(task, classes)
    fits = KINDS[name].regressor if task == "regression" else KINDS[name].classifier
    params = {key: value for key, value in FEW.items() if fits and key in list_params(name, contract)}
    settings = ModelConfig(estimator=name, params=params | model.pop("params", {}), **model)
    return contract, build_pipeline(contract, Config(model=settings))


def test_every_name_of_the_configuration_has_its_classes():
    assert {*KINDS} == {*get_args(Estimator)} - {"auto", "own"}


@pytest.mark.parametrize("name", [name for name in KINDS if name != "knn"])  # rows that stand twice tie
def test_estimator_is_trained_and_exported_exactly(name):
    task = "binary" if KINDS[name].classifier else "regression"
    contract, pipeline = build(name, task)
    rows, target = draw(task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Bins whose width")
        fit_pipeline(pipeline, rows, pd.Series(target))
    assert check_parity(pipeline, load_exported(export_onnx(pipeline, contract), contract), rows).rows > 120
    stored = skops.io.dumps(pipeline)  # as MLflow stores it: training fails where a type is not trusted
    assert find_strangers(skops.io.get_untrusted_types(data=stored), ()) == []


@pytest.mark.parametrize("classes", [(False, True), (0, 1), (0.5, 1.5)])
def test_catboost_takes_labels_of_every_type(classes):
    contract, pipeline = build("catboost", "binary", classes)
    rows, target = draw("binary", classes)
    fit_pipeline(pipeline, rows, target)
    assert check_parity(pipeline, load_exported(export_onnx(pipeline, contract), contract), rows).rows > 120


@pytest.mark.parametrize("name", ["catboost", "lda", "sgd", "linear_svc", "multinomial_nb"])
def test_classes_may_be_several(name):
    contract, pipeline = build(name, "multiclass")
    rows, target = draw("multiclass")
    fit_pipeline(pipeline, rows, target)
    assert check_parity(pipeline, load_exported(export_onnx(pipeline, contract), contract), rows).rows > 120


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        ("lda", "regression", "lda predicts classes, and 'y' is a number; use ridge"),
        ("svr", "binary", "svr predicts numbers, and 'y' is binary; use logistic_regression"),
    ],
)
def test_estimator_of_another_task_is_refused_with_one_that_fits(name, task, said):
    with pytest.raises(ConfigError, match=said):
        build(name, task)


def test_weights_of_classes_reach_the_estimator_in_its_own_way():
    wanted = {"no": 1.0, "yes": 5.0}
    assert build("random_forest", class_weight=wanted)[1]["clf"].class_weight == wanted
    assert build("random_forest", class_weight="balanced")[1]["clf"].class_weight == "balanced"
    assert build("random_forest", class_weight={"yes": 5.0})[1]["clf"].class_weight == wanted
    assert build("linear_svc", class_weight="balanced")[1]["clf"].estimator.class_weight == "balanced"
    assert build("catboost", class_weight=wanted)[1]["clf"].estimator.get_params()["class_weights"] == [1.0, 5.0]
    numbers = build("random_forest", "binary", (0.5, 1.5), class_weight={1.5: 5.0})[1]["clf"]
    assert numbers.estimator.class_weight == {0: 1.0, 1: 5.0}


def test_weighted_classes_are_found_more_often():
    rows, target = draw("binary")
    rare = target.where((target == "no") | (np.arange(len(target)) % 4 == 0), "no")
    found = {}
    for weight in (None, "balanced"):
        _, pipeline = build("logistic_regression", class_weight=weight)
        found[weight] = (fit_pipeline(pipeline, rows, rare).predict(rows) == "yes").sum()
    assert found["balanced"] > 2 * found[None]


@pytest.mark.parametrize(
    ("name", "task", "weights", "said"),
    [
        ("naive_bayes", "binary", "balanced", "naive_bayes has no such parameter; use one of .*logistic_regression"),
        ("ridge", "regression", "balanced", "'y' is a number and has no classes"),
        ("random_forest", "binary", {"maybe": 2.0}, "'maybe' is no class; the classes are 'no', 'yes'"),
    ],
    ids=["naive_bayes", "number", "stranger"],
)
def test_weights_of_classes_that_do_not_fit_are_refused(name, task, weights, said):
    with pytest.raises(ConfigError, match=said):
        build(name, task, class_weight=weights)


def test_listed_estimators_take_weights_of_classes():
    for name in list_weighable():
        build(name, class_weight="balanced")


def test_parameter_under_two_names_is_refused():
    with pytest.raises(ConfigError, match="catboost refuses them: only one of the parameters iterations, n_estimators"):
        build("catboost", params={"iterations": 9})


def test_categorical_naive_bayes_reads_columns_of_every_kind_as_codes():
    rng = np.random.default_rng(6)
    rows, target = draw("binary", n_rows=200)
    since = pd.Timestamp("2024-01-05") + pd.to_timedelta(rows["b"], "D")
    rows = rows.assign(member=rng.random(200) < 0.5, rooms=rng.integers(1, 5, 200), since=since)
    member, rooms = Feature("member", "boolean"), Feature("rooms", "integer", minimum=1, maximum=4)
    features = (*FEATURES, member, rooms, Feature("since", "datetime"))
    contract = msgspec.structs.replace(contract_of("binary"), features=features)
    pipeline = build_pipeline(contract, Config(model=ModelConfig(estimator="categorical_nb")))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Bins whose width|Feature .* is constant")
        fit_pipeline(pipeline, rows, target)
    assert pipeline["clf"].n_categories_.tolist() == [10, 10, 3, 2, 4, *[10] * 4]
    assert {*pipeline["features"].transform(rows)[:, 4]} == {0, 1, 2, 3}
    runtime = load_exported(export_onnx(pipeline, contract), contract)
    assert check_parity(pipeline, runtime, rows).rows > 200
    strange = rows.head(1).assign(town="Atlantis", a=1e9, rooms=77)
    answers = runtime.predict({name: strange[name].to_numpy() for name in contract.names})
    np.testing.assert_allclose(answers.probabilities, pipeline.predict_proba(strange), atol=1e-9)


SCALED = PreprocessingConfig(numbers=PreparationConfig(scale="robust"))
MEANS = PreprocessingConfig(texts=PreparationConfig(encode="target"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"preprocessing": SCALED}, "'a': categorical_nb counts codes; leave scale"),
        ({"preprocessing": MEANS}, "'town': .* encode: ordinal"),
        ({"params": {"min_categories": 3}}, "min_categories: the columns' codes decide on it"),
    ],
    ids=["scale", "encoding", "parameter"],
)
def test_settings_that_make_no_codes_are_refused(model, said):
    with pytest.raises(ConfigError, match=said):
        build("categorical_nb", **model)
