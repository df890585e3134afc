"""What another threshold would do on the held-out rows, and how to set it. The model's own stays in its contract."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from mlops_project.decision import OWN_RULE
from mlops_project.names import shorten
from mlops_project.runtime import Floats, Predictions
from mlops_project.ui.catalogue import Model
from mlops_project.ui.drawing import PERCENT
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate, name_metric
from mlops_project.ui.model.cells import show_matrix, show_rows
from mlops_project.ui.model.charts import NUMBER, draw_thresholds
from mlops_project.ui.model.quality import CACHED, MAX_POINTS, find_weights, predict_reference
from mlops_project.ui.view import View, write_command

ROUNDS = 200
SHOWN = ("recall", "precision", "f1", "accuracy", "expected_cost")
THRESHOLD = "threshold"


@dataclass(frozen=True)
class Compared:
    """A metric with the model's threshold and with another one on the same rows; the difference has a paired interval."""

    name: str
    own: float
    other: float
    low: float
    high: float


def show_decisions(view: View) -> None:
    """Draw the slider and what follows from it; of two classes only."""
    t, found, contract = view.t, predict_reference(view.model), view.model.contract
    if found is None:
        st.info(t("plots.none"), icon=":material/visibility_off:")
        return
    predictions, truth = found
    own = OWN_RULE if contract.threshold is None else contract.threshold
    positive = escape(shorten(contract.class_names[1]))
    rule = "" if contract.rule is None else f" ({escape(contract.rule.describe())})"
    st.markdown(t("decisions.lead", rows=len(truth), threshold=t.number(own, 4), rule=rule, name=positive))
    threshold, costs = _ask(view, own)
    decided = decide(predictions, threshold, own)
    left, right = st.columns(2, gap="large")
    with left:
        st.header(t("confusion"), anchor=False)
        cell = show_matrix(view, decided, truth, "threshold")
    with right:
        st.header(t("decisions.compared"), anchor=False)
        _show_metrics(view.model, threshold, own, costs, t)
    show_rows(view, decided, truth, cell, "threshold")
    curves = compute_thresholds(view.model, costs)
    left, right = st.columns(2, gap="large")
    marks = {t("threshold.chosen"): threshold, t("threshold.own"): own}
    with left:
        st.altair_chart(draw_thresholds(_name(curves["cost"], t), t("metric.expected_cost"), marks, NUMBER, t), width="stretch")
    with right:
        chart = draw_thresholds(_name(curves["rates"], t), t("value"), marks, PERCENT, t)
        st.altair_chart(chart, width="stretch")
    st.caption(t("decisions.curves"))
    _show_setting(threshold, costs, t)


def _ask(view: View, own: float) -> tuple[float, tuple[float, float]]:
    """Return the threshold and the costs of a wrong yes and of a wrong no that the visitor wants to look at."""
    t, contract = view.t, view.model.contract
    known = contract.costs or (1.0, 1.0)
    slider, one, other = st.columns([2, 1, 1], gap="large", vertical_alignment="bottom")
    positive = escape(shorten(contract.class_names[1]))
    key = f"{THRESHOLD}/{view.model.digest[:12]}"
    with slider:
        threshold = st.slider(t("threshold.of", name=positive), 0.0, 1.0, own, 0.005, format="%.3f", key=key)
    with one:
        wrong_yes = st.number_input(t("cost.yes", name=positive), 0.0, value=known[0], format="%g", key=f"cost/yes/{key}")
    with other:
        wrong_no = st.number_input(t("cost.no", name=positive), 0.0, value=known[1], format="%g", key=f"cost/no/{key}")
    return float(threshold), (float(wrong_yes), float(wrong_no))


def decide(predictions: Predictions, threshold: float, own: float) -> Predictions:
    """Return answers by a threshold; the model's own answers, with its way with ties, where it is the model's own."""
    if threshold == own or predictions.probabilities is None:
        return predictions
    return Predictions((predictions.probabilities[:, 1] >= threshold).astype(np.int64), predictions.probabilities)


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: attrgetter("digest")})
def compare_thresholds(model: Model, threshold: float, own: float, costs: tuple[float, float]) -> list[Compared]:
    """Return the metrics that a threshold changes, on the reference rows, by it and by the model's own. Cached."""
    from mlops_project.modeling.metrics import Scored, bootstrap, compute_metric, find_metric, interval

    found = predict_reference(model)
    if found is None:
        return []
    predictions, truth = found
    answers, weights = (predictions, decide(predictions, threshold, own)), find_weights(model)
    ours, theirs = (Scored(item, truth, 2, costs, weights) for item in answers)
    metrics = [find_metric(name, "binary") for name in SHOWN]
    drawn, factor = bootstrap((ours, theirs), metrics, ROUNDS, np.random.default_rng(0))
    rows = []
    for place, name in enumerate(SHOWN):
        first, second = (compute_metric(name, item, "binary") for item in (ours, theirs))
        low, high = interval(drawn[1, place] - drawn[0, place], second - first, factor, confidence=0.95)
        rows.append(Compared(name, first, second, low, high))
    return rows


def _show_metrics(model: Model, threshold: float, own: float, costs: tuple[float, float], t: Translate) -> None:
    rows = compare_thresholds(model, threshold, own, costs)
    table = pd.DataFrame(
        [
            {
                t("metric"): name_metric(t, row.name),
                t("threshold.own"): t.number(row.own, 4),
                t("threshold.chosen"): t.number(row.other, 4),
                t(
                    "difference"
                ): f"{_sign(row.other - row.own, t)} ({t('span', low=_sign(row.low, t), high=_sign(row.high, t))})",
            }
            for row in rows
        ]
    )
    st.dataframe(table, hide_index=True, width="stretch")
    st.caption(t("decisions.compared.lead"))


def _sign(value: float, t: Translate) -> str:
    return t.localise(f"{value:+.3f}")


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs={Model: attrgetter("digest")})
def compute_thresholds(model: Model, costs: tuple[float, float]) -> dict[str, pd.DataFrame]:
    """Return what thresholds come to on the reference rows, as curves of ``x``, ``y`` and ``series`` (a text's key). Cached.

    Returns
    -------
    dict
        ``cost``: expected cost of an answer; ``rates``: recall, precision and the share that is answered with yes.
    """
    found = predict_reference(model)
    if found is None:
        return {}
    predictions, truth = found
    return trace_thresholds(np.asarray(predictions.probabilities)[:, 1], truth, costs, find_weights(model))


def trace_thresholds(
    scores: Floats, truth: npt.NDArray[Any], costs: tuple[float, float], weights: Floats | None
) -> dict[str, pd.DataFrame]:
    """Return the curves of ``compute_thresholds`` for rows of these scores, of which each counts by its weight."""
    from mlops_project.modeling.threshold import sweep_thresholds

    sweep = sweep_thresholds(scores, np.asarray(truth, np.int64), weights)
    keep = np.unique(np.linspace(0, len(sweep.high) - 1, min(MAX_POINTS, len(sweep.high))).round().astype(int))[::-1]
    hits, alarms = sweep.hits[keep], sweep.alarms[keep]
    flagged = hits + alarms
    precision = np.divide(hits, flagged, out=np.full(len(keep), np.nan), where=flagged > 0)
    cost = (costs[0] * alarms + costs[1] * (sweep.positives - hits)) / sweep.rows
    recall = hits / max(sweep.positives, 1.0)
    x = np.maximum(sweep.low[keep], 0.0)  # a step begins just over this threshold
    rates = {"metric.recall": recall, "metric.precision": precision, "rate.yes": flagged / sweep.rows}
    return {"cost": _stack(x, {"metric.expected_cost": cost}), "rates": _stack(x, rates)}


def _stack(x: npt.NDArray[Any], values: dict[str, npt.NDArray[Any]]) -> pd.DataFrame:
    """Return curves below each other; the last step of each is drawn as far as 1."""
    x = np.append(x, 1.0)
    parts = [pd.DataFrame({"x": x, "y": np.append(y, y[-1]), "series": name}) for name, y in values.items()]
    return pd.concat(parts, ignore_index=True).dropna()


def _name(curves: pd.DataFrame, t: Translate) -> pd.DataFrame:
    return curves.assign(series=[t(key) for key in curves["series"]])


def _show_setting(threshold: float, costs: tuple[float, float], t: Translate) -> None:
    st.header(t("decisions.set"), anchor=False)
    st.markdown(t("decisions.set.lead", train=escape(write_command("train"))))
    left, right = st.columns(2, gap="large")
    with left:
        st.caption(t("decisions.set.cost"))
        yes, no = (f"{cost:g}" for cost in costs)
        rule = f"decision:\n  threshold:\n    cost: {{false_positive: {yes}, false_negative: {no}}}"
        st.code(rule, language=None, wrap_lines=True)
    with right:
        st.caption(t("decisions.set.number"))
        st.code(f"decision:\n  threshold: {threshold:g}", language=None)
    st.caption(t("decisions.request"))
