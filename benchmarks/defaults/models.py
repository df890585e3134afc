"""What is compared: pipelines of ours, as a configuration builds them, and two that a careful person makes by hand."""

import time
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.modeling.baselines import JUDGED, fit_dummy, fit_linear
from mlops_project.modeling.choice import choose_model
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.export import export_onnx
from mlops_project.modeling.metrics import Scored, compute_metric, score_rows
from mlops_project.modeling.pipeline import build_pipeline, class_order, fit_pipeline, predict_frame
from mlops_project.modeling.side_work import SideWork
from mlops_project.runtime import Predictions
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table


@dataclass(frozen=True)
class Result:
    """One model on one split.

    Attributes
    ----------
    loss, rank
        Log loss and ROC AUC, or RMSE and R².
    seconds
        Processor time to fit it, choices included.
    rows
        Loss of each held-out row, by its number: log loss or squared error.
    name
        The estimator that was trained.
    kib
        Of the exported model; 0 where there is none.
    """

    loss: float
    rank: float
    seconds: float
    rows: "pd.Series[float]"
    name: str = ""
    kib: float = 0.0


def _judge(
    predictions: Predictions, split: Split, contract: Contract, seconds: float, name: str = "", kib: float = 0
) -> Result:
    scored: Scored = score_rows(predictions, encode_target(split.test_target, contract), contract)
    loss, rank = (compute_metric(name, scored, contract.task) for name in JUDGED[contract.task])
    rows = -np.log(np.clip(scored.chosen, 1e-15, 1)) if contract.is_classification else scored.error**2
    return Result(loss, rank, seconds, pd.Series(rows, split.test_target.index), name, kib)


def try_ours(table: Table, split: Split, contract: Contract, config: Config) -> Result:
    """Fit and export what a configuration asks for."""
    started = time.process_time()
    chosen, _ = choose_model(table, split, contract, config, SideWork(), lambda _: None)
    pipeline = fit_pipeline(build_pipeline(contract, chosen), split.train_features, split.train_target)
    seconds = time.process_time() - started
    size = len(export_onnx(pipeline, contract)) / 1024
    answers = predict_frame(pipeline, split.test_features, contract)
    return _judge(answers, split, contract, seconds, chosen.model.estimator, size)


def try_dummy(split: Split, contract: Contract) -> Result:
    """Predict the base rate."""
    return _judge(fit_dummy(split.train_target, len(split.test_target), contract).predictions, split, contract, 0.0)


def try_linear(split: Split, contract: Contract, config: Config) -> Result:
    """Fit the linear model that stands beside every training."""
    started = time.process_time()
    rival = fit_linear(split.train_features, split.train_target, split.test_features, contract, config)
    return _judge(rival.predictions, split, contract, time.process_time() - started)


def try_by_hand(split: Split, contract: Contract, config: Config) -> Result:
    """Fit a forest and a gradient boosting of scikit-learn with sensible preprocessing, the better by 3-fold CV."""
    started = time.process_time()
    train, test = _prepare(split.train_features), _prepare(split.test_features)
    classes, seed = contract.is_classification, config.random_state
    truth = split.train_target.to_numpy()
    scoring = "neg_log_loss" if classes else "neg_root_mean_squared_error"
    texts = make_column_selector(dtype_include=object)
    numbers = make_column_selector(dtype_exclude=object)
    encode = OneHotEncoder(handle_unknown="ignore", min_frequency=2, sparse_output=False)
    columns = make_column_transformer(
        (SimpleImputer(strategy="median"), numbers),
        (make_pipeline(SimpleImputer(strategy="constant", fill_value=""), encode), texts),
    )
    forest, boosting = (
        (RandomForestClassifier, HistGradientBoostingClassifier)
        if classes
        else (RandomForestRegressor, HistGradientBoostingRegressor)
    )
    candidates = [
        make_pipeline(columns, forest(100, min_samples_leaf=3, random_state=seed)),
        make_pipeline(columns, boosting(random_state=seed)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = [np.nanmean(cross_val_score(model, train, truth, cv=3, scoring=scoring)) for model in candidates]
        best = candidates[int(np.argmax(scores))].fit(train, truth)
        seconds = time.process_time() - started
        if not classes:
            return _judge(Predictions(values=best.predict(test)), split, contract, seconds)
        probabilities = best.predict_proba(test)[:, class_order(best.classes_, contract)]
    return _judge(Predictions(probabilities.argmax(axis=1), probabilities), split, contract, seconds)


def _prepare(features: pd.DataFrame) -> pd.DataFrame:
    """Return texts as objects and everything else as floats, as a person has them."""
    columns = {}
    for name in features.columns:
        column = features[name]
        if column.dtype.kind == "M":
            column = column.astype("int64") / 1e6
        text = not (pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype))
        columns[name] = column.astype(object).where(column.notna(), np.nan) if text else column.astype("float64")
    return pd.DataFrame(columns)
