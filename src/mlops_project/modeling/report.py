"""For people: one self-contained ``report.html`` and a model card, from the same facts."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from mlops_project.bundle import Metadata
from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.decision import OWN_RULE, DecisionRule, ThresholdChoice, compute_rate
from mlops_project.modeling.conformal import describe_uncertainty
from mlops_project.modeling.evaluation import (
    SMALL_SLICE_ROWS,
    TITLES,
    Evaluation,
    describe_gain,
    format_number,
    format_value,
    shorten,
)
from mlops_project.modeling.metrics import PRIMARY, higher_is_better
from mlops_project.modeling.origin import format_settings
from mlops_project.modeling.threshold import rate_choice
from mlops_project.sections.card import read_card

MAX_SHOWN_CATEGORIES = 8
MAX_SHOWN_TEXT = 60
CAPTIONS = {
    "confusion_matrix": "Which class was taken for which: each row is an actual class, the diagonal is right.",
    "roc": "What share is found, at the price of which share of false alarms, as the threshold falls. Far up and left is good.",
    "precision_recall": "How many of those predicted are right, the more of them are to be found: what a rare class costs.",
    "calibration": "Whether probabilities mean what they say: on the dashed line, 70% comes true 7 times in 10.",
    "scores": "How far the model keeps the classes apart: the less the shapes overlap, the better.",
    "predicted_actual": "Each row's prediction beside the truth; on the dashed line they agree.",
    "residuals": "The errors along the predictions: a slope or a funnel is something that the model did not learn.",
    "residual_histogram": "How large the errors are, and whether they lie to one side.",
    "threshold": "What the decisions come to from each probability on: solid where it was chosen, dotted on the held-out rows.",
    "importance": "How much worse the model gets when one column is shuffled. It explains the model, not the world.",
    "reasons": "How far each column moved each row's answer from the mean one (Shapley values). Bright points are high values.",
    "dependence": "The mean answer when one column takes each value and all others stay: the model's habit, not the world's.",
    "search_history": "Every trial by its score in cross-validation, and the best until then.",
    "search_importance": "How much each parameter decides whether a trial is among the best (PED-ANOVA).",
    "search_slices": "Trials by each parameter's value. Where the best lie at an edge, a wider space may hold better ones.",
    "search_parallel": "A line for each trial, dark where its score is good: what good trials have in common.",
}


@dataclass(frozen=True)
class Results:
    """What training found out, beside the bundle's metadata.

    Attributes
    ----------
    evaluation
        Metrics, intervals, slices.
    plots
        PNG files.
    parity
        One sentence about the exported model.
    warnings
        What the data made the trainer assume.
    """

    evaluation: Evaluation
    plots: Sequence[Path] = ()
    parity: str = ""
    warnings: Sequence[str] = field(default=())


def write_report(file: Path, metadata: Metadata, config: Config, results: Results) -> None:
    """Write the page; it needs no other file and no network."""
    plots = [_embed(plot) for plot in results.plots]
    facts = _facts(metadata, config, results) | {"plots": plots, "config": format_settings(metadata.config)}
    file.write_text(_environment(page=True).get_template("report.html.j2").render(facts), encoding="utf-8")


def write_card(file: Path, metadata: Metadata, config: Config, results: Results) -> None:
    """Write the model card, after Mitchell et al. 2019; nothing in it is invented."""
    text = _environment(page=False).get_template("card.md.j2").render(_facts(metadata, config, results))
    file.write_text(text.strip() + "\n", encoding="utf-8")


@cache
def _environment(*, page: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mlops_project.modeling"),
        autoescape=page,  # noqa: S701 - the page escapes HTML, the card escapes Markdown by its filter
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["md"] = _escape_markdown
    return environment


def _escape_markdown(value: object) -> str:
    """Return a value as one line of Markdown that shows as it is, in a table cell, too."""
    return re.sub(r"([\\`*_{}\[\]<>#!|$~&])", r"\\\1", " ".join(str(value).split()))


def _embed(plot: Path) -> dict[str, str]:
    data = base64.b64encode(plot.read_bytes()).decode()
    return {"title": plot.stem.replace("_", " "), "caption": CAPTIONS.get(plot.stem, ""), "data": data}


def _facts(metadata: Metadata, config: Config, results: Results) -> dict[str, Any]:
    evaluation, contract = results.evaluation, metadata.contract
    sliced = list(dict.fromkeys(name for part in evaluation.slices for name in part.metrics))
    return {
        "meta": metadata,
        "card": read_card(metadata.config),
        "contract": contract,
        "created": metadata.created_at[:16].replace("T", " "),
        "folder": config.paths.exported_model_dir,
        "metrics": [_format_metric(name, evaluation.metrics, evaluation.intervals) for name in evaluation.metrics],
        "main": TITLES[config.gates.metric or PRIMARY[contract.task]],
        "basis": evaluation.basis,
        "baselines": _compare_baselines(evaluation),
        "decision": _compare_decisions(metadata, evaluation),
        "uncertainty": describe_uncertainty(metadata.uncertainty, contract) if metadata.uncertainty else "",
        "choice": _list_candidates(metadata),
        "slice_metrics": [TITLES[name] for name in sliced],
        "slices": [
            {
                "part": part,
                "value": shorten(part.value, MAX_SHOWN_TEXT),
                "cells": [_format_metric(name, part.metrics, part.intervals) for name in sliced],
            }
            for part in evaluation.slices
        ],
        "small_slice": SMALL_SLICE_ROWS,
        "groups": _list_groups(evaluation, contract),
        "inputs": [{"feature": feature, "seen": _seen(feature)} for feature in contract.features],
        "report": evaluation.report,
        "parity": results.parity,
        "warnings": list(results.warnings),
        "findings": metadata.findings,
    }


def describe_choice(decision: DecisionRule, choice: ThresholdChoice, metrics: Mapping[str, float]) -> str:
    """Say what a threshold was chosen on, what it came to there, and what it changes on the held-out rows."""
    name = decision.judged
    there = compute_rate(name, choice.chosen, choice.share, decision.costs)
    text = (
        f"chosen on {choice.rows:,} training rows ({choice.positives:,} positive), each answered by a model that had not seen "
        f"it: {TITLES[name]} {format_number(there)} there"
    )
    if name not in metrics or name not in choice.without:
        return text
    text += f", {format_number(metrics[name])} on the held-out rows, {format_number(choice.without[name])} at {OWN_RULE}"
    if choice.gain is None:
        return text
    gain, low, high = choice.gain
    clear = "" if low > 0 or high < 0 else ", not beyond chance"
    return f"{text} ({'better' if gain >= 0 else 'worse'} by {format_number(abs(gain))} [{low:+.4g}, {high:+.4g}]{clear})"


def _format_metric(name: str, values: Mapping[str, float], bounds: Mapping[str, tuple[float, float]]) -> dict[str, str]:
    return {
        "title": TITLES[name],
        "value": format_number(values[name]) if name in values else "undefined",
        "interval": " to ".join(map(format_number, bounds.get(name, ()))),
        "better": "higher" if higher_is_better(name) else "lower",
    }


def _compare_decisions(metadata: Metadata, evaluation: Evaluation) -> dict[str, Any]:
    """Return the threshold in words, and rows of texts: metric, by the threshold and by the model's own rule; empty without."""
    rule, choice = metadata.contract.rule, metadata.threshold_choice
    if rule is None:
        return {"words": [], "rows": []}
    name = metadata.contract.class_names[1]
    words = [f"{name} is answered from probability {rule.threshold:.4g} on: {rule.describe()}"]
    if choice is None:
        return {"words": words, "rows": []}
    there = rate_choice(rule, choice)
    return {
        "words": [*words, describe_choice(rule, choice, evaluation.metrics)],
        "rows": [
            {
                "title": TITLES[name],
                "cells": [format_number(evaluation.metrics[name]), format_number(value), *map(format_number, there[name])],
            }
            for name, value in choice.without.items()
            if name in evaluation.metrics and name in there
        ],
    }


def _compare_baselines(evaluation: Evaluation) -> dict[str, Any]:
    """Return the model and the trivial ones side by side: titles of metrics, rows of texts, and what follows, in words."""
    names = list(evaluation.baselines[0].gains) if evaluation.baselines else []
    rows = [
        ("this model", evaluation.metrics),
        *((f"{one.name}: {one.description}", one.metrics) for one in evaluation.baselines),
    ]
    return {
        "titles": [TITLES[name] for name in names],
        "rows": [
            {"title": title, "cells": [format_number(values[name]) if name in values else "-" for name in names]}
            for title, values in rows
        ],
        "words": [describe_gain(one) for one in evaluation.baselines if one.gains],
    }


def _list_candidates(metadata: Metadata) -> list[dict[str, str]]:
    """Return what ``estimator: auto`` compared, a row of texts each; empty where an estimator is named."""
    choice = metadata.choice
    if choice is None:
        return []
    return [
        {
            "estimator": one.estimator.replace("_", " "),
            "params": ", ".join(f"{name} {value}" for name, value in one.params.items()),
            "loss": "not finished" if one.loss is None else format_number(one.loss),
            "chosen": "kept" if place == choice.chosen else "",
        }
        for place, one in enumerate(choice.candidates)
    ]


def _list_groups(evaluation: Evaluation, contract: Contract) -> dict[str, Any]:
    """Return how the model treats each group, a row of texts each, and the columns' titles; empty where none was asked for."""
    if contract.task == "binary":
        name = shorten(contract.class_names[1], MAX_SHOWN_TEXT)
        titles = [f"of {name}, found", f"of others, taken for {name}", "probability over what came true"]
    elif contract.is_classification:
        titles = ["answered rightly", "sureness over what came true"]
    else:
        titles = ["mean error", "mean size of the error"]
    rows, form = [], "+.3f" if contract.is_classification else ".4g"
    for one in evaluation.groups:
        figures = ((one.found, ".1%"), (one.suspected, ".1%"), (one.off, form), (one.size, form))
        cells = [
            "no rows" if np.isnan(known.value) else f"{known.value:{form}} ({known.low:{form}} to {known.high:{form}})"
            for known, form in figures
            if known is not None
        ]
        rows.append({"column": one.column, "value": shorten(one.value, MAX_SHOWN_TEXT), "rows": one.rows, "cells": cells})
    return {"titles": titles, "rows": rows}


def _seen(feature: Feature) -> str:
    """Say which values the training rows had."""
    if feature.is_text:
        shown = ", ".join(shorten(text, MAX_SHOWN_TEXT) for text in feature.categories[:MAX_SHOWN_CATEGORIES])
        rest = len(feature.categories) - MAX_SHOWN_CATEGORIES
        return f"{shown} and {rest} more" if rest > 0 else shown
    if feature.minimum is None or feature.maximum is None:
        return "no values"
    if feature.type == "boolean":
        return "true, false" if feature.minimum < feature.maximum else str(bool(feature.minimum)).lower()
    if feature.type == "datetime":
        ends = (np.datetime64(round(end), "s") for end in (feature.minimum, feature.maximum))
        return " to ".join(str(end).removesuffix("T00:00:00") for end in ends)
    low, median, high = (format_value(value) for value in (feature.minimum, float(feature.default or 0), feature.maximum))
    return f"{low} to {high}, median {median}"
