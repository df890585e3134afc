"""Why the model answers so, and what it would answer if one input were another."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from mlops_project.contract import Feature
from mlops_project.errors import ContractError
from mlops_project.explanation import Explanation
from mlops_project.names import shorten
from mlops_project.ui import charts
from mlops_project.ui.drawing import PERCENT
from mlops_project.ui.format import escape
from mlops_project.ui.language import format_value
from mlops_project.ui.predict.answers import Asked, compute_what_if, explain, is_measured
from mlops_project.ui.reference import Row
from mlops_project.ui.view import View


def show_why(view: View, asked: Asked) -> None:
    """Draw what each input adds to the answer."""
    t, contract, reference = view.t, view.model.contract, view.model.reference
    answer = asked.answer
    if answer is None or reference is None:
        return
    st.header(t("why"), anchor=False)
    output = max(answer.index, 0)
    if len(contract.classes) > 2:
        options = range(len(contract.classes))
        output = st.selectbox(
            t("why.class"), options, index=answer.index, format_func=lambda index: contract.class_names[index]
        )
    try:
        found = explain(view.model, asked.row, output)
    except ContractError as error:
        st.info(t("why.unknown", reason=escape(error)))
        return
    if found is not None:
        _draw_why(view, asked.row, found, output)


def _draw_why(view: View, row: Row, found: Explanation, output: int) -> None:
    t, contract = view.t, view.model.contract
    labels = [f"{shorten(item.name, 22)} ({shorten(format_value(row[item.name], item, t), 16)})" for item in contract.features]
    is_share = contract.is_classification
    axis = t("probability.of", name=shorten(contract.class_names[output])) if is_share else contract.target
    form = PERCENT if is_share else charts.DIGITS
    steps = charts.list_steps(labels, found.contributions, found.base, t("others", count=len(labels) - charts.MAX_STEPS))
    chart = charts.draw_waterfall(steps, axis, form, t)
    st.altair_chart(chart, width="stretch")
    largest = float(found.errors.max())
    error = f"{t.number(100 * largest, 2)}%" if is_share else t.number(largest, 2)
    accuracy = t("why.error", walks=found.walks, error=error) if found.walks else t("why.exact")
    st.caption(f"{t('why.lead', rows=found.rows)} {accuracy}")


def show_what_if(view: View, asked: Asked) -> None:
    """Draw the answer against one input."""
    t, contract = view.t, view.model.contract
    if view.model.runtime is None:
        return
    st.header(t("whatif"), anchor=False)
    key, by_hand = f"what if/{view.model.name}", f"what if by hand/{view.model.name}"
    if not st.session_state.get(by_hand):
        st.session_state[key] = _find_top_contributor(view, asked)
    name = st.selectbox(
        t("whatif.feature"), contract.names, key=key, on_change=lambda: st.session_state.update({by_hand: True})
    )
    try:
        curve = compute_what_if(view.model, asked.row, name, t.code)
    except ContractError as error:
        st.info(t("refused", reason=escape(error)))
        return
    if curve is not None:
        _draw_what_if(view, curve, contract.feature(name), asked.row[name])


def _find_top_contributor(view: View, asked: Asked) -> str:
    """Return the input that moves this answer most; the first one where that cannot be computed."""
    names = view.model.contract.names
    try:
        found = explain(view.model, asked.row, max(asked.answer.index, 0)) if asked.answer else None
    except ContractError:
        found = None
    return names[0] if found is None else names[int(np.abs(found.contributions).argmax())]


def _draw_what_if(view: View, curve: pd.DataFrame, feature: Feature, current: Any) -> None:
    t, contract = view.t, view.model.contract
    series = list(dict.fromkeys(curve["series"]))
    kind: charts.Kind = "nominal" if not is_measured(feature) else "temporal" if feature.type == "datetime" else "quantitative"
    if not contract.is_classification:
        y = contract.target
    else:
        y = t("probability.of", name=shorten(series[0])) if len(series) == 1 else t("probability")
    here = format_value(current, feature, t) if kind == "nominal" else current
    st.altair_chart(charts.draw_curves(curve, here, (shorten(feature.name), y), kind, series, t), width="stretch")
    st.caption(t("whatif.lead.choices" if kind == "nominal" else "whatif.lead"))
