"""The charts. Colours are Okabe and Ito's, told apart by the colour-blind and readable on a light and a dark page."""

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from mlops_project.runtime import Floats

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#757A82"  # 4.3 : 1 against the light page and the dark one
SERIES = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY)
INK = "#1F2937"  # on pale tiles
ROW_HEIGHT = 26
MAX_STEPS = 10  # contributions shown one by one
Kind = Literal["quantitative", "temporal", "nominal"]  # Vega's
LABEL_WIDTH = 190  # pixels for a bar's name
PERCENT = ".1%"
PADDING = {"left": 2, "top": 8, "right": 24, "bottom": 2}  # texts at the right end are not cut


def finish(chart: Any, height: int) -> Any:
    """Return a chart of that height, in pixels, axes included."""
    return chart.properties(height=height, padding=PADDING)


def name_axis() -> Any:
    """Return the axis of named bars: every name, no line."""
    return alt.Axis(labelLimit=LABEL_WIDTH, labelOverlap=False, ticks=False, domain=False)


def shorten(text: str, limit: int = 34) -> str:
    """Shorten a text in its middle, as both its ends tell names apart."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2]}…{line[limit // 2 + 1 - limit :]}"


def distinct(labels: Sequence[str]) -> list[str]:
    """Shorten labels; those that then look alike get a number, as charts join what has one name."""
    short = [shorten(label) for label in labels]
    return [label if short.count(label) == 1 else f"{label} #{place + 1}" for place, label in enumerate(short)]


def draw_probabilities(names: Sequence[str], values: Sequence[float], predicted: int) -> Any:
    """Draw a bar per class; the predicted one stands out."""
    frame = pd.DataFrame({"name": distinct(names), "value": values, "predicted": [i == predicted for i in range(len(names))]})
    base = alt.Chart(frame).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=name_axis()),
        x=alt.X("value:Q", title=None, scale=alt.Scale(domain=[0, 1.15]), axis=None),
        tooltip=[alt.Tooltip("name:N", title=" "), alt.Tooltip("value:Q", format=".2%", title="p")],
    )
    colour = alt.when("datum.predicted").then(alt.value(BLUE)).otherwise(alt.value(GREY))
    texts = base.mark_text(align="left", dx=5, color=GREY, fontWeight="bold").encode(text=alt.Text("value:Q", format=PERCENT))
    return finish(base.mark_bar(height=16, cornerRadiusEnd=3).encode(color=colour) + texts, ROW_HEIGHT * len(names) + 12)


def list_steps(labels: Sequence[str], changes: Floats, base: float, others: str) -> pd.DataFrame:
    """Return the steps from ``base`` on, the largest first: ``name``, ``start``, ``end``, ``change``; the smallest are one."""
    order = np.argsort(-np.abs(changes), kind="stable")
    shown, rest = order[:MAX_STEPS], order[MAX_STEPS:]
    steps = [float(changes[index]) for index in shown] + ([float(changes[rest].sum())] if len(rest) else [])
    names = distinct([labels[index] for index in shown]) + ([others] if len(rest) else [])
    ends = base + np.cumsum(steps)
    return pd.DataFrame({"name": names, "start": [base, *ends[:-1]], "end": ends, "change": steps})


def draw_waterfall(steps: pd.DataFrame, words: tuple[str, str, str], form: str) -> Any:
    """Draw how contributions lead from the mean answer to this one.

    Parameters
    ----------
    steps
        From ``list_steps``.
    words
        What the mean is called, what the answer is called, and the axis.
    form
        Number format, d3's.
    """
    frame = steps.assign(up=steps["change"] >= 0, edge=steps[["start", "end"]].max(axis=1))
    totals = pd.DataFrame({"name": [*words[:2]], "value": [frame["start"].iloc[0], frame["end"].iloc[-1]]})
    low, high = float(np.minimum(frame["start"], frame["end"]).min()), float(frame["edge"].max())
    room = 0.25 * (high - low or 1.0)  # for the texts
    scale = alt.Scale(domain=[low - room / 3, high + room], nice=False, zero=False)
    y = alt.Y("name:N", sort=[words[0], *frame["name"], words[1]], title=None, axis=name_axis())
    tips = [alt.Tooltip("name:N", title=" "), alt.Tooltip("change:Q", format=f"+{form}", title="±")]
    bars = alt.Chart(frame).encode(y=y, tooltip=tips)
    axis = alt.Axis(format=form, tickCount=4, grid=True)
    colour = alt.when("datum.up").then(alt.value(BLUE)).otherwise(alt.value(ORANGE))
    start = alt.X("start:Q", scale=scale, title=words[2], axis=axis)
    bodies = bars.mark_bar(height=15, cornerRadius=2).encode(x=start, x2="end:Q", color=colour)
    edge, change = alt.X("edge:Q", scale=scale), alt.Text("change:Q", format=f"+{form}")
    texts = bars.mark_text(align="left", dx=4, color=GREY).encode(x=edge, text=change)
    points = alt.Chart(totals).encode(y=y, x=alt.X("value:Q", scale=scale))
    marks = points.mark_tick(color=GREY, thickness=3, height=20)
    values = points.mark_text(align="left", dx=6, color=GREY, fontWeight="bold").encode(text=alt.Text("value:Q", format=form))
    return finish(bodies + texts + marks + values, ROW_HEIGHT * (len(frame) + 2) + 50)


def draw_curves(frame: pd.DataFrame, current: Any, titles: tuple[str, str], kind: Kind, names: Sequence[str]) -> Any:
    """Draw the answer against one feature's value; ``frame`` has the columns ``x``, ``y`` and ``series``.

    Parameters
    ----------
    kind
        Vega's type of ``x``: ``quantitative``, ``temporal`` or ``nominal``.
    names
        The series, in the order of their colours.
    """
    x = alt.X(
        "x", type=kind, title=titles[0], sort=None, scale=alt.Scale(zero=False) if kind == "quantitative" else alt.Undefined
    )
    y = alt.Y(
        "y:Q", title=titles[1], scale=alt.Scale(domain=[0, 1]) if len(names) and _is_share(frame) else alt.Scale(zero=False)
    )
    colour = alt.Color("series:N", sort=list(names), scale=alt.Scale(domain=list(names), range=list(SERIES[: len(names)])))
    legend = alt.Legend(title=None, orient="top", columns=3) if len(names) > 1 else None
    base = alt.Chart(frame).encode(
        x=x, y=y, color=colour.legend(legend), tooltip=["series:N", "x", alt.Tooltip("y:Q", format=".4~g")]
    )
    lines = base.mark_line(point=False, strokeWidth=2.5) if kind != "nominal" else base.mark_point(filled=True, size=90)
    if current is None:
        return finish(lines, 260)
    here = alt.Chart(pd.DataFrame({"x": [current]})).mark_rule(color=GREY, strokeDash=[5, 4], strokeWidth=2)
    return finish(lines + here.encode(x=alt.X("x", type=kind, sort=None)), 260)


def _is_share(frame: pd.DataFrame) -> bool:
    return bool(frame["y"].between(0, 1).all())


def draw_intervals(names: Sequence[str], values: Sequence[float], bounds: Sequence[tuple[float, float]], title: str) -> Any:
    """Draw metrics as points with their intervals."""
    frame = pd.DataFrame({"name": names, "value": values, "low": [b[0] for b in bounds], "high": [b[1] for b in bounds]})
    y = alt.Y("name:N", sort=None, title=None, axis=name_axis())
    tips = [alt.Tooltip(f"{part}:Q", format=".4f") for part in ("value", "low", "high")]
    base = alt.Chart(frame).encode(y=y, tooltip=["name:N", *tips])
    lines = base.mark_rule(color=BLUE, strokeWidth=3, opacity=0.45).encode(
        x=alt.X("low:Q", title=title, scale=alt.Scale(zero=False)), x2="high:Q"
    )
    points = base.mark_circle(color=BLUE, size=90, opacity=1).encode(x=alt.X("value:Q", scale=alt.Scale(zero=False)))
    return finish(lines + points, ROW_HEIGHT * len(names) + 50)


def draw_bars(names: Sequence[str], values: Sequence[float], title: str, errors: Sequence[float] | None = None) -> Any:
    """Draw horizontal bars, with whiskers of one standard deviation if there are errors."""
    frame = pd.DataFrame({"name": distinct(names), "value": np.asarray(values, float)})
    spread = np.zeros(len(frame)) if errors is None else np.asarray(errors, float)
    frame["low"], frame["high"] = frame["value"] - spread, frame["value"] + spread
    y = alt.Y("name:N", sort=None, title=None, axis=name_axis())
    base = alt.Chart(frame).encode(
        y=y, tooltip=[alt.Tooltip("name:N", title=" "), alt.Tooltip("value:Q", format=",.4~g", title=title)]
    )
    bars = base.mark_bar(color=BLUE, height=15, cornerRadiusEnd=3).encode(x=alt.X("value:Q", title=title))
    whiskers = base.mark_rule(color=GREY, strokeWidth=2).encode(x="low:Q", x2="high:Q")
    chart = bars if errors is None else bars + whiskers
    return finish(chart, ROW_HEIGHT * len(frame) + 50)


def draw_histogram(edges: Floats, counts: Sequence[int], titles: tuple[str, str], form: str) -> Any:
    """Draw counts between edges."""
    frame = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": counts, "zero": 0})
    tips = [alt.Tooltip("low:Q", format=form), alt.Tooltip("high:Q", format=form), "count:Q"]
    x = alt.X("low:Q", title=titles[0], scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(format=form, tickCount=6))
    bars = (
        alt.Chart(frame)
        .mark_bar(color=BLUE, binSpacing=1)
        .encode(x=x, x2="high:Q", y=alt.Y("count:Q", title=titles[1]), y2="zero:Q", tooltip=tips)
    )
    return finish(bars, 240)


def draw_matrix(names: Sequence[str], counts: Any, titles: tuple[str, str]) -> Any:
    """Draw a confusion matrix; the colour is the share of the actual class."""
    labels, size = distinct(names), len(names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = [
        {
            "actual": labels[row],
            "predicted": labels[column],
            "count": int(counts[row, column]),
            "share": float(shares[row, column]),
        }
        for row, column in np.ndindex(size, size)
    ]
    base = alt.Chart(pd.DataFrame(cells)).encode(
        x=alt.X("predicted:N", sort=labels, title=titles[0], axis=alt.Axis(labelAngle=0 if size < 5 else -45, labelLimit=120)),
        y=alt.Y("actual:N", sort=labels, title=titles[1], axis=alt.Axis(labelLimit=LABEL_WIDTH)),
        tooltip=["actual:N", "predicted:N", "count:Q", alt.Tooltip("share:Q", format=PERCENT)],
    )
    scale = alt.Scale(range=["#DCEAF5", BLUE], domain=[0, 1])
    tiles = base.mark_rect(cornerRadius=3).encode(color=alt.Color("share:Q", scale=scale, legend=None))
    chart: Any = tiles
    if size <= 12:
        ink = alt.when("datum.share > 0.5").then(alt.value("white")).otherwise(alt.value(INK))
        chart = tiles + base.mark_text(fontSize=15 if size < 5 else 11, fontWeight="bold").encode(text="count:Q", color=ink)
    return finish(chart, max(220, min(36 * size, 520)))


def draw_lines(frame: pd.DataFrame, titles: tuple[str, str], names: Sequence[str], diagonal: str = "") -> Any:
    """Draw curves in the unit square from ``x``, ``y``, ``order`` and ``series``; ``diagonal`` names a line across it."""
    domain = alt.Scale(domain=[0, 1])
    colour = alt.Color("series:N", sort=list(names), scale=alt.Scale(domain=list(names), range=list(SERIES[: len(names)])))
    legend = alt.Legend(title=None, orient="top", columns=3) if len(names) > 1 else None
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2.5, interpolate="linear")
        .encode(
            x=alt.X("x:Q", title=titles[0], scale=domain),
            y=alt.Y("y:Q", title=titles[1], scale=domain),
            order="order:Q",
            color=colour.legend(legend),
            tooltip=["series:N", alt.Tooltip("x:Q", format=".3f"), alt.Tooltip("y:Q", format=".3f")],
        )
    )
    if not diagonal:
        return finish(lines, 300)
    ends = pd.DataFrame({"x": [0, 1], "y": [0, 1], "what": diagonal})
    guess = alt.Chart(ends).mark_line(color=GREY, strokeDash=[5, 4]).encode(x="x:Q", y="y:Q", tooltip="what:N")
    return finish(guess + lines, 300)


def draw_points(frame: pd.DataFrame, titles: tuple[str, str], *, square: bool) -> Any:
    """Draw ``x`` against ``y`` as points; ``square`` adds the line where both are equal, else a line at zero."""
    x = alt.X("x:Q", title=titles[0], scale=alt.Scale(zero=False))
    points = (
        alt.Chart(frame)
        .mark_circle(color=BLUE, size=45, opacity=0.55)
        .encode(x=x, y=alt.Y("y:Q", title=titles[1], scale=alt.Scale(zero=False)), tooltip=["x:Q", "y:Q"])
    )
    ends = [float(frame.to_numpy().min()), float(frame.to_numpy().max())]
    line = pd.DataFrame({"x": ends if square else [frame["x"].min(), frame["x"].max()], "y": ends if square else [0.0, 0.0]})
    rule = alt.Chart(line).mark_line(color=GREY, strokeDash=[5, 4]).encode(x="x:Q", y="y:Q")
    return finish(rule + points, 300)


def draw_calibration(frame: pd.DataFrame, titles: tuple[str, str]) -> Any:
    """Draw said against happened per bin, area by rows; ``frame`` has ``x``, ``y`` and ``rows``."""
    domain = alt.Scale(domain=[0, 1])
    points = (
        alt.Chart(frame)
        .mark_circle(color=BLUE, opacity=0.9)
        .encode(
            x=alt.X("x:Q", title=titles[0], scale=domain),
            y=alt.Y("y:Q", title=titles[1], scale=domain),
            size=alt.Size("rows:Q", legend=None, scale=alt.Scale(range=[40, 500])),
            tooltip=[alt.Tooltip("x:Q", format=".3f"), alt.Tooltip("y:Q", format=".3f"), "rows:Q"],
        )
    )
    ends = pd.DataFrame({"x": [0, 1], "y": [0, 1]})
    perfect = alt.Chart(ends).mark_line(color=GREY, strokeDash=[5, 4]).encode(x="x:Q", y="y:Q")
    return finish(perfect + points, 300)
