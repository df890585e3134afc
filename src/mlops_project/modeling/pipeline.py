"""The scikit-learn pipeline: built from the contract and the configuration, fitted elsewhere."""

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags

from mlops_project.config import Config
from mlops_project.contract import NUMERIC_TYPES, Contract
from mlops_project.errors import ConfigError, MLOpsError
from mlops_project.modeling.codes import build_codes
from mlops_project.modeling.encoders import OriginalLabels, TargetMeans
from mlops_project.modeling.estimators import CODES, build_estimator, find_scale
from mlops_project.modeling.own_pipeline import build_own
from mlops_project.modeling.preparation import build_features, is_plain
from mlops_project.modeling.weights import Weights, find_inner, pass_weights
from mlops_project.runtime import Floats, Predictions
from mlops_project.sections import Estimator, PreprocessingConfig

# Their predict() is the arg max of predict_proba(), by its code; calling both takes twice the time.
LABELS_BY_ARG_MAX = (RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier, CalibratedClassifierCV)


def build_pipeline(contract: Contract, config: Config) -> Pipeline:
    """Build the unfitted pipeline for a table of this contract.

    Of ``model.pipeline``, what its function returns. Else all-numeric tables get ``scaler`` and the estimator (``clf``, or
    ``reg`` for regression); others, and estimators that cannot take missing values, get a ``features`` step that imputes and
    encodes. An estimator of codes gets one that turns every column into codes.

    Raises
    ------
    ConfigError
        If the estimator does not fit the task, is not installed or does not know a parameter.
    """
    own = config.model.pipeline is not None
    estimator = build_own(contract, config) if own else build_estimator(contract, config)
    if isinstance(estimator, Pipeline):
        return estimator
    impute, scale = not takes_missing(estimator), "standard" if own else find_scale(config.model.estimator)
    if scale == CODES:
        codes, counts = build_codes(contract, config)
        find_inner(estimator).set_params(min_categories=counts)
        return Pipeline([("features", codes), ("clf", estimator)])
    plain = all(feature.type in NUMERIC_TYPES and not (impute and feature.nullable) for feature in contract.features)
    if plain and scale == "standard" and is_plain(config):
        first: tuple[str, Any] = ("scaler", StandardScaler(with_mean=False))
    else:
        first = ("features", build_features(contract, config, impute=impute, scale=scale))
    return Pipeline([first, ("clf" if contract.is_classification else "reg", estimator)])


def takes_missing(estimator: Any) -> bool:
    """Whether the estimator has an answer for NaN: trees send it down a learned side.

    Asked of what is wrapped: ``CalibratedClassifierCV`` does not forward the tag, and hands on NaN all the same.
    """
    return bool(get_tags(find_inner(estimator)).input_tags.allow_nan)


def with_plain_model(config: Config, estimator: Estimator, params: dict[str, Any] | None = None) -> Config:
    """Return the configuration with another estimator, of which nothing else is said."""
    settings = msgspec.structs.replace(
        config.model,
        estimator=estimator,
        params=params or {},
        calibration="none",
        encoding="auto",
        pipeline=None,
        class_weight=None,
        preprocessing=PreprocessingConfig(),
    )
    return msgspec.structs.replace(config, model=settings)


def fit_pipeline(
    pipeline: Pipeline,
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    *,
    groups: "pd.Series[Any] | None" = None,
    times: "pd.Series[Any] | None" = None,
    weights: Weights | None = None,
) -> Pipeline:
    """Fit in place and return the pipeline.

    Parameters
    ----------
    groups, times
        Row label → what keeps rows apart, if the held-out rows were split by it; the folds of target encoding follow it.
    weights
        How much each row counts, ``(n_rows,)``; None: all the same.

    Raises
    ------
    ConfigError
        If the estimator takes no weights, or the library refuses; which settings and tables it takes is its own business, and
        so is the error's type.
    """
    weighted = pass_weights(pipeline, weights)
    with _kept_apart(pipeline, groups, times), explain_refusals(pipeline.steps[-1][1]):
        return pipeline.fit(features, target, **weighted)


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
    for name, step in pipeline.get_params(deep=True).items():
        if isinstance(step, TargetMeans):
            pipeline.set_params(**{f"{name}__apart": apart, f"{name}__ordered": ordered})


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
