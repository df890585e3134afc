"""One row's prediction, by the model server or the bundle, and its explanation; each is computed once per row and model."""

import time
from dataclasses import dataclass
from http.client import OK
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from mlops_project.client.http import ServerError
from mlops_project.client.model_server import ModelServer, Predicted
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.explanation import Explanation, compute_curve, explain_row, take_output
from mlops_project.runtime import Predictions
from mlops_project.ui.catalogue import Model
from mlops_project.ui.language import Translate, format_value
from mlops_project.ui.reference import Row

CACHED = 200  # explanations and curves


@dataclass(frozen=True)
class Answer:
    """One row's prediction.

    Attributes
    ----------
    probabilities
        One per class, in contract order, in [0, 1]; empty for regression.
    index
        Index of the predicted class; -1 for regression.
    value
        Regression: the predicted value.
    origin
        ``server`` or ``bundle``.
    version
        Of the model that answered.
    id
        For feedback; empty if nothing was logged.
    seconds
        How long it took.
    """

    probabilities: tuple[float, ...]
    index: int
    value: float | None
    origin: str
    version: str
    id: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Asked:
    """What was last asked: the row, the model's digest, and the answer or why there is none."""

    row: Row
    digest: str
    answer: Answer | None
    problem: str = ""


def ask(model: Model, server: ModelServer | None, row: Row) -> Asked:
    """Predict one row; return the answer, or why there is none.

    Parameters
    ----------
    model
        Whose answer.
    server
        That answers; None for the bundle on this machine.
    row
        Feature name → value, as a form holds it.
    """
    try:
        return Asked(row, model.digest, predict_row(model, server, row))
    except (ContractError, ServerError) as error:
        return Asked(row, model.digest, None, str(error))


def predict_row(model: Model, server: ModelServer | None, row: Row) -> Answer:
    """Predict one row.

    Parameters
    ----------
    model
        Whose answer.
    server
        That answers; None for the bundle on this machine.
    row
        Feature name → value, as a form holds it.

    Raises
    ------
    ServerError, ContractError
        If the server does not answer, or the row does not fit the model.
    """
    started = time.perf_counter()
    if server is not None:
        predicted = server.predict(model.name, [row])
        if predicted.status != OK:
            raise ServerError(predicted.refusal, predicted.status)
        return _read_answer(predicted, model.contract, time.perf_counter() - started)
    if model.runtime is None:
        raise RuntimeError("neither a server nor a bundle")  # a model has one of the two
    predictions = model.runtime.predict({name: [value] for name, value in row.items()})
    return _to_answer(predictions, model.version, time.perf_counter() - started)


def _read_answer(predicted: Predicted, contract: Contract, seconds: float) -> Answer:
    (row,), prediction_id = predicted.rows, next(iter(predicted.ids), "")
    if not contract.is_classification:
        return Answer((), -1, float(row["value"]), "server", predicted.version, prediction_id, seconds)
    shares = tuple(float(row["probabilities"][class_name]) for class_name in contract.class_names)
    index = contract.class_names.index(row["class"])
    return Answer(shares, index, None, "server", predicted.version, prediction_id, seconds)


def _to_answer(predictions: Predictions, version: str, seconds: float) -> Answer:
    if predictions.indices is None or predictions.probabilities is None:
        return Answer((), -1, float(take_output(predictions, 0)[0]), "bundle", version, seconds=seconds)
    shares = tuple(predictions.probabilities[0].tolist())
    return Answer(shares, int(predictions.indices[0]), None, "bundle", version, seconds=seconds)


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: attrgetter("digest")})
def explain(model: Model, row: Row, output: int) -> Explanation | None:
    """Return the row's explanation; None if the model is not on this machine. Cached.

    Parameters
    ----------
    model
        Whose answer.
    row
        Feature name → value, as a form holds it.
    output
        Index of the class; not looked at for regression.

    Raises
    ------
    ContractError
        If the model has no answer for it.
    """
    if model.runtime is None or model.reference is None:
        return None
    return explain_row(model.runtime, row, model.reference.columns, output)


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: attrgetter("digest")})
def compute_what_if(model: Model, row: Row, name: str, language: str) -> pd.DataFrame | None:
    """Return how the answer changes with one feature; None if the model is not on this machine. Cached.

    Parameters
    ----------
    model
        Whose answer.
    row
        Feature name → value, as a form holds it.
    name
        Of the feature that is changed.
    language
        Code in which values that are no numbers or dates are written.

    Returns
    -------
    DataFrame or None
        ``x`` (the feature's value), ``y`` (the answer) and ``series`` (the output's name).

    Raises
    ------
    ContractError
        If the model has no answer for it.
    """
    if model.runtime is None:
        return None
    contract, feature = model.contract, model.contract.feature(name)
    values, predictions = compute_curve(model.runtime, row, name)
    t = Translate(language)
    shown: pd.Series[Any] = pd.Series(values if is_measured(feature) else [format_value(value, feature, t) for value in values])
    if feature.type == "datetime":
        shown = shown.astype("datetime64[s]")
    outputs = choose_outputs(contract, predictions)
    parts = [
        pd.DataFrame({"x": shown, "y": take_output(predictions, index), "series": series}) for index, series in outputs.items()
    ]
    return pd.concat(parts, ignore_index=True)


def is_measured(feature: Feature) -> bool:
    """Whether a feature's values are points on a scale: numbers or dates."""
    return not feature.is_text and feature.type != "boolean"


def choose_outputs(contract: Contract, predictions: Predictions, limit: int = 6) -> dict[int, str]:
    """Return the outputs that get a curve, index → name: the value, the positive class, or of several those that rise highest.

    Parameters
    ----------
    contract
        Of the model.
    predictions
        Of all points of the curves.
    limit
        Most curves.
    """
    if predictions.probabilities is None:
        return {0: contract.target}
    if contract.task == "binary":
        return {1: contract.class_names[1]}
    highest = np.argsort(-predictions.probabilities.max(axis=0), kind="stable")[:limit]
    return {index: contract.class_names[index] for index in sorted(highest.tolist())}
