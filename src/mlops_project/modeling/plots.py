"""Plots of an evaluation as PNG files: the same input gives the same bytes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from mlops_project.contract import Contract
from mlops_project.decision import OWN_RULE, DecisionRule, ThresholdChoice, compute_rate
from mlops_project.modeling.drawing import COLOURS, FAINT, INK, label_names, measure_labels, save, start_chart, use_style
from mlops_project.modeling.evaluation import TITLES, Evaluation, format_number
from mlops_project.modeling.importance import CORRELATED, Importance
from mlops_project.modeling.metrics import Scored, calibration_bins, compute_metric
from mlops_project.modeling.reason_plots import draw_dependence, draw_reasons
from mlops_project.modeling.reasons import Reasons
from mlops_project.modeling.side_work import SideWork
from mlops_project.modeling.threshold import draw_curve
from mlops_project.runtime import Floats, Predictions

MAX_CURVES = len(COLOURS)
MAX_FEATURES = 20
MAX_POINTS = 5000  # more rows are drawn as densities
MAX_CELLS = 20  # classes, up to which the confusion matrix shows its counts
Z_95 = 1.959964


def draw_plots(
    evaluation: Evaluation,
    importance: Importance | None,
    contract: Contract,
    folder: Path,
    side: SideWork | None = None,
    choice: ThresholdChoice | None = None,
    reasons: Reasons | None = None,
) -> list[Path]:
    """Draw every plot that fits the task into ``folder`` and return the files.

    Parameters
    ----------
    side
        Notes which plots could not be drawn; None: that is an error.
    choice
        How the contract's threshold was chosen.
    reasons
        What the model goes by.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawers = CLASSIFICATION if contract.is_classification else REGRESSION
    with use_style():
        work = {name: partial(draw, evaluation.scored, contract) for name, draw in drawers.items()}
        if choice is not None and contract.rule is not None:
            work["threshold"] = partial(_draw_threshold, contract.rule, choice, evaluation.scored, contract)
        if importance is not None:
            work["importance"] = partial(_draw_importance, importance, contract)
        if reasons is not None:
            work["reasons"] = partial(draw_reasons, reasons, contract)
        if reasons is not None and reasons.curves:
            work["dependence"] = partial(draw_dependence, reasons, contract)
        drawn = (_attempt(name, draw, folder / f"{name}.png", side) for name, draw in work.items())
        return [file for file in drawn if file is not None]


def _attempt(name: str, draw: Callable[[], Figure], file: Path, side: SideWork | None) -> Path | None:
    if side is None:
        return save(draw(), file)
    what, without = f"the plot {name.replace('_', ' ')} was", "the report lacks it"
    drawn = side.attempt(what, lambda: save(draw(), file), without=without)
    if drawn is None:
        file.unlink(missing_ok=True)
    return drawn


def _count(scored: Scored, contract: Contract) -> str:
    """Say how many rows there are; of two classes, how many are positive."""
    rows = len(scored.truth)
    if scored.n_classes != 2:
        return f"{rows:,} held-out rows"
    return f"{rows:,} held-out rows, {int((scored.truth == 1).sum()):,} of them {label_names(contract.class_names)[1]}"


def _draw_confusion(scored: Scored, contract: Contract) -> Figure:
    size = len(contract.classes)
    counts = confusion_matrix(scored.truth, scored.indices, labels=range(size))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    labels, side = label_names(contract.class_names, 16), float(np.clip(0.55 * size, 3.2, 12))
    font = float(np.clip(50 * side / size, 5, 10))
    longest, turned = measure_labels(labels, font), size > 4
    left, bottom = 0.55 + longest, 0.55 + (0.87 * longest if turned else 0.0)
    note = f"{_count(scored, contract)}; colour: share of the actual class"
    figure, axes = start_chart(
        "Confusion matrix", note, "predicted", "actual", size=(max(side, 3.8), side), left=left, bottom=bottom
    )
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    options: dict[str, Any] = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    axes.set_xticks(range(size), labels, fontsize=font, **options)
    axes.set_yticks(range(size), labels, fontsize=font)
    for row, column in np.ndindex(size, size) if size <= MAX_CELLS else ():
        text = f"{counts[row, column]:,}\n{shares[row, column]:.0%}" if size <= 8 else f"{counts[row, column]:,}"
        colour = "white" if shares[row, column] > 0.55 else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=10 if size <= 8 else 9, color=colour)
    return figure


def _one_against_rest(scored: Scored, index: int) -> Scored:
    said = scored.probabilities[:, index]
    predicted = np.asarray(scored.indices == index, np.int64)
    return Scored(Predictions(predicted, np.column_stack([1 - said, said])), np.asarray(scored.truth == index, np.int64), 2)


def _choose_classes(scored: Scored, contract: Contract) -> list[tuple[Scored, str, str]]:
    """Return the classes that get a curve, with label and colour: the positive one, or the most frequent of many."""
    labels, rows = label_names(contract.class_names), np.bincount(scored.truth, minlength=scored.n_classes)
    drawable = [index for index in np.argsort(-rows, kind="stable").tolist() if 0 < rows[index] < len(scored.truth)]
    if scored.n_classes == 2:
        return [(scored, labels[1], COLOURS[0])] if drawable else []
    chosen = sorted(drawable[:MAX_CURVES])
    return [(_one_against_rest(scored, index), labels[index], COLOURS[place]) for place, index in enumerate(chosen)]


def _note_classes(scored: Scored, contract: Contract) -> str:
    shown = "" if scored.n_classes <= MAX_CURVES else f"; the {MAX_CURVES} most frequent of {scored.n_classes} classes"
    return _count(scored, contract) + ("" if scored.n_classes == 2 else f"; each class against the rest{shown}")


def _draw_roc(scored: Scored, contract: Contract) -> Figure:
    title, note = "ROC curve", _note_classes(scored, contract)
    figure, axes = start_chart(title, note, "false positive rate (false alarms)", "true positive rate (found)")
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1, label="guessing: 0.5")
    for one, label, colour in _choose_classes(scored, contract):
        false, true, _ = roc_curve(one.truth, one.probabilities[:, 1])
        area = format_number(compute_metric("roc_auc", one, "binary"))
        axes.plot(false, true, color=colour, label=f"{label}: AUC {area}", linewidth=1.8)
        if scored.n_classes == 2:
            found, alarms = (one.indices[one.truth == actual].mean() for actual in (1, 0))
            axes.plot([alarms], [found], "o", color=colour, markersize=6, label="the predicted class", clip_on=False)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(loc="lower right")
    return figure


def _draw_precision_recall(scored: Scored, contract: Contract) -> Figure:
    title, note = "Precision and recall", _note_classes(scored, contract)
    figure, axes = start_chart(title, note, "recall (found among those that are)", "precision (right among those predicted)")
    for one, label, colour in _choose_classes(scored, contract):
        precision, recall, _ = precision_recall_curve(one.truth, one.probabilities[:, 1], drop_intermediate=True)
        area = format_number(compute_metric("pr_auc", one, "binary"))
        axes.plot(recall, precision, color=colour, label=f"{label}: area {area}", linewidth=1.8, drawstyle="steps-post")
        axes.axhline(one.truth.mean(), color=colour, linestyle=":", linewidth=1, alpha=0.7)
        if scored.n_classes == 2 and one.indices.any():
            point = [compute_metric(name, one, "binary") for name in ("recall", "precision")]
            axes.plot(
                *([value] for value in point), "o", color=colour, markersize=6, label="the predicted class", clip_on=False
            )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    if not axes.lines:
        return figure
    bulge = compute_metric("pr_auc", scored, "binary" if scored.n_classes == 2 else "multiclass") > 0.5
    axes.legend(
        loc="lower left" if bulge else "upper right", title="dotted: guessing, the share of the class", title_fontsize=8
    )
    return figure


def _draw_calibration(scored: Scored, contract: Contract) -> Figure:
    """Draw what ``calibration_error`` measures, with Wilson's (1927) interval of each bin's share."""
    if scored.n_classes == 2:
        what, share = label_names(contract.class_names)[1], f"share that is {label_names(contract.class_names)[1]}"
        said, happened = scored.probabilities[:, 1], np.asarray(scored.truth, np.float64)
    else:
        what, share = "the predicted class", "share that was right"
        said, happened = scored.probabilities.max(axis=1), scored.correct
    note = f"{_count(scored, contract)}; bars: 95% interval, area of a point: rows"
    figure, axes = start_chart("Calibration", note, f"predicted probability of {what}", share)
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1)
    bins = calibration_bins(said)
    used, rows = np.unique(bins, return_counts=True)
    x, y = (np.bincount(bins, values)[used] / rows for values in (said, happened))
    low, high = _bound_shares(y, rows)
    axes.errorbar(x, y, yerr=np.clip([y - low, high - y], 0, 1), fmt="none", ecolor=COLOURS[0], elinewidth=1.2, alpha=0.6)
    axes.scatter(x, y, s=12 + 220 * rows / rows.sum(), color=COLOURS[0], zorder=3)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    return figure


def _bound_shares(shares: Floats, rows: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    scale = 1 + Z_95**2 / rows
    centre = (shares + Z_95**2 / (2 * rows)) / scale
    half = Z_95 / scale * np.sqrt(shares * (1 - shares) / rows + Z_95**2 / (4 * rows**2))
    return centre - half, centre + half


def _draw_scores(scored: Scored, contract: Contract) -> Figure:
    """Draw the scores of each class, each as a share of its own rows: a rare class is seen, too."""
    labels = label_names(contract.class_names)
    if scored.n_classes == 2:
        what, values, kinds = labels[1], scored.probabilities[:, 1], scored.truth
    else:
        what, values, kinds = "the predicted class", scored.probabilities.max(axis=1), scored.correct
        labels = ["wrong", "right"]
    figure, axes = start_chart("Scores", _count(scored, contract), f"predicted probability of {what}", "share of its rows")
    for kind in (0, 1):
        chosen, colour = values[kinds == kind], COLOURS[1 - kind]
        if len(chosen):
            options: dict[str, Any] = {"bins": np.linspace(0, 1, 21), "weights": np.full(len(chosen), 1 / len(chosen))}
            axes.hist(chosen, color=colour, alpha=0.3, **options)
            axes.hist(chosen, color=colour, histtype="step", linewidth=1.4, label=f"{labels[kind]}: {len(chosen):,}", **options)
    axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.25 * axes.get_ylim()[1]))  # room for the legend
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_yticks([share for share in axes.get_yticks() if share <= 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="upper center")
    return figure


def _start_errors(title: str, note: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure, axes = start_chart(title, note, x, y, left=1.05)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.6g}")  # no factor in a corner
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def _draw_points(axes: Axes, x: Floats, y: Floats) -> None:
    """Draw rows as points; many as hexagons, where every row still counts."""
    if len(x) <= MAX_POINTS:
        axes.scatter(x, y, s=14, color=COLOURS[0], alpha=0.5, linewidths=0)
    else:
        shades = ListedColormap(mpl.colormaps["Blues"](np.linspace(0.3, 1, 256)))  # the palest is still seen on white
        axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, cmap=shades, linewidths=0.1)


def _draw_predicted_actual(scored: Scored, contract: Contract) -> Figure:
    target, note = label_names([contract.target])[0], f"{_count_points(scored, contract)}; dashed: perfect"
    figure, axes = _start_errors("Predicted against actual", note, f"actual {target}", f"predicted {target}")
    truth, predicted = scored.truth, scored.truth + scored.error
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    _draw_points(axes, truth, predicted)
    axes.plot(ends, ends, color=INK, linestyle="--", linewidth=1)
    return figure


def _count_points(scored: Scored, contract: Contract) -> str:
    return _count(scored, contract) + (" (the darker, the more)" if len(scored.truth) > MAX_POINTS else "")


def _draw_residuals(scored: Scored, contract: Contract) -> Figure:
    target, note = label_names([contract.target])[0], f"{_count_points(scored, contract)}; above the line: predicted too high"
    figure, axes = _start_errors("Residuals", note, f"predicted {target}", "prediction - truth")
    _draw_points(axes, scored.truth + scored.error, scored.error)
    axes.axhline(0, color=INK, linewidth=1)
    return figure


def _draw_residual_histogram(scored: Scored, contract: Contract) -> Figure:
    low, high = np.quantile(scored.error, [0.005, 0.995]).tolist()
    beyond = int(((scored.error < low) | (scored.error > high)).sum())
    note = _count(scored, contract) + (f", the {beyond:,} farthest out not shown" if beyond else "")
    x = f"prediction - truth ({label_names([contract.target])[0]})"
    figure, axes = _start_errors("Distribution of residuals", note, x, "rows")
    bins = int(np.clip(np.sqrt(len(scored.error)), 10, 40))
    axes.hist(scored.error, bins=bins, range=(low, high), color=COLOURS[0], alpha=0.8)
    axes.axvline(0, color=INK, linewidth=1)
    return figure


def _draw_importance(importance: Importance, contract: Contract) -> Figure:
    numbers = dict(zip(contract.names, label_names(contract.names, 36), strict=True))
    names = importance.names[:MAX_FEATURES][::-1]
    means, deviations = importance.means[:MAX_FEATURES][::-1], importance.deviations[:MAX_FEATURES][::-1]
    labels = [f"{numbers[name]}{' †' if name in importance.correlated else ''}" for name in names]
    note = f"{importance.rows:,} held-out rows; bars: ±1 standard deviation of {importance.repeats} shuffles"
    if len(importance.names) > MAX_FEATURES:
        note += f"; the first {MAX_FEATURES} of {len(importance.names)} columns"
    if any(name in importance.correlated for name in names):
        note += f"; † another column moves with it (|ρ| > {CORRELATED}) and stands in for it: understated"
    x = f"worsening of {TITLES[importance.metric]} when the column is shuffled"
    size, left = (4.4, max(0.3 + 0.24 * len(names), 1.0)), 0.25 + measure_labels(labels, 10)
    figure, axes = start_chart("Permutation importance", note, x, "", size=size, left=left)
    bars: dict[str, Any] = {"ecolor": INK, "lw": 1, "capsize": 2}
    axes.set_ylim(-0.8, len(names) - 0.2)
    axes.barh(range(len(names)), means, xerr=deviations, color=COLOURS[0], alpha=0.85, error_kw=bars)
    axes.set_yticks(range(len(names)), labels)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(visible=False, axis="y")
    return figure


def _draw_threshold(rule: DecisionRule, choice: ThresholdChoice, scored: Scored, contract: Contract) -> Figure:
    """Draw what the threshold is for against every threshold, on the rows that it was chosen on and on the held-out ones."""
    names = ("recall", "precision") if rule.wanted else (rule.judged,)
    positive = label_names(contract.class_names)[1]
    note = f"chosen on {choice.rows:,} training rows, {choice.folds} folds; {rule.describe()}"
    title = TITLES[rule.judged]
    figure, axes = start_chart(
        f"{title[:1].upper()}{title[1:]} by threshold", note, f"threshold: probability of {positive}", title
    )
    parts = (
        ("training rows, not seen", choice.curve, choice.share, "-"),
        (
            f"{len(scored.truth):,} held-out rows",
            draw_curve(scored.probabilities[:, 1], scored.truth),
            scored.truth.mean(),
            ":",
        ),
    )
    for place, name in enumerate(names):
        for told, curve, share, style in parts:
            flagging = [point for point in curve if name != "precision" or point.true_positive + point.false_positive > 0]
            points = [(point.threshold, compute_rate(name, point, share, rule.costs)) for point in flagging]
            label = told if len(names) == 1 else f"{name}, {told}"
            axes.plot(
                *zip(*points, strict=True), style, color=COLOURS[place], linewidth=1.6, label=label, drawstyle="steps-post"
            )
    at = compute_rate(rule.judged, choice.chosen, choice.share, rule.costs)
    axes.axvline(rule.threshold, color=INK, linewidth=1, label=f"chosen: {rule.threshold:.3g}")
    axes.plot([rule.threshold], [at], "o", color=INK, markersize=6, clip_on=False)
    axes.axvline(OWN_RULE, color=FAINT, linestyle="--", linewidth=1, label=f"{OWN_RULE}: the more probable class")
    top = 1.02
    if rule.costs is not None:  # beyond the same answer for every row it is of no interest
        trivial = min(rule.false_positive * (1 - choice.share), rule.false_negative * choice.share)
        top = 1.3 * max(trivial, at) or 1.0
    axes.set(xlim=(-0.01, 1.01), ylim=(0, top))
    axes.legend(loc="best", fontsize=8)
    return figure


CLASSIFICATION: dict[str, Callable[[Scored, Contract], Figure]] = {
    "confusion_matrix": _draw_confusion,
    "roc": _draw_roc,
    "precision_recall": _draw_precision_recall,
    "calibration": _draw_calibration,
    "scores": _draw_scores,
}
REGRESSION: dict[str, Callable[[Scored, Contract], Figure]] = {
    "predicted_actual": _draw_predicted_actual,
    "residuals": _draw_residuals,
    "residual_histogram": _draw_residual_histogram,
}
