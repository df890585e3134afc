"""Model: how good it is, what it looks at, what it was made of, and its versions."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from mlops_project.bundle import CONFIG_FILE, Bundle
from mlops_project.comparison import Comparison
from mlops_project.contract import Contract
from mlops_project.errors import TrackingError
from mlops_project.ui import charts
from mlops_project.ui.address import note, recall
from mlops_project.ui.clock import list_moment, write_moment
from mlops_project.ui.format import LOSSES, escape
from mlops_project.ui.inputs import describe_inputs
from mlops_project.ui.language import Translate, name_metric
from mlops_project.ui.model.cells import show_matrix, show_rows
from mlops_project.ui.model.decisions import show_decisions
from mlops_project.ui.model.parts import show_findings, show_parts
from mlops_project.ui.model.quality import (
    compute_calibration,
    compute_class_curves,
    compute_importances,
    predict_reference,
)
from mlops_project.ui.model.rivals import show_comparison
from mlops_project.ui.model.summary import show_summary
from mlops_project.ui.registry import Registered, find_mlflow, link_run, link_version, read_registry
from mlops_project.ui.view import View, open_view, require_bundle
from mlops_project.uncertainty import Uncertainty

if TYPE_CHECKING:
    from mlops_project.tracking.versions import Standing

CARD_FILE, REPORT_FILE = "README.md", "report.html"
SHARES = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc")
MAX_IMPORTANCES, MAX_METRICS = 20, 5


def show() -> None:
    """Draw the page."""
    view = open_view()
    t = view.t
    st.title(t("page.model"))
    require_bundle(view)
    bundle = view.model.bundle
    if bundle is None:
        return
    metadata = bundle.metadata
    words = {"estimator": metadata.estimator.replace("_", " "), "target": metadata.contract.target}
    lead = t("model.lead", date=write_moment(metadata.created_at, t), **{key: escape(word) for key, word in words.items()})
    st.markdown(lead)
    _show_links(view, bundle)
    sections: dict[str, Callable[[View, Bundle], None]] = {
        "quality": _show_quality,
        "decisions": lambda view, _: show_decisions(view),
        "parts": show_parts,
        "features": _show_features,
        "data": _show_data,
        "card": _show_card,
        "versions": _show_versions,
    }
    if metadata.contract.task != "binary":
        del sections["decisions"]
    chosen = st.segmented_control(
        t("section"),
        list(sections),
        default=recall("section", sections, "quality"),
        required=True,
        key="section",
        format_func=lambda name: t(f"tab.{name}"),
        label_visibility="collapsed",
    )
    note("section", chosen or "quality", "quality")
    sections[chosen or "quality"](view, bundle)


def _show_links(view: View, bundle: Bundle) -> None:
    tracking = bundle.read_tracking()
    mlflow = find_mlflow(tracking.tracking_uri)
    with st.container(horizontal=True):
        if mlflow and tracking.run_id:
            st.link_button(view.t("mlflow.run"), link_run(mlflow, tracking), icon=":material/open_in_new:")
        if mlflow and tracking.model_version:
            address = link_version(mlflow, bundle.metadata.name, tracking.model_version)
            st.link_button(view.t("mlflow.version"), address, icon=":material/open_in_new:")
        if REPORT_FILE in bundle.metadata.files:
            name = f"{bundle.metadata.name}-report.html"
            st.download_button(
                view.t("report"), (bundle.path / REPORT_FILE).read_bytes, name, icon=":material/download:", on_click="ignore"
            )


def _show_quality(view: View, bundle: Bundle) -> None:
    t, metadata = view.t, bundle.metadata
    st.header(t("metrics"), anchor=False)
    st.caption(t("metrics.lead", rows=metadata.test_rows))
    left, right = st.columns(2, gap="large")
    shares = [name for name in metadata.metrics if name in SHARES]
    with left:
        st.dataframe(_list_metrics(bundle, t), hide_index=True, width="stretch")
    with right:
        if shares:
            bounds = [metadata.metric_intervals.get(name, (metadata.metrics[name],) * 2) for name in shares]
            names = [name_metric(t, name) for name in shares]
            values = [metadata.metrics[name] for name in shares]
            st.altair_chart(charts.draw_intervals(names, values, bounds, t), width="stretch")
    if metadata.uncertainty is not None:
        _show_coverage(metadata.uncertainty, metadata.contract, t)
    if metadata.findings:
        with st.expander(t("findings", count=len(metadata.findings)), icon=":material/fact_check:"):
            st.caption(t("findings.lead"))
            show_findings(list(metadata.findings))
    if metadata.baselines:
        st.header(t("baselines"), anchor=False)
        st.caption(t("baselines.lead"))
        st.dataframe(_list_baselines(bundle, t), hide_index=True, width="stretch")
    found = predict_reference(view.model)
    if found is None:
        st.info(t("plots.none"), icon=":material/visibility_off:")
        return
    st.caption(t("plots.lead", rows=len(found[1])))
    (_show_classification if metadata.contract.is_classification else _show_regression)(view)


def _show_coverage(known: Uncertainty, contract: Contract, t: Translate) -> None:
    """Say what sets or intervals promise, and how it works out on the held-out rows."""
    checked = known.checked
    words = {
        "coverage": t.percent(known.coverage, 0),
        "found": t.percent(checked.coverage),
        "low": t.percent(checked.low),
        "high": t.percent(checked.high),
        "size": t.number(checked.size, 3),
        "abstained": t.percent(checked.abstained),
    }
    st.header(t("sure"), anchor=False)
    st.markdown(t("coverage.sets" if contract.is_classification else "coverage.intervals", **words))


def _list_metrics(bundle: Bundle, t: Translate) -> pd.DataFrame:
    metadata = bundle.metadata
    rows = []
    for name, value in metadata.metrics.items():
        low, high = metadata.metric_intervals.get(name, (None, None))
        rows.append(
            {
                t("metric"): name_metric(t, name),
                t("value"): t.number(value, 4),
                t("interval"): "" if low is None else t("span", low=t.number(low, 4), high=t.number(high, 4)),
                t("better"): t("lower" if name in LOSSES else "higher"),
            }
        )
    return pd.DataFrame(rows)


def _list_baselines(bundle: Bundle, t: Translate) -> pd.DataFrame:
    """Return the model and the trivial ones, by the metrics they are compared with."""
    metadata = bundle.metadata
    names = list(metadata.baselines[0].gains)
    rows = [
        (t("this.model"), metadata.metrics, ""),
        *((t(f"baseline.{item.name}"), item.metrics, item.description) for item in metadata.baselines),
    ]
    return pd.DataFrame(
        [
            {
                t("model"): title,
                **{name_metric(t, name): t.number(values[name], 4) for name in names if name in values},
                t("description"): about,
            }
            for title, values, about in rows
        ]
    )


def _show_classification(view: View) -> None:
    found = predict_reference(view.model)
    if found is None:
        return
    t, (predictions, truth), names = view.t, found, view.model.contract.class_names
    roc, pr = compute_class_curves(predictions, truth, names)
    series = list(dict.fromkeys(roc["series"]))
    top, opened, bottom = st.columns(2, gap="large"), st.container(), st.columns(2, gap="large")
    with top[0]:
        st.subheader(t("confusion"), anchor=False)
        cell = show_matrix(view, predictions, truth, "quality")
    with top[1]:
        st.subheader(t("calibration"), anchor=False)
        st.altair_chart(charts.draw_calibration(compute_calibration(predictions, truth), t), width="stretch")
    with opened:
        show_rows(view, predictions, truth, cell, "quality")
    with bottom[0]:
        st.subheader(t("roc"), anchor=False)
        st.altair_chart(charts.draw_lines(roc, (t("roc.x"), t("roc.y"), t("roc")), series, t, t("guessing")), width="stretch")
    with bottom[1]:
        st.subheader(t("pr"), anchor=False)
        st.altair_chart(charts.draw_lines(pr, (t("pr.x"), t("pr.y"), t("pr")), series, t), width="stretch")


def _show_regression(view: View) -> None:
    found = predict_reference(view.model)
    if found is None:
        return
    t, (predictions, truth) = view.t, found
    frame = pd.DataFrame({"x": truth, "y": predictions.values})
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader(f"{t('predicted')} / {t('actual')}", anchor=False)
        st.altair_chart(charts.draw_points(frame, (t("actual"), t("predicted")), t, square=True), width="stretch")
    with right:
        st.subheader(t("residuals"), anchor=False)
        errors = pd.DataFrame({"x": frame["y"], "y": frame["y"] - frame["x"]})
        st.altair_chart(charts.draw_points(errors, (t("predicted"), t("residual")), t, square=False), width="stretch")


def _show_features(view: View, bundle: Bundle) -> None:
    t = view.t
    st.header(t("importance"), anchor=False)
    found = compute_importances(view.model, view.config)
    if found is None:
        st.info(t("importance.none"), icon=":material/visibility_off:")
    else:
        metric = name_metric(t, found.metric)
        st.caption(t("importance.lead", metric=metric, rows=found.rows, repeats=found.repeats))
        top = slice(0, MAX_IMPORTANCES)
        titles = t("importance"), metric
        chart = charts.draw_bars(found.names[top], found.means[top].tolist(), titles, t, found.deviations[top].tolist())
        st.altair_chart(chart, width="stretch")
        if found.correlated:
            names = sorted(found.correlated)
            shown = ", ".join(escape(name) for name in names[:8]) + (f" … (+{len(names) - 8})" if len(names) > 8 else "")
            st.caption(t("importance.correlated", names=shown))
    show_summary(view)
    st.header(t("inputs.table"), anchor=False)
    st.dataframe(describe_inputs(bundle.contract, t), hide_index=True, width="stretch")


def _show_data(view: View, bundle: Bundle) -> None:
    t, metadata = view.t, bundle.metadata
    rows = {
        t("source"): metadata.data_source,
        t("train.rows"): t.number(metadata.train_rows),
        t("test.rows"): t.number(metadata.test_rows),
        t("task"): metadata.contract.task,
        t("classes"): ", ".join(metadata.contract.class_names),
        t("estimator"): metadata.estimator,
        t("engine"): t(f"engine.{metadata.engine}", reason="" if metadata.python is None else metadata.python.reason),
        **list_moment(t("created"), metadata.created_at, t),
        t("commit"): metadata.git_commit or "-",
        t("digest.model"): bundle.digest,
        t("digest.data"): metadata.data_digest,
        t("digest.config"): metadata.config_digest,
        t("libraries"): ", ".join(f"{name} {version}" for name, version in metadata.libraries.items()),
    }
    st.table(pd.DataFrame({t("field"): rows.keys(), t("value"): rows.values()}).set_index(t("field")))
    if CONFIG_FILE in metadata.files:
        with st.expander(t("configuration"), icon=":material/settings:"):
            st.code((bundle.path / CONFIG_FILE).read_text(encoding="utf-8"), language="yaml")


def _show_card(view: View, bundle: Bundle) -> None:
    if CARD_FILE not in bundle.metadata.files:
        st.info(view.t("card.none"))
        return
    with st.container(border=True):
        st.markdown((bundle.path / CARD_FILE).read_text(encoding="utf-8"), unsafe_allow_html=False)


def _show_versions(view: View, bundle: Bundle) -> None:
    t = view.t
    try:
        registered = read_registry(view.config, bundle.metadata.name)
    except TrackingError as error:
        st.warning(t("registry.down", reason=escape(error)), icon=":material/cloud_off:")
        return
    if not registered.versions:
        st.info(t("registry.empty"))
        return
    from mlops_project.modeling.metrics import PRIMARY

    watched = view.config.gates.metric or PRIMARY[bundle.contract.task]
    st.header(t("against"), anchor=False)
    rivals = _show_rivals(registered, watched, t)
    if rivals is not None:
        show_comparison(view, bundle.metadata.name, rivals)
    st.header(t("versions"), anchor=False)
    rows = [
        {
            t("number"): version.number,
            t("alias"): ", ".join(t(alias) if alias in ("champion", "challenger") else alias for alias in version.aliases),
            **list_moment(t("created"), version.created_at, t),
            **{name_metric(t, name): version.metrics[name] for name in _order(version.metrics, watched)},
            t("gain"): _say_gain(version.comparison, t),
            t("gate"): version.reason,
            **({t("approval"): _say_standing(registered.standings.get(version.number), t)} if registered.standings else {}),
        }
        for version in registered.versions
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def _order(metrics: Mapping[str, float], watched: str) -> list[str]:
    """Return the metrics to show, the gate's first."""
    return sorted(metrics, key=lambda name: name != watched)[:MAX_METRICS]


def _say_standing(standing: "Standing | None", t: Translate) -> str:
    """Return how a version stands with the rule of two persons."""
    return "" if standing is None else t(f"approval.{standing.state}", user=standing.user)


def _say_gain(found: Comparison | None, t: Translate) -> str:
    """Return how much better a version was than the champion it was compared with, by the gate's metric, and the bounds."""
    if found is None:
        return ""
    gain, low, high = (t.localise(f"{number:+.4f}") for number in (found.gain, found.low, found.high))
    return f"{gain} [{low} {t('to')} {high}]" + (f", {t('number')} {found.against}" if found.against else "")


def _show_rivals(registered: Registered, watched: str, t: Translate) -> tuple[int, int] | None:
    """Draw the recorded metrics of both; return the numbers of champion and challenger, None without one of them."""
    champion, challenger = registered.find("champion"), registered.find("challenger")
    if champion is None or challenger is None or champion.number == challenger.number:
        st.caption(t("against.none"))
        return None
    names = [name for name in sorted(champion.metrics, key=lambda name: name != watched) if name in challenger.metrics]
    found = challenger.comparison if challenger.comparison and challenger.comparison.against == champion.number else None
    ours, theirs = f"{t('champion')} {champion.number}", f"{t('challenger')} {challenger.number}"
    rows = [
        {
            t("metric"): name_metric(t, name),
            ours: t.number(champion.metrics[name], 4),
            theirs: t.number(challenger.metrics[name], 4),
            t("difference"): t.localise(f"{challenger.metrics[name] - champion.metrics[name]:+.4f}"),
            t("better"): t("lower" if name in LOSSES else "higher"),
            t("gain"): _say_gain(found, t) if found and found.metric == name else "",
        }
        for name in names
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
    return champion.number, challenger.number


if __name__ == "__main__":
    show()
