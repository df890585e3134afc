"""Every transformer of the registry, in a pipeline that somebody brought: the same numbers, and exact before estimators."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn import (
    cluster,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    feature_selection,
    impute,
    kernel_approximation,
    linear_model,
    neighbors,
    preprocessing,
    random_projection,
    tree,
)
from sklearn.base import clone
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes IterativeImputer known
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, make_pipeline

from mlops_project.contract import Contract
from mlops_project.modeling.export import functions
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import DOUBLE, Graph
from mlops_project.modeling.export.normal import add_normal_share
from mlops_project.modeling.export.registry import BITS, START, TRANSFORMERS, add_transformer
from mlops_project.onnx_session import import_onnxruntime
from tests.pipelines import NUMBERS, export_and_compare, make_table, prepared, with_estimator

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # small tables do not converge, and libraries say so
    pytest.mark.usefixtures("fewer_rows"),
]

LOGISTIC = linear_model.LogisticRegression(max_iter=500)
SMALL = tree.DecisionTreeClassifier(max_depth=3, random_state=0)
POSITIVE = preprocessing.MinMaxScaler(feature_range=(0.5, 2.0))


SCALERS = {
    "StandardScaler": preprocessing.StandardScaler(with_std=False),
    "MinMaxScaler": preprocessing.MinMaxScaler(clip=True),
    "MaxAbsScaler": preprocessing.MaxAbsScaler(),
    "RobustScaler": preprocessing.RobustScaler(),
    "Normalizer": preprocessing.Normalizer(),
    "Normalizer l1": preprocessing.Normalizer("l1"),
    "Normalizer max": preprocessing.Normalizer("max"),
    "Binarizer": preprocessing.Binarizer(threshold=1.0),
    "KBinsDiscretizer": preprocessing.KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"),
    "KBinsDiscretizer ordinal": preprocessing.KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
    "PolynomialFeatures": preprocessing.PolynomialFeatures(3),
    "PolynomialFeatures interactions": preprocessing.PolynomialFeatures(2, interaction_only=True, include_bias=False),
    "PowerTransformer": preprocessing.PowerTransformer(),
    "PowerTransformer box-cox": make_pipeline(POSITIVE, preprocessing.PowerTransformer("box-cox", standardize=False)),
    "QuantileTransformer": preprocessing.QuantileTransformer(n_quantiles=20),
    "QuantileTransformer normal": preprocessing.QuantileTransformer(n_quantiles=30, output_distribution="normal"),
    "SplineTransformer": preprocessing.SplineTransformer(),
    "SplineTransformer linear": preprocessing.SplineTransformer(degree=2, extrapolation="linear", include_bias=False),
    "SplineTransformer goes on": preprocessing.SplineTransformer(4, degree=1, extrapolation="continue", knots="quantile"),
    "SplineTransformer periodic": preprocessing.SplineTransformer(6, extrapolation="periodic", sparse_output=True),
    "PCA": decomposition.PCA(2),
    "PCA whitened": decomposition.PCA(2, whiten=True),
    "IncrementalPCA": decomposition.IncrementalPCA(2),
    "TruncatedSVD": decomposition.TruncatedSVD(2),
    "FastICA": decomposition.FastICA(2, random_state=0),
    "GaussianRandomProjection": random_projection.GaussianRandomProjection(2, random_state=0),
    "SparseRandomProjection": random_projection.SparseRandomProjection(3, random_state=0),
    "LinearDiscriminantAnalysis": discriminant_analysis.LinearDiscriminantAnalysis(),
    "FactorAnalysis": decomposition.FactorAnalysis(2),
    "FeatureAgglomeration": cluster.FeatureAgglomeration(2),
    "KMeans": cluster.KMeans(3, n_init=1, random_state=0),
    "MiniBatchKMeans": cluster.MiniBatchKMeans(3, n_init=1, random_state=0),
    "BisectingKMeans": cluster.BisectingKMeans(3, random_state=0),
    "NeighborhoodComponentsAnalysis": neighbors.NeighborhoodComponentsAnalysis(2, max_iter=5, random_state=0),
    "PLSRegression": cross_decomposition.PLSRegression(2),
    "KernelPCA": decomposition.KernelPCA(2, kernel="rbf"),
    "KernelPCA poly": decomposition.KernelPCA(2, kernel="poly", degree=2),
    "Nystroem": kernel_approximation.Nystroem(n_components=5, random_state=0),
    "Nystroem poly": kernel_approximation.Nystroem(kernel="poly", degree=2, n_components=5, random_state=0),
    "RBFSampler": kernel_approximation.RBFSampler(n_components=5, random_state=0),
    "SelectKBest": feature_selection.SelectKBest(k=2),
    "SelectPercentile": feature_selection.SelectPercentile(percentile=50),
    "SelectFpr": feature_selection.SelectFpr(alpha=0.5),
    "SelectFdr": feature_selection.SelectFdr(alpha=0.9),
    "SelectFwe": feature_selection.SelectFwe(alpha=0.9),
    "GenericUnivariateSelect": feature_selection.GenericUnivariateSelect(mode="k_best", param=2),
    "VarianceThreshold": feature_selection.VarianceThreshold(),
    "SelectFromModel": feature_selection.SelectFromModel(SMALL),
    "RFE": feature_selection.RFE(SMALL, n_features_to_select=2),
    "RFECV": feature_selection.RFECV(SMALL, cv=2),
    "SequentialFeatureSelector": feature_selection.SequentialFeatureSelector(SMALL, n_features_to_select=2, cv=2),
    "FunctionTransformer": make_pipeline(POSITIVE, preprocessing.FunctionTransformer(np.log1p)),
    "FunctionTransformer square root": make_pipeline(POSITIVE, preprocessing.FunctionTransformer(np.sqrt)),
    "FunctionTransformer nothing": preprocessing.FunctionTransformer(),
    "FeatureUnion": FeatureUnion(
        [("one", decomposition.PCA(2)), ("two", "passthrough"), ("three", "drop")], transformer_weights={"one": 2.0}
    ),
}
WITH_GAPS = {
    "SimpleImputer": impute.SimpleImputer(strategy="median", add_indicator=True),
    "SimpleImputer constant": impute.SimpleImputer(strategy="constant", fill_value=-1),
    "SplineTransformer": preprocessing.SplineTransformer(handle_missing="zeros"),
    "KNNImputer": impute.KNNImputer(),
    "KNNImputer distance": make_pipeline(
        preprocessing.StandardScaler(), impute.KNNImputer(weights="distance", add_indicator=True)
    ),
    "IterativeImputer": impute.IterativeImputer(max_iter=3, random_state=0),
    "IterativeImputer trees": impute.IterativeImputer(
        tree.DecisionTreeRegressor(max_depth=3, random_state=0),
        max_iter=2,
        max_value=60,
        add_indicator=True,
        skip_complete=True,
    ),
    "MissingIndicator": impute.MissingIndicator(),
    "MissingIndicator all": impute.MissingIndicator(features="all"),
}
ENCODERS = {
    "OneHotEncoder": preprocessing.OneHotEncoder(),
    "OneHotEncoder drop": preprocessing.OneHotEncoder(drop="first", handle_unknown="ignore", sparse_output=False),
    "OneHotEncoder rare": preprocessing.OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist"),
    "OneHotEncoder most": preprocessing.OneHotEncoder(max_categories=2, drop="if_binary", handle_unknown="infrequent_if_exist"),
    "OrdinalEncoder": preprocessing.OrdinalEncoder(),
    "OrdinalEncoder unknown": preprocessing.OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-2
    ),
    "OrdinalEncoder rare": preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=10),
    "TargetEncoder": preprocessing.TargetEncoder(random_state=0),
    "SimpleImputer": make_pipeline(
        impute.SimpleImputer(strategy="most_frequent"),
        preprocessing.OneHotEncoder(handle_unknown="ignore"),
    ),
    "SimpleImputer marker": make_pipeline(
        impute.SimpleImputer(strategy="constant", fill_value="none"),
        impute.SimpleImputer(missing_values="free", strategy="most_frequent", add_indicator=True),
        preprocessing.OneHotEncoder(handle_unknown="ignore"),
    ),
    "SimpleImputer constant": make_pipeline(
        impute.SimpleImputer(strategy="constant", fill_value="none"), preprocessing.OneHotEncoder(handle_unknown="ignore")
    ),
}


@pytest.mark.parametrize("name", SCALERS)
def test_transformer_of_numbers_writes_the_same_matrix(name):
    features, target, contract = make_table("multiclass")
    target = np.unique(target, return_inverse=True)[1]
    step = make_pipeline(impute.SimpleImputer(), clone(SCALERS[name])).fit(features[NUMBERS], target)
    rows = _hard_rows(features[NUMBERS], far="box-cox" not in name)  # which refuses what is not positive
    expected = step.transform(rows)
    expected = np.asarray(expected.toarray() if hasattr(expected, "toarray") else expected, np.float64)
    actual = _transform_exported(step, Contract(tuple(map(contract.feature, NUMBERS)), "y", "regression"), rows)
    if name.split()[0] != "FeatureUnion" and TRANSFORMERS[f"sklearn.{name.split()[0]}"].agreement == BITS:
        np.testing.assert_array_equal(actual, expected)
    else:  # last digits of the products inside, which are as large as the largest number
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-12 * np.nanmax(np.abs(expected)))


def test_normal_shares_are_those_of_scipy():
    numbers = np.concatenate([np.linspace(-9, 9, 4001), np.random.default_rng(0).uniform(-11, 11, 2000), [0.0, -0.0]])[:, None]
    graph = Graph()
    graph.add("Identity", add_normal_share(graph, "numbers"), output="value")
    session = import_onnxruntime().InferenceSession(graph.build({"numbers": (DOUBLE, 1)}, {"value": (DOUBLE, 1)}))
    np.testing.assert_allclose(session.run(None, {"numbers": numbers})[0], norm.cdf(numbers), rtol=1e-13, atol=0)


@pytest.mark.parametrize("degree", [3, (2, 4), (3, 3)])
def test_many_products_are_the_same_bits_by_few_nodes(degree, monkeypatch):
    monkeypatch.setattr(functions, "MOST_NODES", 10)
    features, _, contract = make_table("regression", missing=0.0)
    step = preprocessing.PolynomialFeatures(degree).fit(features[NUMBERS])
    rows = pd.DataFrame(_hard_rows(features[NUMBERS], far=True))
    described = Contract(tuple(map(contract.feature, NUMBERS)), "y", "regression")
    np.testing.assert_array_equal(_transform_exported(step, described, rows), step.transform(rows))


def _hard_rows(features, *, far):
    """Training rows with gaps, every number on or beside another row's, and numbers far outside."""
    rng = np.random.default_rng(0)
    values = features.to_numpy(np.float64)
    shuffled = np.column_stack([rng.permuted(column) for column in values.T])
    beside = [np.nextafter(shuffled, side) for side in (-np.inf, np.inf)]
    outside = [shuffled * 3, -shuffled] if far else []
    return pd.DataFrame(np.vstack([values, shuffled, *beside, *outside]), columns=features.columns)


def _transform_exported(step, contract, rows):
    graph = Graph()
    with graph.at(START):
        columns = add_transformer(graph, Columns.of_contract(contract, contract.names), step)
    graph.add("Identity", columns.matrix(graph), output="value")
    model = graph.build({"numbers": (DOUBLE, len(contract.names))}, {"value": (DOUBLE, len(columns))})
    session = import_onnxruntime().InferenceSession(model)
    return session.run(None, {"numbers": rows.to_numpy(np.float64)})[0]


@pytest.mark.parametrize(
    "name", ["KBinsDiscretizer", "PolynomialFeatures", "QuantileTransformer", "PCA", "FeatureUnion", "RFE"]
)
def test_transformer_of_numbers_is_exact_before_a_tree_and_before_a_linear_model(name):
    step = make_pipeline(impute.SimpleImputer(), SCALERS[name])
    export_and_compare(with_estimator(SMALL, prepared(step, sparse_threshold=0)), "binary")
    export_and_compare(with_estimator(LOGISTIC, prepared(step)), "multiclass")


@pytest.mark.parametrize("name", WITH_GAPS)
def test_transformer_of_numbers_with_gaps_is_exact(name):
    export_and_compare(with_estimator(SMALL, prepared(WITH_GAPS[name])), "binary")


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_of_texts_is_exact_with_unknown_rare_and_missing_values(name, task):
    export_and_compare(with_estimator(SMALL, prepared(None, ENCODERS[name])), task)


def test_kernels_of_directions_are_exact():
    step = kernel_approximation.Nystroem(kernel="cosine", n_components=5, random_state=0)
    export_and_compare(with_estimator(LOGISTIC, prepared(make_pipeline(impute.SimpleImputer(), step))), "binary")


def test_frozen_preparation_is_exact():
    features, target, _ = make_table("regression")
    prepare = FrozenEstimator(prepared(sparse_threshold=0).fit(features, target))
    export_and_compare(make_pipeline(prepare, linear_model.Ridge()), "regression")


def test_every_registered_transformer_is_tried_here():
    """A step that is added to the registry is added to the tables above."""
    own = {"Pipeline", "ColumnTransformer", "FillText", "DatetimeParts", "OneColumn", "TargetMeans", "WordWeights"}
    own |= {"FrozenEstimator", "CategoryTypes"}  # the second in test_native_categories.py
    own |= {"AsArray"}  # what a handed-over pipeline of arrays begins with
    words = {"CountVectorizer", "TfidfVectorizer", "TfidfTransformer", "HashingVectorizer"}  # in test_texts.py
    tried = {name.split()[0] for name in (*SCALERS, *WITH_GAPS, *ENCODERS)} | own | words
    assert {name.split(".")[1] for name in TRANSFORMERS} <= tried
