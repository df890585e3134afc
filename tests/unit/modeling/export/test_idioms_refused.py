"""Pipelines as people bring them that have no exact export: each is refused by step, place and cure."""

import msgspec
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import NMF, PCA
from sklearn.ensemble import RandomForestRegressor, RandomTreesEmbedding, VotingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes IterativeImputer known
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVR, LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier

from mlops_project.errors import ExportError
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from tests.pipelines import COMPLETE, by_type, fit, make_table, only_numbers, with_estimator

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # small tables do not converge, and libraries say so
    pytest.mark.usefixtures("fewer_rows"),
]


class Ratio(TransformerMixin, BaseEstimator):
    """A transformer of somebody's own."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.asarray(X)[:, :1] / (1 + np.abs(np.asarray(X)[:, 1:2]))


class MyScaler(StandardScaler):
    """Derived from a known one, and something else."""

    def transform(self, X, copy=None):
        return super().transform(X, copy) * 2


REFUSED = {
    "a step of somebody's own": (
        with_estimator(Ridge(), only_numbers(Ratio())),
        "regression",
        r"pipeline\.prepare\.pipeline\.ratio\.Ratio: .*no exact export",
    ),
    "a class derived from a known one": (
        with_estimator(Ridge(), only_numbers(MyScaler())),
        "regression",
        r"\.myscaler\.MyScaler: .*derived from StandardScaler .*use StandardScaler itself",
    ),
    "a lambda that does more than compute": (
        with_estimator(Ridge(), only_numbers(FunctionTransformer(lambda x: x - x.mean(axis=0)))),
        "regression",
        r"FunctionTransformer: the function '<lambda>' .*\(AttributeError: mean\); compute with columns",
    ),
    "labels without probabilities": (
        with_estimator(RidgeClassifier(), COMPLETE),
        "binary",
        r"RidgeClassifier has no probabilities.*CalibratedClassifierCV",
    ),
    "hard votes": (
        with_estimator(VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())]), COMPLETE),
        "binary",
        "VotingClassifier has no probabilities.*voting='soft'",
    ),
    "a kernel of one's own": (
        with_estimator(SVR(kernel=lambda a, b: a @ b.T), COMPLETE),
        "regression",
        r"pipeline\.model\.SVR: kernel=of your own cannot be exported; use linear, poly, rbf or sigmoid",
    ),
    "codes of classes": (
        with_estimator(OutputCodeClassifier(LinearSVC()), COMPLETE),
        "multiclass",
        r"pipeline\.model\.OutputCodeClassifier: .*no decision function; use OneVsRestClassifier",
    ),
    "one class against one": (
        with_estimator(OneVsOneClassifier(LinearSVC()), COMPLETE),
        "multiclass",
        r"OneVsOneClassifier has no probabilities.*wrap it in CalibratedClassifierCV",
    ),
    "embedding by trees": (
        with_estimator(LogisticRegression(), only_numbers(RandomTreesEmbedding(3, random_state=0))),
        "binary",
        r"randomtreesembedding\.RandomTreesEmbedding: there is no exact export of this transformer .*docs/estimators\.md",
    ),
    "splines that end behind a matrix product": (
        with_estimator(Ridge(), only_numbers(PCA(2), SplineTransformer(extrapolation="error"))),
        "regression",
        r"splinetransformer\.SplineTransformer: extrapolation='error' .*last digit .*use extrapolation='constant'",
    ),
    "splines of steps": (
        with_estimator(Ridge(), only_numbers(SplineTransformer(degree=0))),
        "regression",
        r"splinetransformer\.SplineTransformer: degree=0 .*use degree=3, or KBinsDiscretizer",
    ),
    "another metric": (
        with_estimator(KNeighborsClassifier(metric="canberra"), only_numbers()),
        "binary",
        r"KNeighborsClassifier: metric='canberra' .*use one of euclidean, manhattan",
    ),
    "neighbours that tie": (
        with_estimator(KNeighborsClassifier(), make_column_transformer(("passthrough", ["visits"]))),
        "binary",
        r"KNeighborsClassifier: .*same distance .*a forest",
    ),
    "factors": (with_estimator(Ridge(), only_numbers(MinMaxScaler(), NMF(2))), "regression", r"nmf\.NMF: "),
    "outliers by distances": (
        with_estimator(OneClassSVM(), COMPLETE),
        "binary",
        r"pipeline\.model\.OneClassSVM: .*no score between 0 and 1; use IsolationForest",
    ),
    "a Gaussian process": (
        with_estimator(GaussianProcessRegressor(), COMPLETE),
        "regression",
        r"model\.GaussianProcessRegressor: ",
    ),
    "single precision": (
        with_estimator(Ridge(), by_type(SimpleImputer(), OneHotEncoder(dtype=np.float32))),
        "regression",
        r"OneHotEncoder: dtype=float32 .*leave it out",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_idiom_without_an_exact_export_is_refused_by_place_and_with_the_cure(name):
    pipeline, task, words = REFUSED[name]
    fitted, contract, _ = fit(pipeline, task)
    with pytest.raises(ExportError, match=words):
        export_onnx(fitted, contract)


def test_several_labels_for_a_row_are_refused_with_the_cure():
    features, target, contract = make_table("binary")
    both = np.column_stack([target == "high", features["visits"] > 2]).astype(int)
    fitted = with_estimator(OneVsRestClassifier(LogisticRegression()), COMPLETE).fit(features, both)
    with pytest.raises(ExportError, match=r"model\.OneVsRestClassifier: several labels for a row .*fit one model for each"):
        export_onnx(fitted, contract)


def test_pipeline_fitted_on_a_column_that_the_contract_lacks_is_refused():
    fitted, contract, _ = fit(with_estimator(Ridge()), "regression")
    fitted.steps[0][1].feature_names_in_ = np.array([*contract.names[:-1], "height"], dtype=object)
    with pytest.raises(ExportError, match="fitted on a column 'height' that the contract does not have"):
        export_onnx(fitted, contract)


def test_pipeline_of_the_other_task_is_refused():
    fitted, _, _ = fit(with_estimator(Ridge()), "regression")
    _, contract, _ = fit(with_estimator(LogisticRegression()), "binary")
    with pytest.raises(ExportError, match="predicts numbers, and 'y' is binary"):
        export_onnx(fitted, contract)


def test_rows_that_the_pipeline_refuses_get_no_answer_from_the_exported_model():
    from mlops_project.errors import ContractError
    from mlops_project.runtime import Runtime

    prepare = make_column_transformer((OneHotEncoder(), ["plan"]), ("passthrough", ["income"]))
    fitted, contract, features = fit(with_estimator(RandomForestRegressor(3), prepare), "regression")
    runtime = Runtime(export_onnx(fitted, contract), contract)
    unknown = features.head(1).assign(plan="gold")
    with pytest.raises(ValueError, match="unknown categories"):
        fitted.predict(unknown)
    with pytest.raises(ContractError, match="row 1"):
        runtime.predict({name: unknown[name].to_numpy() for name in unknown})


def test_columns_by_their_places_in_steps_named_as_ours_are_exported_exactly():
    features, target, contract = make_table("binary", missing=0.0)
    names = ["income", "visits", "score"]
    numbers = msgspec.structs.replace(contract, features=tuple(contract.feature(name) for name in names))
    scaler = ColumnTransformer([("numbers", make_pipeline(StandardScaler()), [0, 1, 2])])
    pipeline = Pipeline([("features", scaler), ("clf", DecisionTreeClassifier(max_depth=3))]).fit(features[names], target)
    check_parity(pipeline, load_exported(export_onnx(pipeline, numbers), numbers), features[names])


def test_step_that_refuses_rows_of_sparse_values_is_named():
    """Its own rows are above 0; requests may bring others."""
    blocks = [("numbers", "passthrough", ["income"]), ("texts", OneHotEncoder(handle_unknown="ignore"), ["town", "plan"])]
    pipeline = make_pipeline(ColumnTransformer(blocks, sparse_threshold=1.0), QuantileTransformer(n_quantiles=9), Ridge())
    fitted, contract, features = fit(pipeline, "regression", missing=0)
    with pytest.raises(ExportError, match=r"^pipeline\.quantiletransformer: QuantileTransformer only .* sparse_output=False"):
        check_parity(fitted, load_exported(export_onnx(fitted, contract), contract), features)
