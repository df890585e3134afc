"""Plots of an evaluation as SVG text for the report: 2 to 10 KB each, drawn in under a millisecond, in the page's own colours.

The colours are CSS classes of the page (``bar-then``, ``line-live``, …), so that plots follow its light and dark mode.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from typing import NamedTuple

from mlops_project.monitoring.results import Bins
from mlops_project.names import shorten

WIDTH = 460
BROAD = 940
MAX_CATEGORIES = 8  # bars; the rest is joined
LETTER_WIDTH = 6.4  # pixels of a letter at 11 px, about
STEPS = (1, 2, 2.5, 5, 10)
TIME_STEPS = tuple(
    timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200)
)


class Point(NamedTuple):
    """One metric at one window's end; None where it was not measured."""

    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None


class Line(NamedTuple):
    """A line through points, with its band. ``kind`` is its CSS class behind ``line-`` and ``band-``."""

    kind: str
    points: Sequence[Point]


class Annotation(NamedTuple):
    """A moment with a name, such as a promotion."""

    at: datetime
    text: str


def draw_bins(bins: Bins, title: str) -> str:
    """Draw the shares of reference and current window per bin: numbers as upright bars along their range, else lying bars."""
    shares = _to_shares(bins)
    if bins.edges:
        return _draw_numbers(bins, shares, title)
    return _draw_categories(shares, title)


def _to_shares(bins: Bins) -> list[tuple[str, float, float]]:
    then, now = max(sum(bins.reference), 1), max(sum(bins.current), 1)
    return [(label, a / then, b / now) for label, a, b in zip(bins.labels, bins.reference, bins.current, strict=True)]


def _draw_numbers(bins: Bins, shares: list[tuple[str, float, float]], title: str) -> str:
    left, top, height, bottom = 40.0, 12.0, 150.0, 34.0
    n_numbers, others = len(bins.edges) + 1, shares[len(bins.edges) + 1 :]
    others = [item for item in others if item[1] or item[2]]
    gap = 0.8 if others else 0.0
    step = (WIDTH - left - 8) / (n_numbers + gap + 1.6 * len(others))
    peak = max([max(then, now) for _, then, now in shares] or [0.0]) or 1.0
    parts = list(_draw_share_axis(left, top, height, peak))
    for index, (label, then, now) in enumerate(shares[:n_numbers]):
        parts += _draw_pair(left + index * step, step, label, (then, now), (top, height, peak))
    often = math.ceil(max(len(format_edge(edge)) for edge in bins.edges) * LETTER_WIDTH / step + 0.3)
    for index in range(0, len(bins.edges), often):
        x = left + (index + 1) * step
        parts.append(f'<path class="tick" d="M{x:.1f} {top + height}v4"/>')
        parts.append(_text(x, top + height + 16, format_edge(bins.edges[index]), "middle"))
    for place, (label, then, now) in enumerate(others):
        x = left + (n_numbers + gap + 1.6 * place) * step
        parts += _draw_pair(x, 1.4 * step, label, (then, now), (top, height, peak))
        parts.append(_text(x + 0.7 * step, top + height + 29, label, "end" if place == len(others) - 1 else "middle"))
    return _wrap(title, top + height + bottom, parts)


def _draw_share_axis(left: float, top: float, height: float, peak: float) -> Iterator[str]:
    for share in _find_ticks(0, peak, 4):
        y = top + height * (1 - share / peak)
        yield f'<path class="grid" d="M{left} {y:.1f}H{WIDTH}"/>'
        yield _text(left - 6, y + 4, _percent(share), "end")


def _draw_pair(
    x: float, width: float, label: str, shares: tuple[float, float], scale: tuple[float, float, float]
) -> Iterator[str]:
    top, height, peak = scale
    for place, (kind, share) in enumerate(zip(("then", "now"), shares, strict=True)):
        tall = height * share / peak
        where = f'x="{x + width * (0.1 + 0.42 * place):.1f}" y="{top + height - tall:.1f}" width="{0.38 * width:.1f}"'
        tip = escape(f"{label}: {_percent(share)} {'of the reference' if kind == 'then' else 'now'}")
        yield f'<rect class="bar-{kind}" {where} height="{tall:.1f}"><title>{tip}</title></rect>'


def _draw_categories(shares: list[tuple[str, float, float]], title: str) -> str:
    ranked = sorted(shares, key=lambda item: -max(item[1], item[2]))
    shown, rest = ranked[:MAX_CATEGORIES], ranked[MAX_CATEGORIES:]
    if rest:
        shown.append((f"{len(rest)} others", sum(item[1] for item in rest), sum(item[2] for item in rest)))
    names = [shorten(label, 24) for label, _, _ in shown]
    left = min(180.0, 12 + LETTER_WIDTH * max(map(len, names), default=1))
    peak = max([max(then, now) for _, then, now in shown] or [0.0]) or 1.0
    parts, y = [], 6.0
    for name, (label, then, now) in zip(names, shown, strict=True):
        parts.append(_text(left - 6, y + 14, name, "end"))
        for place, (kind, share) in enumerate((("then", then), ("now", now))):
            wide = (WIDTH - left - 48) * share / peak
            where = f'x="{left}" y="{y + 9 * place:.1f}" width="{wide:.1f}" height="8"'
            parts.append(f'<rect class="bar-{kind}" {where}><title>{escape(label)}</title></rect>')
            parts.append(_text(left + wide + 4, y + 9 * place + 8, _percent(share), "start", small=True))
        y += 25
    return _wrap(title, y, parts)


def draw_lines(
    lines: Sequence[Line],
    title: str,
    *,
    levels: Sequence[tuple[str, float]] = (),
    marks: Sequence[Annotation] = (),
    width: int = BROAD,
) -> str:
    """Draw metrics over time.

    Parameters
    ----------
    levels
        (CSS class behind ``level-``, value) of horizontal lines: the reference, what is tolerated.
    marks
        Vertical lines: promotions.
    width
        At which its texts have their size; a page shows it at its own.

    Returns
    -------
    str
        SVG; empty if no point has a value.
    """
    left, top, height = 56.0, 22.0, 220.0
    times = [point.at for line in lines for point in line.points]
    values = [value for line in lines for point in line.points for value in point[1:] if value is not None]
    if not values:
        return ""
    values += [value for _, value in levels]
    ticks = _find_ticks(min(values), max(values), 5, outside=True)
    first, last = min(times), max(times)
    seconds = max((last - first).total_seconds(), 1.0)

    def across(at: datetime) -> float:
        share = 0.5 if first == last else (at - first).total_seconds() / seconds
        return left + 10 + (width - left - 28) * share

    def up(value: float) -> float:
        return top + height * (1 - (value - ticks[0]) / (ticks[-1] - ticks[0]))

    parts = []
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{left} {up(tick):.1f}H{width}"/>')
        parts.append(_text(left - 6, up(tick) + 4, format_edge(tick), "end"))
    parts += _draw_times(first, last, across, top + height)
    for kind, value in levels:
        parts.append(f'<path class="level-{kind}" d="M{left} {up(value):.1f}H{width}"/>')
    for mark in marks:
        parts.append(f'<path class="mark" d="M{across(mark.at):.1f} {top}v{height}"/>')
        near_end = across(mark.at) > width - 90
        parts.append(_text(across(mark.at), top - 6, mark.text, "end" if near_end else "start"))
    for line in lines:
        parts += _draw_line(line, across, up)
    return _wrap(title, top + height + 36, parts, width)


def _draw_line(line: Line, across: Callable[[datetime], float], up: Callable[[float], float]) -> Iterator[str]:
    for run in _find_runs(line.points):
        path = "L".join(f"{across(point.at):.1f} {up(point.value or 0.0):.1f}" for point in run)
        bounds = [(across(point.at), point.low, point.high) for point in run]
        ends = [(x, up(low), up(high)) for x, low, high in bounds if low is not None and high is not None]
        if len(ends) > 1:
            there = "L".join(f"{x:.1f} {high:.1f}" for x, _, high in ends)
            back = "L".join(f"{x:.1f} {low:.1f}" for x, low, _ in reversed(ends))
            yield f'<path class="band-{line.kind}" d="M{there}L{back}Z"/>'
        elif ends:
            x, low, high = ends[0]
            yield f'<path class="line-{line.kind}" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'
        yield f'<path class="line-{line.kind}" d="M{path}"/>'
        if len(run) <= 60:
            for point in run:
                where = f'cx="{across(point.at):.1f}" cy="{up(point.value or 0.0):.1f}"'
                tip = f"{point.at:%Y-%m-%d %H:%M} UTC: {point.value:.4g}"
                yield f'<circle class="dot-{line.kind}" {where} r="2.6"><title>{tip}</title></circle>'


def _find_runs(points: Sequence[Point]) -> list[list[Point]]:
    """Split points where a value is missing: a line must not bridge what was not measured."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point.value is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _draw_times(first: datetime, last: datetime, across: Callable[[datetime], float], y: float) -> Iterator[str]:
    span = last - first
    step = next(
        (step for step in TIME_STEPS if span <= 6 * step), TIME_STEPS[-1] * max(1, math.ceil(span / TIME_STEPS[-1] / 6))
    )
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    at = epoch + math.ceil((first - epoch) / step) * step
    moments = []
    while at <= last:
        moments.append(at)
        at += step
    day = None
    for moment in moments or [first]:
        x = across(moment)
        yield f'<path class="tick" d="M{x:.1f} {y}v4"/>'
        clock = moment.strftime("%H:%M") if step < timedelta(days=1) or not moments else moment.strftime("%Y-%m-%d")
        yield _text(x, y + 17, clock, "middle")
        if moment.date() != day and step < timedelta(days=1):
            day = moment.date()
            yield _text(x, y + 31, day.isoformat(), "middle")


def _find_ticks(low: float, high: float, count: int, *, outside: bool = False) -> list[float]:
    """Return round values in the range, or with ``outside`` the first ones around it."""
    span = (high - low) or abs(high) or 1.0
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in STEPS if factor * power >= raw * 0.999)
    begin = math.floor(low / step + 1e-9) if outside else math.ceil(low / step - 1e-9)
    end = math.ceil(high / step - 1e-9) if outside else math.floor(high / step + 1e-9)
    if begin == end and outside:
        begin, end = begin - 1, end + 1
    return [round(number * step, 12) for number in range(begin, end + 1)]


def format_edge(value: float) -> str:
    """Return a number as short as it can be read on an axis."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2g}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 0.995 else "100%"


def _text(x: float, y: float, text: str, anchor: str, *, small: bool = False) -> str:
    kind = ' class="small"' if small else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _wrap(title: str, height: float, parts: Sequence[str], width: int = WIDTH) -> str:
    head = (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height:.0f}" xmlns="http://www.w3.org/2000/svg">'
    )
    return f"{head}{''.join(parts)}</svg>"
