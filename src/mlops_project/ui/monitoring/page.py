"""Monitoring: is the model still what it was, what changed, and what was done about it."""

import os
from datetime import UTC, datetime, timedelta

import streamlit as st

from mlops_project.config import Config
from mlops_project.errors import TrackingError
from mlops_project.monitoring.reasons import format_duration
from mlops_project.monitoring.report.summary import format_percent, to_sentence
from mlops_project.monitoring.results import Alert, Drift, Evaluation, MetricValue, Reason, Source
from mlops_project.ui.clock import find_zone, write_moment
from mlops_project.ui.format import LOSSES, escape
from mlops_project.ui.language import Translate, name_metric
from mlops_project.ui.monitoring import charts
from mlops_project.ui.monitoring.changes import show_changes
from mlops_project.ui.monitoring.evaluations import (
    MONITOR_VARIABLE,
    Mark,
    describe_window,
    find_changes_of_version,
    find_first_changes,
    find_watched,
    is_stale,
    judge_level,
    link_report,
    list_points,
    list_shares,
)
from mlops_project.ui.monitoring.timeline import LOOKS, Entry, build_entries, derive, find_marks
from mlops_project.ui.monitoring.watcher import EvaluationWatcher, Snapshot
from mlops_project.ui.reasons import explain
from mlops_project.ui.registry import Registered, read_registry
from mlops_project.ui.view import View, open_view, write_command

REFRESH_SECONDS = 10.0
BOXES = {
    "none": (st.info, ":material/hourglass_empty:", "verdict.none"),
    "quiet": (st.success, ":material/check_circle:", "verdict.quiet"),
    "changed": (st.info, ":material/visibility:", "verdict.changed"),
    "drift": (st.warning, ":material/waves:", "verdict.alert"),
    "loss": (st.error, ":material/trending_down:", "verdict.alert"),
}
MAX_ENTRIES = 15


def show() -> None:
    """Draw the page."""
    view = open_view()
    t = view.t
    st.title(t("page.monitoring"))
    st.markdown(t("monitoring.lead", model=escape(view.model.name)))
    watcher = _find_watcher(view.config.monitoring_dir, os.environ.get(MONITOR_VARIABLE, ""), view.model.name)
    seen, registered = watcher.read(), _ask_registry(view)
    _show_verdict(view, seen)
    if seen.newest is not None:
        _show_window(view, seen, seen.newest, watcher)
        _show_metrics(view, seen.newest)
        _show_over_time(view, seen, registered)
        show_changes(seen.newest, find_first_changes(seen.evaluations), view.model.contract, t)
    st.header(t("timeline"), anchor=False)
    _show_timeline(registered, seen, t)
    _watch(view, watcher, _stamp(seen, view.config), _newest_entry(registered))


@st.cache_resource(show_spinner=False, max_entries=32)
def _find_watcher(place: str, address: str, model: str) -> EvaluationWatcher:
    return EvaluationWatcher(place, address, model)


def _ask_registry(view: View) -> Registered | str:
    """Return what the registry holds, or why it cannot be asked; empty if it is not in use."""
    if not view.config.tracking.enabled:
        return ""
    try:
        return read_registry(view.config, view.model.name)
    except TrackingError as error:
        return str(error)


def _stamp(seen: Snapshot, config: Config) -> tuple[object, ...]:
    """Return what must differ before the page is drawn anew."""
    newest = seen.newest
    when = newest and (newest.end, newest.version, newest.evaluated_at, is_stale(newest, config, datetime.now(UTC)))
    return when, seen.running, seen.is_watched, seen.next_window, seen.failure, tuple(seen.problems.items())


def _newest_entry(registered: Registered | str) -> str | None:
    """Return when something happened last; empty if nothing ever did, None if nobody can tell."""
    if isinstance(registered, str):
        return None
    return registered.history[0].at if registered.history else ""


@st.fragment(run_every=REFRESH_SECONDS)
def _watch(view: View, watcher: EvaluationWatcher, stamp: tuple[object, ...], newest: str | None) -> None:
    """Look now and then whether there is anything new; what did not change is neither read nor drawn again.

    A registry that cannot be asked is left alone until the page is drawn anew: each question would cost a timeout.
    """
    st.caption(view.t("refreshed", seconds=f"{REFRESH_SECONDS:g}"))
    if _stamp(watcher.read(), view.config) != stamp or (newest is not None and _newest_entry(_ask_registry(view)) != newest):
        st.rerun(scope="app")


# The verdict ------------------------------------------------------------------------------------------------------------------


def _show_verdict(view: View, seen: Snapshot) -> None:
    t, newest = view.t, seen.newest
    if newest is not None and is_stale(newest, view.config, datetime.now(UTC)):
        words = t("verdict.stale", at=write_moment(newest.evaluated_at, t, minutes=True))
        cure = _describe_next(view, seen) or t("stale.cure", rows=view.config.monitoring.min_rows)
        st.warning(f"**{words}** {cure}", icon=":material/history_toggle_off:")
    level, alert = judge_level(newest)
    draw, icon, key = BOXES[level]
    sentence = f"**{t(key, what=t(f'alert.{alert.name}') if alert else '')}** {_explain(view, newest, alert)}"
    draw(f"{sentence}\n\n{_advise(alert, t)}" if alert else sentence, icon=icon)
    if newest is None:
        _show_start(view, seen)
    for other in newest.alerts if newest else ():
        if other is not alert:
            icon = ":orange[:material/warning:]" if other.firing else ":gray[:material/visibility:]"
            title = _capitalise(t(f"alert.{other.name}"))
            st.markdown(f"{icon} **{title}** · {_explain(view, newest, other)}  \n{_advise(other, t)}")
    if seen.running:
        st.info(t("retraining.runs"), icon=":material/model_training:")
    if seen.failure:
        st.warning(t("monitor.down", reason=escape(to_sentence(seen.failure))), icon=":material/cloud_off:")
    for subject, reason in seen.problems.items():
        st.warning(t("monitor.problem", subject=escape(subject), reason=escape(reason)), icon=":material/report:")


def _explain(view: View, newest: Evaluation | None, alert: Alert | None) -> str:
    """Say for how long an alert is so and why; for a quiet window, what its figures are."""
    if newest is None:
        return ""
    if alert is None:
        said = [explain(found.reasons, found.reason, view.t) for found in (newest.performance, newest.drift)]
        return " ".join(escape(to_sentence(reason)) for reason in said if reason)
    needed = view.config.monitoring.consecutive
    key = "firing" if alert.firing else "pending"
    long = view.t(key, windows=alert.windows, since=write_moment(alert.since, view.t, minutes=True), needed=needed)
    return f"{_capitalise(long)}. {escape(to_sentence(explain(alert.reasons, alert.reason, view.t)))}"


def _advise(alert: Alert, t: Translate) -> str:
    step = t(f"step.{alert.name}", retrain=write_command("retrain"), rollback=write_command("rollback"))
    return f":material/arrow_forward: {step}"


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _show_start(view: View, seen: Snapshot) -> None:
    t, settings = view.t, view.config.monitoring
    if not view.config.prediction_log.enabled:
        st.markdown(t("none.log"))
        return
    if seen.is_watched:
        st.markdown(_describe_next(view, seen))
    else:
        st.markdown(t("none.cure", up=write_command("up")))
        st.code(write_command("monitor"), language="sh")
    log = t.number(view.config.prediction_log.segment_seconds)
    words = [t("none.window", minutes=t.number(settings.every_minutes), rows=settings.min_rows, log=log)]
    if settings.every_rows:
        words.append(t("none.rows", rows=settings.every_rows))
    st.caption(" ".join(words))


def _describe_next(view: View, seen: Snapshot) -> str:
    """Say how far the window has come that ends next, and when its verdict is to be expected; empty if no monitor answers."""
    t, found = view.t, seen.next_window
    if not seen.is_watched:
        return ""
    if found is None or not found.start:
        return t("next.none", log=t.number(view.config.prediction_log.segment_seconds))
    begun = t("next.begun", start=write_moment(found.start, t, minutes=True), rows=found.rows, version=escape(found.version))
    if not found.end:
        return f"{begun} {t('next.open', missing=found.needed - found.rows, needed=found.needed)}"
    delay = view.config.prediction_log.segment_seconds + view.config.monitoring.poll_seconds
    at = datetime.fromisoformat(found.end) + timedelta(seconds=delay)
    return f"{begun} {t('next.verdict', at=write_moment(at.isoformat(), t, minutes=True))}"


def _write_span(newest: Evaluation, t: Translate) -> str:
    """Return when a window began and ended, in UTC and by the visitor's clock."""
    zone = find_zone()
    span, local = (
        t("span", low=start, high=end) for start, end in (describe_window(newest), describe_window(newest, zone or UTC))
    )
    return f"{span} UTC" if local == span else f"{span} UTC ({t('here', time=local)})"


def _show_window(view: View, seen: Snapshot, newest: Evaluation, watcher: EvaluationWatcher) -> None:
    t = view.t
    words = t("window", version=escape(newest.version), span=_write_span(newest, t), at=write_moment(newest.evaluated_at, t))
    if view.model.version and view.model.version != newest.version:
        words = f"{words} {t('window.other', now=escape(view.model.version))} {_describe_next(view, seen)}"
    st.caption(words)
    with st.container(horizontal=True):
        address = link_report(dict(os.environ), newest.model)
        if address:
            st.link_button(t("report.open"), address, icon=":material/open_in_new:")
        name = f"{newest.model}-monitoring.html"
        st.download_button(
            t("report.download"), watcher.read_report, name, "text/html", icon=":material/download:", on_click="ignore"
        )


# Figures ----------------------------------------------------------------------------------------------------------------------


def _show_metrics(view: View, newest: Evaluation) -> None:
    t, performance = view.t, newest.performance
    with st.container(horizontal=True):
        seconds = (datetime.fromisoformat(newest.end) - datetime.fromisoformat(newest.start)).total_seconds()
        span = t("window.rows.span", time=t.localise(format_duration(seconds)))
        _show_figure(t("window.rows"), t.number(newest.rows), span, t("window.rows.help"))
        for source in ("live", "estimated"):
            reason = performance.live_reason if source == "live" else performance.estimated_reason
            _show_metric(t, performance.metric, source, find_watched(performance, source), reason)
        coverage, delay = performance.label_coverage, performance.label_delay_seconds
        after = "" if delay is None else t("labels.delay", delay=t.localise(format_duration(delay)))
        _show_figure(t("labels"), "-" if coverage is None else t.localise(format_percent(coverage)), after, t("labels.help"))
    if newest.drift.features:
        _show_drift(view, newest.drift)


def _show_drift(view: View, drift: Drift) -> None:
    t, count = view.t, len(drift.features)
    with st.container(horizontal=True):
        changed = t("share.count", changed=sum(item.drifted for item in drift.features), all=count)
        words = t("share.help", limit=t.localise(format_percent(view.config.monitoring.drift_share)))
        _show_figure(t("share"), t.localise(format_percent(drift.share)), changed, words)
        if drift.domain is not None:
            limit = t.localise(f"{drift.domain.threshold:.3f}")
            value = f"AUC {t.localise(f'{drift.domain.auc:.3f}')}"
            _show_figure(t("domain"), value, t("domain.limit", limit=limit), t("domain.help", limit=limit))
        faulty = sum(bool(item.quality) for item in drift.features)
        _show_figure(t("faulty"), t.number(faulty), t("faulty.all", all=count), t("faulty.help"))


def _show_figure(label: str, value: str, note: str, words: str) -> None:
    """Draw a figure with a note in grey where others have their change."""
    st.metric(label, value, note or None, delta_color="off", delta_arrow="off", help=words, border=True)


def _show_metric(t: Translate, metric: str, source: Source, found: MetricValue | None, reason: Reason | None) -> None:
    label = _capitalise(t("metric.of", metric=name_metric(t, metric), source=t(source)))
    if found is None:
        words = t(f"metric.none.{source}") if reason is None else explain((reason,), "", t)
        st.metric(label, "-", help=words, border=True)
        return
    low, high, reference = (t.number(value, 3) for value in (found.low, found.high, found.reference))
    st.metric(
        label,
        t.number(found.value, 3),
        t.localise(f"{found.value - found.reference:+.3g}"),
        delta_color="off" if not found.lost else "inverse" if metric in LOSSES else "normal",
        delta_description=t("metric.bounds", low=low, high=high),
        help=t("metric.help", low=low, high=high, rows=found.rows, reference=reference),
        border=True,
    )


def _show_over_time(view: View, seen: Snapshot, registered: Registered | str) -> None:
    t, newest = view.t, seen.newest
    if newest is None:
        return
    st.header(t("over.time"), anchor=False)
    marks = [(mark, t(f"mark.{mark.kind}", version=mark.version)) for mark in _find_marks(seen, registered)]
    first, last = (datetime.fromisoformat(instant) for instant in (seen.evaluations[0].start, newest.end))
    span = first, max([last, *(mark.at for mark, _ in marks)])
    points, shares = list_points(seen.evaluations), list_shares(seen.evaluations)
    left, right = st.columns(2, gap="large")
    with left:
        metric = _capitalise(name_metric(t, newest.performance.metric))
        st.markdown(t("metric.time", metric=metric))
        if points.empty:
            st.caption(t("metric.time.none"))
        else:
            st.altair_chart(charts.draw_metric(points, marks, span, metric, t), width="stretch")
    with right:
        st.markdown(t("share.time"))
        limit = view.config.monitoring.drift_share
        st.altair_chart(charts.draw_share(shares, marks, span, limit, t), width="stretch")
    if newest.performance.assumptions:
        with st.expander(t("assumptions"), icon=":material/help:"):
            found = newest.performance
            lines = [explain((reason,), "", t) for reason in found.assumed] or found.assumptions
            st.markdown("\n".join(f"- {escape(to_sentence(text))}" for text in lines))


def _find_marks(seen: Snapshot, registered: Registered | str) -> list[Mark]:
    if isinstance(registered, str) or not registered.moves:
        return find_changes_of_version(seen.evaluations)
    return find_marks(registered, seen.evaluations[0].start)


# Timeline ---------------------------------------------------------------------------------------------------------------------


def _show_timeline(registered: Registered | str, seen: Snapshot, t: Translate) -> None:
    if isinstance(registered, str) and registered:
        st.warning(t("registry.down", reason=escape(registered)), icon=":material/cloud_off:")
    entries = [] if isinstance(registered, str) else build_entries(registered)
    if not entries:
        entries = derive(seen.evaluations, t)
        if entries:
            st.caption(t("timeline.derived"))
    if not entries:
        st.caption(t("timeline.empty"))
        return
    every = len(entries) <= MAX_ENTRIES or st.toggle(t("timeline.all", count=len(entries)), key="whole timeline")
    with st.container(border=True):
        st.markdown("\n\n".join(_write_entry(entry, t) for entry in entries[: None if every else MAX_ENTRIES]))


def _write_entry(entry: Entry, t: Translate) -> str:
    icon, colour = LOOKS[entry.kind]
    facts = [f"**{t(f'event.{entry.kind}')}**"]
    facts += [t("version", version=escape(entry.version))] if entry.version else []
    facts += [write_moment(entry.at, t), *([escape(entry.who)] if entry.who else [])]
    head = f":{colour}[:material/{icon}:] {' · '.join(facts)}"
    return f"{head}  \n:small[:gray[{escape(entry.why)}]]" if entry.why else head


if __name__ == "__main__":
    show()
