"""The charts of the Monitoring page: a metric and the drift over time, and a feature's reference against now."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mlops_project.monitoring.results import Bins
from mlops_project.names import distinct
from mlops_project.palette import BLUE, GREEN, ORANGE
from mlops_project.ui.drawing import (
    GREY,
    PERCENT,
    ROW_HEIGHT,
    describe,
    finish,
    name_rows,
    sample,
    tip,
)
from mlops_project.ui.language import Translate
from mlops_project.ui.monitoring.evaluations import Mark

Marks = Sequence[tuple[Mark, str]]  # oldest first, each with its text
Span = tuple[datetime, datetime]
SOURCES = ("live", "estimated")
MAX_POINTS = 60  # of a line; more are a smear
MAX_NAMED = 8  # marks with their text, the newest; more would lie on each other
HEIGHT = 300
DAY = dict.fromkeys(("month", "quarter", "week", "day", "date"), "%m-%d")
CLOCK = {"year": "%Y", **DAY, "hours": "%H:%M", "minutes": "%H:%M", "seconds": "%H:%M:%S"}  # by the tick's own unit


def draw_metric(points: pd.DataFrame, marks: Marks, span: Span, metric: str, t: Translate) -> Any:
    """Draw a metric over time, live and estimated, each with its interval, and the value on the held-out rows.

    Parameters
    ----------
    points
        From ``monitoring.list_points``; not empty.
    marks
        When the champion changed, and what to write there.
    span
        The time to show.
    metric
        Its name.
    """
    called = {source: t(source) for source in SOURCES}
    frame = points.assign(source=points["source"].map(called))
    present = [called[source] for source in SOURCES if source in set(points["source"])]
    palette = dict(zip(called.values(), (BLUE, ORANGE), strict=True))
    scale = alt.Scale(domain=present, range=[palette[name] for name in present])
    colour = alt.Color("source:N", scale=scale, legend=alt.Legend(title=None, orient="top", symbolOpacity=1))
    tips = [tip("source:N", " "), tip("when:N", " "), tip("version:N", t("number"))]
    tips += [tip(f"{name}:Q", title, ".4~g") for name, title in (("value", metric), ("low", t("from")), ("high", t("to")))]
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    base = alt.Chart(frame).encode(x=_time_axis(span), color=colour, detail="run:N", tooltip=tips)
    lonely = alt.Chart(frame[~frame["run"].duplicated(keep=False)]).encode(x="end:T", color=colour)
    layers = [
        base.mark_area(opacity=0.18, line=False).encode(y=alt.Y("low:Q", scale=alt.Scale(zero=False)), y2="high:Q"),
        lonely.mark_rule(strokeWidth=3, opacity=0.35).encode(y="low:Q", y2="high:Q"),
        _draw_reference(points, t("held.out")),
        base.mark_line(strokeWidth=2.5).encode(y=y),
        base.mark_circle(size=45 if len(points) <= 2 * MAX_POINTS else 0, opacity=1).encode(y=y),
        *_draw_marks(marks),
    ]
    return finish(alt.layer(*layers), HEIGHT, _describe_metric(frame, marks, metric, t), t)


def _describe_metric(frame: pd.DataFrame, marks: Marks, metric: str, t: Translate) -> str:
    said = [
        (f"{source}, {when}", t.number(float(value), 3))
        for source, part in frame.groupby("source", sort=False)
        for when, value in sample(part)[["when", "value"]].itertuples(index=False)
    ]
    held_out = (t("held.out"), t.number(float(frame["reference"].iloc[-1]), 3))
    return describe(metric, [*_describe_marks(marks), held_out, *said], t)


def _describe_marks(marks: Marks) -> list[tuple[str, str]]:
    return [(text, f"{mark.at:%Y-%m-%d %H:%M}") for mark, text in marks[-2:]]


def draw_share(shares: pd.DataFrame, marks: Marks, span: Span, limit: float, t: Translate) -> Any:
    """Draw the share of the features that changed over time, and from where on a window counts as drifted.

    Parameters
    ----------
    shares
        From ``monitoring.list_shares``; not empty.
    marks, span
        As for ``draw_metric``.
    limit
        ``monitoring.drift_share``, in (0, 1].
    """
    top = min(1.0, max(3 * limit, 1.15 * float(shares["share"].max())))
    y = alt.Y("share:Q", title=None, stack=None, scale=alt.Scale(domain=[0, top]), axis=alt.Axis(format="%", tickCount=5))
    tips = [tip("when:N", " "), tip("version:N", t("number")), tip("share:Q", t("share"), PERCENT)]
    base = alt.Chart(shares).encode(x=_time_axis(span), y=y, detail="version:N", tooltip=tips)
    colour = alt.when("datum.drifted").then(alt.value(ORANGE)).otherwise(alt.value(BLUE))
    level = alt.Chart(pd.DataFrame({"share": [limit], "name": t("tolerated.share")}))
    rule = level.mark_rule(color=ORANGE, strokeDash=[5, 4], strokeWidth=2).encode(y="share:Q", tooltip=tip("name:N", " "))
    lines = base.mark_area(color=BLUE, opacity=0.15) + base.mark_line(color=BLUE, strokeWidth=2.5)
    points = base.mark_circle(size=70 if len(shares) <= MAX_POINTS else 30, opacity=1).encode(color=colour)
    said = [(when, t.percent(share)) for when, share in sample(shares)[["when", "share"]].itertuples(index=False)]
    words = describe(t("share"), [*_describe_marks(marks), (t("tolerated.share"), t.percent(limit)), *said], t)
    return finish(alt.layer(lines, rule, points, *_draw_marks(marks)), HEIGHT, words, t)


def _time_axis(span: Span) -> Any:
    scale = alt.Scale(type="utc", domain=[instant.isoformat() for instant in span])  # Vega-Lite 6 takes no numbers here
    axis = alt.Axis(tickCount=6, labelOverlap=True, labelFlush=False, format=CLOCK)
    return alt.X("end:T", title=None, scale=scale, axis=axis)


def _draw_reference(points: pd.DataFrame, name: str) -> Any:
    """A level per window: each version has a value of its own on the held-out rows."""
    tips = [tip("name:N", " "), tip("reference:Q", " ", ".4~g")]
    base = alt.Chart(points.drop_duplicates("end").assign(name=name)).mark_rule(color=GREY, strokeWidth=2)
    return base.encode(x="start:T", x2="end:T", y="reference:Q", tooltip=tips)


def _draw_marks(marks: Marks) -> list[Any]:
    if not marks:
        return []
    frame = pd.DataFrame(
        {
            "end": [1000 * mark.at.timestamp() for mark, _ in marks],
            "text": [text for _, text in marks],
            "when": [f"{mark.at:%Y-%m-%d %H:%M} UTC" for mark, _ in marks],
            "colour": [GREEN if mark.kind == "promoted" else ORANGE for mark, _ in marks],
        }
    )
    base = alt.Chart(frame).encode(x="end:T", tooltip=[tip("text:N", " "), tip("when:N", " ")])
    rules = base.mark_rule(strokeWidth=2, strokeDash=[2, 2]).encode(color=alt.Color("colour:N", scale=None))
    named = alt.Chart(frame.tail(MAX_NAMED)).encode(x="end:T")
    words = named.mark_text(align="left", dx=4, baseline="top", fontWeight="bold")
    return [rules, words.encode(y=alt.value(2), text="text:N", color=alt.Color("colour:N", scale=None))]


def draw_bins(bins: Bins, title: str, unit: str, t: Translate) -> Any:
    """Draw reference beside current window: numbers as upright bars in their order, categories as lying ones.

    Parameters
    ----------
    title
        Whose bins.
    unit
        Of the numbers.
    """
    names = t("reference.rows"), t("this.window")
    labels = distinct(translate_labels(bins, t))
    shares = [np.array(counts) / max(sum(counts), 1) for counts in (bins.reference, bins.current)]
    filled = [place for place in range(len(labels)) if shares[0][place] or shares[1][place]]
    if not bins.edges:
        filled.sort(key=lambda place: -max(shares[0][place], shares[1][place]))
    rows = [
        {"bin": labels[place], "who": name, "share": float(share[place]), "rows": counts[place]}
        for place in filled
        for name, share, counts in zip(names, shares, (bins.reference, bins.current), strict=True)
    ]
    scale = alt.Scale(domain=list(names), range=[GREY, BLUE])
    colour = alt.Color("who:N", scale=scale, legend=alt.Legend(title=None, orient="top"))
    tips = [tip("bin:N", " "), tip("who:N", " "), tip("share:Q", t("share.of.rows"), PERCENT), tip("rows:Q", t("rows"), ",")]
    base = alt.Chart(pd.DataFrame(rows)).mark_bar(cornerRadiusEnd=2).encode(color=colour, tooltip=tips)
    beside: dict[str, Any] = {"shorthand": "who:N", "sort": list(names)}
    along: dict[str, Any] = {"shorthand": "share:Q", "title": None, "axis": alt.Axis(format="%", tickCount=5)}
    said = [
        (labels[place], t("then.now", then=t.percent(shares[0][place]), now=t.percent(shares[1][place]))) for place in filled
    ]
    words = describe(f"{t('distribution')} {title}", said, t)
    if bins.edges:
        place = alt.X("bin:N", sort=None, title=unit or None, axis=alt.Axis(labelAngle=-45, labelLimit=120, labelOverlap=False))
        chart = base.encode(x=place, xOffset=alt.XOffset(**beside), y=alt.Y(**along))
        return finish(chart, HEIGHT + 40, words, t)
    chart = base.encode(y=name_rows("bin:N"), yOffset=alt.YOffset(**beside), x=alt.X(**along))
    return finish(chart, ROW_HEIGHT * max(len(filled), 3) + 70, words, t)


def translate_labels(bins: Bins, t: Translate) -> list[str]:
    """Return what each bin holds in the visitor's language; a category keeps its name whatever that is."""
    named, last = list(bins.labels), len(bins.labels) - 1
    if bins.edges:
        named = [
            t({"false": "no", "true": "yes"}[label]) if label in ("false", "true") else t.localise(label) for label in named
        ]
    elif last > 0 and named[last - 1] == "unseen":
        joined = (re.fullmatch(r"(\d+) others", label) for label in named)
        named = [t("others", count=int(found[1])) if found else label for found, label in zip(joined, named, strict=True)]
        named[last - 1] = t("unseen.value")
    if named[last] == "missing":
        named[last] = t("missing")
    return named
