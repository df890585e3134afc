"""Reasons as data (kind and values), and the English words of every kind; the application has words in its other languages."""

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlops_project.modeling.evaluation import TITLES, format_number
from mlops_project.monitoring.results import Reason

NAMED = 3  # features in a reason

_DRIFTED = "{drifted} of {features} features drifted, {share:percent} of the importance,"
_SHARE = "in all {share:percent} of the importance"
_VALUE = "{metric:metric} {value:figure} [{low:figure}, {high:figure}] on {rows:count}"
_AGAINST = ", {reference:figure} on the held-out rows, {tolerance:figure} is tolerated:"
_APART = " ({rows:count} labelled rows; difference 95% from {low:three} to {high:three})"
# kind: its words. What follows a colon is a key of ``FORMATS``, ``metric``, ``list`` or ``clauses``.
ENGLISH: dict[str, str] = {
    "said": "{text}",  # by another part of the program, in English
    "more": "{items:list} and {count} more",
    "more-clauses": "{items:clauses} and {count} more",
    # drift
    "features-drifted": f"{_DRIFTED} over the {{limit:percent}} that matter: {{named:list}}",
    "few-features-drifted": f"{_DRIFTED} under the {{limit:percent}} that matter: {{named:list}}",
    "feature-drifted": "{name} (Jensen–Shannon {distance:two}, chance {threshold:two})",
    "feature-trend": (
        "{name} (its mean has slowly moved {beyond:two} standard deviations beyond what the other columns explain, {limit:two} "
        "would be usual)"
    ),
    "aspects-changed": f"beyond single values ({_SHARE}, over the {{limit:percent}} that matter): {{named:clauses}}",
    "few-aspects-changed": f"beyond single values ({_SHARE}, under the {{limit:percent}} that matter): {{named:clauses}}",
    "pair-changed": (
        "{first} and {second} no longer go together as before (strength {before:two}, now {now:two}); most of all where "
        "{rule:list}, {share:tenth} of the rows instead of {expected:tenth}"
    ),
    "length-changed": "texts of {name} have {now:six} characters on the mean instead of {before:six}",
    "words-changed": "words of {name}: {value} in {now:tenth} of the texts instead of {before:tenth}",
    "known-changed": "of the words in {name} {now:tenth} are known instead of {before:tenth}",
    "case-changed": "letters of {name}: {value} in {now:tenth} of the texts instead of {before:tenth}",
    "script-changed": "script of {name}: {value} in {now:tenth} of the texts instead of {before:tenth}",
    "hour-changed": "hours of {name}: {value} in {now:tenth} of the rows instead of {before:tenth}",
    "weekday-changed": "weekdays of {name}: {value} in {now:tenth} of the rows instead of {before:tenth}",
    "clock-moved": "against the log's clock {named:clauses}; a clock, a time zone or a delay changed at their source",
    "age-changed": "{name} is {now:list} in the middle, and was {before:list} in {windows} past windows",
    "age-past": "up to {seconds:duration} before the prediction",
    "age-future": "{seconds:duration} or more after the prediction",
    "clock-hours": (
        "{name} is {now:signed} h from the hour (UTC) in most rows, and was {before:signed} h in {windows} past windows"
    ),
    "clock-days": (
        "{name} is {now:signed} days from the weekday (UTC, Monday 0) in most rows, and was {before:signed} in {windows} past "
        "windows"
    ),
    "segment-moved": (
        "where {rule:list} ({share:tenth} of the rows), {name} moved by {moved:two} standard deviations, not elsewhere"
    ),
    "segment-share": (
        "where {rule:list} ({share:tenth} of the rows), {name} is {value} in {now:tenth} instead of {before:tenth}, not "
        "elsewhere"
    ),
    "segment-missing": (
        "where {rule:list} ({share:tenth} of the rows), {now:tenth} of {name} are missing instead of {before:tenth}"
    ),
    "rule-both": "{first:list} and {second:list}",
    "rule-equal": "{name} = {value}",
    "rule-others": "{name} is none of {value}",
    "rule-at-most": "{name} ≤ {bound:six}",
    "rule-over": "{name} > {bound:six}",
    "rule-between": "{low:six} < {name} ≤ {high:six}",
    "rows-told-apart": (
        "together the features give the window away: AUC {auc:two}, chance reaches {threshold:two}; mostly {names}"
    ),
    "predictions-drifted": "predictions drifted: {named:list}",
    "nothing-drifted": "no change of {features} features beyond chance",
    "too-short-to-tell": (
        "too short to tell, {windows} of {needed} past windows: rows depend on when they came, and what differs from the "
        "held-out rows ({held} features or scores) may do so at every such hour; until then only faulty data raises an alert "
        "(with data.time a new training knows its past from the first window)"
    ),
    "columns-too-short": (
        "not judged for drift, because they were faulty ({windows} of {needed} windows without a fault): {named:list}; mend "
        "their source, or train again on rows that have such values"
    ),
    "as-before": "features or scores that differ from the held-out rows ({held}) differ no more than in {windows} past windows",
    "no-profile": "this version was trained without a reference profile, so drift cannot be seen; train again to have one",
    "scores-moved": "the scores moved: {named:list}",
    "score-moved": "{name} ({distance:three}, tolerated {threshold:three})",
    # faults of the data
    "rows-repeated": (
        "{share:tenth} of the rows are copies of others, at most {expected:tenth} is usual; they are compared once each"
    ),
    "faulty": "{name}: {faults:list}",
    "missing": "{now:tenth} missing (reference: {before:tenth})",
    "unknown-values": "{now:tenth} with values that the model does not know (reference: {before:tenth})",
    "out-of-range": "{now:tenth} outside the training range {low:six} … {high:six} (reference: {before:tenth})",
    "unreadable": "values that cannot be read: {count:count} ({expected})",
    "constant": "always {value}",
    "constant-number": "always {value:six}",
    "constant-new": "always {value}, which the model does not know",
    "vanished": "{value} is gone (reference: {before:tenth})",
    "swapped": "{first} and {second} seem to have taken each other's place",
    "constant-unknown": "always one unknown value",
    # rows that are in no window
    "rows-missing": "{rows:count} predictions ({share:tenth}) are in no window: {named:list}",
    "missing-late": "{rows:count} were logged too late for theirs",
    "missing-behind": "{rows:count} were logged too late for theirs by a server whose clock is behind",
    "missing-clock": "{rows:count} are older than the model by their server's clock",
    "missing-torn": "{rows:count} are damaged or cut off in the log",
    "missing-refused": "{rows:count} could not be understood, or their model is not to be had",
    "missing-deleted": "{rows:count} were deleted before they were evaluated",
    "missing-unlogged": "{rows:count} could not be logged by their server",
    "missing-unreadable": "{rows:count} are in files of the Parquet log that cannot be read",
    # performance
    "live-lost": f"{_VALUE} labelled rows{_AGAINST} lost",
    "live-kept": f"{_VALUE} labelled rows{_AGAINST} not lost",
    "live-lost-of": f"{_VALUE} labelled rows ({{coverage:percent}} of the predictions){_AGAINST} lost",
    "live-kept-of": f"{_VALUE} labelled rows ({{coverage:percent}} of the predictions){_AGAINST} not lost",
    "coverage-lost": (
        "sets or intervals hold the truth of {value:tenth} [{low:tenth}, {high:tenth}] of {rows:count} labelled rows, "
        "{reference:percent} are promised"
    ),
    "coverage-mix": (
        "weighted for the mix of these rows they would hold {value:tenth}: the columns' mix changed, and what follows from "
        "them need not have"
    ),
    "coverage-concept": (
        "weighted for the mix of these rows they would hold {value:tenth} as well: what follows from the columns changed"
    ),
    "group-found": (
        "of rows of {label}, {first:percent} are found where {name} is {one}, {second:percent} where it is {other}" + _APART
    ),
    "group-suspected": (
        "of other rows than {label}, {first:percent} are taken for it where {name} is {one}, {second:percent} where it is "
        "{other}" + _APART
    ),
    "group-level": (
        "probabilities of {label} lie {first:two} over what came true where {name} is {one}, {second:two} where it is {other}"
        + _APART
    ),
    "group-number-level": (
        "answers lie {first:six} over what came true where {name} is {one}, {second:six} where it is {other}" + _APART
    ),
    "group-number-size": "answers are off by {first:six} where {name} is {one}, {second:six} where it is {other}" + _APART,
    "abstained-more": (
        "{value:tenth} [{low:tenth}, {high:tenth}] of {rows:count} rows are marked as not to be trusted, of the held-out rows "
        "{reference:tenth} are"
    ),
    "live-selective": (
        "labels come selectively, and say nothing of the model: {seen:percent} of {rows:count} are {label}, the model leads "
        "one to expect {expected:percent} of the same rows, and {coverage:percent} of the predictions have a label"
    ),
    "live-chosen": (
        "the rows that have a label are chosen by the answer, and say nothing of the model: scores of {name} in {answers} are "
        "{share:percent} of the {rows:count} labelled ones and {usual:percent} of all predictions of that time, and "
        "{unlabelled:percent} of the predictions have answers of which hardly any is labelled; label some of these"
    ),
    "live-weighted": (
        "the rows that have a label are chosen by the answer (scores of {name} in {answers}: {share:percent} of the labelled "
        "ones, {usual:percent} of all predictions of that time), so each counts for as many predictions as it stands for"
    ),
    "labels-young": (
        "{rows:count} labelled rows younger than {slow_delay:duration} do not count: labels of {slow} take so long, those of "
        "{quick} {quick_delay:duration}"
    ),
    "estimated-lost": f"{_VALUE} rows, estimated without labels{_AGAINST} lost",
    "estimated-kept": f"{_VALUE} rows, estimated without labels{_AGAINST} not lost",
    "live-undefined": "these labels, or the held-out ones, do not define {metric:metric}",
    "live-nothing": "{rows:count} labelled rows, and no metric that they and the held-out rows define",
    "live-few": "{rows:count} labelled rows; live metrics need {needed:count} (monitoring.min_labels)",
    "estimate-undefined": "{metric:metric} cannot be estimated without labels",
    "estimate-uncalibrated": (
        "nothing estimated: the bundle has no calibration or error model of its {rows:count} held-out rows; hold out "
        "more and train again"
    ),
    "estimate-nothing": "nothing estimated: no metric that the window and the held-out rows define",
    "estimate-outside": (
        "nothing estimated: {share:percent} more rows than among the held-out ones have a value of {name} that is missing, "
        "unknown or out of the training range; only labels can say how good the model is there"
    ),
    "estimate-thin": (
        "nothing estimated: the mix of rows is so unlike the held-out one (most of all in {name}) that its {rows:count} rows "
        "tell as much as {telling:count} of this mix, and {needed:count} are needed; only labels can say how good the model is"
    ),
    "estimate-few": "nothing estimated: {rows:count} rows, {needed:count} are needed",
    # what an estimate rests on
    "no-concept-drift": (
        "What leads from features to target has not changed (no concept drift); only labels can show that it has."
    ),
    "error-follows": "The model of the error's size (it explains {skill:percent} of the variance on held-out rows) stays true.",
    "error-constant": "The error's size does not follow from the features: the estimate is the held-out error, whatever comes.",
    "rows-alike": "New rows are like some of the held-out ones: trees do not extrapolate.",
    "calibrated": (
        "The probabilities, calibrated on {rows:count} held-out rows, mean the same for new rows: of those given "
        "0.8, 80 % are right."
    ),
    "calibrated-checked": (
        "The probabilities, calibrated on {rows:count} held-out rows, where {metric:metric} is estimated at "
        "{estimated:figure} and measured at {measured:figure}, mean the same for new rows: of those given 0.8, 80 % "
        "are right."
    ),
    "few-of-a-class": (
        "Only about {rows:count} rows of the rarest class are expected in this window; with fewer than {few:count} the "
        "estimate swings from window to window: look at several."
    ),
    "rows-covered": "Rows come from the range that the held-out rows cover.",
    "rows-covered-classes": "Rows come from the range that the held-out rows cover. Each class is calibrated against the rest.",
}


def format_duration(seconds: float) -> str:
    """Return a time as people say it."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


FORMATS: dict[str, Callable[[Any], str]] = {
    "count": "{:,}".format,
    "signed": "{:+d}".format,
    "figure": format_number,
    "two": "{:.2f}".format,
    "three": "{:.3f}".format,
    "six": "{:.6g}".format,
    "percent": "{:.0%}".format,
    "tenth": "{:.1%}".format,
    "duration": format_duration,
}
SEPARATORS = {"list": ", ", "clauses": "; "}


class Words(string.Formatter):
    """Says reasons in one language.

    Parameters
    ----------
    texts
        Words by kind, the fields as in ``ENGLISH``.
    localise
        From a number as English writes it to the language's own.
    name_metric
        From a metric's key to what people call it.
    """

    def __init__(
        self,
        texts: Mapping[str, str],
        localise: Callable[[str], str] = str,
        name_metric: Callable[[str], str] = TITLES.__getitem__,
    ) -> None:
        self._texts, self._localise, self._name_metric = texts, localise, name_metric

    def say(self, *reasons: Reason) -> str:
        """Return reasons as one text; a kind that this release does not know by its name."""
        return "; ".join(self.vformat(self._texts.get(reason.kind, reason.kind), (), reason.values) for reason in reasons)

    def format_field(self, value: Any, format_spec: str) -> str:
        """Return one value of a reason."""
        if format_spec in SEPARATORS:
            return SEPARATORS[format_spec].join(map(self.say, value))
        if format_spec == "metric":
            return self._name_metric(value)
        return self._localise(FORMATS[format_spec](value)) if format_spec else str(value)


say = Words(ENGLISH).say


def shorten_list(reasons: Sequence[Reason], kind: str = "more") -> tuple[Reason, ...]:
    """Return the first ``NAMED`` of the reasons, and how many more there are."""
    rest = len(reasons) - NAMED
    if rest <= 0:
        return tuple(reasons)
    return (Reason(kind=kind, values={"items": tuple(reasons[:NAMED]), "count": rest}),)
