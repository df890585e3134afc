"""Pipelines that were fitted elsewhere, handed over with their frames."""

import mlflow.pyfunc
import numpy as np
import pandas as pd
import polars as pl
import pytest
from lightgbm import LGBMClassifier
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import mlops_project as mlops
from mlops_project.errors import DataError, ExportError
from tests.servers import write_mlflow_tables

QUICK = {"evaluation": {"bootstrap_rounds": 20, "importance_repeats": 0}}
RNG = np.random.default_rng(0)


def build_people(n_rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n_rows).round(1),
            "code": rng.integers(0, 3, n_rows),
            "zip": rng.choice(["01", "02", "10"], n_rows),
            "city": rng.choice(["Recife", "Natal"], n_rows),
        }
    )
    return frame.assign(churned=np.where(frame["age"] / 10 + frame["code"] + rng.normal(0, 1, n_rows) > 5, "yes", "no"))


def encode(*, names=("code", "zip", "city")):
    return make_column_transformer((OneHotEncoder(), [*names]), (StandardScaler(), ["age"]))


def hand_over(tmp_path, model, X, y, **options):
    given = {"path": tmp_path / "model", "name": "people"} | QUICK | options
    return mlops.export(model.fit(X[:150], y[:150]), X[:150], y[:150], X[150:], y[150:], **given)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    people = build_people()
    model = make_pipeline(encode(), LogisticRegression())
    return hand_over(tmp_path_factory.mktemp("own"), model, people.drop(columns="churned"), people["churned"])


def test_bundle_has_all_that_a_trained_one_has(bundle):
    metadata = bundle.metadata
    types = [(feature.name, feature.type) for feature in bundle.contract.features]
    assert types == [("age", "float"), ("code", "integer"), ("zip", "category"), ("city", "category")]
    assert bundle.contract.feature("zip").categories == ("01", "02", "10")
    assert bundle.contract.classes == ("no", "yes")
    assert (metadata.estimator, metadata.train_rows, metadata.test_rows) == ("LogisticRegression", 150, 50)
    assert {item.name for item in metadata.baselines} == {"dummy", "linear"}
    assert metadata.metric_intervals["roc_auc"][0] < metadata.metrics["roc_auc"]
    files = {"model.onnx", "MLmodel", "report.html", "README.md", "profile.json", "reference.parquet", "config.yaml"}
    assert files <= {*metadata.files}


def test_model_answers_as_the_pipeline_does(bundle):
    people = build_people()
    X = people.drop(columns="churned")
    pipeline = make_pipeline(encode(), LogisticRegression()).fit(X[:150], people["churned"][:150])
    model = mlops.load(bundle)
    np.testing.assert_allclose(model.predict_proba(X), pipeline.predict_proba(X), atol=1e-9)
    assert [*model.predict(X)] == [*pipeline.predict(X)]


def test_handed_over_bundle_is_logged_judged_and_loaded_from_the_registry(bundle, tmp_path, monkeypatch):
    write_mlflow_tables(tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    logged = mlops.log(bundle)
    assert (logged.version, logged.decision.promote) == (1, True)
    assert "promoted" in logged._repr_html_()
    assert mlops.log(bundle).version == 1
    model = mlops.load("models:/people@champion")
    assert (model.name, model.version) == ("people", "1")
    X = build_people().drop(columns="churned")
    assert [*model.predict(X)] == [*mlops.load(bundle).predict(X)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["0", "1"], ("0", "1")), ([0, 1], (0, 1)), ([False, True], (False, True)), (["good", "bad"], ("good", "bad"))],
    ids=["digits", "numbers", "booleans", "words"],
)
def test_labels_keep_their_type(tmp_path, labels, expected):
    people = build_people()
    y = pd.Series(np.array(labels)[(people["churned"] == "yes").to_numpy().astype(int)])
    bundle = hand_over(tmp_path, DecisionTreeClassifier(max_depth=3), people[["age", "code"]], y)
    assert bundle.contract.classes == expected
    assert bundle.contract.target == "target"
    assert {*mlops.load(bundle).predict(people)} == {*expected}


def test_arrays_of_numbers_become_named_columns(tmp_path):
    X = RNG.normal(size=(200, 3))
    model = make_pipeline(StandardScaler(), LinearRegression())
    bundle = hand_over(tmp_path, model, X, X @ [1, 2, 3] + RNG.normal(size=200), feature_names=["a", "b", "c"], target="sum")
    assert bundle.contract.names == ("a", "b", "c")
    assert (bundle.contract.target, bundle.contract.task) == ("sum", "regression")
    assert bundle.metadata.estimator == "LinearRegression"


def test_frames_of_polars_are_taken(tmp_path):
    people = pl.from_pandas(build_people())
    bundle = hand_over(tmp_path, DecisionTreeRegressor(max_depth=3), people.select("code"), people["age"])
    assert bundle.contract.target == "age"
    assert isinstance(mlops.load(bundle).predict(people), pl.Series)


def test_the_callers_pipeline_stays_as_it_is(tmp_path):
    people = build_people()
    model = DecisionTreeClassifier(max_depth=2)
    hand_over(tmp_path, model, people[["age"]], people["churned"])
    assert model.get_depth() <= 2
    assert type(model) is DecisionTreeClassifier


def test_single_precision_is_exported_as_doubles(tmp_path):
    people = build_people()
    model = make_pipeline(StandardScaler(), LogisticRegression())
    bundle = hand_over(tmp_path, model, people[["age", "code"]].astype("float32"), people["churned"])
    assert bundle.contract.feature("age").type == "float"


def test_pipeline_that_was_fitted_on_a_column_of_texts_becomes_a_model_of_one_column(tmp_path):
    words = np.array(["good", "bad", "film", "plot", "very", "not"])
    reviews = pd.Series([" ".join(RNG.choice(words, 6)) for _ in range(200)], name="review")
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    bundle = hand_over(tmp_path, model, reviews, reviews.str.contains("good").map({True: "yes", False: "no"}).rename("liked"))
    assert bundle.contract.names == ("review",)
    assert bundle.contract.feature("review").categories == ()
    rows = pd.DataFrame({"review": ["good film", "bad plot", "good"]})
    np.testing.assert_array_equal(mlops.load(bundle).predict(rows), model.predict(rows["review"]))


def test_pipeline_with_a_lambda_is_exported_without_its_own_file(tmp_path):
    people = build_people()
    prepare = make_column_transformer((StandardScaler(), lambda frame: frame.columns[:1]), ("passthrough", ["code"]))
    bundle = hand_over(tmp_path, make_pipeline(prepare, LogisticRegression()), people[["age", "code"]], people["churned"])
    assert not (tmp_path / "model" / "model.joblib").exists()
    assert "name functions in a module instead of a lambda" in (tmp_path / "model" / "report.html").read_text()
    expected = mlops.load(bundle).predict(people)
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))  # what is logged and registered: the exported graph
    np.testing.assert_array_equal(served.predict(people[["age", "code"]]), expected)
    assert (served.predict(people[["age", "code"]], params={"threshold": 0.0}) == "yes").all()


def test_column_that_comes_otherwise_than_the_pipeline_reads_it_is_refused_by_name(tmp_path):
    padded = build_people().assign(city=lambda rows: " " + rows["city"])
    with pytest.raises(ExportError, match="column 'city' is str and would come as str") as error:
        hand_over(tmp_path, make_pipeline(encode(), LogisticRegression()), padded.drop(columns="churned"), padded["churned"])
    assert "OneHotEncoder or OrdinalEncoder" in str(error.value)
    assert "'zip'" not in str(error.value)
    assert not (tmp_path / "model").exists()


def test_booster_that_reads_categories_by_their_type_in_pandas_is_exported(tmp_path):
    people = build_people()
    X = people[["age"]].assign(
        city=pd.Categorical(people["city"], categories=["Recife", "Olinda", "Natal"]), code=people["code"].astype("category")
    )
    model = LGBMClassifier(n_estimators=5, min_child_samples=5, verbose=-1, n_jobs=1)
    bundle = hand_over(tmp_path, model, X, people["churned"])
    assert [(feature.name, feature.type) for feature in bundle.contract.features] == [
        ("age", "float"),
        ("city", "category"),
        ("code", "integer"),
    ]
    assert "MLmodel" in bundle.metadata.files
    expected = model.predict_proba(X)
    np.testing.assert_allclose(mlops.load(bundle).predict_proba(people), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (LinearSVC(), ExportError, "LinearSVC has no probabilities, .*; fit it inside CalibratedClassifierCV"),
        (KMeans(2, n_init=1), ExportError, r"pipeline\.KMeans: .* predicts neither classes nor numbers"),
    ],
    ids=["decisions", "groups"],
)
def test_model_that_cannot_be_served_is_refused(tmp_path, model, error, message):
    people = build_people()
    with pytest.raises(error, match=message):
        hand_over(tmp_path, model, people[["age"]], people["churned"])


def test_rows_that_do_not_fit_the_pipeline_are_refused(tmp_path):
    people = build_people()
    X, y = people[["age", "code"]], people["churned"]
    model = DecisionTreeClassifier(max_depth=2)
    place = {"path": tmp_path / "model", "name": "people"}
    with pytest.raises(DataError, match="DecisionTreeClassifier is not fitted"):
        mlops.export(model, X, y, X, y, **place)
    model.fit(X, y)
    with pytest.raises(DataError, match="X_test lacks columns that the pipeline was fitted on: 'code'"):
        mlops.export(model, X, y, X[["age"]], y, **place)
    with pytest.raises(DataError, match="X_test has 200 rows and y_test 150"):
        mlops.export(model, X, y, X, y[:150], **place)
    with pytest.raises(DataError, match="y_test: 1 of 200 labels are missing"):
        mlops.export(model, X, y, X, y.where(y.index > 0), **place)
    with pytest.raises(DataError, match="the labels hold 'maybe', which the pipeline does not know"):
        mlops.export(model, X, y, X, y.where(y.index > 9, "maybe"), **place)


def test_texts_that_are_read_by_their_words_may_be_any_text(tmp_path):
    people = build_people().assign(note=lambda rows: np.where(rows["churned"] == "yes", "so late", "very kind"))
    words = make_column_transformer((make_pipeline(TfidfVectorizer()), "note"), (OneHotEncoder(), ["city"]))
    given = hand_over(tmp_path, make_pipeline(words, LogisticRegression()), people[["note", "city"]], people["churned"])
    types = {feature.name: feature.type for feature in given.contract.features}
    assert types == {"note": "string", "city": "category"}
    assert given.contract.feature("note").categories == ()
