"""One row's prediction, by the model server or the bundle, and its explanation; each is computed once per row and model."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from mlops_project.runtime import Predictions, encode
from mlops_project.ui.catalogue import Model
from mlops_project.ui.language import Translate, format_value
from mlops_project.ui.reference import Row
from mlops_project.wire.sureness import measure

ANSWER = "answer"  # in the session: what was asked last
CACHED = 200  # explanations and curves
MOST_CURVES = 6  # in one chart


@dataclass(frozen=True)
class Sure:
    """How sure the model is of one answer.

    Attributes
    ----------
    coverage
        How often such sets or intervals hold the truth, in (0, 1).
    classes
        Names of the classes in the set, the most probable first; empty for regression.
    lower, upper
        Ends of the interval; None for classification.
    abstain
        Whether a person should decide.
    """

    coverage: float
    classes: tuple[str, ...]
    lower: float | None
    upper: float | None
    abstain: bool


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
    sure
        How sure the model is; None if it does not say.
    """

    probabilities: tuple[float, ...]
    index: int
    value: float | None
    origin: str
    version: str
    id: str = ""
    seconds: float = 0.0
    sure: Sure | None = None


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
        predicted = server.predict(model.name, [row], uncertainty=model.coverage is not None)
        if predicted.status != OK:
            raise ServerError(predicted.refusal, predicted.status)
        return _read_answer(predicted, model, time.perf_counter() - started)
    if model.runtime is None:
        raise RuntimeError("neither a server nor a bundle")  # a model has one of the two
    encoded = encode({name: [row[name]] for name in model.contract.names}, model.contract)
    predictions = model.runtime.run(*encoded)
    answer = _to_answer(predictions, model.version, time.perf_counter() - started)
    known = model.uncertainty
    if known is None:
        return answer
    (said,) = measure(known, predictions, encoded[0]).list_rows(model.contract.class_names)
    return _add_sure(answer, said, known.coverage, model.contract)


def _read_answer(predicted: Predicted, model: Model, seconds: float) -> Answer:
    (row,), prediction_id, contract = predicted.rows, next(iter(predicted.ids), ""), model.contract
    if contract.is_classification:
        shares = tuple(float(row["probabilities"][class_name]) for class_name in contract.class_names)
        index = contract.class_names.index(row["class"])
        answer = Answer(shares, index, None, "server", predicted.version, prediction_id, seconds)
    else:
        answer = Answer((), -1, float(row["value"]), "server", predicted.version, prediction_id, seconds)
    return answer if model.coverage is None else _add_sure(answer, row, model.coverage, contract)


def _add_sure(answer: Answer, said: Mapping[str, Any], coverage: float, contract: Contract) -> Answer:
    """Return an answer with what a protocol says beside it."""
    shares = dict(zip(contract.class_names, answer.probabilities, strict=False))
    classes = tuple(sorted(said.get("set", ()), key=lambda name: -shares[name]))
    return replace(answer, sure=Sure(coverage, classes, said.get("lower"), said.get("upper"), said["abstain"]))


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


def choose_outputs(contract: Contract, predictions: Predictions) -> dict[int, str]:
    """Return the outputs that get a curve, index → name: the value, the positive class, or of several those that rise highest.

    Parameters
    ----------
    contract
        Of the model.
    predictions
        Of all points of the curves.
    """
    if predictions.probabilities is None:
        return {0: contract.target}
    if contract.task == "binary":
        return {1: contract.class_names[1]}
    highest = np.argsort(-predictions.probabilities.max(axis=0), kind="stable")[:MOST_CURVES]
    return {index: contract.class_names[index] for index in sorted(highest.tolist())}
