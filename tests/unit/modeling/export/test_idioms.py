"""Pipelines as books and examples teach them, written anew: each is exported exactly, or refused by step, place and cure."""

import lightgbm
import msgspec
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.decomposition import NMF, PCA, KernelPCA
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
from sklearn.gaussian_process import GaussianProcessRegressor
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
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
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

from mlops_project.errors import ExportError
from mlops_project.modeling.export import check_parity, export_onnx, jumps, load_exported
from mlops_project.modeling.export import parity as parity_module
from tests.pipelines import NUMBERS, export_and_compare, fit, make_table, with_estimator

pytestmark = pytest.mark.filterwarnings("ignore")  # small tables do not converge, and libraries say so

TEXTS = ["town", "plan"]


@pytest.fixture(autouse=True)
def _fewer_rows(monkeypatch):
    monkeypatch.setattr(parity_module, "RANDOM_ROWS", 300)
    monkeypatch.setattr(jumps, "JUMP_ROWS", 100)


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


def by_type(numbers, texts):
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")), (texts, make_column_selector(dtype_exclude="number"))
    )


def classic():
    numbers = Pipeline([("imputer", SimpleImputer(strategy="median")), ("scaler", StandardScaler())])
    texts = Pipeline(
        [
            ("imputer", SimpleImputer(strategy="constant", fill_value="missing")),
            ("onehot", OneHotEncoder(handle_unknown="ignore")),
        ]
    )
    return ColumnTransformer([("num", numbers, NUMBERS), ("cat", texts, TEXTS)])


def only_numbers(*steps):
    return make_column_transformer((make_pipeline(SimpleImputer(), *steps), NUMBERS))


COMPLETE = by_type(
    make_pipeline(SimpleImputer(), StandardScaler()), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
)
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
    "bins": (make_pipeline(only_numbers(BINS), LogisticRegression()), "binary"),
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
    "LightGBM": (make_pipeline(COMPLETE, lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1)), "multiclass"),
}
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
    "splines of steps": (
        with_estimator(Ridge(), only_numbers(SplineTransformer(degree=0))),
        "regression",
        r"splinetransformer\.SplineTransformer: degree=0 .*use degree=3, or KBinsDiscretizer",
    ),
    "another metric": (
        with_estimator(KNeighborsClassifier(metric="manhattan"), only_numbers()),
        "binary",
        r"KNeighborsClassifier: metric='manhattan' .*use the Euclidean",
    ),
    "neighbours that tie": (
        with_estimator(KNeighborsClassifier(), make_column_transformer(("passthrough", ["visits"]))),
        "binary",
        r"KNeighborsClassifier: .*same distance .*a forest",
    ),
    "factors": (with_estimator(Ridge(), only_numbers(MinMaxScaler(), NMF(2))), "regression", r"nmf\.NMF: "),
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


@pytest.mark.parametrize("name", EXPORTED)
def test_idiom_is_exported_exactly(name):
    export_and_compare(*EXPORTED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_idiom_without_an_exact_export_is_refused_by_place_and_with_the_cure(name):
    pipeline, task, words = REFUSED[name]
    fitted, contract, _ = fit(pipeline, task)
    with pytest.raises(ExportError, match=words):
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
