"""Labels that are no fair sample: of one class, too few of a class, chosen by their outcome, or the model's own answers."""

from collections.abc import Iterator

import numpy as np

from mlops_project.findings import Finding
from mlops_project.modeling.metrics import compute_metric
from mlops_project.monitoring.selection import find_selection, keeps_ranking
from mlops_project.retraining.evidence import Evidence, measure_errors
from mlops_project.runtime import Floats

MIN_CLASS_ROWS, MIN_EXPECTED = 5, 10.0  # rows of a class among those that judge, where so many were to be expected
ECHO, ECHO_ERROR = 0.995, 1e-4  # share of labels that equal the answer, and how unlikely that must be by chance
ECHO_RESIDUAL = 0.02  # of the held-out error, for numbers


def find_lacking_classes(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether the labels are of one class, or one has too few rows among those that judge."""
    names = evidence.contract.class_names
    if not names:
        return
    truth, n_classes = evidence.labelled.truth, len(names)
    counts = np.bincount(truth, minlength=n_classes)
    if (counts > 0).sum() == 1:
        only = int(counts.argmax())
        usual = float((evidence.held_out.truth == only).mean())
        yield Finding(
            code="labels-of-one-class",
            seen=f"all {len(truth):,} labels are {names[only]!r}, as {usual:.0%} of the held-out rows are",
            why="nothing tells one class from another by labels of one",
            cure="send the labels of the other outcomes as well, also of predictions where nothing happened",
            severity="error",
        )
        return
    judged = np.bincount(truth[evidence.is_judged], minlength=n_classes)
    expected = np.bincount(evidence.held_out.truth, minlength=n_classes) / len(evidence.held_out.truth) * judged.sum()
    few = (judged < MIN_CLASS_ROWS) & ((expected >= MIN_EXPECTED) | ((judged == 0) & (n_classes == 2)))
    if few.any():
        worst = int(np.where(few, judged, np.inf).argmin())
        yield Finding(
            code="few-labels-of-class",
            seen=f"{judged[worst]} of the {judged.sum():,} newest labels, which judge, are {names[worst]!r}, and about "
            f"{expected[worst]:.0f} were to be expected",
            why=f"with fewer than {MIN_CLASS_ROWS} rows of a class no metric says how well it is told",
            cure="wait for more labels, or see that those of this class are sent",
            severity="error",
        )


def find_selective_labels(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether the labels' classes are chosen."""
    names = evidence.contract.class_names
    if not names:
        return
    n_rows = len(evidence.labelled.truth)
    seen, expected = _share_classes(evidence)
    found = find_selection(seen, expected, n_rows, evidence.coverage)
    usual = compute_metric("roc_auc", evidence.held_out.score(evidence.contract), evidence.contract.task)
    if found is None or not keeps_ranking(evidence.labelled.score(evidence.contract), usual):
        yield from _find_chosen_rows(evidence, n_rows)
        return
    yield Finding(
        code="selective-labels",
        seen=f"{found.seen:.0%} of {len(evidence.labelled.truth):,} labels are {names[found.place]!r}, where version "
        f"{evidence.version} leads one to expect {found.expected:.0%} of the same rows, and {found.coverage:.0%} of the "
        "predictions have a label",
        why="labels that come by their outcome teach that this outcome is frequent",
        cure="label a random share of the predictions, or wait until nearly all are labelled",
        severity="error",
    )


def _find_chosen_rows(evidence: Evidence, n_rows: int) -> Iterator[Finding]:
    """Yield whether the rows that have a label are others than those that have none, by what the champion says of them."""
    if evidence.answers is None:
        return
    labelled = np.asarray(evidence.labelled.predictions.probabilities).mean(axis=0)
    found = find_selection(labelled, evidence.answers, n_rows, evidence.coverage)
    if found is not None:
        name = evidence.contract.class_names[found.place]
        yield Finding(
            code="selective-labels",
            seen=f"the {n_rows:,} rows that have a label, {found.coverage:.0%} of the predictions, are chosen: version "
            f"{evidence.version} says {name!r} to {found.seen:.0%} of them, and to {found.expected:.0%} of all of that time",
            why="labels that come by their outcome, or by what the model said, teach that this outcome is frequent",
            cure="label a random share of the predictions, or wait until nearly all are labelled",
            severity="error",
        )


def _share_classes(evidence: Evidence) -> tuple[Floats, Floats]:
    """Return each class's share among the labels, and what the champion says of these rows, without its held-out bias."""
    n_classes = len(evidence.contract.class_names)
    held_out, labelled = evidence.held_out, evidence.labelled
    usual = np.bincount(held_out.truth, minlength=n_classes) / len(held_out.truth)
    bias = usual - np.asarray(held_out.predictions.probabilities).mean(axis=0)
    expected = np.clip(np.asarray(labelled.predictions.probabilities).mean(axis=0) + bias, 0.0, 1.0)
    return np.bincount(labelled.truth, minlength=n_classes) / len(labelled.truth), expected


def find_echo(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether the labels are the model's own answers, sent back."""
    n_rows = len(evidence.labelled.truth)
    if evidence.contract.is_classification:
        contradictions, expected = evidence.surprise[0].contradicts.sum(), evidence.surprise[0].expected
        chance = float(np.exp(np.log1p(-expected).sum()))  # that none contradicts
        is_echo = contradictions <= (1 - ECHO) * n_rows and chance < ECHO_ERROR
        seen = f"{n_rows - contradictions:,.0f} of {n_rows:,} labels are what version {evidence.version} answered, and "
        seen += f"{expected.sum():,.0f} others were to be expected"
    else:
        ours, theirs = (float(np.median(np.abs(measure_errors(rows)))) for rows in (evidence.labelled, evidence.held_out))
        is_echo = ours < ECHO_RESIDUAL * theirs
        seen = f"{n_rows:,} labels differ from what version {evidence.version} answered by {ours:.3g} in the median, those of "
        seen += f"the held-out rows by {theirs:.3g}"
    if is_echo:
        yield Finding(
            code="labels-repeat-answers",
            seen=seen,
            why="a model that learns its own answers learns its own mistakes, and is judged to be perfect",
            cure="send what came true, not what was predicted; find the program that copies the answer into the label",
            severity="error",
        )
