"""Every estimator of the registry, in a pipeline that somebody brought: exact on hard rows."""

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn import (
    calibration,
    cross_decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_selection,
    impute,
    kernel_ridge,
    linear_model,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    semi_supervised,
    svm,
    tree,
)
from sklearn.compose import TransformedTargetRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes IterativeImputer known
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from mlops_project.modeling.encoders import OriginalLabels
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.export.registry import ESTIMATORS
from tests.pipelines import export_and_compare, make_table, prepared, with_estimator

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # small tables do not converge, and libraries say so
    pytest.mark.usefixtures("fewer_rows"),
]

LOGISTIC = linear_model.LogisticRegression(max_iter=500)
SMALL = tree.DecisionTreeClassifier(max_depth=3, random_state=0)
POSITIVE = preprocessing.MinMaxScaler(feature_range=(0.5, 2.0))


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


@pytest.mark.parametrize(
    "inner",
    [
        neural_network.MLPClassifier(hidden_layer_sizes=(4,), max_iter=10, random_state=0),
        ensemble.BaggingClassifier(linear_model.LogisticRegression(C=1e9, max_iter=20), n_estimators=2, random_state=0),
    ],
    ids=["network", "linear"],
)
def test_shares_too_small_for_the_operator_are_still_divided_by_their_sum(inner):
    """ONNX Runtime's Sigmoid is 0 below -37; one class against the others divides what is left."""
    wide = make_pipeline(impute.SimpleImputer(), preprocessing.FunctionTransformer(lambda x: x * 100))
    export_and_compare(with_estimator(multiclass.OneVsRestClassifier(inner), prepared(wide, sparse_threshold=0)), "multiclass")


def test_estimator_that_labels_rows_for_itself_is_exact():
    features, target, contract = make_table("binary")
    some = np.where(np.arange(len(target)) % 3 == 0, -1, target.astype(object))
    model = semi_supervised.SelfTrainingClassifier(ensemble.RandomForestClassifier(3, random_state=0))
    fitted = with_estimator(model).fit(features, some)
    assert check_parity(fitted, load_exported(export_onnx(fitted, contract), contract), features).ties == 0


FEW_TREES = ensemble.RandomForestClassifier(2, max_depth=2, random_state=0)
INSIDE = {
    "bagged linear models": ensemble.BaggingClassifier(linear_model.LogisticRegression(), n_estimators=2, random_state=0),
    "one tree against the others": multiclass.OneVsRestClassifier(FEW_TREES),
    "a threshold by a label": model_selection.FixedThresholdClassifier(
        linear_model.LogisticRegression(), threshold=0.3, pos_label="low"
    ),
}


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("bagged linear models", lambda model: calibration.CalibratedClassifierCV(model, cv=2)),
        ("bagged linear models", multiclass.OneVsRestClassifier),
        ("one tree against the others", lambda model: calibration.CalibratedClassifierCV(model, method="isotonic", cv=2)),
        ("a threshold by a label", lambda model: ensemble.StackingClassifier([("a", model), ("b", FEW_TREES)], cv=2)),
    ],
)
def test_what_is_around_an_estimator_reads_the_scores_that_the_library_reads(inner, outer):
    task = "binary" if "label" in inner else "multiclass"
    export_and_compare(with_estimator(outer(INSIDE[inner])), task)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("BalancedRandomForestClassifier", ensemble.RandomForestClassifier(3, random_state=0)),
        ("BalancedBaggingClassifier", ensemble.BaggingClassifier(n_estimators=3, random_state=0)),
        ("EasyEnsembleClassifier", ensemble.BaggingClassifier(ensemble.AdaBoostClassifier(n_estimators=2), n_estimators=2)),
        ("RUSBoostClassifier", ensemble.AdaBoostClassifier(n_estimators=3, random_state=0)),
    ],
)
def test_ensembles_of_imbalanced_learn_answer_as_those_that_they_are_derived_from(name, made):
    """They sample when they are fitted, which leaves no trace in what is fitted."""
    kind = type(name, (type(made),), {"__module__": "imblearn.ensemble", "__init__": type(made).__init__})
    export_and_compare(with_estimator(kind(**made.get_params(deep=False))), "binary")


def test_every_registered_estimator_is_tried_here():
    """A step that is added to the registry is added to the tables above."""
    around = {"FixedThresholdClassifier", "TunedThresholdClassifierCV", "Pipeline", "OriginalLabels", "FrozenEstimator"}
    around |= {"SelfTrainingClassifier"}
    halving = {"HalvingGridSearchCV", "HalvingRandomSearchCV"}  # experimental; the same attribute as GridSearchCV
    inside = {"OneVsOneClassifier", "LinearSVC", "Perceptron", "RidgeClassifier", "RidgeClassifierCV", "CalibratedClassifierCV"}
    passive = {"PassiveAggressiveClassifier", "PassiveAggressiveRegressor"}  # deprecated: they warn when they are made
    elsewhere = {"CatBoostClassifier", "CatBoostRegressor", "IsolationForest", "OutlierScores"}  # in tests of their own
    tried = {name.split()[0] for name in (*CLASSIFIERS, *REGRESSORS)} | around | halving | inside | passive | elsewhere
    assert {name.split(".")[1] for name in ESTIMATORS if not name.startswith("imblearn.")} <= tried
