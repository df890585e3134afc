"""Every transformer and every estimator of the registry, in a pipeline that somebody brought: exact on hard rows."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from scipy.stats import norm
from sklearn import (
    calibration,
    cluster,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_selection,
    impute,
    kernel_approximation,
    kernel_ridge,
    linear_model,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    random_projection,
    semi_supervised,
    svm,
    tree,
)
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes IterativeImputer known
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, make_pipeline

from mlops_project.contract import Contract
from mlops_project.modeling.encoders import OriginalLabels
from mlops_project.modeling.export import check_parity, export_onnx, functions, jumps, load_exported
from mlops_project.modeling.export import parity as parity_module
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import DOUBLE, Graph
from mlops_project.modeling.export.normal import add_normal_share
from mlops_project.modeling.export.registry import BITS, ESTIMATORS, START, TRANSFORMERS, add_transformer
from mlops_project.onnx_session import import_onnxruntime
from tests.pipelines import NUMBERS, export_and_compare, make_table, prepared, with_estimator

pytestmark = pytest.mark.filterwarnings("ignore")  # small tables do not converge, and libraries say so

LOGISTIC = linear_model.LogisticRegression(max_iter=500)
SMALL = tree.DecisionTreeClassifier(max_depth=3, random_state=0)
POSITIVE = preprocessing.MinMaxScaler(feature_range=(0.5, 2.0))


@pytest.fixture(autouse=True)
def _fewer_rows(monkeypatch):
    monkeypatch.setattr(parity_module, "RANDOM_ROWS", 300)
    monkeypatch.setattr(jumps, "JUMP_ROWS", 100)


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


def _trees(kind):
    few = {"n_estimators": 3, "random_state": 0}
    return {
        f"DecisionTree{kind}": getattr(tree, f"DecisionTree{kind}")(max_depth=4),
        f"ExtraTree{kind}": getattr(tree, f"ExtraTree{kind}")(max_depth=4, random_state=0),
        f"RandomForest{kind}": getattr(ensemble, f"RandomForest{kind}")(**few),
        f"ExtraTrees{kind}": getattr(ensemble, f"ExtraTrees{kind}")(**few),
        f"GradientBoosting{kind}": getattr(ensemble, f"GradientBoosting{kind}")(**few),
        f"HistGradientBoosting{kind}": getattr(ensemble, f"HistGradientBoosting{kind}")(max_iter=3),
        f"LGBM{kind}": getattr(lightgbm, f"LGBM{kind}")(n_estimators=3, n_jobs=1, verbose=-1, min_child_samples=5),
        f"AdaBoost{kind}": getattr(ensemble, f"AdaBoost{kind}")(n_estimators=3, random_state=0),
        f"Bagging{kind}": getattr(ensemble, f"Bagging{kind}")(max_features=0.6, **few),
        f"Dummy{kind}": getattr(dummy, f"Dummy{kind}")(),
    }


CLASSIFIERS = _trees("Classifier") | {
    "XGBClassifier": OriginalLabels(xgboost.XGBClassifier(n_estimators=3, n_jobs=1)),
    "XGBRFClassifier": OriginalLabels(xgboost.XGBRFClassifier(n_estimators=3, n_jobs=1)),
    "LogisticRegression": LOGISTIC,
    "LogisticRegressionCV": linear_model.LogisticRegressionCV(
        cv=2, Cs=2, max_iter=500, l1_ratios=(0,), use_legacy_attributes=False
    ),
    "SGDClassifier": linear_model.SGDClassifier(loss="log_loss", random_state=0),
    "SGDClassifier huber": linear_model.SGDClassifier(loss="modified_huber", random_state=0),
    "LinearDiscriminantAnalysis": discriminant_analysis.LinearDiscriminantAnalysis(),
    "QuadraticDiscriminantAnalysis": discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.1),
    "KNeighborsClassifier": neighbors.KNeighborsClassifier(),
    "KNeighborsClassifier manhattan": neighbors.KNeighborsClassifier(3, metric="manhattan"),
    "StackingClassifier pairs": ensemble.StackingClassifier(
        [("svc", svm.SVC(decision_function_shape="ovo")), ("tree", SMALL)], cv=2
    ),
    "KNeighborsClassifier distance": neighbors.KNeighborsClassifier(7, weights="distance"),
    "GaussianNB": naive_bayes.GaussianNB(),
    "BernoulliNB": naive_bayes.BernoulliNB(),
    "MultinomialNB": make_pipeline(preprocessing.MinMaxScaler(clip=True), naive_bayes.MultinomialNB()),
    "ComplementNB": make_pipeline(preprocessing.MinMaxScaler(clip=True), naive_bayes.ComplementNB()),
    "CategoricalNB": make_pipeline(
        preprocessing.KBinsDiscretizer(3, encode="ordinal", strategy="uniform"), naive_bayes.CategoricalNB(min_categories=3)
    ),
    "CategoricalNB cut off": make_pipeline(
        preprocessing.MinMaxScaler(feature_range=(0, 3), clip=True), naive_bayes.CategoricalNB(min_categories=4)
    ),
    "MLPClassifier": neural_network.MLPClassifier(hidden_layer_sizes=(5, 4), max_iter=20, random_state=0),
    "MLPClassifier tanh": neural_network.MLPClassifier(hidden_layer_sizes=(5,), activation="tanh", max_iter=20, random_state=0),
    "CalibratedClassifierCV SVC": calibration.CalibratedClassifierCV(svm.SVC(), cv=2),
    "CalibratedClassifierCV NuSVC": calibration.CalibratedClassifierCV(svm.NuSVC(nu=0.2, kernel="poly"), cv=2),
    "CalibratedClassifierCV sigmoid": calibration.CalibratedClassifierCV(svm.SVC(kernel="sigmoid", break_ties=True), cv=2),
    "CalibratedClassifierCV OneVsOneClassifier": calibration.CalibratedClassifierCV(
        multiclass.OneVsOneClassifier(svm.LinearSVC()), cv=2
    ),
    "SVC": svm.SVC(probability=True, random_state=0),
    "NuSVC": svm.NuSVC(nu=0.2, probability=True, random_state=0),
    "CalibratedClassifierCV LinearSVC": calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2, method="isotonic"),
    "CalibratedClassifierCV Perceptron": calibration.CalibratedClassifierCV(linear_model.Perceptron(), cv=2),
    "CalibratedClassifierCV Ridge": calibration.CalibratedClassifierCV(linear_model.RidgeClassifier(), cv=2),
    "CalibratedClassifierCV RidgeCV": calibration.CalibratedClassifierCV(linear_model.RidgeClassifierCV(), cv=2),
    "CalibratedClassifierCV NB": calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), cv=2),
    "VotingClassifier": ensemble.VotingClassifier([("a", LOGISTIC), ("b", SMALL)], voting="soft", weights=[1, 2]),
    "StackingClassifier": ensemble.StackingClassifier(
        [("forest", ensemble.RandomForestClassifier(3, random_state=0)), ("svc", svm.LinearSVC()), ("none", "drop")], cv=2
    ),
    "StackingClassifier all": ensemble.StackingClassifier(
        [("tree", SMALL), ("svc", svm.SVC())],
        cv=2,
        passthrough=True,
        final_estimator=ensemble.GradientBoostingClassifier(n_estimators=3),
    ),
    "BaggingClassifier votes": ensemble.BaggingClassifier(svm.LinearSVC(), n_estimators=3, random_state=0),
    "OneVsRestClassifier": multiclass.OneVsRestClassifier(LOGISTIC),
    "OneVsRestClassifier trees": multiclass.OneVsRestClassifier(SMALL),
    "GridSearchCV": model_selection.GridSearchCV(LOGISTIC, {"C": [0.1, 1]}, cv=2),
    "RandomizedSearchCV": model_selection.RandomizedSearchCV(SMALL, {"max_depth": [2, 3]}, n_iter=2, cv=2, random_state=0),
    "RFE": feature_selection.RFE(LOGISTIC, n_features_to_select=3),
    "RFECV": feature_selection.RFECV(SMALL, cv=2),
}
LINEAR = (
    "ARDRegression",
    "BayesianRidge",
    "ElasticNet",
    "ElasticNetCV",
    "GammaRegressor",
    "HuberRegressor",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "LinearRegression",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "PoissonRegressor",
    "QuantileRegressor",
    "RANSACRegressor",
    "Ridge",
    "RidgeCV",
    "SGDRegressor",
    "TheilSenRegressor",
    "TweedieRegressor",
)
REGRESSORS = (
    _trees("Regressor")
    | {name: getattr(linear_model, name)() for name in LINEAR}
    | {
        "KNeighborsRegressor": neighbors.KNeighborsRegressor(weights="distance"),
        "XGBRegressor": xgboost.XGBRegressor(n_estimators=3, n_jobs=1),
        "XGBRFRegressor": xgboost.XGBRFRegressor(n_estimators=3, n_jobs=1),
        "PLSRegression": cross_decomposition.PLSRegression(2),
        "LinearSVR": svm.LinearSVR(),
        "SVR": svm.SVR(),
        "NuSVR": svm.NuSVR(kernel="linear"),
        "KernelRidge": kernel_ridge.KernelRidge(kernel="rbf", gamma=0.2),
        "MLPRegressor": neural_network.MLPRegressor(
            hidden_layer_sizes=(4,), activation="logistic", max_iter=20, random_state=0
        ),
        "VotingRegressor": ensemble.VotingRegressor(
            [("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))], weights=[1, 3]
        ),
        "StackingRegressor": ensemble.StackingRegressor(
            [("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))], cv=2
        ),
        "TransformedTargetRegressor": TransformedTargetRegressor(linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1),
        "TransformedTargetRegressor scaled": TransformedTargetRegressor(
            tree.DecisionTreeRegressor(max_depth=3), transformer=preprocessing.StandardScaler()
        ),
        "TransformedTargetRegressor yeo-johnson": TransformedTargetRegressor(
            linear_model.Ridge(), transformer=preprocessing.PowerTransformer()
        ),
        "TransformedTargetRegressor box-cox": TransformedTargetRegressor(
            linear_model.Ridge(), transformer=preprocessing.PowerTransformer("box-cox", standardize=False)
        ),
        "TransformedTargetRegressor quantiles": TransformedTargetRegressor(
            linear_model.Ridge(), transformer=preprocessing.QuantileTransformer(n_quantiles=30)
        ),
        "TransformedTargetRegressor normal": TransformedTargetRegressor(
            linear_model.Ridge(),
            transformer=preprocessing.QuantileTransformer(n_quantiles=30, output_distribution="normal"),
        ),
        "GridSearchCV": model_selection.GridSearchCV(linear_model.Ridge(), {"alpha": [0.1, 1]}, cv=2),
    }
)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_is_exact(name, task):
    export_and_compare(with_estimator(CLASSIFIERS[name]), task)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor_is_exact(name):
    export_and_compare(with_estimator(REGRESSORS[name]), "regression")


@pytest.mark.parametrize("outer", ["FixedThresholdClassifier", "TunedThresholdClassifierCV", "CalibratedClassifierCV"])
def test_estimator_around_a_whole_pipeline_is_exact(outer):
    inner = with_estimator(LOGISTIC, prepared())
    made = {
        "FixedThresholdClassifier": lambda: model_selection.FixedThresholdClassifier(inner, threshold=0.3, pos_label="high"),
        "TunedThresholdClassifierCV": lambda: model_selection.TunedThresholdClassifierCV(
            inner, scoring="accuracy", cv=2, thresholds=5
        ),
        "CalibratedClassifierCV": lambda: calibration.CalibratedClassifierCV(inner, cv=2),
    }
    export_and_compare(made[outer](), "binary")


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_frozen_estimator_inside_a_calibration_is_exact(task):
    features, target, _ = make_table(task)
    fitted = with_estimator(tree.DecisionTreeClassifier(max_depth=4, random_state=0)).fit(features, target)
    export_and_compare(calibration.CalibratedClassifierCV(FrozenEstimator(fitted)), task)


def test_estimator_that_labels_rows_for_itself_is_exact():
    features, target, contract = make_table("binary")
    some = np.where(np.arange(len(target)) % 3 == 0, -1, target.astype(object))
    model = semi_supervised.SelfTrainingClassifier(ensemble.RandomForestClassifier(3, random_state=0))
    fitted = with_estimator(model).fit(features, some)
    assert check_parity(fitted, load_exported(export_onnx(fitted, contract), contract), features).ties == 0


def test_kernels_of_directions_are_exact():
    step = kernel_approximation.Nystroem(kernel="cosine", n_components=5, random_state=0)
    export_and_compare(with_estimator(LOGISTIC, prepared(make_pipeline(impute.SimpleImputer(), step))), "binary")


def test_frozen_preparation_is_exact():
    features, target, _ = make_table("regression")
    prepare = FrozenEstimator(prepared(sparse_threshold=0).fit(features, target))
    export_and_compare(make_pipeline(prepare, linear_model.Ridge()), "regression")


def test_every_registered_step_is_tried_here():
    """A step that is added to the registry is added to the tables above."""
    around = {"FixedThresholdClassifier", "TunedThresholdClassifierCV", "Pipeline", "OriginalLabels", "FrozenEstimator"}
    around |= {"SelfTrainingClassifier"}
    halving = {"HalvingGridSearchCV", "HalvingRandomSearchCV"}  # experimental; the same attribute as GridSearchCV
    inside = {"OneVsOneClassifier", "LinearSVC", "Perceptron", "RidgeClassifier", "RidgeClassifierCV", "CalibratedClassifierCV"}
    passive = {"PassiveAggressiveClassifier", "PassiveAggressiveRegressor"}  # deprecated: they warn when they are made
    elsewhere = {"CatBoostClassifier", "CatBoostRegressor"}  # in test_catboost.py
    tried = {name.split()[0] for name in (*CLASSIFIERS, *REGRESSORS)} | around | halving | inside | passive | elsewhere
    assert {name.split(".")[1] for name in ESTIMATORS} <= tried
    own = {"Pipeline", "ColumnTransformer", "FillText", "DatetimeParts", "OneColumn", "TargetMeans", "WordWeights"}
    own |= {"FrozenEstimator", "CategoryTypes"}  # the second in test_native_categories.py
    words = {"CountVectorizer", "TfidfVectorizer", "TfidfTransformer"}  # in test_texts.py
    tried = {name.split()[0] for name in (*SCALERS, *WITH_GAPS, *ENCODERS)} | own | words
    assert {name.split(".")[1] for name in TRANSFORMERS} <= tried
