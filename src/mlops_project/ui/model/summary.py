"""What the model goes by over all held-out rows: their Shapley values, and how its answers follow a column."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from mlops_project.contract import Contract, Feature
from mlops_project.errors import MLOpsError
from mlops_project.names import distinct, shorten
from mlops_project.ui import charts
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate, format_value
from mlops_project.ui.model.charts import draw_dependence, draw_spread, draw_swarm
from mlops_project.ui.model.quality import compute_reasons
from mlops_project.ui.predict.answers import is_measured
from mlops_project.ui.reference import Reference, to_plain
from mlops_project.ui.view import View

if TYPE_CHECKING:
    from mlops_project.modeling.reasons import Curve, Reasons

SHOWN = 15  # columns


def show_summary(view: View) -> None:
    """Draw every row's contribution of every column, and two charts of one column; nothing without reference rows."""
    t, reference = view.t, view.model.reference
    if reference is None or reference.truth is None:
        return
    st.header(t("summary"), anchor=False)
    try:
        with st.spinner(t("summary.wait")):
            found = compute_reasons(view.model, view.config)
    except MLOpsError as error:
        st.info(t("why.unknown", reason=escape(error)))
        return
    if found is None:
        return
    contract = view.model.contract
    answer = _name_answer(found, contract, t)
    names, frame = build_swarm(found, reference, contract, t)
    st.altair_chart(draw_swarm(frame, names, t("summary.by", answer=answer), t), width="stretch")
    lead = t("summary.lead", rows=len(found.contributions))
    st.caption(lead if found.exact else f"{lead} {t('summary.sampled')}")
    if found.curves:
        _show_column(view, found, reference, answer)


def _name_answer(found: "Reasons", contract: Contract, t: Translate) -> str:
    if not contract.is_classification:
        return shorten(contract.target)
    return t("probability.of", name=shorten(contract.class_names[found.output]))


def build_swarm(found: "Reasons", reference: Reference, contract: Contract, t: Translate) -> tuple[list[str], pd.DataFrame]:
    """Return the names of the columns that move answers most, and a row per point of ``draw_swarm``."""
    from mlops_project.modeling.reasons import set_apart

    order = np.argsort(-np.abs(found.contributions).mean(axis=0), kind="stable")[:SHOWN].tolist()
    labels = distinct([shorten(contract.names[place], 30) for place in order])
    parts = []
    for label, place in zip(labels, order, strict=True):
        feature, by = contract.features[place], found.contributions[:, place]
        part = {
            "name": label,
            "by": by,
            "apart": set_apart(by, found.contributions),
            "height": found.heights[:, place],
            "value": _write_values(feature, found, reference, t),
        }
        parts.append(pd.DataFrame(part))
    return labels, pd.concat(parts, ignore_index=True)


def _write_values(feature: Feature, found: "Reasons", reference: Reference, t: Translate) -> list[str]:
    column = reference.columns[feature.name]
    return [format_value(to_plain(column[row], feature), feature, t) for row in found.rows.tolist()]


def _show_column(view: View, found: "Reasons", reference: Reference, answer: str) -> None:
    t, contract = view.t, view.model.contract
    curves = {curve.feature.name: curve for curve in found.curves}
    name = st.selectbox(t("column"), list(curves), key=f"summary column/{view.model.digest[:12]}")
    curve = curves[name]
    feature, title = curve.feature, shorten(name)
    kind: charts.Kind = "nominal" if not is_measured(feature) else "temporal" if feature.type == "datetime" else "quantitative"
    place = contract.names.index(name)
    values = reference.columns[name][found.rows]
    shown = _write_values(feature, found, reference, t) if kind == "nominal" else pd.Series(values)
    points = pd.DataFrame({"x": shown, "by": found.contributions[:, place]}).dropna()
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader(t("summary.dependence"), anchor=False)
        chart = draw_dependence(points, (title, t("summary.by", answer=answer)), kind, t)
        st.altair_chart(chart, width="stretch")
        st.caption(t("summary.dependence.lead"))
    with right:
        st.subheader(t("summary.partial"), anchor=False)
        st.altair_chart(draw_spread(_build_spread(curve, kind, t), (title, answer), kind, t), width="stretch")
        st.caption(t("summary.partial.lead"))


def _build_spread(curve: "Curve", kind: charts.Kind, t: Translate) -> pd.DataFrame:
    values = [format_value(value, curve.feature, t) for value in curve.values] if kind == "nominal" else list(curve.values)
    shown: pd.Series[Any] = pd.Series(values)
    if kind == "temporal":
        shown = shown.astype("datetime64[s]")
    return pd.DataFrame({"x": shown, "y": curve.means, "low": curve.low, "high": curve.high})
