"""HTML pages, each a single file: a model's newest evaluation with those before it, and the comparison of two tables."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.modeling.evaluation import TITLES as METRIC_TITLES
from mlops_project.modeling.evaluation import format_number
from mlops_project.modeling.metrics import higher_is_better
from mlops_project.monitoring import alerts
from mlops_project.monitoring.coverage import ABSTAINED
from mlops_project.monitoring.reasons import format_duration, say
from mlops_project.monitoring.report.plots import BROAD, WIDTH, Annotation, Line, Point, draw_bins, draw_lines
from mlops_project.monitoring.report.summary import (
    Verdict,
    describe_aspects,
    describe_domain,
    describe_labels,
    find_steps,
    format_minute,
    format_p,
    format_percent,
    judge,
    to_sentence,
)
from mlops_project.monitoring.results import Alert, AspectDrift, Drift, Evaluation, FeatureDrift, MetricValue, Performance
from mlops_project.sections import MonitoringConfig

MAX_PLOTS = 16  # of changed features; the page names how many more there are
MAX_SCORES = 6
MAX_FIRST = 20
MAX_WINDOWS = 300  # of the plots over time


def build_report(
    evaluations: Sequence[Evaluation],
    config: Config,
    contract: Contract | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the page of a model's newest evaluation, with notes on the log; it needs no other file and no network.

    Parameters
    ----------
    evaluations
        Of one model, oldest first, all versions, at least one; the last one is shown, the others are its history.
    config
        For the tolerances that the plots show, and the commands.
    contract
        Gives features their units and classes their names; None shows neither.
    notes
        Sentences on what the log lacks, such as segments that cannot be read; empty for none.
    """
    now, settings = evaluations[-1], config.monitoring
    shown = [*evaluations[-MAX_WINDOWS:]]
    window = f"version {now.version} · window {format_minute(now.start)} to {format_minute(now.end)} UTC"
    return _render(
        {
            "title": now.model,
            "subtitle": f"{window} · {now.rows:,} predictions · evaluated {format_minute(now.evaluated_at)}",
            "verdict": judge(now),
            "notes": notes,
            "cards": _build_cards(now),
            "alerts": [_show_alert(alert) for alert in now.alerts],
            "consecutive": settings.consecutive,
            "steps": find_steps(now, config.command),
            "over_time": [plot for plot in (_draw_metric(shown, settings), _draw_share(shown, settings)) if plot],
            "first": _rank_first(shown),
            "first_note": _FIRST_NOTE,
            **_show_performance(now.performance, now.rows),
            **_show_drift(now.drift, contract),
        }
    )


def write_drift_report(file: Path, drift: Drift, title: str) -> None:
    """Write the page of a comparison of two tables.

    Parameters
    ----------
    file
        Where to write; replaced if it exists.
    drift
        From ``compute_drift``.
    title
        Names the two tables.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    level = "changed" if drift.drifted or drift.prediction_drifted else "quiet"
    heading = "The tables differ" if level == "changed" else "No change that matters"
    facts = {
        "title": title,
        "subtitle": f"{drift.rows:,} rows against {drift.reference_rows:,} reference rows",
        "verdict": Verdict(level, heading, drift.reason),
        "cards": _build_drift_cards(drift),
        **dict.fromkeys(("notes", "alerts", "steps", "over_time", "first", "metrics", "labels", "assumptions"), ()),
        "consecutive": 1,
        "first_note": "",
        **_show_drift(drift, None),
    }
    file.write_text(_render(facts), encoding="utf-8")


_FIRST_NOTE = (
    "Over the kept windows of this version. What changed first is often the cause of what changed later: look there first. "
    "Weight: share of the model's importance."
)


@cache
def _environment() -> jinja2.Environment:
    rooms = ("monitoring.report", "modeling")  # modeling has the style
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader(f"mlops_project.{room}") for room in rooms])
    options: dict[str, Any] = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    return jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, **options)  # noqa: S701


def _render(facts: Mapping[str, Any]) -> str:
    return _environment().get_template("report.html.j2").render(facts)


# Cards and alerts -------------------------------------------------------------------------------------------------------------


def _build_cards(now: Evaluation) -> list[dict[str, Any]]:
    performance = now.performance
    cards = [_card("predictions", f"{now.rows:,}", "in this window")]
    for name, values in (("from labels", performance.live), ("estimated", performance.estimated)):
        value = next((value for value in values if value.name == performance.metric), None)
        if value:
            title, note = (
                f"{METRIC_TITLES.get(value.name, value.name)}, {name}",
                f"held-out rows: {format_number(value.reference)}",
            )
            cards.append(_card(title, format_number(value.value), note, main=name == "from labels"))
    for value in performance.counted:
        if value.name == ABSTAINED:
            note = f"marked as not to be trusted; held-out rows: {format_percent(value.reference)}"
            cards.append(_card("for a person", format_percent(value.value), note))
    cards += _build_drift_cards(now.drift)
    if performance.label_coverage is not None:
        cards.append(_card("labels", format_percent(performance.label_coverage), "of the predictions as old as they"))
    if performance.label_delay_seconds is not None:
        cards.append(_card("labels come after", format_duration(performance.label_delay_seconds), "median"))
    return cards


def _build_drift_cards(drift: Drift) -> list[dict[str, Any]]:
    if not drift.features:
        return []
    changed = sum(feature.drifted for feature in drift.features)
    cards = [
        _card(
            "features that changed", f"{changed} of {len(drift.features)}", f"{format_percent(drift.share)} of the importance"
        ),
    ]
    if drift.domain:
        note = "0.5: rows are not to be told apart"
        cards.append(_card("told from the reference", f"AUC {drift.domain.auc:.3f}", note))
    return cards


def _card(title: str, value: str, note: str, *, main: bool = False) -> dict[str, Any]:
    return {"title": title, "value": value, "note": note, "main": main}


def _show_alert(alert: Alert) -> dict[str, Any]:
    title = to_sentence(alerts.TITLES[alert.name]).rstrip(".")
    return {
        "title": title,
        "firing": alert.firing,
        "windows": alert.windows,
        "since": format_minute(alert.since),
        "reason": alert.reason,
    }


# Over time -----------------------------------------------------------------------------------------------------------------


def _draw_metric(evaluations: Sequence[Evaluation], settings: MonitoringConfig) -> dict[str, str] | None:
    name = evaluations[-1].performance.metric
    lines = [Line(source, [_to_point(item, name, source) for item in evaluations]) for source in ("live", "estimated")]
    known = [value for item in evaluations for value in _values(item.performance) if value.name == name]
    if not known:
        return None
    reference, title = known[-1].reference, METRIC_TITLES.get(name, name)
    step = settings.tolerance * (1 if name not in _SHARES else abs(reference))
    limit = reference - step if higher_is_better(name) else reference + step
    levels = [("reference", reference), ("tolerated", limit)]
    drawn = _draw_twice(lines, title, levels, evaluations)
    better = "higher" if higher_is_better(name) else "lower"
    caption = (
        f"Solid: from labels, with its 95% interval; dashed orange: estimated without labels. Dotted: on the held-out rows "
        f"({format_number(reference)}); orange line: what is tolerated ({format_number(limit)}). "
        f"{to_sentence(better + ' is better')}"
    )
    return {"title": title, **drawn, "caption": caption + _PROMOTIONS}


def _draw_twice(
    lines: Sequence[Line], title: str, levels: Sequence[tuple[str, float]], evaluations: Sequence[Evaluation]
) -> dict[str, str]:
    """Draw for a desktop and for a phone, where texts of the first would be five pixels high."""
    marks = _find_promotions(evaluations)
    broad, narrow = (draw_lines(lines, title, levels=levels, marks=marks, width=width) for width in (BROAD, WIDTH))
    return {"svg": broad, "narrow": narrow}


_SHARES = ("log_loss", "mae", "rmse")  # their tolerance is a share of the reference
_PROMOTIONS = " Green: a new version."


def _values(performance: Performance) -> tuple[MetricValue, ...]:
    return (*performance.live, *performance.estimated)


def _to_point(item: Evaluation, name: str, source: str) -> Point:
    for value in _values(item.performance):
        if value.name == name and value.source == source:
            return Point(datetime.fromisoformat(item.end), value.value, value.low, value.high)
    return Point(datetime.fromisoformat(item.end), None)


def _draw_share(evaluations: Sequence[Evaluation], settings: MonitoringConfig) -> dict[str, str] | None:
    points = [
        Point(datetime.fromisoformat(item.end), item.drift.share if item.drift.features else None) for item in evaluations
    ]
    title, levels = "Share of the features that changed, by importance", [("tolerated", settings.drift_share)]
    drawn = _draw_twice([Line("share", points)], title, levels, evaluations)
    caption = f"Orange line: the share from which on the window counts as drifted ({format_percent(settings.drift_share)})."
    return {"title": title, **drawn, "caption": caption + _PROMOTIONS} if drawn["svg"] and len(points) > 1 else None


def _find_promotions(evaluations: Sequence[Evaluation]) -> list[Annotation]:
    changes = [now for then, now in pairwise(evaluations) if then.version != now.version]
    return [Annotation(datetime.fromisoformat(now.start), f"version {now.version}") for now in changes]


def _rank_first(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Rank the features that changed in any window of the newest version by the first of them."""
    own = [item for item in evaluations if item.version == evaluations[-1].version]
    first: dict[str, str] = {}
    windows: dict[str, int] = {}
    for item in own:
        for feature in item.drift.features:
            if feature.drifted:
                first.setdefault(feature.name, item.start)
                windows[feature.name] = windows.get(feature.name, 0) + 1
    newest = {feature.name: feature for feature in own[-1].drift.features}
    ranked = sorted(first, key=lambda name: (first[name], -_weight(newest.get(name)), name))
    return [
        {
            "name": name,
            "since": format_minute(first[name]),
            "windows": windows[name],
            "of": len(own),
            "now": name in newest and newest[name].drifted,
            "weight": format_percent(_weight(newest.get(name))),
        }
        for name in ranked[:MAX_FIRST]
    ]


def _weight(feature: FeatureDrift | None) -> float:
    return feature.weight if feature else 0.0


# Drift and performance of the window ---------------------------------------------------------------------------------------


def _show_drift(drift: Drift, contract: Contract | None) -> dict[str, Any]:
    changed = [feature for feature in drift.features if feature.drifted]
    units = {feature.name: feature.unit for feature in contract.features if feature.unit} if contract else {}
    faulty = [feature for feature in drift.features if feature.quality]
    scores = sorted(drift.scores, key=lambda score: -score.drifted)
    names = dict(zip(map(str, contract.classes), contract.class_names, strict=False)) if contract else {}
    clean = "No feature has more missing, unseen or out-of-range values than it should." if drift.features else drift.reason
    return {
        "changed": [_plot_feature(feature, units.get(feature.name, "")) for feature in changed[:MAX_PLOTS]],
        "not_shown": max(len(changed) - MAX_PLOTS, 0),
        "scores": [_plot_score(score, names.get(score.name, score.name)) for score in scores[:MAX_SCORES]],
        "faulty": [_show_feature(feature) for feature in faulty],
        "quality_note": clean,
        "aspects": [_show_aspect(found) for found in drift.aspects if found.drifted],
        "aspects_note": describe_aspects(drift),
        "domain": describe_domain(drift),
        "features": [_show_feature(feature) for feature in drift.features],
    }


def _show_aspect(found: AspectDrift) -> dict[str, str]:
    return {
        "name": found.name,
        "change": say(found.change) if found.change else "",
        "distance": f"{found.jensen_shannon:.3f}",
        "threshold": f"{found.threshold:.3f}",
        "p": format_p(found.p_adjusted),
        "weight": format_percent(found.weight),
    }


def _plot_feature(feature: FeatureDrift, unit: str) -> dict[str, str]:
    facts = [f"distance {feature.jensen_shannon:.3f}, tolerated {feature.threshold:.3f}", f"PSI {feature.psi:.2f}"]
    if feature.wasserstein is not None:
        facts.append(f"moved by {feature.wasserstein:.2f} standard deviations")
    facts.append(f"{feature.test} p {format_p(feature.p_adjusted)}")
    facts.append(f"{format_percent(feature.weight)} of the importance")
    title = f"{feature.name} [{unit}]" if unit else feature.name
    return {"title": title, "svg": draw_bins(feature.bins, feature.name), "caption": "; ".join(facts)}


def _plot_score(score: FeatureDrift, name: str) -> dict[str, str]:
    state = "changed" if score.drifted else "as before"
    caption = (
        f"{state}: distance {score.jensen_shannon:.3f}, tolerated {score.threshold:.3f}; grey: held-out rows, blue: this window"
    )
    title = "predicted value" if score.name == "value" else f"probability of {name}"
    return {"title": title, "svg": draw_bins(score.bins, title), "caption": caption}


def _show_feature(feature: FeatureDrift) -> dict[str, Any]:
    is_text = feature.kind == "category"
    return {
        "name": feature.name,
        "weight": format_percent(feature.weight),
        "distance": f"{feature.jensen_shannon:.3f}",
        "threshold": f"{feature.threshold:.3f}",
        "visible": _show_visible(feature),
        "psi": f"{feature.psi:.3f}",
        "wasserstein": "" if feature.wasserstein is None else f"{feature.wasserstein:.2f}",
        "test": feature.test,
        "p": format_p(feature.p_adjusted),
        "missing": format_percent(feature.missing_ratio),
        "missing_reference": format_percent(feature.missing_reference_ratio),
        "out_of_range": "" if is_text else format_percent(feature.out_of_range_ratio),
        "unseen": format_percent(feature.unseen_ratio) if is_text else "",
        "quality": "; ".join(feature.quality),
        "drifted": feature.drifted,
    }


def _show_visible(feature: FeatureDrift) -> str:
    if feature.visible is None:
        return ""
    return format_percent(feature.visible) if feature.kind == "category" else f"{feature.visible:.2g} sd"


def _show_performance(performance: Performance, rows: int) -> dict[str, Any]:
    names = list(dict.fromkeys(value.name for value in _values(performance)))
    found = {(value.name, value.source): value for value in _values(performance)}
    metrics = [_show_metric(name, found.get((name, "live")), found.get((name, "estimated"))) for name in names]
    return {"metrics": metrics, "labels": describe_labels(performance, rows), "assumptions": performance.assumptions}


def _show_metric(name: str, live: MetricValue | None, estimated: MetricValue | None) -> dict[str, Any]:
    known = live or estimated
    row: dict[str, Any] = {
        "title": METRIC_TITLES.get(name, name),
        "lost": any(value and value.lost for value in (live, estimated)),
    }
    for key, value in (("live", live), ("estimated", estimated)):
        row[key] = format_number(value.value) if value else ""
        row[f"{key}_interval"] = f"{format_number(value.low)} to {format_number(value.high)}" if value else ""
    return row | {"reference": format_number(known.reference) if known else ""}
