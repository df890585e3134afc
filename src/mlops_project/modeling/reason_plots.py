"""Charts of what a model goes by: every row's contributions, and how answers follow the most important columns."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from mlops_project.contract import Contract
from mlops_project.modeling.drawing import COLOURS, DPI, FAINT, INK, label_names, measure_labels, start_chart
from mlops_project.modeling.reasons import SPREAD, Curve, Reasons, set_apart

SHOWN = 15  # columns
ACROSS = 3  # curves side by side
PANEL = (2.6, 1.9)  # inches
BESIDE, BELOW, ABOVE = 0.45, 0.95, 0.95  # around them
SPREAD_NOTE = f"shaded: {SPREAD[1] - SPREAD[0]:.0%} of the rows"


def describe_output(reasons: Reasons, contract: Contract) -> str:
    """Say what is explained."""
    if not contract.is_classification:
        return label_names([contract.target])[0]
    return f"probability of {label_names(contract.class_names)[reasons.output]}"


def draw_reasons(reasons: Reasons, contract: Contract) -> Figure:
    """Draw a point for every row and column: how far it moved the answer, coloured by its value."""
    importance = np.abs(reasons.contributions).mean(axis=0)
    order = np.argsort(-importance, kind="stable")[:SHOWN][::-1]
    labels = [label_names(contract.names, 36)[place] for place in order]
    note = (
        f"{len(reasons.contributions):,} held-out rows{'' if reasons.exact else ', sampled'}; bright: high values, grey: texts"
    )
    size, left = (4.8, max(0.4 + 0.3 * len(order), 1.0)), 0.25 + measure_labels(labels, 10)
    x = f"moves the {describe_output(reasons, contract)} by"
    figure, axes = start_chart("What moves the answers", note, x, "", size=size, left=left)
    for height, place in enumerate(order):
        moved, ranks = reasons.contributions[:, place], reasons.heights[:, place]
        colours = np.where(np.isnan(ranks)[:, None], [(0.6, 0.6, 0.65, 1.0)], colormaps["viridis"](np.nan_to_num(ranks)))
        axes.scatter(moved, height + set_apart(moved, reasons.contributions), s=7, c=colours, linewidths=0, alpha=0.85)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_yticks(range(len(order)), labels)
    axes.grid(visible=False, axis="y")
    return figure


def draw_dependence(reasons: Reasons, contract: Contract) -> Figure:
    """Draw the mean answer against each of the most important columns."""
    across = min(ACROSS, len(reasons.curves))
    down = -(-len(reasons.curves) // across)
    width, height = 0.75 + across * (PANEL[0] + BESIDE), ABOVE + down * (PANEL[1] + BELOW)
    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.text(0.2 / width, 1 - 0.3 / height, "How the answers follow", fontsize=12, fontweight="bold")
    note = f"{describe_output(reasons, contract)}, mean over held-out rows; {SPREAD_NOTE}"
    figure.text(0.2 / width, 1 - 0.52 / height, note, fontsize=9, color=INK)
    for number, curve in enumerate(reasons.curves):
        row, column = divmod(number, across)
        x, y = 0.65 + column * (PANEL[0] + BESIDE), height - ABOVE - (row + 1) * PANEL[1] - row * BELOW
        axes = figure.add_axes((x / width, y / height, PANEL[0] / width, PANEL[1] / height))
        _draw_curve(axes, curve, label_names([curve.feature.name], 30)[0])
    return figure


def _draw_curve(axes: Axes, curve: Curve, label: str) -> None:
    if curve.feature.is_text or curve.feature.type == "boolean":
        names = label_names([str(value) for value in curve.values], 10)
        places = np.arange(len(names))
        bounds = np.vstack([curve.means - curve.low, curve.high - curve.means]).clip(0)
        axes.errorbar(places, curve.means, yerr=bounds, fmt="o", color=COLOURS[0], ecolor=FAINT, elinewidth=3, markersize=4)
        turned = len(names) > 3
        axes.set_xticks(places, names, fontsize=7, rotation=45 if turned else 0, ha="right" if turned else "center")
    else:
        dated = curve.feature.type == "datetime"
        values = np.array(curve.values, "datetime64[s]") if dated else np.array(curve.values, np.float64)
        axes.fill_between(values, curve.low, curve.high, color=COLOURS[0], alpha=0.15, linewidth=0)
        axes.plot(values, curve.means, color=COLOURS[0], linewidth=1.6)
        if dated:
            locator = AutoDateLocator(maxticks=4)  # type: ignore[no-untyped-call]  # matplotlib has no annotation there
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]  # nor there
        else:
            axes.locator_params(axis="x", nbins=4)
    axes.locator_params(axis="y", nbins=4)  # each tick takes a millisecond or more
    axes.set_title(label, fontsize=9, loc="left", color=INK)
    axes.tick_params(labelsize=8)
