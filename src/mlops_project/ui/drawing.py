"""What every chart of the application has in common: sizes, axes, numbers, a description."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from mlops_project.palette import OKABE_ITO
from mlops_project.ui.language import Translate

GREY = "#757A82"  # like blue, orange and green 3 : 1 or more on the light page and on the dark one
SERIES = (*OKABE_ITO, GREY)
INK = "currentColor"  # the page's own text colour, light or dark: the charts are SVG
ROW_HEIGHT = 26
LABEL_WIDTH = 190  # pixels for a bar's name
PERCENT = ".1%"
PADDING = {"left": 2, "top": 8, "right": 24, "bottom": 2}  # texts at the right end are not cut
MAX_DESCRIBED = 12  # marks of a chart that its description names
SAMPLED = 5  # points of a curve that its description names
_NUMBERS = {
    "en": alt.NumberLocale(decimal=".", thousands=",", grouping=[3], currency=["", ""]),
    "pt": alt.NumberLocale(decimal=",", thousands=".", grouping=[3], currency=["", ""]),
}


def finish(chart: Any, height: int, description: str, t: Translate) -> Any:
    """Return a chart as the pages show it.

    Parameters
    ----------
    height
        In pixels, axes included.
    description
        What a screen reader reads out; Vega's own descriptions are hidden from it, because they are in English.
    t
        Gives numbers their commas and points.
    """
    axis = alt.AxisConfig(labelColor=INK, titleColor=INK, labelFlush=False)
    legend = alt.LegendConfig(labelColor=INK, titleColor=INK)
    locale = alt.Locale(number=_NUMBERS[t.code])
    drawn = chart.properties(height=height, padding=PADDING, description=description)
    return drawn.configure(aria=False, mark=alt.MarkConfig(aria=False), axis=axis, legend=legend, locale=locale)


def describe(title: str, marks: Sequence[tuple[str, str]], t: Translate) -> str:
    """Return a chart in words: its title, then the name and value of its marks, the first ``MAX_DESCRIBED`` of them.

    Parameters
    ----------
    title
        What the chart shows.
    marks
        (name, value) as texts in the visitor's language.
    t
        The visitor's language.
    """
    said = [f"{name} {value}" for name, value in marks[:MAX_DESCRIBED]]
    if len(marks) > MAX_DESCRIBED:
        said.append(t("others", count=len(marks) - MAX_DESCRIBED))
    return f"{title}: {'; '.join(said)}" if said else title


def sample(frame: pd.DataFrame) -> pd.DataFrame:
    """Return at most ``SAMPLED`` rows of a curve, evenly spaced, with both ends: enough to describe it."""
    return frame.iloc[np.unique(np.linspace(0, len(frame) - 1, min(SAMPLED, len(frame))).round().astype(int))]


def write(value: float, form: str, t: Translate) -> str:
    """Return a number as a chart with this format shows it: per cent, else four significant digits.

    Parameters
    ----------
    value
        In [0, 1] for per cent.
    form
        Number format, d3's; ``.1%`` and the like are per cent.
    t
        The visitor's language.
    """
    return t.percent(value, int(form[-2])) if form.endswith("%") else t.number(float(value), 4)


def tip(field: str, title: str, form: str = "") -> Any:
    """Return one line of a chart's tooltip.

    Parameters
    ----------
    field
        Column with Vega's type, such as ``value:Q``.
    title
        Shown before the value.
    form
        Number format, d3's; empty for Vega's own.
    """
    return alt.Tooltip(field, title=title, format=form) if form else alt.Tooltip(field, title=title)


def name_rows(field: str = "name:N", order: Sequence[str] | None = None) -> Any:
    """Return the vertical channel of lying bars: every name, no line."""
    axis = alt.Axis(labelLimit=LABEL_WIDTH, labelOverlap=False, ticks=False, domain=False)
    return alt.Y(field, sort=order, title=None, axis=axis)
