"""The charts of the pages Predict, Batch and Model."""

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from mlops_project.names import distinct
from mlops_project.palette import BLUE, ORANGE
from mlops_project.runtime import Floats
from mlops_project.ui.drawing import (
    GREY,
    INK,
    LABEL_WIDTH,
    PERCENT,
    ROW_HEIGHT,
    SERIES,
    describe,
    finish,
    name_rows,
    sample,
    tip,
    write,
)
from mlops_project.ui.language import Translate

DARK = "#1F2937"  # on pale tiles
CELL = "cell"  # a click on a matrix
MAX_STEPS = 10  # contributions shown one by one
LEGEND_COLUMNS = 3
DIGITS = ".4~g"  # d3's: four significant digits
Kind = Literal["quantitative", "temporal", "nominal"]  # Vega's


def draw_probabilities(names: Sequence[str], values: Sequence[float], predicted: int, t: Translate) -> Any:
    """Draw a bar per class; the predicted one has another colour.

    Parameters
    ----------
    names, values
        Of the classes, in the same order; probabilities in [0, 1].
    predicted
        Index of the predicted class.
    """
    labels = distinct(names)
    frame = pd.DataFrame({"name": labels, "value": values, "predicted": [i == predicted for i in range(len(names))]})
    base = alt.Chart(frame).encode(
        y=name_rows(),
        x=alt.X("value:Q", title=None, scale=alt.Scale(domain=[0, 1.15]), axis=None),
        tooltip=[tip("name:N", " "), tip("value:Q", t("probability"), ".2%")],
    )
    colour = alt.when("datum.predicted").then(alt.value(BLUE)).otherwise(alt.value(GREY))
    texts = base.mark_text(align="left", dx=5, color=INK, fontWeight="bold").encode(text=alt.Text("value:Q", format=PERCENT))
    said = [(name, t.percent(value)) for name, value in zip(labels, values, strict=True)]
    bars = base.mark_bar(height=16, cornerRadiusEnd=3).encode(color=colour)
    return finish(bars + texts, ROW_HEIGHT * len(names) + 12, describe(t("probability"), said, t), t)


def list_steps(labels: Sequence[str], changes: Floats, base: float, others: str) -> pd.DataFrame:
    """Return the steps of a waterfall from ``base`` on, the largest first, at most ``MAX_STEPS`` and one for all others.

    Parameters
    ----------
    labels, changes
        Of the features, in the same order; changes of the answer, float64 ``(n_features,)``.
    base
        Where the first step starts.
    others
        Name of the step for all others.

    Returns
    -------
    DataFrame
        ``name``, ``start``, ``end`` and ``change``, a row per step.
    """
    order = np.argsort(-np.abs(changes), kind="stable")
    shown, rest = order[:MAX_STEPS], order[MAX_STEPS:]
    steps = [float(changes[index]) for index in shown] + ([float(changes[rest].sum())] if len(rest) else [])
    names = distinct([labels[index] for index in shown]) + ([others] if len(rest) else [])
    ends = base + np.cumsum(steps)
    return pd.DataFrame({"name": names, "start": [base, *ends[:-1]], "end": ends, "change": steps})


def draw_waterfall(steps: pd.DataFrame, axis: str, form: str, t: Translate, ends: tuple[str, str] | None = None) -> Any:
    """Draw how contributions lead from one answer to another.

    Parameters
    ----------
    steps
        From ``list_steps``.
    axis
        What is explained.
    form
        Number format, d3's.
    ends
        What the two answers are called; None for the mean answer and this case's.
    """
    ends = ends or (t("average"), t("this.case"))
    frame = steps.assign(up=steps["change"] >= 0, edge=steps[["start", "end"]].max(axis=1))
    totals = pd.DataFrame({"name": ends, "value": [frame["start"].iloc[0], frame["end"].iloc[-1]]})
    low, high = float(np.minimum(frame["start"], frame["end"]).min()), float(frame["edge"].max())
    room = 0.25 * (high - low or 1.0)  # for the texts
    scale = alt.Scale(domain=[low - room / 3, high + room], nice=False, zero=False)
    y = name_rows(order=[ends[0], *frame["name"], ends[1]])
    bars = alt.Chart(frame).encode(y=y, tooltip=[tip("name:N", " "), tip("change:Q", "±", f"+{form}")])
    colour = alt.when("datum.up").then(alt.value(BLUE)).otherwise(alt.value(ORANGE))
    start = alt.X("start:Q", scale=scale, title=axis, axis=alt.Axis(format=form, tickCount=4, grid=True))
    bodies = bars.mark_bar(height=15, cornerRadius=2).encode(x=start, x2="end:Q", color=colour)
    edge, change = alt.X("edge:Q", scale=scale), alt.Text("change:Q", format=f"+{form}")
    texts = bars.mark_text(align="left", dx=4, color=INK).encode(x=edge, text=change)
    points = alt.Chart(totals).encode(y=y, x=alt.X("value:Q", scale=scale))
    marks = points.mark_tick(color=GREY, thickness=3, height=20)
    values = points.mark_text(align="left", dx=6, color=INK, fontWeight="bold").encode(text=alt.Text("value:Q", format=form))
    said = [(name, _sign(change, form, t)) for name, change in zip(frame["name"], frame["change"], strict=True)]
    totals_said = [(name, write(value, form, t)) for name, value in zip(totals["name"], totals["value"], strict=True)]
    words = describe(f"{t('why')}, {axis}", [*totals_said, *said], t)
    return finish(bodies + texts + marks + values, ROW_HEIGHT * (len(frame) + 2) + 50, words, t)


def _span(low: float, high: float, t: Translate) -> str:
    return t("span", low=t.number(low, 4), high=t.number(high, 4))


def _sign(value: float, form: str, t: Translate) -> str:
    return f"{'+' if value >= 0 else ''}{write(value, form, t)}"


def draw_curves(
    frame: pd.DataFrame, current: Any, titles: tuple[str, str], kind: Kind, names: Sequence[str], t: Translate
) -> Any:
    """Draw the answer against one feature's value; ``frame`` has the columns ``x``, ``y`` and ``series``.

    Parameters
    ----------
    current
        This case's value of the feature; None if it is missing.
    titles
        Of the axes: the feature, and the answer.
    kind
        Vega's type of ``x``: ``quantitative`` and ``temporal`` become lines, ``nominal`` becomes lying bars.
    names
        The series, in the order of their colours.
    """
    form = PERCENT if frame["y"].between(0, 1).all() and len(names) else DIGITS
    words = _describe_curves(frame, titles, form, t)
    if kind == "nominal":
        return _draw_choices(frame, current, titles, names, (form, words), t)
    x = alt.X("x", type=kind, title=titles[0], scale=alt.Scale(zero=False) if kind == "quantitative" else alt.Undefined)
    scale = alt.Scale(domain=[0, 1]) if form == PERCENT else alt.Scale(zero=False)
    y = alt.Y("y:Q", title=titles[1], scale=scale, axis=alt.Axis(format="%") if form == PERCENT else alt.Undefined)
    tips = [tip("x", titles[0]), tip("y:Q", titles[1], form)] + ([tip("series:N", " ")] if len(names) > 1 else [])
    lines = alt.Chart(frame).mark_line(strokeWidth=2.5).encode(x=x, y=y, color=_colour_series(names), tooltip=tips)
    if current is None:
        return finish(lines, 260, words, t)
    here = alt.Chart(pd.DataFrame({"x": [current]})).mark_rule(color=GREY, strokeDash=[5, 4], strokeWidth=2)
    return finish(lines + here.encode(x=alt.X("x", type=kind)), 260, words, t)


def _draw_choices(
    frame: pd.DataFrame, current: Any, titles: tuple[str, str], names: Sequence[str], said: tuple[str, str], t: Translate
) -> Any:
    form, words = said
    values = list(dict.fromkeys(frame["x"]))
    label = dict(zip(values, distinct(values), strict=True))
    label |= {current: f"▸ {label[current]}"} if current in label else {}
    shown = frame.assign(x=frame["x"].map(label))
    domain = [0, 1.15] if form == PERCENT else [min(0.0, 1.15 * frame["y"].min()), max(0.0, 1.15 * frame["y"].max())]
    x = alt.X("y:Q", title=titles[1], scale=alt.Scale(domain=domain), axis=alt.Axis(format="%" if form == PERCENT else DIGITS))
    tips = [tip("x:N", titles[0]), tip("y:Q", titles[1], form)] + ([tip("series:N", " ")] if len(names) > 1 else [])
    base = alt.Chart(shown).encode(x=x, y=name_rows("x:N"), yOffset=alt.YOffset("series:N", sort=list(names)), tooltip=tips)
    colour = _colour_series(names)
    if len(names) == 1:
        colour = alt.when(alt.datum.x == label.get(current, "")).then(alt.value(BLUE)).otherwise(alt.value(GREY))
    texts = base.mark_text(align="left", dx=4, color=INK).encode(text=alt.Text("y:Q", format=form))
    legend = 26 * -(-len(names) // LEGEND_COLUMNS) if len(names) > 1 else 0
    height = max(ROW_HEIGHT, 15 * len(names) + 8) * len(values) + 50 + legend
    return finish(base.mark_bar(cornerRadiusEnd=3).encode(color=colour) + texts, height, words, t)


def _colour_series(names: Sequence[str]) -> Any:
    scale = alt.Scale(domain=list(names), range=list(SERIES[: len(names)]))
    legend = alt.Legend(title=None, orient="top", columns=LEGEND_COLUMNS) if len(names) > 1 else None
    return alt.Color("series:N", sort=list(names), scale=scale, legend=legend)


def _describe_curves(frame: pd.DataFrame, titles: tuple[str, str], form: str, t: Translate) -> str:
    several = frame["series"].nunique() > 1
    marks = []
    for series, part in frame.groupby("series", sort=False):
        for x, y in sample(part)[["x", "y"]].itertuples(index=False):
            at = t.number(float(x), 4) if isinstance(x, int | float | np.number) else str(x)
            marks.append((f"{series}, {at}" if several else at, write(y, form, t)))
    return describe(f"{titles[1]}, {titles[0]}", marks, t)


def draw_intervals(names: Sequence[str], values: Sequence[float], bounds: Sequence[tuple[float, float]], t: Translate) -> Any:
    """Draw metrics as points with their intervals.

    Parameters
    ----------
    names, values, bounds
        Of the metrics, in the same order; bounds are (low, high).
    """
    frame = pd.DataFrame({"name": names, "value": values, "low": [b[0] for b in bounds], "high": [b[1] for b in bounds]})
    tips = [tip("value:Q", t("value"), ".4f"), tip("low:Q", t("from"), ".4f"), tip("high:Q", t("to"), ".4f")]
    base = alt.Chart(frame).encode(y=name_rows(), tooltip=[tip("name:N", " "), *tips])
    lines = base.mark_rule(color=BLUE, strokeWidth=3, opacity=0.45).encode(
        x=alt.X("low:Q", title=t("value"), scale=alt.Scale(zero=False)), x2="high:Q"
    )
    points = base.mark_circle(color=BLUE, size=90, opacity=1).encode(x=alt.X("value:Q", scale=alt.Scale(zero=False)))
    said = [
        (name, f"{t.number(value, 4)} ({_span(low, high, t)})")
        for name, value, (low, high) in zip(names, values, bounds, strict=True)
    ]
    return finish(lines + points, ROW_HEIGHT * len(names) + 50, describe(t("metrics"), said, t), t)


def draw_bars(
    names: Sequence[str], values: Sequence[float], titles: tuple[str, str], t: Translate, errors: Sequence[float] | None = None
) -> Any:
    """Draw horizontal bars, with whiskers of one standard deviation if there are errors.

    Parameters
    ----------
    titles
        What the chart shows, and its axis.
    """
    frame = pd.DataFrame({"name": distinct(names), "value": np.asarray(values, float)})
    spread = np.zeros(len(frame)) if errors is None else np.asarray(errors, float)
    frame["low"], frame["high"] = frame["value"] - spread, frame["value"] + spread
    base = alt.Chart(frame).encode(y=name_rows(), tooltip=[tip("name:N", " "), tip("value:Q", titles[1], f",{DIGITS}")])
    bars = base.mark_bar(color=BLUE, height=15, cornerRadiusEnd=3).encode(x=alt.X("value:Q", title=titles[1]))
    whiskers = base.mark_rule(color=GREY, strokeWidth=2).encode(x="low:Q", x2="high:Q")
    chart = bars if errors is None else bars + whiskers
    said = [(name, t.number(value, 4)) for name, value in zip(frame["name"], frame["value"], strict=True)]
    return finish(chart, ROW_HEIGHT * len(frame) + 50, describe(", ".join(titles), said, t), t)


def draw_histogram(edges: Floats, counts: Sequence[int], titles: tuple[str, str], form: str, t: Translate) -> Any:
    """Draw counts between edges.

    Parameters
    ----------
    edges, counts
        float64 ``(n_bins + 1,)``, ascending, and one count per bin.
    titles
        Of the horizontal and of the vertical axis.
    form
        Number format of the edges, d3's.
    """
    frame = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": counts, "zero": 0})
    tips = [tip("low:Q", t("from"), form), tip("high:Q", t("to"), form), tip("count:Q", titles[1], ",")]
    x = alt.X("low:Q", title=titles[0], scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(format=form, tickCount=6))
    bars = (
        alt.Chart(frame)
        .mark_bar(color=BLUE, binSpacing=1)
        .encode(x=x, x2="high:Q", y=alt.Y("count:Q", title=titles[1]), y2="zero:Q", tooltip=tips)
    )
    said = [
        (f"{write(low, form, t)} – {write(high, form, t)}", t.number(int(count)))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    ]
    return finish(bars, 240, describe(", ".join(titles), said, t), t)


def draw_matrix(names: Sequence[str], counts: Any, t: Translate, selection: str = "") -> Any:
    """Draw a confusion matrix; the colour is the share of the actual class.

    Parameters
    ----------
    names
        Of the classes.
    counts
        Integers ``(n_classes, n_classes)``: rows by actual and predicted class.
    selection
        Name under which a click on a cell is told, as ``actual`` and ``predicted``; empty if cells are not clicked.
    """
    labels, size = distinct(names), len(names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    actual, predicted = (np.take(labels, places.ravel()) for places in np.indices((size, size)))
    cells = pd.DataFrame({"actual": actual, "predicted": predicted, "count": counts.ravel(), "share": shares.ravel()})
    angle = 0 if size < 5 else -45
    tips = [tip("actual:N", t("actual")), tip("predicted:N", t("predicted")), tip("count:Q", t("rows"), ",")]
    base = alt.Chart(cells).encode(
        x=alt.X("predicted:N", sort=labels, title=t("predicted"), axis=alt.Axis(labelAngle=angle, labelLimit=120)),
        y=alt.Y("actual:N", sort=labels, title=t("actual"), axis=alt.Axis(labelLimit=LABEL_WIDTH)),
        tooltip=[*tips, tip("share:Q", t("share.of.actual"), PERCENT)],
    )
    scale = alt.Scale(range=["#DCEAF5", BLUE], domain=[0, 1])
    chart: Any = base.mark_rect(cornerRadius=3).encode(color=alt.Color("share:Q", scale=scale, legend=None))
    if selection:
        chart = chart.add_params(alt.selection_point(name=selection, fields=["actual", "predicted"]))
    if size <= 12:
        ink = alt.when("datum.share > 0.5").then(alt.value("white")).otherwise(alt.value(DARK))
        text = alt.Text("count:Q", format=",")
        chart += base.mark_text(fontSize=15 if size < 5 else 11, fontWeight="bold").encode(text=text, color=ink)
    filled = cells[cells["count"] > 0].sort_values("count", ascending=False, kind="stable")
    said = [
        (f"{t('actual')} {actual}, {t('predicted')} {predicted}", t.number(int(count)))
        for actual, predicted, count in filled[["actual", "predicted", "count"]].itertuples(index=False)
    ]
    return finish(chart, max(220, min(36 * size, 520)), describe(t("confusion"), said, t), t)


def draw_lines(
    frame: pd.DataFrame, titles: tuple[str, str, str], names: Sequence[str], t: Translate, diagonal: str = ""
) -> Any:
    """Draw curves in the unit square from ``x``, ``y``, ``order`` and ``series``.

    Parameters
    ----------
    titles
        Of the axes, and of the chart.
    diagonal
        Names a line across.
    """
    x, y, tips = _describe_square(titles[:2])
    base = alt.Chart(frame).mark_line(strokeWidth=2.5, interpolate="linear")
    lines = base.encode(x=x, y=y, order="order:Q", color=_colour_series(names), tooltip=[tip("series:N", " "), *tips])
    words = _describe_curves(frame, (titles[0], f"{titles[2]}, {titles[1]}"), PERCENT, t)
    if not diagonal:
        return finish(lines, 300, words, t)
    return finish(_draw_dashed([0, 1], [0, 1], diagonal) + lines, 300, words, t)


def _describe_square(titles: tuple[str, str]) -> tuple[Any, Any, list[Any]]:
    return _describe_plane(titles, PERCENT, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%"))


def _describe_plane(titles: tuple[str, str], form: str, **look: Any) -> tuple[Any, Any, list[Any]]:
    """Return the channels of ``x`` and ``y``, and what appears under the pointer."""
    tips = [tip(f"{field}:Q", title, form) for field, title in zip("xy", titles, strict=True)]
    return alt.X("x:Q", title=titles[0], **look), alt.Y("y:Q", title=titles[1], **look), tips


def _draw_dashed(x: Sequence[float], y: Sequence[float], what: str = "") -> Any:
    lines = alt.Chart(pd.DataFrame({"x": x, "y": y, "what": what})).mark_line(color=GREY, strokeDash=[5, 4])
    return lines.encode(x="x:Q", y="y:Q", **({"tooltip": tip("what:N", " ")} if what else {}))


def draw_points(frame: pd.DataFrame, titles: tuple[str, str], t: Translate, *, square: bool) -> Any:
    """Draw ``x`` against ``y`` as points.

    Parameters
    ----------
    frame
        Has no other columns than ``x`` and ``y``.
    titles
        Of the horizontal and of the vertical axis.
    square
        Adds the line where both are equal; else a line at zero.
    """
    x, y, tips = _describe_plane(titles, f",{DIGITS}", scale=alt.Scale(zero=False))
    points = alt.Chart(frame).mark_circle(color=BLUE, size=45, opacity=0.55).encode(x=x, y=y, tooltip=tips)
    ends = [float(frame.to_numpy().min()), float(frame.to_numpy().max())]
    rule = _draw_dashed(*((ends, ends) if square else ([frame["x"].min(), frame["x"].max()], [0.0, 0.0])))
    spans = [
        (title, _span(float(frame[name].min()), float(frame[name].max()), t)) for name, title in zip("xy", titles, strict=True)
    ]
    said = [(t("points"), t.number(len(frame))), *spans]
    return finish(rule + points, 300, describe(f"{titles[1]}, {titles[0]}", said, t), t)


def draw_calibration(frame: pd.DataFrame, t: Translate) -> Any:
    """Draw predicted probability ``x`` against observed share ``y`` per bin of ``frame``; areas show its ``rows``."""
    titles = t("calibration.x"), t("calibration.y")
    x, y, tips = _describe_square(titles)
    size = alt.Size("rows:Q", legend=None, scale=alt.Scale(range=[40, 500]))
    points = alt.Chart(frame).mark_circle(color=BLUE, opacity=0.9)
    points = points.encode(x=x, y=y, size=size, tooltip=[*tips, tip("rows:Q", t("rows"), ",")])
    said = [(t.percent(x), t.percent(y)) for x, y in frame[["x", "y"]].itertuples(index=False)]
    words = describe(f"{t('calibration')}, {titles[0]}, {titles[1]}", said, t)
    return finish(_draw_dashed([0, 1], [0, 1]) + points, 300, words, t)
