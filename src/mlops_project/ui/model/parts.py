"""Parts of the held-out rows, by the values of a column: how good the model is there, with intervals, and what was found."""

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from mlops_project.bundle import Bundle
from mlops_project.config import Config
from mlops_project.findings import Finding
from mlops_project.names import distinct, shorten
from mlops_project.ui.catalogue import Model
from mlops_project.ui.format import escape
from mlops_project.ui.language import Translate, name_metric
from mlops_project.ui.model.charts import draw_parts
from mlops_project.ui.model.quality import CACHED, find_weights, predict_reference
from mlops_project.ui.view import View

if TYPE_CHECKING:
    from mlops_project.modeling.evaluation import SliceScore

COLUMNS = ("name", "rows", "value", "low", "high", "small")
CODES = ("worse-in-part", "unequal-errors")  # findings about parts
ICONS = {"error": ":red[:material/error:]", "warning": ":orange[:material/warning:]", "note": ":gray[:material/info:]"}


def show_parts(view: View, bundle: Bundle) -> None:
    """Draw a metric of the parts that a column cuts the rows into."""
    t, contract = view.t, view.model.contract
    if predict_reference(view.model) is None:
        st.info(t("plots.none"), icon=":material/visibility_off:")
        return
    st.header(t("parts"), anchor=False)
    st.markdown(t("parts.lead"))
    columns = order_columns(bundle)
    left, right = st.columns(2, gap="large")
    with left:
        column = st.selectbox(t("column"), columns, key=f"part/{view.model.digest[:12]}")
    with right:
        names = _list_metrics(contract.task)
        metric = st.selectbox(
            t("metric"), names, format_func=lambda name: name_metric(t, name), key=f"part metric/{contract.task}"
        )
    whole, parts = score_parts(view.model, view.config, column, metric)
    if not parts:
        st.info(t("parts.none"))
        return
    frame = _build_frame(parts, metric)
    st.altair_chart(draw_parts(frame, whole, name_metric(t, metric), t), width="stretch")
    st.caption(t("parts.caption", rows=_few()))
    st.dataframe(_build_table(frame, metric, t), hide_index=True, width="stretch")
    found = [finding for finding in bundle.metadata.findings if finding.code in CODES]
    if found:
        st.subheader(t("parts.found"), anchor=False)
        show_findings(found)


def order_columns(bundle: Bundle) -> list[str]:
    """Return the columns, first those that the model was judged by: its groups, slices, and what was found."""
    settings, names = bundle.metadata.config, bundle.contract.names
    found = [name for finding in bundle.metadata.findings if finding.code in CODES for name in finding.columns]
    asked = [*settings.get("checks", {}).get("groups", ()), *settings.get("evaluation", {}).get("slices", ()), *found]
    return list(dict.fromkeys([*(name for name in asked if name in names), *names]))


def _list_metrics(task: str) -> list[str]:
    from mlops_project.modeling.metrics import PRIMARY, metrics_of

    first = PRIMARY[task]  # type: ignore[index]  # a contract's task
    return sorted(metrics_of(task), key=lambda name: name != first)  # type: ignore[arg-type]


def _few() -> int:
    from mlops_project.modeling.evaluation import SMALL_SLICE_ROWS

    return SMALL_SLICE_ROWS


JUDGED: dict[Any, Any] = {Model: attrgetter("digest"), Config: lambda config: str(config.evaluation)}


@st.cache_data(max_entries=CACHED, show_spinner=False, hash_funcs=JUDGED)
def score_parts(model: Model, config: Config, column: str, metric: str) -> "tuple[float, list[SliceScore]]":
    """Return a metric on all reference rows, and on the parts that training cuts a column into. Cached.

    Parts in which the metric is not defined are left out.
    """
    from mlops_project.modeling.evaluation import score_slices
    from mlops_project.modeling.metrics import compute_metric, score_rows

    found, reference = predict_reference(model), model.reference
    if found is None or reference is None:
        return float("nan"), []
    contract = model.contract
    scored = score_rows(*found, contract, find_weights(model))
    slices = pd.DataFrame({column: reference.columns[column]})
    parts = [part for part in score_slices(scored, slices, contract.task, config, (metric,)) if metric in part.metrics]
    return compute_metric(metric, scored, contract.task), parts


def _build_frame(parts: "list[SliceScore]", metric: str) -> pd.DataFrame:
    labels = distinct([shorten(part.value, 40) for part in parts])
    rows = [
        {
            "name": label,
            "rows": part.rows,
            "value": part.metrics[metric],
            "low": part.intervals.get(metric, (part.metrics[metric],) * 2)[0],
            "high": part.intervals.get(metric, (part.metrics[metric],) * 2)[1],
            "small": part.small,
        }
        for label, part in zip(labels, parts, strict=True)
    ]
    return pd.DataFrame(rows)


def _build_table(frame: pd.DataFrame, metric: str, t: Translate) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                t("part"): name,
                t("rows"): rows,
                name_metric(t, metric): t.number(value, 4),
                t("interval"): t("span", low=t.number(low, 4), high=t.number(high, 4)),
                t("parts.few"): t("yes") if small else "",
            }
            for name, rows, value, low, high, small in zip(*(frame[column].tolist() for column in COLUMNS), strict=True)
        ]
    )


def show_findings(found: list[Finding]) -> None:
    """List what training found, each with its code, which ``docs/checks.md`` explains."""
    for finding in found:
        mark = ":gray[:material/check:]" if finding.accepted else ICONS[finding.severity]
        st.markdown(f"{mark} `{finding.code}` {escape(finding.sentence)}")
