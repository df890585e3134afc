"""Random pipelines from everything that the registry knows: each is exported exactly, or refused by step and place.

`make test-pipelines` tries 1,000 and prints how many were exported, refused and inexact; the ordinary tests try a few.
"""

import os
import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, note, reject, seed, settings
from hypothesis import strategies as st
from sklearn import (
    calibration,
    cluster,
    decomposition,
    discriminant_analysis,
    ensemble,
    feature_selection,
    impute,
    kernel_approximation,
    kernel_ridge,
    linear_model,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
    tree,
)
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes IterativeImputer known
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline

from mlops_project.contract import Contract
from mlops_project.errors import ExportError
from mlops_project.modeling.export import check_parity, export_onnx, jumps, load_exported
from mlops_project.modeling.export import parity as parity_module
from mlops_project.modeling.representation import check_representation
from tests.pipelines import NUMBERS, make_table

N_PIPELINES = int(os.environ.get("MLOPS_PIPELINES", "10"))
TEXTS = ["town", "plan"]
MOST_STEPS = 1000  # libsvm has no limit of its own: powers of unscaled numbers kept it busy for half an hour

pytestmark = pytest.mark.filterwarnings("ignore")  # small tables do not converge, and libraries say so


@pytest.fixture(autouse=True, scope="module")
def _fewer_rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity_module, "RANDOM_ROWS", 300)
        patch.setattr(jumps, "JUMP_ROWS", 100)
        yield


def _one_of(*values: Any) -> Any:
    return st.sampled_from(values)


def _waves(x: Any) -> Any:
    return np.sin(x / 24 * 2 * np.pi)


def _shares(x: Any) -> Any:
    return np.where(x > 1, x / (1 + np.abs(x)), x * 2)


scalers = st.one_of(
    st.builds(preprocessing.StandardScaler, with_mean=st.booleans(), with_std=st.booleans()),
    st.builds(preprocessing.MinMaxScaler, feature_range=_one_of((0, 1), (-2, 3)), clip=st.booleans()),
    st.builds(preprocessing.MaxAbsScaler),
    st.builds(preprocessing.RobustScaler, with_centering=st.booleans(), with_scaling=st.booleans()),
    st.builds(preprocessing.Normalizer, norm=_one_of("l1", "l2", "max")),
    st.builds(preprocessing.Binarizer, threshold=_one_of(0.0, 1.5)),
    st.builds(
        preprocessing.KBinsDiscretizer,
        n_bins=st.integers(2, 6),
        encode=_one_of("ordinal", "onehot-dense", "onehot"),
        strategy=_one_of("uniform", "quantile", "kmeans"),
        quantile_method=st.just("averaged_inverted_cdf"),
    ),
    # cubes of cubes of cubes took scikit-learn 6.5 GB
    st.builds(preprocessing.PolynomialFeatures, degree=st.just(2), interaction_only=st.booleans(), include_bias=st.booleans()),
    st.builds(preprocessing.PowerTransformer, method=_one_of("yeo-johnson", "box-cox"), standardize=st.booleans()),
    st.builds(
        preprocessing.QuantileTransformer, n_quantiles=st.integers(5, 40), output_distribution=_one_of("uniform", "normal")
    ),
    st.builds(
        preprocessing.SplineTransformer,
        n_knots=st.integers(3, 6),
        degree=st.integers(1, 3),
        extrapolation=_one_of("constant", "linear", "continue", "periodic", "error"),
    ),
    st.builds(preprocessing.FunctionTransformer, func=_one_of(None, np.log1p, np.sqrt, np.square, np.abs, np.tanh, np.floor)),
    st.builds(preprocessing.FunctionTransformer, func=_one_of(_waves, _shares)),
    st.builds(decomposition.PCA, n_components=st.integers(1, 3), whiten=st.booleans()),
    st.builds(decomposition.TruncatedSVD, n_components=st.integers(1, 2)),
    st.builds(feature_selection.SelectKBest, k=st.integers(1, 3)),
    st.builds(feature_selection.VarianceThreshold),
    st.builds(
        feature_selection.SelectFromModel, st.just(tree.ExtraTreeClassifier(random_state=0)), threshold=st.just("median")
    ),
    st.builds(cluster.KMeans, n_clusters=st.integers(2, 4), n_init=st.just(1), random_state=st.just(0)),
    st.builds(cluster.FeatureAgglomeration, n_clusters=st.just(1)),
    st.builds(
        kernel_approximation.Nystroem,
        kernel=_one_of("rbf", "poly", "linear"),
        n_components=st.integers(2, 6),
        random_state=st.just(0),
    ),
    st.builds(decomposition.FactorAnalysis, n_components=st.just(1)),
    st.just("passthrough"),
)
imputers = st.one_of(
    st.builds(
        impute.SimpleImputer, strategy=_one_of("mean", "median", "most_frequent", "constant"), add_indicator=st.booleans()
    ),
    st.builds(
        impute.KNNImputer, n_neighbors=st.integers(1, 6), weights=_one_of("uniform", "distance"), add_indicator=st.booleans()
    ),
    st.builds(impute.IterativeImputer, max_iter=st.integers(1, 3), add_indicator=st.booleans(), random_state=st.just(0)),
    st.just("passthrough"),
)
encoders = st.one_of(
    st.builds(
        preprocessing.OneHotEncoder,
        handle_unknown=_one_of("ignore", "error", "infrequent_if_exist", "warn"),
        drop=_one_of(None, "first", "if_binary"),
        min_frequency=_one_of(None, 8),
        sparse_output=st.booleans(),
    ),
    st.builds(
        preprocessing.OrdinalEncoder,
        handle_unknown=st.just("use_encoded_value"),
        unknown_value=_one_of(-1, -5),
        encoded_missing_value=_one_of(-3, -2),
        min_frequency=_one_of(None, 8),
    ),
    st.builds(preprocessing.TargetEncoder, random_state=st.just(0)),
)


@st.composite
def numbers(draw: Any) -> Any:
    """Draw a chain, or a union of chains, of steps for numbers."""
    chains = [
        Pipeline([("impute", draw(imputers)), *((f"step{place}", draw(scalers)) for place in range(draw(st.integers(0, 2))))])
        for _ in range(draw(st.integers(1, 2)))
    ]
    return chains[0] if len(chains) == 1 else FeatureUnion([(f"part{place}", part) for place, part in enumerate(chains)])


@st.composite
def preparations(draw: Any) -> Any:
    """Draw how the columns are prepared: blocks, a remainder, another step behind them."""
    cut = draw(st.integers(1, len(NUMBERS)))
    blocks = [("numbers", draw(numbers()), NUMBERS[:cut]), ("texts", draw(encoders), TEXTS)]
    remainder = draw(st.one_of(imputers, st.just("drop")))
    prepare = ColumnTransformer(blocks, remainder=remainder, sparse_threshold=draw(_one_of(0, 0.3, 1.0)))
    return make_pipeline(prepare, draw(scalers)) if draw(st.booleans()) else prepare


simple_classifiers = st.one_of(
    st.builds(tree.DecisionTreeClassifier, max_depth=st.integers(1, 5), random_state=st.just(0)),
    st.builds(ensemble.RandomForestClassifier, n_estimators=st.integers(1, 4), random_state=st.just(0)),
    st.builds(ensemble.ExtraTreesClassifier, n_estimators=st.integers(1, 4), random_state=st.just(0)),
    st.builds(ensemble.GradientBoostingClassifier, n_estimators=st.integers(1, 4)),
    st.builds(ensemble.HistGradientBoostingClassifier, max_iter=st.integers(1, 4)),
    st.builds(linear_model.LogisticRegression, C=_one_of(0.1, 1.0)),
    st.builds(linear_model.SGDClassifier, loss=_one_of("log_loss", "modified_huber", "hinge"), random_state=st.just(0)),
    st.builds(linear_model.RidgeClassifier),
    st.builds(discriminant_analysis.LinearDiscriminantAnalysis),
    st.builds(naive_bayes.GaussianNB),
    st.builds(neighbors.KNeighborsClassifier, n_neighbors=st.integers(1, 8), weights=_one_of("uniform", "distance")),
    st.builds(naive_bayes.BernoulliNB),
    st.builds(
        svm.SVC,
        kernel=_one_of("rbf", "linear", "poly", "sigmoid"),
        probability=_one_of(False, True),
        max_iter=st.just(MOST_STEPS),
        random_state=st.just(0),
    ),
    st.builds(svm.LinearSVC),
    st.builds(neural_network.MLPClassifier, hidden_layer_sizes=st.just((4,)), max_iter=st.just(10), random_state=st.just(0)),
)
classifiers = st.one_of(
    simple_classifiers,
    st.builds(calibration.CalibratedClassifierCV, simple_classifiers, method=_one_of("sigmoid", "isotonic"), cv=st.just(2)),
    st.builds(multiclass.OneVsRestClassifier, simple_classifiers),
    st.builds(lambda inner: calibration.CalibratedClassifierCV(multiclass.OneVsOneClassifier(inner), cv=2), simple_classifiers),
    st.builds(
        ensemble.BaggingClassifier,
        simple_classifiers,
        n_estimators=st.integers(1, 3),
        max_features=_one_of(0.6, 1.0),
        random_state=st.just(0),
    ),
    st.builds(
        lambda first, second, voting: ensemble.VotingClassifier(
            [("a", first), ("b", Pipeline([("m", second)]))], voting=voting
        ),
        simple_classifiers,
        simple_classifiers,
        _one_of("soft", "hard"),
    ),
    st.builds(
        lambda first, second, passthrough: ensemble.StackingClassifier(
            [("a", first), ("b", Pipeline([("m", second)]))], cv=2, passthrough=passthrough
        ),
        simple_classifiers,
        simple_classifiers,
        st.booleans(),
    ),
    st.builds(ensemble.AdaBoostClassifier, n_estimators=st.integers(1, 3), random_state=st.just(0)),
)
simple_regressors = st.one_of(
    st.builds(tree.DecisionTreeRegressor, max_depth=st.integers(1, 5), random_state=st.just(0)),
    st.builds(ensemble.RandomForestRegressor, n_estimators=st.integers(1, 4), random_state=st.just(0)),
    st.builds(ensemble.GradientBoostingRegressor, n_estimators=st.integers(1, 4)),
    st.builds(ensemble.HistGradientBoostingRegressor, max_iter=st.integers(1, 4)),
    st.builds(linear_model.Ridge),
    st.builds(linear_model.HuberRegressor),
    st.builds(linear_model.TweedieRegressor, power=_one_of(0, 1, 1.5)),
    st.builds(linear_model.Lasso, alpha=st.just(0.01)),
    st.builds(svm.SVR, kernel=_one_of("rbf", "linear"), max_iter=st.just(MOST_STEPS)),
    st.builds(kernel_ridge.KernelRidge, kernel=_one_of("rbf", "poly"), gamma=st.just(0.1)),
    st.builds(neighbors.KNeighborsRegressor, n_neighbors=st.integers(1, 8), weights=_one_of("uniform", "distance")),
    st.builds(neural_network.MLPRegressor, hidden_layer_sizes=st.just((4,)), max_iter=st.just(10), random_state=st.just(0)),
)
regressors = st.one_of(
    simple_regressors,
    st.builds(ensemble.BaggingRegressor, simple_regressors, n_estimators=st.integers(1, 3), random_state=st.just(0)),
    st.builds(ensemble.AdaBoostRegressor, simple_regressors, n_estimators=st.integers(1, 3), random_state=st.just(0)),
    st.builds(lambda a, b: ensemble.VotingRegressor([("a", a), ("b", b)]), simple_regressors, simple_regressors),
    st.builds(
        lambda a, b, all_: ensemble.StackingRegressor([("a", a), ("b", b)], cv=2, passthrough=all_),
        simple_regressors,
        simple_regressors,
        st.booleans(),
    ),
    st.builds(TransformedTargetRegressor, simple_regressors, func=st.just(np.log1p), inverse_func=st.just(np.expm1)),
    st.builds(
        TransformedTargetRegressor,
        simple_regressors,
        transformer=st.one_of(
            st.builds(preprocessing.PowerTransformer, method=_one_of("yeo-johnson", "box-cox")),
            st.builds(preprocessing.QuantileTransformer, n_quantiles=st.just(20)),
        ),
    ),
)


@st.composite
def pipelines(draw: Any) -> tuple[Any, str, str]:
    """Draw an unfitted pipeline, the task that it is for, and the types of its frame."""
    task = draw(_one_of("binary", "multiclass", "regression"))
    last = draw(regressors if task == "regression" else classifiers)
    types = draw(_one_of("plain", "plain", "category", "string", "object", "nullable", "single"))
    return Pipeline([("prepare", draw(preparations())), ("model", last)]), task, types


def with_types(frame: pd.DataFrame, types: str) -> pd.DataFrame:
    """Return the frame as people have it who read it with other types."""
    if types in ("category", "string", "object"):
        return frame.astype(dict.fromkeys(TEXTS, types))
    if types == "nullable":
        return frame.convert_dtypes()
    return frame.astype({name: "float32" for name in NUMBERS if frame[name].dtype.kind == "f"}) if types == "single" else frame


def _is_read_as_requests_bring_it(fitted: Any, given: pd.DataFrame, features: pd.DataFrame, contract: Contract) -> bool:
    """Whether the pipeline answers columns of the contract's types alike; refused by the names of the columns if not."""
    if contract.is_classification and not hasattr(fitted, "predict_proba"):
        return True  # it is refused for that
    try:
        check_representation(fitted, given, features, contract)
    except ExportError as error:
        if " - column '" not in str(error):
            raise AssertionError(f"the refusal names no column: {error}") from error
        COUNTS["refused"] += 1
        REFUSALS["columns of other types"] += 1
        return False
    return True


def _count_refusal(error: ExportError) -> bool:
    """Whether a refusal names step and place."""
    place, _, reason = str(error).partition(": ")
    if not reason or not place.startswith("pipeline"):
        return False
    COUNTS["refused"] += 1
    REFUSALS[f"{place.rpartition('.')[2]}: {re.sub('[0-9]+', 'N', reason)[:100]}"] += 1
    return True


COUNTS: Counter[str] = Counter()
REFUSALS: Counter[str] = Counter()
INEXACT: list[str] = []


@seed(int(os.environ.get("MLOPS_PIPELINES_SEED", "0")))
@settings(
    max_examples=N_PIPELINES,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(pipelines())
def _try_random_pipelines(drawn):
    pipeline, task, types = drawn
    shown = f"{task}, {types}: {pipeline.__repr__(N_CHAR_MAX=5000)}"
    note(shown)
    features, target, contract = make_table(task)
    given = with_types(features, types)
    if types == "single":
        features = given.astype({name: "float64" for name in NUMBERS if given[name].dtype == "float32"})
    try:
        fitted = pipeline.fit(given, target)
        fitted.predict(given)
    except (ValueError, AttributeError, TypeError):  # scikit-learn refuses the combination
        COUNTS["cannot be fitted"] += 1
        reject()
    if not _is_read_as_requests_bring_it(fitted, given, features, contract):
        return
    try:
        model = export_onnx(fitted, contract)
    except ExportError as error:
        if not _count_refusal(error):
            raise AssertionError(f"the refusal names no step: {error}") from error
        return
    try:
        check_parity(fitted, load_exported(model, contract), features)
    except ExportError as error:
        if _count_refusal(error):  # many rows of this table are ties of a step
            return
        COUNTS["inexact"] += 1
        INEXACT.append(f"{shown}\n{error}")
        print(INEXACT[-1], flush=True)
        return
    COUNTS["exported"] += 1


def test_random_pipeline_is_exported_exactly_or_refused_by_step_and_place():
    _try_random_pipelines()
    print("\n", dict(COUNTS), *(f"{count:5} {reason}" for reason, count in REFUSALS.most_common()), sep="\n")
    assert not INEXACT, f"{len(INEXACT)} of {sum(COUNTS.values())}; the first: {INEXACT[0]}"
    assert COUNTS["exported"] >= COUNTS["refused"], "most that can be fitted are exported"
