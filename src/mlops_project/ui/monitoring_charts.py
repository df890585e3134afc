"""The charts of the Monitoring page: a metric and the drift over time, and a feature's reference against now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mlops_project.monitoring.results import Bins
from mlops_project.ui.charts import BLUE, GREEN, GREY, LABEL_WIDTH, ORANGE, PERCENT, ROW_HEIGHT, distinct, finish
from mlops_project.ui.monitoring import Mark

Marks = Sequence[tuple[Mark, str]]  # oldest first, each with its text
Span = tuple[datetime, datetime]
SOURCES = ("live", "estimated")
MAX_POINTS = 60  # of a line; more are a smear
MAX_NAMED = 8  # marks with their text, the newest; more would lie on each other
HEIGHT = 300
DAY = dict.fromkeys(("month", "quarter", "week", "day", "date"), "%m-%d")
CLOCK = {"year": "%Y", **DAY, "hours": "%H:%M", "minutes": "%H:%M", "seconds": "%H:%M:%S"}  # by the tick's own unit


def draw_metric(points: pd.DataFrame, marks: Marks, span: Span, names: tuple[str, str, str]) -> Any:
    """Draw a metric over time, live and estimated, each with its interval, and the value on the held-out rows.

    Parameters
    ----------
    points
        From ``monitoring.list_points``; not empty.
    marks
        When the champion changed, and what to write there.
    span
        The time to show.
    names
        What live, estimated and the held-out rows are called.
    """
    called = dict(zip(SOURCES, names, strict=False))
    frame = points.assign(source=points["source"].map(called))
    present = [called[source] for source in SOURCES if source in set(points["source"])]
    palette = dict(zip(names, (BLUE, ORANGE), strict=False))
    scale = alt.Scale(domain=present, range=[palette[name] for name in present])
    colour = alt.Color("source:N", scale=scale, legend=alt.Legend(title=None, orient="top", symbolOpacity=1))
    tips: list[Any] = ["source:N", alt.Tooltip("when:N", title=" "), alt.Tooltip("version:N", title="v")]
    tips += [alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("value", "low", "high")]
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    base = alt.Chart(frame).encode(x=_time_axis(span), color=colour, detail="run:N", tooltip=tips)
    lonely = alt.Chart(frame[~frame["run"].duplicated(keep=False)]).encode(x="end:T", color=colour)
    layers = [
        base.mark_area(opacity=0.18, line=False).encode(y=alt.Y("low:Q", scale=alt.Scale(zero=False)), y2="high:Q"),
        lonely.mark_rule(strokeWidth=3, opacity=0.35).encode(y="low:Q", y2="high:Q"),
        _draw_reference(points, names[2]),
        base.mark_line(strokeWidth=2.5).encode(y=y),
        base.mark_circle(size=45 if len(points) <= 2 * MAX_POINTS else 0, opacity=1).encode(y=y),
        *_draw_marks(marks),
    ]
    return finish(alt.layer(*layers), HEIGHT)


def draw_share(shares: pd.DataFrame, marks: Marks, span: Span, limit: float, name: str) -> Any:
    """Draw the share of the features that changed over time, and from where on a window counts as drifted.

    Parameters
    ----------
    shares
        From ``monitoring.list_shares``; not empty.
    marks, span
        As for ``draw_metric``.
    limit
        ``monitoring.drift_share``, in (0, 1].
    name
        What the limit is called.
    """
    top = min(1.0, max(3 * limit, 1.15 * float(shares["share"].max())))
    y = alt.Y("share:Q", title=None, stack=None, scale=alt.Scale(domain=[0, top]), axis=alt.Axis(format="%", tickCount=5))
    tips = [
        alt.Tooltip("when:N", title=" "),
        alt.Tooltip("version:N", title="v"),
        alt.Tooltip("share:Q", format=PERCENT, title=" "),
    ]
    base = alt.Chart(shares).encode(x=_time_axis(span), y=y, detail="version:N", tooltip=tips)
    colour = alt.when("datum.drifted").then(alt.value(ORANGE)).otherwise(alt.value(BLUE))
    level = alt.Chart(pd.DataFrame({"share": [limit], "name": name}))
    rule = level.mark_rule(color=ORANGE, strokeDash=[5, 4], strokeWidth=2).encode(y="share:Q", tooltip="name:N")
    lines = base.mark_area(color=BLUE, opacity=0.15) + base.mark_line(color=BLUE, strokeWidth=2.5)
    points = base.mark_circle(size=70 if len(shares) <= MAX_POINTS else 30, opacity=1).encode(color=colour)
    return finish(alt.layer(lines, rule, points, *_draw_marks(marks)), HEIGHT)


def _time_axis(span: Span) -> Any:
    scale = alt.Scale(type="utc", domain=[_to_vega(instant.astimezone(UTC)) for instant in span])
    axis = alt.Axis(tickCount=6, labelOverlap=True, labelFlush=False, format=CLOCK)
    return alt.X("end:T", title=None, scale=scale, axis=axis)


def _to_vega(instant: datetime) -> Any:
    day = {"year": instant.year, "month": instant.month, "date": instant.day}
    clock = {"hours": instant.hour, "minutes": instant.minute, "seconds": instant.second}
    return alt.DateTime(**day, **clock, milliseconds=instant.microsecond // 1000, utc=True)


def _draw_reference(points: pd.DataFrame, name: str) -> Any:
    """A level per window: each version has a value of its own on the held-out rows."""
    tips = [alt.Tooltip("name:N", title=" "), alt.Tooltip("reference:Q", format=".4~g", title=" ")]
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
    base = alt.Chart(frame).encode(x="end:T", tooltip=[alt.Tooltip("text:N", title=" "), alt.Tooltip("when:N", title=" ")])
    rules = base.mark_rule(strokeWidth=2, strokeDash=[2, 2]).encode(color=alt.Color("colour:N", scale=None))
    named = alt.Chart(frame.tail(MAX_NAMED)).encode(x="end:T")
    words = named.mark_text(align="left", dx=4, baseline="top", fontWeight="bold")
    return [rules, words.encode(y=alt.value(2), text="text:N", color=alt.Color("colour:N", scale=None))]


def draw_bins(bins: Bins, names: tuple[str, str], unit: str = "") -> Any:
    """Draw reference beside current window: numbers as upright bars in their order, categories as lying ones.

    Parameters
    ----------
    names
        What reference and current window are called.
    unit
        Of the numbers.
    """
    labels = distinct(bins.labels)
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
    tips = [alt.Tooltip("bin:N", title=" "), "who:N", alt.Tooltip("share:Q", format=PERCENT), "rows:Q"]
    base = alt.Chart(pd.DataFrame(rows)).mark_bar(cornerRadiusEnd=2).encode(color=colour, tooltip=tips)
    axis = alt.Axis(format="%", tickCount=5)
    if bins.edges:
        place = alt.X("bin:N", sort=None, title=unit or None, axis=alt.Axis(labelAngle=-45, labelLimit=120, labelOverlap=False))
        chart = base.encode(x=place, xOffset=alt.XOffset("who:N", sort=list(names)), y=alt.Y("share:Q", title=None, axis=axis))
        return finish(chart, HEIGHT + 40)
    lying = alt.Y("bin:N", sort=None, title=None, axis=alt.Axis(labelLimit=LABEL_WIDTH, labelOverlap=False, ticks=False))
    chart = base.encode(y=lying, yOffset=alt.YOffset("who:N", sort=list(names)), x=alt.X("share:Q", title=None, axis=axis))
    return finish(chart, ROW_HEIGHT * max(len(filled), 3) + 70)
