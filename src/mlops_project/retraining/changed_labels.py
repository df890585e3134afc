"""Labels that were right and were replaced later: by what the champion knows, the rows fit the first label and not the last."""

from collections.abc import Iterator

import numpy as np
from scipy.stats import binom

from mlops_project.findings import Finding
from mlops_project.prediction_log.typed import to_truth
from mlops_project.retraining.evidence import Evidence, measure_errors
from mlops_project.retraining.regions import Mask
from mlops_project.runtime import Floats

MIN_CHANGED, MIN_LIKE = 20, 20  # labels that were changed in one way, and rows on either side to compare them with
DEVIATIONS = 4.0
NEAR = 1 / 3  # of the way from rows of the first label to rows of the last one
WORSE, ERROR = 2 / 3, 0.001  # share of changed numbers that are farther from the answer than before, and error of that


def find_changed_labels(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether labels that were right by all that the champion knows were replaced later by their own source.

    Two sources that disagree are left out before. A label that was a default, or wrong, and is mended fits its row afterwards.
    """
    witnesses = evidence.rows.witnesses
    if "first" not in witnesses:
        return
    first = to_truth([text or None for text in witnesses["first"]], evidence.contract)
    if evidence.contract.is_classification:
        yield from _find_swapped_classes(evidence, first)
    else:
        yield from _find_worse_numbers(evidence, first)


def _find_swapped_classes(evidence: Evidence, first: Floats) -> Iterator[Finding]:
    names, last = evidence.contract.class_names, evidence.labelled.truth
    changed = (first >= 0) & (first != last)
    said = np.asarray(evidence.labelled.predictions.probabilities, np.float64)
    kinds, counts = np.unique(np.column_stack([first, last])[changed], axis=0, return_counts=True)
    for before, after in kinds[np.argsort(-counts)][: (counts >= MIN_CHANGED).sum()]:
        own = changed & (first == before) & (last == after)
        like_before, like_after = (said[~changed & (last == code), after] for code in (before, after))
        if min(len(like_before), len(like_after)) < MIN_LIKE:
            continue
        low, high, mean = float(like_before.mean()), float(like_after.mean()), float(said[own, after].mean())
        error = np.sqrt(like_after.var() / len(like_after) + said[own, after].var() / own.sum())
        if mean < low + NEAR * (high - low) and high - mean > DEVIATIONS * error:
            yield _describe(
                evidence,
                own,
                f"from {names[before]!r} to {names[after]!r}: there version {evidence.version} gives {names[after]!r} "
                f"a probability of {mean:.0%}, on rows that are still {names[before]!r} {low:.0%}, and {high:.0%} on rows "
                f"that were {names[after]!r} from the start",
            )
            return


def _find_worse_numbers(evidence: Evidence, first: Floats) -> Iterator[Finding]:
    last, answers = evidence.labelled.truth, measure_errors(evidence.labelled) + evidence.labelled.truth
    changed = np.isfinite(first) & (first != last)
    worse = changed & (np.abs(answers - last) > np.abs(answers - first))
    count, all_changed = int(worse.sum()), int(changed.sum())
    if all_changed >= MIN_CHANGED and count >= WORSE * all_changed and binom.sf(count - 1, all_changed, 0.5) < ERROR:
        yield _describe(
            evidence,
            changed,
            f"and {count:,} of them are farther from what version {evidence.version} answered than they were at first",
        )


def _describe(evidence: Evidence, changed: Mask, how: str) -> Finding:
    senders = sorted({str(name) for name in evidence.rows.witnesses["source"][changed] if name})
    who = f" by {', '.join(senders[:3])}" if senders else ""
    return Finding(
        code="changed-labels-contradict",
        seen=f"{changed.sum():,} of {len(changed):,} labels were changed after they had come{who}, {how}",
        why="a label that is mended says what its row is like; these say the opposite, so labels that were right were changed",
        cure=f"ask {senders[0] if senders else 'who sent them'} why, beginning with rows {evidence.name_rows(changed)}",
        severity="error",
    )
