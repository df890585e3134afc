"""An evaluation in words: the verdict, what to do next, and how figures are written."""

from collections.abc import Callable
from typing import NamedTuple

from mlops_project.monitoring import alerts
from mlops_project.monitoring.reasons import format_duration, say
from mlops_project.monitoring.results import Alert, Drift, Evaluation, Performance


class Verdict(NamedTuple):
    """An evaluation in one sentence: ``level`` is ``quiet``, ``changed`` or ``alert``."""

    level: str
    title: str
    text: str


def judge(evaluation: Evaluation) -> Verdict:
    """Say in one sentence what is up."""
    fires = evaluation.firing
    if fires:
        also = [alerts.TITLES[alert.name] for alert in fires[1:]]
        rest = f" Also: {'; '.join(also)}." if also else ""
        since = f"for {fires[0].windows} windows, since {format_minute(fires[0].since)} UTC"
        return Verdict("alert", f"Alert: {alerts.TITLES[fires[0].name]}, {since}", f"{_say_first(fires[0])}{rest}")
    if evaluation.alerts:
        first = evaluation.alerts[0]
        title = f"This window differs: {alerts.TITLES[first.name]}"
        return Verdict("changed", title, f"{_say_first(first)} Not yet long enough for an alert.")
    reasons = [to_sentence(text) for text in (evaluation.performance.reason, evaluation.drift.reason) if text]
    return Verdict("quiet", "All is quiet", " ".join(reasons))


def _say_first(alert: Alert) -> str:
    return to_sentence(say(alert.reasons[0]) if alert.reasons else alert.reason)


def find_steps(now: Evaluation, command: Callable[..., str]) -> list[dict[str, str]]:
    """Return what to do, most pressing first.

    Parameters
    ----------
    command
        ``Config.command`` of the configuration that the model is from.
    """
    names = {alert.name for alert in now.alerts}
    steps = []
    if "data-quality" in names:
        steps.append(
            ("Find out who sends these values: a source, a unit or a format changed. No retraining mends faulty data.", "")
        )
    if "rows-missing" in names:
        steps.append(("Find out where predictions get lost: the monitor's /status names them under rows and log.", ""))
    if names & {"data-drift", "prediction-drift"}:
        steps.append(("Look at what changed first, below: is the change real, or a fault on the way?", ""))
        steps += _list_lasting(now, command)
    if names & {"performance-loss", "data-drift", "estimated-loss"}:
        reason = "drift" if "performance-loss" not in names else "performance loss"
        retrain = command("retrain", f'--reason "{reason}"')
        steps.append(("Train a challenger on the newest labelled predictions; the gate decides:", retrain))
    if "performance-loss" in names:
        steps.append(("If the version before was better, go back to it:", command("rollback")))
    if "coverage-loss" in names:
        steps.append(("Trust no set or interval until a model is trained on newer rows.", ""))
    if "unequal-groups" in names:
        steps.append(
            ("Look at what the model lacks about one of the groups; if it is right as it is, say why in checks.accept.", "")
        )
    if "abstain-rise" in names:
        steps.append(("Let a person decide rows that are marked `abstain`; find out what they have in common.", ""))
    if "estimated-loss" in names and "performance-loss" not in names:
        steps.append(("Get labels for some of these predictions: an estimate is no measurement.", "POST /feedback"))
    if steps:
        steps.append(("What happened so far:", command("history")))
    return [{"text": text, "command": command} for text, command in steps]


def _list_lasting(now: Evaluation, command: Callable[..., str]) -> list[tuple[str, str]]:
    """Say that drift which lasts is one change, and how a person takes it as usual, where the past decides on drift."""
    lasting = next((alert for alert in now.firing if alert.name in ("data-drift", "prediction-drift")), None)
    past = now.drift.past
    if lasting is None or past is None or past.judged_by == "rows" or any(alert.name == "data-quality" for alert in now.alerts):
        return []
    since = f"It is one change, and lasts since {format_minute(lasting.since)} UTC ({lasting.windows} windows)."
    accept = command("monitor", '--accept "why this is right"')
    return [(f"{since} If things are like this from now on, let later windows be judged by these as well:", accept)]


def describe_domain(drift: Drift) -> str:
    """Say what the domain classifier found; empty if there was none."""
    if drift.domain is None:
        return ""
    domain = drift.domain
    told = "can" if domain.drifted else "cannot"
    by = f", mostly by {', '.join(domain.names)}" if domain.drifted and domain.names else ""
    return (
        f"A classifier {told} tell this window's rows from the reference{by}: AUC {domain.auc:.3f}, where chance reaches "
        f"{domain.threshold:.3f} (p {format_p(domain.p_value)}). It sees changes between features that no single one shows."
    )


def describe_aspects(drift: Drift) -> list[str]:
    """Say what was compared beside single values, and how many rows are copies; one sentence each."""
    lines = []
    if drift.aspects:
        changed = sum(found.drifted for found in drift.aspects)
        lines.append(
            f"{changed} of {len(drift.aspects)} changed: pairs of features that go together, features in parts of the rows, "
            "what texts look like, when dates are."
        )
    if drift.repeats is not None:
        often = "" if drift.repeats.repeated else "no "
        lines.append(f"{format_percent(drift.repeats.share)} of the rows are copies of others, {often}more than is usual.")
    return lines


def describe_labels(performance: Performance, rows: int) -> list[str]:
    """Say how good the model is, and on how many labels that rests; one sentence each."""
    lines = [to_sentence(performance.reason)] if performance.reason else []
    if performance.labelled_rows:
        delay, share = performance.label_delay_seconds, performance.label_coverage
        when = "" if delay is None else f", half of them within {format_duration(delay)}"
        covered = "" if share is None else f"; {format_percent(share)} of the predictions as old as they have one"
        lines.append(f"From the newest {performance.labelled_rows:,} predictions with a label{when}{covered}.")
    else:
        lines.append(f"None of the newest predictions has a label yet ({rows:,} in this window); send them to POST /feedback.")
    return lines


def format_minute(instant: str) -> str:
    """Return an ISO 8601 instant as people read it, to the minute."""
    return instant[:16].replace("T", " ")


def to_sentence(text: str) -> str:
    """Return a text with a capital letter and a full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def format_percent(share: float) -> str:
    """Return a share in [0, 1] as per cent."""
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"


def format_p(p_value: float) -> str:
    """Return a p-value; the smallest only as that."""
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}" if p_value < 0.0995 else f"{p_value:.2f}"
