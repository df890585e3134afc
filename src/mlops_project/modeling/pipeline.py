"""The scikit-learn pipeline: built from the contract and the configuration, fitted elsewhere."""

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags

from mlops_project.config import Config
from mlops_project.contract import NUMERIC_TYPES, Contract, Feature
from mlops_project.errors import ConfigError, DataError, MLOpsError, suggest
from mlops_project.modeling.encoders import DatetimeParts, FillText, OriginalLabels, TargetMeans, WordWeights
from mlops_project.modeling.own_pipeline import build_own
from mlops_project.runtime import MISSING_TEXT, Floats, Predictions
from mlops_project.tables.texts import MAX_ONE_HOT

# Parameters that the boosters' scikit-learn classes pass on to the library but do not list themselves.
# fmt: off
NATIVE_PARAMS: dict[str, tuple[str, ...]] = {
    "lightgbm": (
        "alpha", "bagging_fraction", "bagging_freq", "boost_from_average", "cat_l2", "cat_smooth", "categorical_feature",
        "deterministic", "drop_rate", "extra_trees", "fair_c", "feature_fraction", "feature_fraction_bynode", "force_col_wise",
        "force_row_wise", "interaction_constraints", "is_unbalance", "lambda_l1", "lambda_l2", "linear_tree", "max_bin",
        "max_cat_threshold", "max_cat_to_onehot", "max_delta_step", "max_drop", "min_data_in_bin", "min_data_in_leaf",
        "min_data_per_group", "min_gain_to_split", "min_sum_hessian_in_leaf", "monotone_constraints", "other_rate",
        "path_smooth", "poisson_max_delta_step", "reg_sqrt", "scale_pos_weight", "sigmoid", "skip_drop", "top_rate",
        "tweedie_variance_power", "uniform_drop", "use_missing", "verbose", "xgboost_dart_mode", "zero_as_missing",
    ),
    "xgboost": (
        "huber_slope", "normalize_type", "one_drop", "quantile_alpha", "rate_drop", "sample_type", "skip_drop",
        "tweedie_variance_power",
    ),
}
# fmt: on

WORDS = "words"  # the block of free texts

# Estimators outside sklearn.ensemble: module, class for classes, class for numbers.
BY_NAME = {
    "decision_tree": ("tree", "DecisionTreeClassifier", "DecisionTreeRegressor"),
    "elastic_net": ("linear_model", "", "ElasticNetCV"),
    "knn": ("neighbors", "KNeighborsClassifier", "KNeighborsRegressor"),
    "logistic_regression": ("linear_model", "LogisticRegression", ""),
    "mlp": ("neural_network", "MLPClassifier", "MLPRegressor"),
    "naive_bayes": ("naive_bayes", "GaussianNB", ""),
    "ridge": ("linear_model", "", "Ridge"),
    "svm": ("svm", "SVC", "SVR"),
}

# Their predict() is the arg max of predict_proba(), by its code; calling both takes twice the time.
LABELS_BY_ARG_MAX = (RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier, CalibratedClassifierCV)


def build_pipeline(contract: Contract, config: Config) -> Pipeline:
    """Build the unfitted pipeline for a table of this contract.

    Of ``model.pipeline``, what its function returns. Else all-numeric tables get ``scaler`` and the estimator (``clf``, or
    ``reg`` for regression); others, and estimators that cannot take missing values, get a ``features`` step that imputes and
    encodes.

    Raises
    ------
    ConfigError
        If the estimator does not fit the task, is not installed or does not know a parameter.
    """
    estimator = _build_estimator(contract, config) if config.model.pipeline is None else build_own(contract, config)
    if isinstance(estimator, Pipeline):
        return estimator
    impute = not takes_missing(estimator)
    plain = all(feature.type in NUMERIC_TYPES and not (impute and feature.nullable) for feature in contract.features)
    first = ("scaler", StandardScaler(with_mean=False)) if plain else ("features", _build_features(contract, config, impute))
    return Pipeline([first, ("clf" if contract.is_classification else "reg", estimator)])


def takes_missing(estimator: Any) -> bool:
    """Whether the estimator has an answer for NaN: trees send it down a learned side.

    Asked of what is wrapped: ``CalibratedClassifierCV`` does not forward the tag, and hands on NaN all the same.
    """
    while isinstance(estimator, OriginalLabels | CalibratedClassifierCV):
        estimator = estimator.estimator
    return bool(get_tags(estimator).input_tags.allow_nan)


def _build_features(contract: Contract, config: Config, impute: bool) -> ColumnTransformer:
    dates = [feature.name for feature in contract.numbers if feature.type == "datetime"]
    numbers = [feature.name for feature in contract.numbers if feature.type != "datetime"]
    prose = [feature.name for feature in contract.texts if feature.name in config.data.text]
    others = [feature for feature in contract.texts if feature.name not in prose]
    means = tuple(feature for feature in others if choose_encoding(feature, config) == "target")
    texts = tuple(feature for feature in others if choose_encoding(feature, config) != "target")
    blocks: list[tuple[str, Any, list[str]]] = []
    if numbers:
        blocks.append(("numbers", Pipeline(_scaling(impute)), numbers))
    if dates:
        blocks.append(("dates", Pipeline([("parts", DatetimeParts()), *_scaling(impute)]), dates))
    if texts:
        encoder = _build_encoder(texts, config)
        blocks.append(("texts", Pipeline([("fill", FillText()), ("encoder", encoder)]), [text.name for text in texts]))
    if means:
        target_type = "continuous" if contract.task == "regression" else contract.task
        encoder = TargetMeans(_known_values(means), target_type, random_state=config.random_state)
        steps = [("encoder", encoder), ("scaler", StandardScaler())]
        blocks.append(("means", Pipeline(steps), [text.name for text in means]))
    if prose:
        blocks.append((WORDS, WordWeights(config.model.words), prose))
    return ColumnTransformer(blocks, sparse_threshold=0)


def _scaling(impute: bool) -> list[tuple[str, Any]]:
    imputer = [("imputer", SimpleImputer(strategy="median", keep_empty_features=True))] if impute else []
    return [*imputer, ("scaler", StandardScaler())]


def choose_encoding(feature: Feature, config: Config) -> str:
    """Return how a text column becomes numbers: ``onehot``, ``ordinal`` or ``target``."""
    if config.model.encoding != "auto":
        return config.model.encoding
    return "target" if len(feature.categories) > config.data.max_categories else "onehot"


def _known_values(texts: tuple[Feature, ...], most: int | None = None) -> "list[npt.NDArray[np.object_]]":
    """Return each column's known values; of an open set (``string``) at most so many, the most frequent."""
    known = []
    for feature in texts:
        categories = feature.categories[:most] if feature.type == "string" else feature.categories
        known.append(np.array([*categories, *([MISSING_TEXT] if feature.nullable else [])], dtype=object))
        if not len(known[-1]):
            raise DataError(f"column {feature.name!r} has no known value to encode; add it to data.drop")
    return known


def _build_encoder(texts: tuple[Feature, ...], config: Config) -> Any:
    if config.model.encoding == "ordinal":
        return OrdinalEncoder(categories=_known_values(texts), handle_unknown="use_encoded_value", unknown_value=-1)
    values = _known_values(texts, MAX_ONE_HOT)
    # zeros and ones in a byte each: they become float64 once, beside the numbers, and not twice before
    return OneHotEncoder(categories=values, handle_unknown="ignore", sparse_output=False, dtype=np.uint8)


def _build_estimator(contract: Contract, config: Config) -> BaseEstimator:
    name, task = config.model.estimator, contract.task
    if name == "own":
        raise ConfigError(
            "model.estimator: own is a pipeline that you fitted; hand it over with mlops.export, see docs/python.md"
        )
    if contract.is_classification and name in ("ridge", "elastic_net"):
        raise ConfigError(
            f"model.estimator: {name} predicts numbers, and {contract.target!r} is {task}; use logistic_regression"
        )
    if not contract.is_classification:
        if name in ("logistic_regression", "naive_bayes"):
            raise ConfigError(f"model.estimator: {name} predicts classes, and {contract.target!r} is a number; use ridge")
        if config.model.calibration != "none":
            raise ConfigError("model.calibration: only classes have probabilities to calibrate; use none for regression")
    estimator = _estimator_class(name, contract.is_classification)()
    known = list_params(name, contract)
    unknown = [key for key in config.model.params if key not in known]
    if unknown:
        lines = [f"model.params.{key}: {name} has no such parameter{suggest(key, known)}" for key in unknown]
        raise ConfigError("\n".join(lines))
    defaults = {"random_state": config.random_state} if "random_state" in known else {}
    estimator.set_params(**defaults | _quiet_and_repeatable(name) | config.model.params)
    if name == "xgboost" and contract.is_classification:
        estimator = OriginalLabels(estimator)
    method = config.model.calibration
    if method == "none" and name == "svm" and contract.is_classification:
        method = "sigmoid"  # its decisions are no probabilities
    if method != "none":
        estimator = CalibratedClassifierCV(estimator, method=method, cv=5)
    if any(isinstance(label, float) for label in contract.classes):  # scikit-learn takes 0.5 for a quantity
        estimator = OriginalLabels(estimator)
    return estimator


def list_params(name: str, contract: Contract) -> tuple[str, ...]:
    """Return which parameters an estimator has for the contract's task."""
    return (*_estimator_class(name, contract.is_classification)().get_params(), *NATIVE_PARAMS.get(name, ()))


def _quiet_and_repeatable(name: str) -> dict[str, Any]:
    if name == "lightgbm":  # it times row-wise against column-wise histograms, and their sums differ
        return {"verbose": -1, "deterministic": True, "force_row_wise": True}
    if name == "logistic_regression":
        return {"max_iter": 1000}
    return {"max_iter": 500} if name == "mlp" else {}


def _estimator_class(name: str, classification: bool) -> Any:
    """Import the class; only the library that is asked for is loaded."""
    kind = "Classifier" if classification else "Regressor"
    try:
        if name == "xgboost":
            import xgboost

            return getattr(xgboost, f"XGB{kind}")
        if name == "lightgbm":
            import lightgbm

            return getattr(lightgbm, f"LGBM{kind}")
    except ImportError as error:
        raise ConfigError(f"model.estimator: {name} is not installed; pip install 'mlops_project[boost]'") from error
    if name in BY_NAME:
        module, classifier, regressor = BY_NAME[name]
        return getattr(import_module(f"sklearn.{module}"), classifier if classification else regressor)
    from sklearn import ensemble

    names = {
        "random_forest": "RandomForest",
        "extra_trees": "ExtraTrees",
        "gradient_boosting": "GradientBoosting",
        "hist_gradient_boosting": "HistGradientBoosting",
    }
    return getattr(ensemble, names[name] + kind)


def fit_pipeline(
    pipeline: Pipeline,
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    *,
    groups: "pd.Series[Any] | None" = None,
    times: "pd.Series[Any] | None" = None,
) -> Pipeline:
    """Fit in place and return the pipeline.

    Parameters
    ----------
    groups, times
        Row label → what keeps rows apart, if the held-out rows were split by it; the folds of target encoding follow it.

    Raises
    ------
    ConfigError
        If the library refuses; which settings and tables it takes is its own business, and so is the error's type.
    """
    with _kept_apart(pipeline, groups, times), explain_refusals(pipeline.steps[-1][1]):
        return pipeline.fit(features, target)


def fit_encoders(
    encoders: Pipeline,
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    *,
    groups: "pd.Series[Any] | None" = None,
    times: "pd.Series[Any] | None" = None,
) -> Floats:
    """Fit what comes before an estimator, and return the rows as the estimator learns from them; see ``fit_pipeline``.

    ``transform`` gives other rows than these where targets are encoded.
    """
    with _kept_apart(encoders, groups, times), explain_refusals(encoders.steps[-1][1]):
        return np.asarray(encoders.fit_transform(features, target))


@contextlib.contextmanager
def explain_refusals(estimator: Any) -> Iterator[None]:
    """Turn whatever a library raises while it fits into a ``ConfigError``."""
    try:
        yield
    except (MLOpsError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split("Stack trace:")[0].split())[:500]
        name = type(estimator).__name__
        raise ConfigError(f"model.params: {name} cannot be trained: {reason or type(error).__name__}") from error


@contextlib.contextmanager
def _kept_apart(pipeline: Pipeline, groups: "pd.Series[Any] | None", times: "pd.Series[Any] | None") -> Iterator[None]:
    _keep_apart(pipeline, times if groups is None else groups, ordered=groups is None)
    try:
        yield
    finally:
        _keep_apart(pipeline, None, ordered=False)


def _keep_apart(pipeline: Pipeline, apart: "pd.Series[Any] | None", *, ordered: bool) -> None:
    parameters = pipeline.get_params(deep=True)
    if "features__means__encoder" in parameters:
        pipeline.set_params(features__means__encoder__apart=apart, features__means__encoder__ordered=ordered)


def prepare_for_serving(pipeline: Pipeline) -> Pipeline:
    """Set ``n_jobs`` to 1 in every fitted part, in place: more makes a single row slower. Returns the pipeline."""
    for estimator in _fitted_parts(pipeline.steps[-1][1]):
        if "n_jobs" in estimator.get_params(deep=False):
            estimator.set_params(n_jobs=1)
    return pipeline


def _fitted_parts(estimator: Any) -> Iterator[Any]:
    yield estimator
    if isinstance(estimator, OriginalLabels | CalibratedClassifierCV):
        yield from _fitted_parts(estimator.estimator)
    if isinstance(estimator, OriginalLabels) and hasattr(estimator, "estimator_"):
        yield from _fitted_parts(estimator.estimator_)
    if isinstance(estimator, CalibratedClassifierCV) and hasattr(estimator, "calibrated_classifiers_"):
        for fold in estimator.calibrated_classifiers_:
            yield from _fitted_parts(fold.estimator)


def predict_frame(pipeline: Any, features: pd.DataFrame, contract: Contract) -> Predictions:
    """Predict with the scikit-learn pipeline what ``Runtime`` predicts with the exported one.

    Parameters
    ----------
    features
        Feature frame, columns in contract order.

    Returns
    -------
    Predictions
        Classes and probabilities in the order of ``contract.classes``; float64.
    """
    if not contract.is_classification:
        return Predictions(values=np.asarray(pipeline.predict(features), np.float64).reshape(-1))
    estimator = pipeline.steps[-1][1] if isinstance(pipeline, Pipeline) else pipeline
    order = class_order(estimator.classes_, contract)
    probabilities = np.asarray(pipeline.predict_proba(features), np.float64)
    if isinstance(estimator, LABELS_BY_ARG_MAX):
        labels = probabilities.argmax(axis=1)
    else:
        labels = np.searchsorted(estimator.classes_, np.ravel(pipeline.predict(features)))  # CatBoost answers in a column
    return Predictions(indices=np.argsort(order)[labels], probabilities=probabilities[:, order])


def class_order(classes: Any, contract: Contract) -> list[int]:
    """Return, for each class of the contract, its position among an estimator's sorted ``classes_``."""
    positions = {label.item() if hasattr(label, "item") else label: index for index, label in enumerate(classes)}
    return [positions[label] for label in contract.classes]
