"""Charts of a search: how it went, which parameters mattered, and which of their values were good."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlops_project.modeling.drawing import COLOURS, FAINT, INK, SOFT, label_names, measure_labels, save, start_chart, use_style
from mlops_project.modeling.evaluation import TITLES
from mlops_project.modeling.side_work import SideWork
from mlops_project.tuning.searched import Searched
from mlops_project.tuning.spaces import Choices, Range, name_choice
from mlops_project.tuning.trials import Found, Trial

FEW = 8  # trials: fewer say nothing of parameters
MAX_PARAMETERS = 8  # that are drawn; of more, the most important
SHOWN = 0.9  # of the trials lie within a chart; the worst would hide how the good ones differ


def draw_charts(found: Found, folder: Path, side: SideWork) -> list[Path]:
    """Draw every chart that there are enough trials for into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    one = next(item for item in found.searched if item.estimator == found.best.estimator)
    trials = [trial for trial in found.trials if trial.estimator == one.estimator and trial.loss is not None]
    work: dict[str, Callable[[], Figure]] = {"search_history": partial(_draw_history, found)}
    if len(trials) >= FEW:
        shares = side.attempt("the parameters' importance was", lambda: _rank(one, trials), without="the report lacks it") or {}
        names = sorted(one.space, key=lambda name: -shares.get(name, 0.0))[:MAX_PARAMETERS]
        if len(shares) > 1:
            work["search_importance"] = partial(_draw_importance, found, {name: shares.get(name, 0.0) for name in names})
        work["search_slices"] = partial(_draw_slices, found, one, trials, names)
        if len(names) > 1:
            work["search_parallel"] = partial(_draw_parallel, found, one, trials, names)
    with use_style():
        drawn = [
            side.attempt(f"the chart {name} was", lambda: save(draw(), folder / f"{name}.png"), without="the report lacks it")  # noqa: B023 - called at once
            for name, draw in work.items()
        ]
    return [file for file in drawn if file is not None]


def _title(found: Found) -> str:
    return TITLES[found.metric].lower() if found.metric != "rmse" else TITLES[found.metric]


def _name(estimator: str) -> str:
    return estimator.replace("_", " ")


def _limit(axes: Axes, losses: Sequence[float]) -> int:
    """Let the axis end above most trials; return how many lie beyond."""
    low, high = min(losses), float(np.quantile(losses, SHOWN))
    room = max(high - low, abs(low) * 1e-3, 1e-12)
    axes.set_ylim(low - 0.08 * room, high + 0.15 * room)
    return sum(loss > high + 0.15 * room for loss in losses)


def _draw_history(found: Found) -> Figure:
    complete = [trial for trial in found.trials if trial.loss is not None]
    losses = [trial.loss or 0.0 for trial in complete]
    start = [] if found.start is None or found.start.loss is None else [found.start.loss]
    states = [trial.state for trial in found.trials]
    left = f"{states.count('pruned')} pruned, {states.count('fail')} failed"
    note = f"{len(complete)} trials judged in all {found.folds} folds, {left}"
    figure, axes = start_chart("History", note, "trial", _title(found))
    beyond = _limit(axes, [*losses, *start] or [0.0])
    top = axes.get_ylim()[1]
    for place, one in enumerate(found.searched):
        own = [trial for trial in complete if trial.estimator == one.estimator]
        heights = [min(trial.loss or 0.0, top) for trial in own]
        colour = COLOURS[place % len(COLOURS)]
        axes.plot([trial.number for trial in own], heights, "o", color=colour, markersize=4, alpha=0.7, clip_on=False)
        axes.plot([], [], "o", color=colour, markersize=4, label=_name(one.estimator))
    if complete:
        numbers = [*(trial.number for trial in complete), found.trials[-1].number]
        best = np.minimum.accumulate([*losses, math.inf])
        axes.step(numbers, best, where="post", color=INK, linewidth=1.2, label="best so far")
    if start:
        axes.axhline(start[0], color=SOFT, linestyle="--", linewidth=1, label="the configuration as it is")
    if beyond:
        axes.annotate(f"{beyond} above", (1, 1), xycoords="axes fraction", ha="right", va="bottom", fontsize=8, color=SOFT)
    axes.legend(loc="upper right", framealpha=0.8)
    return figure


def _rank(one: Searched, trials: Sequence[Trial]) -> dict[str, float]:
    """Return each parameter's share in whether a trial is among the best."""
    study = optuna.create_study()
    kinds = {name: _distribute(part) for name, part in one.space.items()}
    for trial in trials:
        params = {name: name_choice(value) for name, value in trial.params.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=trial.loss))
    return dict(optuna.importance.get_param_importances(study))


def _distribute(part: Range | Choices) -> optuna.distributions.BaseDistribution:
    if not isinstance(part, Range):
        return optuna.distributions.CategoricalDistribution([name_choice(value) for value in part])
    if part.is_whole:
        return optuna.distributions.IntDistribution(int(part.low), int(part.high), log=part.log)
    return optuna.distributions.FloatDistribution(part.low, part.high, log=part.log)


def _draw_importance(found: Found, shares: dict[str, float]) -> Figure:
    labels, values = label_names(list(shares)), list(shares.values())
    size, left = (4.0, max(1.4, 0.32 * len(labels))), 0.35 + measure_labels(labels, 10)
    note = f"of the parameters of {_name(found.best.estimator)}"
    figure, axes = start_chart("Importance", note, "share", "", size=size, left=left)
    places = range(len(labels), 0, -1)
    axes.barh(places, values, color=COLOURS[0], height=0.6)
    axes.set_yticks(places, labels)
    axes.grid(visible=False, axis="y")
    return figure


def _place(values: Sequence[Any], part: Range | Choices) -> list[float]:
    """Return where values lie on an axis: as they are, or the numbers of the choices."""
    if isinstance(part, Range):
        return [float(value) for value in values]
    names = [name_choice(value) for value in part]
    return [float(names.index(name_choice(value))) for value in values]


def _draw_slices(found: Found, one: Searched, trials: Sequence[Trial], names: Sequence[str]) -> Figure:
    columns = min(len(names), 3)
    rows = math.ceil(len(names) / columns)
    width, height = 2.3 * columns + 0.75, 2.2 * rows + 0.6
    figure = Figure(figsize=(width, height), dpi=144)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    figure.subplots_adjust(0.68 / width, 0.5 / height, 1 - 0.15 / width, 1 - 0.45 / height, 0.12, 0.5)
    figure.suptitle(f"Slices: {_name(one.estimator)}", x=0.02, ha="left", fontsize=12, fontweight="bold")
    losses = [trial.loss or 0.0 for trial in trials]
    for axes, name in zip(grid.flat, names, strict=False):
        part = one.space[name]
        places = _place([trial.params[name] for trial in trials], part)
        _limit(axes, losses)
        shown = np.minimum(losses, axes.get_ylim()[1])
        axes.scatter(places, shown, s=12, c=[trial.number for trial in trials], cmap="Blues", vmin=-0.4 * len(found.trials))
        if found.best.params.get(name) is not None:
            best = _place([found.best.params[name]], part)
            axes.plot(best, [found.best.loss or 0.0], "o", color=COLOURS[1], markersize=6)
        _mark_values(axes, part)
        axes.set_xlabel(label_names([name])[0], fontsize=9)
        axes.tick_params(labelsize=8)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for line in grid:
        line[0].set_ylabel(_title(found), fontsize=9)
    return figure


def _mark_values(axes: Axes, part: Range | Choices) -> None:
    """Let the axis show a parameter's whole space."""
    if not isinstance(part, Range):
        axes.set_xticks(range(len(part)), label_names([str(value) for value in part], 12))
        return
    if part.log:
        axes.set_xscale("log")
        axes.minorticks_off()
    middle = (part.low * part.high) ** 0.5 if part.log else (part.low + part.high) / 2
    ticks = [part.low, round(middle) if part.is_whole else middle, part.high]
    axes.set_xticks(ticks, [f"{tick:.2g}" if isinstance(tick, float) else str(tick) for tick in ticks])


def _draw_parallel(found: Found, one: Searched, trials: Sequence[Trial], names: Sequence[str]) -> Figure:
    size = (max(4.8, 1.25 * len(names)), 3.4)
    note = f"{len(trials)} trials of {_name(one.estimator)}; orange: the best"
    figure, axes = start_chart("Parallel coordinates", note, "", "", size=size, left=0.55, bottom=0.75)
    losses = np.array([trial.loss or 0.0 for trial in trials])
    ranks = np.argsort(np.argsort(-losses)) / max(len(losses) - 1, 1)  # 1 is the best
    axes.grid(visible=False)
    for index in np.argsort(ranks):
        heights = [_scale(trials[index].params[name], one.space[name]) for name in names]
        shade = 0.15 + 0.75 * ranks[index]
        best = trials[index].number == found.best.number
        colour = COLOURS[1] if best else (*_blue(shade), 0.9)
        width = 2.2 if best else 0.6 + ranks[index]
        axes.plot(range(len(names)), heights, color=colour, linewidth=width, zorder=3 if best else 2)
    labels = label_names(list(names), 18)
    axes.set(xlim=(-0.15, len(names) - 0.85), ylim=(-0.03, 1.03))
    axes.set_xticks(range(len(names)), labels, fontsize=8, rotation=20 if len(names) > 3 else 0)
    axes.set_yticks([])
    for place, name in enumerate(names):
        axes.axvline(place, color=FAINT, linewidth=1, zorder=1)
        for height, text in _name_ends(one.space[name]):
            axes.annotate(text, (place, height), xytext=(3, 0), textcoords="offset points", fontsize=7, color=SOFT, va="center")
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def _blue(shade: float) -> tuple[float, float, float]:
    from matplotlib import colormaps

    red, green, blue, _ = colormaps["Blues"](shade)
    return float(red), float(green), float(blue)


def _scale(value: Any, part: Range | Choices) -> float:
    if isinstance(part, Range):
        return part.place(value)
    return _place([value], part)[0] / max(len(part) - 1, 1)


def _name_ends(part: Range | Choices) -> list[tuple[float, str]]:
    if isinstance(part, Range):
        return [(0.0, f"{part.low:g}"), (1.0, f"{part.high:g}")]
    return [(_scale(value, part), str(value)) for value in part]
