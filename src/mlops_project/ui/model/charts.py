"""The charts of the page Model beyond those that other pages share: thresholds, parts of the rows."""

from typing import Any

import altair as alt
import pandas as pd

from mlops_project.palette import BLUE, ORANGE
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
