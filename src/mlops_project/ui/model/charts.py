"""The charts of the page Model beyond those that other pages share: thresholds, parts of the rows, what the model goes by."""

import json
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from mlops_project.palette import BLUE, ORANGE
from mlops_project.ui.charts import Kind
from mlops_project.ui.drawing import GREY, PERCENT, ROW_HEIGHT, SERIES, describe, finish, name_rows, sample, tip, write
from mlops_project.ui.language import Translate

NUMBER = ".4~g"


def draw_thresholds(frame: pd.DataFrame, title: str, marks: dict[str, float], form: str, t: Translate) -> Any:
    """Draw what thresholds come to, and where two of them are.

    Parameters
    ----------
    frame
        ``x`` (the threshold), ``y`` and ``series``.
    title
        Of the vertical axis.
    marks
        Name → threshold; the first is drawn whole, the second dashed.
    form
        Number format of ``y``, d3's.
    """
    names = list(dict.fromkeys(frame["series"]))
    scale = alt.Scale(domain=[0, 1]) if form == PERCENT else alt.Scale(zero=True)
    colour = alt.Color(
        "series:N",
        sort=names,
        scale=alt.Scale(domain=names, range=list(SERIES[: len(names)])),
        legend=alt.Legend(title=None, orient="top", columns=2) if len(names) > 1 else None,
    )
    tips = [tip("series:N", " "), tip("x:Q", t("threshold"), ".3f"), tip("y:Q", title, form)]
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2.5, interpolate="step-after")
        .encode(
            x=alt.X("x:Q", title=t("threshold"), scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".1f")),
            y=alt.Y("y:Q", title=title, scale=scale, axis=alt.Axis(format=form)),
            color=colour,
            tooltip=tips,
        )
    )
    rules = pd.DataFrame({"x": list(marks.values()), "name": list(marks), "first": [True, False][: len(marks)]})
    dash = alt.when("datum.first").then(alt.value([1, 0])).otherwise(alt.value([5, 4]))
    named = [tip("name:N", " "), tip("x:Q", t("threshold"), ".3f")]
    here = alt.Chart(rules).mark_rule(strokeWidth=2, color=GREY).encode(x="x:Q", strokeDash=dash, tooltip=named)
    said = [(name, t.number(value, 3)) for name, value in marks.items()]
    for name, part in frame.groupby("series", sort=False):
        said += [(f"{name}, {t.number(float(x), 3)}", write(y, form, t)) for x, y in sample(part)[["x", "y"]].to_numpy()]
    return finish(here + lines, 280, describe(title, said, t), t)


def draw_parts(frame: pd.DataFrame, whole: float, title: str, t: Translate) -> Any:
    """Draw a metric of parts of the rows with intervals, beside its value on all of them.

    Parameters
    ----------
    frame
        ``name``, ``value``, ``low``, ``high`` and ``small``, whether the part has few rows: drawn hollow.
    whole
        The metric on all rows.
    title
        Its name.
    """
    tips = [tip("value:Q", title, NUMBER), tip("low:Q", t("from"), NUMBER), tip("high:Q", t("to"), NUMBER)]
    scale = alt.Scale(zero=False)
    base = alt.Chart(frame).encode(y=name_rows(order=frame["name"].tolist()), tooltip=[tip("name:N", " "), *tips])
    low = alt.X("low:Q", title=title, scale=scale)
    spans = base.mark_rule(color=BLUE, strokeWidth=3, opacity=0.45).encode(x=low, x2="high:Q")
    fill = alt.when("datum.small").then(alt.value("transparent")).otherwise(alt.value(BLUE))
    points = base.mark_point(color=BLUE, size=80, opacity=1, filled=False).encode(x=alt.X("value:Q", scale=scale), fill=fill)
    rule = alt.Chart(pd.DataFrame({"x": [whole], "what": [t("parts.all")]}))
    dashed = rule.mark_rule(color=ORANGE, strokeDash=[5, 4], strokeWidth=2)
    line = dashed.encode(x="x:Q", tooltip=[tip("what:N", " "), tip("x:Q", title, NUMBER)])
    said = [(t("parts.all"), t.number(whole, 4))]
    for name, value, low, high in frame[["name", "value", "low", "high"]].itertuples(index=False):
        said.append((name, f"{t.number(value, 4)} ({t('span', low=t.number(low, 4), high=t.number(high, 4))})"))
    return finish(line + spans + points, ROW_HEIGHT * len(frame) + 50, describe(title, said, t), t)


def draw_swarm(frame: pd.DataFrame, names: Sequence[str], title: str, t: Translate) -> Any:
    """Draw a point for every row and column: how far the column moved the row's answer, coloured by its value.

    Parameters
    ----------
    frame
        ``name``, ``by``, ``apart`` (how far from its line a point is drawn, within 0.5), ``height`` of the value among the
        rows' in [0, 1], NaN for texts and gaps, and ``value``, as text.
    names
        Of the columns, from top to bottom.
    title
        Of the horizontal axis.
    """
    tips = [tip("name:N", " "), tip("value:N", t("value")), tip("by:Q", title, f"+{NUMBER}")]
    legend = alt.Legend(title=None, orient="top", values=[0, 1], gradientLength=160, labelExpr=_name_ends(t))
    colour = alt.Color("height:Q", scale=alt.Scale(domain=[0, 1], range=[BLUE, ORANGE]), legend=legend)
    points = (
        alt.Chart(frame)
        .mark_circle(size=16, opacity=0.75)
        .encode(
            x=alt.X("by:Q", title=title, axis=alt.Axis(format=NUMBER)),
            y=name_rows(order=list(names)),
            yOffset=alt.YOffset("apart:Q", scale=alt.Scale(domain=[-0.5, 0.5])),
            color=alt.when(alt.datum.height != None).then(colour).otherwise(alt.value(GREY)),  # noqa: E711 - Vega's null
            tooltip=tips,
        )
    )
    line = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=GREY).encode(x="x:Q")
    spans = frame.groupby("name")["by"].agg(["min", "max"])
    said = [(name, t("span", low=t.number(spans["min"][name], 3), high=t.number(spans["max"][name], 3))) for name in names]
    return finish(line + points, 30 * len(names) + 90, describe(title, said, t), t)


def _name_ends(t: Translate) -> str:
    low, high = (json.dumps(t(key)) for key in ("value.low", "value.high"))
    return f"datum.value < 0.5 ? {low} : {high}"


def draw_dependence(frame: pd.DataFrame, titles: tuple[str, str], kind: Kind, t: Translate) -> Any:
    """Draw how far a column moved each row's answer against its value.

    Parameters
    ----------
    frame
        ``x`` (the value) and ``by``.
    titles
        Of the column, and of how far.
    kind
        Vega's type of ``x``; choices become lines of points.
    """
    tips = [tip("x", titles[0]), tip("by:Q", titles[1], f"+{NUMBER}")]
    points = alt.Chart(frame).mark_circle(color=BLUE, size=30, opacity=0.6)
    by = alt.X("by:Q", title=titles[1], axis=alt.Axis(format=NUMBER))
    said = [(titles[1], t("span", low=t.number(float(frame["by"].min()), 3), high=t.number(float(frame["by"].max()), 3)))]
    words = describe(titles[0], said, t)
    if kind == "nominal":
        return finish(points.encode(x=by, y=name_rows("x:N"), tooltip=tips), ROW_HEIGHT * frame["x"].nunique() + 50, words, t)
    x = alt.X("x", type=kind, title=titles[0], scale=alt.Scale(zero=False) if kind == "quantitative" else alt.Undefined)
    y = alt.Y("by:Q", title=titles[1], axis=alt.Axis(format=NUMBER))
    return finish(points.encode(x=x, y=y, tooltip=tips), 280, words, t)


def draw_spread(frame: pd.DataFrame, titles: tuple[str, str], kind: Kind, t: Translate) -> Any:
    """Draw the mean answer against one column's value, and between what most rows' answers lie.

    Parameters
    ----------
    frame
        ``x`` (the value), ``y``, ``low`` and ``high``.
    titles
        Of the column, and of the answer.
    kind
        Vega's type of ``x``; choices become points with lines.
    """
    tips = [tip("x", titles[0]), tip("y:Q", titles[1], NUMBER), tip("low:Q", t("from"), NUMBER), tip("high:Q", t("to"), NUMBER)]
    base, scale = alt.Chart(frame), alt.Scale(zero=False)
    said = [(str(x), t.number(float(y), 3)) for x, y in sample(frame)[["x", "y"]].itertuples(index=False)]
    words = describe(f"{titles[1]}, {titles[0]}", said, t)
    if kind == "nominal":
        rows = base.encode(y=name_rows("x:N"), tooltip=tips)
        low = alt.X("low:Q", title=titles[1], scale=scale)
        lines = rows.mark_rule(color=BLUE, strokeWidth=3, opacity=0.45).encode(x=low, x2="high:Q")
        means = rows.mark_circle(color=BLUE, size=80, opacity=1).encode(x=alt.X("y:Q", scale=scale))
        return finish(lines + means, ROW_HEIGHT * len(frame) + 50, words, t)
    x = alt.X("x", type=kind, title=titles[0], scale=scale if kind == "quantitative" else alt.Undefined)
    band = base.mark_area(color=BLUE, opacity=0.2).encode(x=x, y=alt.Y("low:Q", title=titles[1], scale=scale), y2="high:Q")
    line = base.mark_line(color=BLUE, strokeWidth=2.5).encode(x=x, y=alt.Y("y:Q", scale=scale), tooltip=tips)
    return finish(band + line, 280, words, t)
