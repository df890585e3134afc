"""Pipelines as books and examples teach them, written anew: each is exported exactly."""

import lightgbm
import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA, KernelPCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes IterativeImputer known
from sklearn.feature_selection import SelectFromModel, SelectKBest
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from tests.pipelines import COMPLETE, NUMBERS, TEXTS, by_type, classic, export_and_compare, only_numbers

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # small tables do not converge, and libraries say so
    pytest.mark.usefixtures("fewer_rows"),
]


BINS = KBinsDiscretizer(3, encode="onehot-dense", strategy="uniform")
EXPORTED = {
    "columns of two kinds, logistic regression": (Pipeline([("prep", classic()), ("clf", LogisticRegression())]), "binary"),
    "columns of two kinds, forest": (Pipeline([("prep", classic()), ("clf", RandomForestClassifier(5))]), "multiclass"),
    "columns chosen by type": (make_pipeline(COMPLETE, LogisticRegression()), "multiclass"),
    "the rest passes through": (
        make_pipeline(
            make_column_transformer((OneHotEncoder(), TEXTS), remainder="passthrough"),
            HistGradientBoostingClassifier(max_iter=3),
        ),
        "binary",
    ),
    "the rest is scaled": (
        make_pipeline(
            make_column_transformer((OneHotEncoder(), TEXTS), remainder=make_pipeline(SimpleImputer(), RobustScaler())), Ridge()
        ),
        "regression",
    ),
    "frames between the steps": (
        make_pipeline(
            make_column_transformer(
                (OneHotEncoder(sparse_output=False), TEXTS), remainder=SimpleImputer(), verbose_feature_names_out=False
            ),
            make_column_transformer((StandardScaler(), ["age", "score"]), remainder="passthrough"),
            RandomForestClassifier(3),
        ).set_output(transform="pandas"),
        "binary",
    ),
    "ordinal codes for a booster": (
        make_pipeline(
            by_type("passthrough", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
            HistGradientBoostingRegressor(max_iter=4),
        ),
        "regression",
    ),
    "a booster with native categories": (
        make_pipeline(
            by_type("passthrough", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
            HistGradientBoostingClassifier(max_iter=4, categorical_features=[2, 4, 5]),
        ),
        "binary",
    ),
    "native categories without any preparation": (
        make_pipeline("passthrough", HistGradientBoostingClassifier(max_iter=4, categorical_features=TEXTS)),
        "multiclass",
    ),
    "target means": (
        make_pipeline(by_type(SimpleImputer(), TargetEncoder(random_state=0)), GradientBoostingClassifier(n_estimators=3)),
        "multiclass",
    ),
    "PCA and logistic regression": (make_pipeline(only_numbers(StandardScaler()), PCA(2), LogisticRegression()), "binary"),
    "PCA beside selected columns": (
        make_pipeline(
            only_numbers(), FeatureUnion([("pca", PCA(2)), ("best", SelectKBest(k=1))]), StandardScaler(), LogisticRegression()
        ),
        "multiclass",
    ),
    "support vectors, calibrated": (make_pipeline(COMPLETE, CalibratedClassifierCV(SVC(), cv=2)), "binary"),
    "Yeo-Johnson, PCA and support vectors": (
        make_pipeline(only_numbers(PowerTransformer()), PCA(2), CalibratedClassifierCV(SVC(), cv=2)),
        "binary",
    ),
    "support vectors with probabilities": (make_pipeline(COMPLETE, SVC(probability=True, random_state=0)), "multiclass"),
    "pairs of classes, calibrated": (
        make_pipeline(COMPLETE, CalibratedClassifierCV(OneVsOneClassifier(LinearSVC()), cv=2)),
        "multiclass",
    ),
    "gaps filled from neighbours": (
        make_pipeline(
            make_column_transformer((make_pipeline(StandardScaler(), KNNImputer()), NUMBERS), (OneHotEncoder(), TEXTS)),
            RandomForestClassifier(4, random_state=0),
        ),
        "binary",
    ),
    "gaps filled by regressions": (
        make_pipeline(
            make_column_transformer((IterativeImputer(random_state=0), NUMBERS)), GradientBoostingRegressor(n_estimators=4)
        ),
        "regression",
    ),
    "kernels of some rows": (
        make_pipeline(only_numbers(StandardScaler()), Nystroem(n_components=8, random_state=0), Ridge()),
        "regression",
    ),
    "kernel components": (
        make_pipeline(only_numbers(StandardScaler()), KernelPCA(3, kernel="rbf"), LogisticRegression()),
        "binary",
    ),
    "groups of rows before a linear model": (
        make_pipeline(only_numbers(StandardScaler()), KMeans(4, n_init=1, random_state=0), LogisticRegression()),
        "multiclass",
    ),
    "a target made normal": (
        make_pipeline(COMPLETE, TransformedTargetRegressor(Ridge(), transformer=PowerTransformer())),
        "regression",
    ),
    "linear support vectors, calibrated": (make_pipeline(COMPLETE, CalibratedClassifierCV(LinearSVC(), cv=2)), "multiclass"),
    "support vector regression of a scaled target": (
        make_pipeline(COMPLETE, TransformedTargetRegressor(SVR(), transformer=StandardScaler())),
        "regression",
    ),
    "logarithm of the target": (
        TransformedTargetRegressor(make_pipeline(COMPLETE, Ridge()), func=np.log, inverse_func=np.exp),
        "regression",
    ),
    "nearest neighbours": (make_pipeline(only_numbers(StandardScaler()), KNeighborsClassifier()), "multiclass"),
    "nearest neighbours along the axes": (
        make_pipeline(only_numbers(StandardScaler()), KNeighborsClassifier(7, p=1, weights="distance")),
        "multiclass",
    ),
    "nearest neighbours by the largest difference": (
        make_pipeline(only_numbers(StandardScaler()), PCA(3), KNeighborsRegressor(metric="chebyshev", algorithm="brute")),
        "regression",
    ),
    "nearest neighbours by distance": (
        make_pipeline(only_numbers(MinMaxScaler()), KNeighborsRegressor(weights="distance")),
        "regression",
    ),
    "polynomial regression": (
        make_pipeline(only_numbers(StandardScaler()), PolynomialFeatures(2), LinearRegression()),
        "regression",
    ),
    "polynomials and lasso": (
        make_pipeline(only_numbers(), PolynomialFeatures(2, include_bias=False), StandardScaler(), Lasso(0.01)),
        "regression",
    ),
    "splines": (make_pipeline(only_numbers(SplineTransformer()), Ridge(1e-3)), "regression"),
    "splines that end": (make_pipeline(only_numbers(SplineTransformer(extrapolation="error")), Ridge(1e-3)), "regression"),
    "quantiles of a normal distribution": (
        make_pipeline(only_numbers(QuantileTransformer(n_quantiles=20, output_distribution="normal")), SGDRegressor()),
        "regression",
    ),
    "quantiles": (make_pipeline(only_numbers(QuantileTransformer(n_quantiles=20)), ElasticNet(0.01)), "regression"),
    "logarithm of skewed columns": (
        make_pipeline(
            make_column_transformer(
                (make_pipeline(FunctionTransformer(np.log1p), StandardScaler()), ["income"]), remainder="drop"
            ),
            Ridge(),
        ),
        "regression",
    ),
    "a union of imputed values and where they were": (
        make_pipeline(
            make_column_transformer((make_union(SimpleImputer(), MissingIndicator()), ["age", "income"])),
            DecisionTreeClassifier(),
        ),
        "binary",
    ),
    "a forest's choice of columns": (
        make_pipeline(COMPLETE, SelectFromModel(RandomForestClassifier(5, random_state=0)), LogisticRegression()),
        "binary",
    ),
    "discriminant analysis": (make_pipeline(COMPLETE, LinearDiscriminantAnalysis()), "multiclass"),
    "naive Bayes": (make_pipeline(only_numbers(), GaussianNB()), "multiclass"),
    "a perceptron of two layers": (make_pipeline(COMPLETE, MLPClassifier((6, 4), max_iter=9)), "multiclass"),
    "stochastic gradient descent": (make_pipeline(COMPLETE, SGDClassifier(loss="log_loss")), "binary"),
    "counts": (make_pipeline(COMPLETE, PoissonRegressor()), "regression"),
    "a median": (make_pipeline(COMPLETE, QuantileRegressor(alpha=0.1)), "regression"),
    "soft votes": (
        make_pipeline(
            COMPLETE,
            VotingClassifier(
                [("lr", LogisticRegression()), ("rf", RandomForestClassifier(3)), ("nb", GaussianNB())], voting="soft"
            ),
        ),
        "multiclass",
    ),
    "votes of whole pipelines": (
        VotingClassifier(
            [
                ("one", make_pipeline(classic(), LogisticRegression())),
                ("two", make_pipeline(classic(), ExtraTreesClassifier(3))),
            ],
            voting="soft",
        ),
        "binary",
    ),
    "stacking": (
        make_pipeline(
            COMPLETE,
            StackingClassifier(
                [("rf", RandomForestClassifier(3)), ("svc", make_pipeline(StandardScaler(), LinearSVC()))], cv=2
            ),
        ),
        "binary",
    ),
    "stacked regressors": (
        make_pipeline(
            COMPLETE,
            StackingRegressor(
                [("lasso", Lasso(0.01)), ("rf", RandomForestRegressor(3))],
                final_estimator=GradientBoostingRegressor(n_estimators=3),
                cv=2,
            ),
        ),
        "regression",
    ),
    "boosted stumps": (
        make_pipeline(COMPLETE, AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=4)),
        "multiclass",
    ),
    "bagged neighbours": (
        make_pipeline(only_numbers(StandardScaler()), BaggingClassifier(LogisticRegression(), n_estimators=3, max_samples=0.7)),
        "binary",
    ),
    "one class against the others": (make_pipeline(COMPLETE, OneVsRestClassifier(LogisticRegression())), "multiclass"),
    "a grid search over a pipeline": (
        GridSearchCV(Pipeline([("prep", classic()), ("clf", LogisticRegression())]), {"clf__C": [0.1, 1]}, cv=2),
        "binary",
    ),
    "a tuned threshold": (
        TunedThresholdClassifierCV(make_pipeline(classic(), LogisticRegression()), scoring="accuracy", cv=2, thresholds=5),
        "binary",
    ),
    "hours as waves and as periodic splines": (
        make_pipeline(
            make_column_transformer(
                (FunctionTransformer(lambda x: np.sin(x / 24 * 2 * np.pi)), ["visits"]),
                (FunctionTransformer(lambda x: np.cos(x / 24 * 2 * np.pi)), ["visits"]),
                (SplineTransformer(5, extrapolation="periodic", include_bias=False), ["score"]),
                (OneHotEncoder(handle_unknown="ignore"), TEXTS),
            ),
            Nystroem(kernel="poly", degree=2, n_components=8, random_state=0),
            Ridge(),
        ),
        "regression",
    ),
    "claims of insured people": (
        make_pipeline(
            make_column_transformer(
                (BINS, ["score"]),
                (OneHotEncoder(handle_unknown="ignore"), TEXTS),
                (make_pipeline(FunctionTransformer(np.log, validate=False), StandardScaler()), ["income"]),
                ("passthrough", ["visits"]),
                remainder="drop",
            ),
            TweedieRegressor(power=1.5, alpha=0.1),
        ),
        "regression",
    ),
    "claims by a booster": (
        make_pipeline(
            make_column_transformer(
                (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), TEXTS), remainder="passthrough"
            ),
            HistGradientBoostingRegressor(loss="poisson", max_iter=4, max_leaf_nodes=8),
        ),
        "regression",
    ),
    "one column divided by another": (
        make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(), FunctionTransformer(lambda x: x[:, [0]] / x[:, [1]])), ["score", "income"]),
                (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
            ),
            RandomForestRegressor(3),
        ),
        "regression",
    ),
    "a choice by variance analysis before support vectors": (
        make_pipeline(COMPLETE, SelectKBest(k=3), CalibratedClassifierCV(LinearSVC(), cv=2)),
        "multiclass",
    ),
    "stacked pipelines of linear models and trees": (
        StackingRegressor(
            [
                ("lasso", make_pipeline(classic(), RidgeCV())),
                ("forest", make_pipeline(by_type("passthrough", OrdinalEncoder()), RandomForestRegressor(3))),
                ("booster", make_pipeline(by_type("passthrough", OrdinalEncoder()), HistGradientBoostingRegressor(max_iter=3))),
            ],
            final_estimator=RidgeCV(),
            cv=2,
        ),
        "regression",
    ),
    "codes for a forest": (
        make_pipeline(
            make_column_transformer(
                (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1), TEXTS),
                (SimpleImputer(strategy="mean"), NUMBERS),
                verbose_feature_names_out=False,
            ),
            RandomForestClassifier(4, random_state=0),
        ).set_output(transform="pandas"),
        "multiclass",
    ),
    "a threshold of one's own on a calibrated booster": (
        FixedThresholdClassifier(
            make_pipeline(
                by_type("passthrough", OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
                CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=3), method="isotonic", cv=2),
            ),
            threshold=0.3,
            pos_label="high",
        ),
        "binary",
    ),
    "one imputer for numbers and texts": (
        make_pipeline(
            SimpleImputer(strategy="most_frequent", add_indicator=True),
            make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [1, 4]), remainder="passthrough"),
            RandomForestClassifier(3, random_state=0),
        ),
        "binary",
    ),
    "where values were missing": (
        make_pipeline(
            make_column_transformer(
                (SimpleImputer(strategy="median", add_indicator=True), NUMBERS),
                (make_pipeline(SimpleImputer(strategy="most_frequent", add_indicator=True), OneHotEncoder()), TEXTS),
            ),
            LogisticRegression(max_iter=300),
        ),
        "binary",
    ),
    "LightGBM": (make_pipeline(COMPLETE, lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1)), "multiclass"),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_idiom_is_exported_exactly(name):
    export_and_compare(*EXPORTED[name])
