"""How good the model is on rows it has not seen: metrics with intervals, per slice, and the words for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import classification_report

from mlops_project.comparison import Baseline
from mlops_project.config import Config
from mlops_project.contract import Contract, Label, Task
from mlops_project.errors import ConfigError, ContractError, suggest
from mlops_project.findings import CODES
from mlops_project.modeling.group_figures import GroupFigures
from mlops_project.modeling.intervals import bootstrap_metrics
from mlops_project.modeling.metrics import (
    DECISIONS,
    PRIMARY,
    Scored,
    Truth,
    compute_metric,
    compute_metrics,
    find_metric,
    score_rows,
)
from mlops_project.notebook import write_table
from mlops_project.runtime import Floats, Predictions
from mlops_project.sections import ThresholdRule

MAX_SLICES = 10  # values per column; the rarer ones are joined
SMALL_SLICE_ROWS = 30
SLICE_ROUNDS = 200
MAX_CLASS_NAME = 40  # characters of a class name in the classification report
SAME = 1e-9  # of a metric: what two ways of adding up differ by
TITLES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "expected_cost": "expected cost",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "coverage": "coverage",  # of sets and intervals, live; so are the others
    "coverage_weighted": "coverage, weighted for these rows",
    "abstained": "marked as not to be trusted",
    "set_size": "classes in a set",
    "interval_width": "width of an interval",
}


@dataclass(frozen=True)
class SliceScore:
    """One slice's metrics.

    Attributes
    ----------
    column, value
        ``value`` is what people read: a category, or a range.
    rows
        How many held-out rows it has.
    small
        Fewer than ``SMALL_SLICE_ROWS``: do not read much into it.
    metrics, intervals
        As in ``Evaluation``; metrics undefined in this slice are absent.
    """

    column: str
    value: str
    rows: int
    small: bool
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Evaluation:
    """What the held-out rows say.

    Attributes
    ----------
    metrics
        Metric → value.
    intervals
        Metric → (low, high) at ``evaluation.confidence``; empty without bootstrap.
    errors
        Metric → standard error by the same bootstrap.
    basis
        One sentence: on how many rows, which class is the positive one, what the intervals are.
    report
        scikit-learn's classification report, or the regression's residuals in words.
    scored
        Predictions and truth.
    slices
        One entry per slice asked for.
    baselines
        Trivial models on the same rows.
    groups
        How the model treats each group of ``checks.groups``.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    errors: dict[str, float]
    basis: str
    report: str
    scored: Scored
    slices: tuple[SliceScore, ...] = field(default=())
    baselines: tuple[Baseline, ...] = field(default=())
    groups: tuple[GroupFigures, ...] = field(default=())

    def _repr_html_(self) -> str:
        """Return the metrics as a table, for notebooks."""
        return write_metrics("", self.metrics, self.intervals, self.baselines, self.basis)


def write_metrics(
    title: str,
    metrics: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    baselines: Sequence[Baseline] = (),
    note: str = "",
) -> str:
    """Return metrics with their intervals as an HTML table, those of trivial models beside them."""
    rows = [
        (
            TITLES.get(name, name),
            format_number(value),
            " to ".join(map(format_number, intervals.get(name, ()))),
            *(format_number(item.metrics[name]) if name in item.metrics else "" for item in baselines),
        )
        for name, value in metrics.items()
    ]
    return write_table(title, ("metric", "value", "interval", *(item.name for item in baselines)), rows, note)


def encode_target(target: "pd.Series[Any]", contract: Contract) -> Truth:
    """Turn a table's labels into class indices; a regression target into float64. ``(n_rows,)``.

    Raises
    ------
    ContractError
        If the table holds a label that the model does not know.
    """
    if not contract.is_classification:
        return target.to_numpy(np.float64)
    positions: dict[Label, int] = {label: index for index, label in enumerate(contract.classes)}
    indices = target.map(positions)
    if indices.isna().any():
        unknown = target[indices.isna()]
        raise ContractError(
            f"target {contract.target!r}: {len(unknown)} of {len(target)} rows hold labels that the model does not know, such "
            f"as {unknown.iloc[0]!r}; it knows {', '.join(map(repr, contract.classes))}"
        )
    return indices.to_numpy(np.int64)


def decode_target(truth: Truth, contract: Contract) -> Any:
    """Turn class indices ``(n_rows,)`` back into labels; the reverse of ``encode_target``. A regression's truth stays."""
    return np.array(contract.classes)[truth] if contract.is_classification else truth


def check_gates(config: Config, task: Task) -> None:
    """Reject metric names that the task does not have, before anything is trained.

    Raises
    ------
    ConfigError
        Naming the metric and the known ones.
    """
    asked = config.decision.threshold
    has_costs = isinstance(asked, ThresholdRule) and asked.cost is not None
    for code in config.gates.checks:
        if code not in CODES:
            raise ConfigError(
                f"gates.checks: there is no finding {code!r}{suggest(code, sorted(CODES))}; docs/checks.md has them"
            )
    for name in (*config.gates.minimum, *filter(None, [config.gates.metric])):
        find_metric(name, task)
        if name in DECISIONS and not has_costs:
            raise ConfigError(f"gates: {name} is asked for, and nobody says what wrong answers cost: decision.threshold.cost")


def evaluate(
    predictions: Predictions,
    truth: Truth,
    contract: Contract,
    config: Config,
    slices: pd.DataFrame | None = None,
    weights: Floats | None = None,
) -> Evaluation:
    """Judge predictions.

    Parameters
    ----------
    predictions
        For the held-out rows.
    truth
        int64 class indices or float64 values, ``(n_rows,)``; see ``encode_target``.
    slices
        Columns by whose values the metrics are broken down, same rows.
    weights
        How much each row counts, ``(n_rows,)``; None: all the same.
    """
    scored = score_rows(predictions, truth, contract, weights)
    metrics, settings = compute_metrics(scored, contract.task), config.evaluation
    found = bootstrap_metrics(
        scored,
        metrics,
        contract.task,
        rounds=settings.bootstrap_rounds,
        confidence=settings.confidence,
        seed=config.random_state,
    )
    return Evaluation(
        metrics=metrics,
        intervals=found.intervals,
        errors=found.errors,
        basis=_describe_basis(scored, contract, config, settings.confidence if found.intervals else None),
        report=_report_classes(scored, contract) if contract.is_classification else _describe_errors(scored),
        scored=scored,
        slices=tuple(score_slices(scored, slices, contract.task, config)) if slices is not None else (),
    )


def _describe_basis(scored: Scored, contract: Contract, config: Config, confidence: float | None) -> str:
    parts = [f"{len(scored.truth):,} held-out rows"]
    if scored.weights is not None:
        parts.append(f"weighted by {config.data.weight!r}, and so as telling as {scored.count_equal():,.0f} rows of one weight")
    if contract.task == "binary":
        parts.append(f"positive class: {contract.class_names[1]}")
    if contract.task == "multiclass":
        parts.append(f"precision, recall, F1 and areas: mean of {len(contract.classes)} classes, each against the rest")
    if confidence is not None:
        parts.append(f"intervals: {confidence * 100:g}% bootstrap")
    return "; ".join(parts)


def _report_classes(scored: Scored, contract: Contract) -> str:
    text = classification_report(
        scored.truth,
        scored.indices,
        labels=list(range(len(contract.classes))),
        target_names=[shorten(name, MAX_CLASS_NAME) for name in contract.class_names],
        zero_division=0,
        sample_weight=scored.weights,
    )
    return str(text).rstrip()


def _describe_errors(scored: Scored) -> str:
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    heads = [f"{level:.0%}" for level in levels]
    weighted: Any = {} if scored.weights is None else {"weights": scored.weights, "method": "inverted_cdf"}
    values = [format_number(value) for value in np.quantile(scored.error, levels, **weighted)]
    widths = [max(map(len, pair)) for pair in zip(heads, values, strict=True)]
    lines = ("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in (heads, values))
    return "error (prediction - truth), quantiles\n" + "\n".join(lines)


def score_slices(
    scored: Scored, slices: pd.DataFrame, task: Task, config: Config, metrics: Sequence[str] = ()
) -> Iterator[SliceScore]:
    """Yield the metrics of the parts that each column cuts the rows into.

    Parameters
    ----------
    slices
        The columns, same rows.
    metrics
        Names; none for the task's primary one and the plainest.
    """
    names_wanted = metrics or (PRIMARY[task], "accuracy" if scored.n_classes else "mae")
    for column in slices.columns:
        names, groups = group_rows(slices[column])
        for index, name in enumerate(names):
            rows = np.flatnonzero(groups == index)
            if len(rows):
                yield _score_slice(scored.take(rows), (str(column), name), task, config, names_wanted)


def _score_slice(part: Scored, where: tuple[str, str], task: Task, config: Config, metrics: Sequence[str]) -> SliceScore:
    values = {name: compute_metric(name, part, task) for name in metrics}
    known = {name: number for name, number in values.items() if np.isfinite(number)}
    rounds, confidence = min(config.evaluation.bootstrap_rounds, SLICE_ROUNDS), config.evaluation.confidence
    found = bootstrap_metrics(part, known, task, rounds=rounds, confidence=confidence, seed=config.random_state)
    n_rows = len(part.truth)
    return SliceScore(*where, n_rows, n_rows < SMALL_SLICE_ROWS, known, found.intervals)


def group_rows(column: "pd.Series[Any]") -> tuple[list[str], npt.NDArray[np.int64]]:
    """Name a column's slices and give each row's: quartiles of many numbers or dates, else frequent values."""
    missing = column.isna().to_numpy()
    present = column[~missing]
    ordered = present.dtype.kind in "biufM"
    if ordered and present.nunique() > MAX_SLICES:
        names, found = _group_by_quartile(present.to_numpy())
    else:
        names, found = _group_by_value(present, ordered=ordered)
    groups = np.full(len(column), len(names), np.int64)
    groups[~missing] = found
    return [*names, "(missing)"], groups


def _group_by_quartile(values: npt.NDArray[Any]) -> tuple[list[str], npt.NDArray[np.int64]]:
    edges = np.unique(np.sort(values)[[len(values) // 4, len(values) // 2, len(values) * 3 // 4]])
    edges = edges[edges < values.max()]
    if not len(edges):  # more than three quarters are the largest value
        edges = np.unique(values)[-2:-1]
    shown = [_name(edge) for edge in edges]
    between = [f"over {low} to {high}" for low, high in pairwise(shown)]
    return [f"up to {shown[0]}", *between, f"over {shown[-1]}"], np.searchsorted(edges, values).astype(np.int64)


def _group_by_value(present: "pd.Series[Any]", *, ordered: bool) -> tuple[list[str], npt.NDArray[np.int64]]:
    values = present.value_counts().index[:MAX_SLICES]
    if ordered:
        values = values.sort_values()
    groups = values.get_indexer(pd.Index(present)).astype(np.int64)
    groups[groups < 0] = len(values)
    return [*map(_name, values), "(other)"], groups


def _name(value: Any) -> str:
    if isinstance(value, np.datetime64 | pd.Timestamp):
        return pd.Timestamp(value).isoformat().removesuffix("T00:00:00")
    return format_value(value) if isinstance(value, float) else str(value)


def format_value(value: float) -> str:
    """Return a column's value as people read it: six digits, all of a large whole part."""
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:.6g}"


def format_number(value: float) -> str:
    """Return a metric's value as people read it: four decimals, more for tiny values, fewer for large ones."""
    if abs(value) >= 1000:
        return f"{value:,.1f}" if abs(value) < 1e9 else f"{value:.4g}"
    return f"{value:.4f}" if abs(value) >= 0.01 or value == 0 else f"{value:.3g}"


def shorten(text: str, limit: int) -> str:
    """Return a text on one line, cut to ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def format_summary(evaluation: Evaluation) -> str:
    """Return what training prints: every metric with its interval, then the report."""
    numbers = {name: format_number(value) for name, value in evaluation.metrics.items()}
    left, right = max(len(TITLES[name]) for name in numbers), max(map(len, numbers.values()))
    lines = [evaluation.basis]
    for name, number in numbers.items():
        bounds = ", ".join(map(format_number, evaluation.intervals.get(name, ())))
        lines.append(f"{TITLES[name]:<{left}}  {number:>{right}}" + (f"  [{bounds}]" if bounds else ""))
    beside = "\n".join(format_baselines(evaluation.metrics, evaluation.baselines))
    return "\n".join(lines) + (f"\n\n{beside}" if beside else "") + f"\n\n{evaluation.report}"


def format_baselines(metrics: Mapping[str, float], baselines: Sequence[Baseline]) -> Iterator[str]:
    """Yield the lines of a small table, the model and the trivial ones by their metrics, and how much better it is."""
    names = list(baselines[0].gains) if baselines else []
    if not names:
        return
    rows = [("this model", metrics), *((f"{item.name}: {item.description}", item.metrics) for item in baselines)]
    left = max(len(title) for title, _ in rows)
    yield f"{'on the same rows':<{left}}  " + "  ".join(f"{TITLES[name]:>10}" for name in names)
    for title, values in rows:
        cells = (format_number(values[name]) if name in values else "-" for name in names)
        yield f"{title:<{left}}  " + "  ".join(f"{cell:>10}" for cell in cells)
    yield from (describe_gain(item) for item in baselines if item.gains)


def describe_gain(baseline: Baseline) -> str:
    """Say by how much the model's proper score is better than a trivial model's, or worse, if that is beyond noise."""
    name, gain = next(iter(baseline.gains.items()))
    bounds = sorted(abs(bound) if bound * gain > 0 else -abs(bound) for bound in baseline.gain_intervals.get(name, ()))
    if max(map(abs, (gain, *bounds))) <= SAME * abs(baseline.metrics[name]):
        return f"{TITLES[name]} is that of the {baseline.name} model"
    shown = ", ".join(map(format_number, bounds))
    kind = "better" if gain > 0 else "worse"
    if bounds and bounds[0] < 0:
        kind = f"not clearly {kind}"
    text = f"{TITLES[name]} is {kind} than the {baseline.name} model's by {format_number(abs(gain))}"
    return text + (f" [{shown}]" if shown else "")
