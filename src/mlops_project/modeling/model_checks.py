"""What the held-out rows show of a model that its metrics hide: groups that it fails, probabilities that mislead, too few rows.

Each check asks for an effect that matters and for evidence beyond chance, corrected for how many parts were looked at
(Bonferroni): a healthy model is to be left in peace.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.linear_model import LogisticRegression

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError, suggest
from mlops_project.findings import Finding
from mlops_project.modeling.groups import describe_gap, find_gaps
from mlops_project.modeling.metrics import Scored
from mlops_project.modeling.overfitting import Share, explain, list_answers, list_targets
from mlops_project.modeling.parts import PART_ROWS, Bools, Part, cut
from mlops_project.runtime import Floats

ALPHA = 0.001  # chance of a finding about a healthy model, for each check
FEW_ROWS = 10  # of a class, or 30 of a number: metrics on so few say little
CLASS_ROWS = 20  # of a class, and of the others, for its probabilities to be judged
WORSE = 0.05  # share of the base rate's loss by which a part must be worse
OFF = 0.05  # mean distance of probabilities from what comes true
KNOWN, MUCH_LESS = 0.3, 0.25  # explained of the other rows at least, and of a part at most, as a share of that
TIMES = 2.0  # as large errors in a part as in the other rows
SMALLEST = 1e-6  # probability that a loss counts with


def check_model(
    scored: Scored, features: pd.DataFrame, contract: Contract, config: Config, asides: pd.DataFrame | None = None
) -> list[Finding]:
    """Return what people must know of a model, by its held-out rows.

    Parameters
    ----------
    scored
        Of the held-out rows.
    features
        The same rows as the table has them.
    config
        For ``checks.groups``.
    asides
        Columns of the same rows that the model does not see.

    Raises
    ------
    ConfigError
        If ``checks.groups`` names a column that the model does not have.
    """
    columns = pick_groups(config, features, asides)
    found = [*_find_few_rows(scored, contract)]
    if contract.is_classification:
        found += _find_miscalibration(scored, contract)
    found += _find_weak_parts(scored, features, contract)
    for name, column in columns.items():
        found += map(describe_gap, find_gaps(scored, column, name, contract))
    return found


def pick_groups(config: Config, features: pd.DataFrame, asides: pd.DataFrame | None = None) -> "dict[str, pd.Series[Any]]":
    """Return the columns whose groups are to be compared, of the model or of those that it does not see.

    Raises
    ------
    ConfigError
        If ``checks.groups`` names a column that is not there.
    """
    known = {str(name): frame[name] for frame in (asides, features) if frame is not None for name in frame.columns}
    for name in config.checks.groups:
        if name not in known:
            raise ConfigError(f"checks.groups: the model has no column {name!r}{suggest(name, [*known])}")
    return {name: known[name] for name in config.checks.groups}


def _find_few_rows(scored: Scored, contract: Contract) -> Iterator[Finding]:
    if not contract.is_classification:
        if len(scored.truth) < 3 * FEW_ROWS:
            yield _few(f"only {len(scored.truth)} rows are held out")
        return
    counts = np.bincount(np.asarray(scored.truth, np.int64), minlength=len(contract.classes)).tolist()
    absent = [name for name, count in zip(contract.class_names, counts, strict=True) if not count]
    if absent:
        yield Finding(
            code="class-not-held-out",
            seen=f"no held-out row is of class {', '.join(map(repr, absent))}",
            why="nothing is known of how the model treats it, and every metric leaves it out",
            cure="a larger test_size, more rows of the class, or data.rare_classes: merge, which joins rare ones",
        )
    few = [f"{count} of {name!r}" for name, count in zip(contract.class_names, counts, strict=True) if 0 < count < FEW_ROWS]
    if few:
        yield _few(f"of some classes only a few rows are held out: {', '.join(few)}")


def _few(seen: str) -> Finding:
    return Finding(
        code="few-held-out-rows",
        seen=seen,
        why="metrics on so few rows may be far off, and the gate can hardly tell two models apart",
        cure="read the intervals and not the values; a larger test_size, evaluation.cv_folds, or more rows",
        severity="note",
    )


def _find_miscalibration(scored: Scored, contract: Contract) -> Iterator[Finding]:
    """Compare each class's probabilities with a logistic recalibration of them (Cox 1958)."""
    places = [1] if contract.task == "binary" else range(len(contract.classes))
    for place in places:
        said, came = scored.probabilities[:, place], np.asarray(scored.truth) == place
        if min(came.sum(), (~came).sum()) < CLASS_ROWS:
            continue
        clipped = np.clip(said, SMALLEST, 1 - SMALLEST)
        odds = np.log(clipped / (1 - clipped))[:, None]
        mended = LogisticRegression(C=np.inf, max_iter=1000).fit(odds, came).predict_proba(odds)[:, 1]
        gain = 2 * (np.log(_pick(mended, came)).sum() - np.log(_pick(clipped, came)).sum())
        off = float(np.abs(mended - said).mean())
        if off < OFF or stats.chi2.sf(gain, 2) * len(places) > ALPHA:
            continue
        yield Finding(
            code="misleading-probabilities",
            seen=f"probabilities of {contract.class_names[place]!r} are off by {off:.2f} on the mean: "
            f"{_show_worst(said, came)}",
            why="whoever acts on a probability, or on costs, is misled, though the order of the rows may be right",
            cure="model.calibration: sigmoid, and no model.class_weight unless its probabilities are calibrated",
        )


def _show_worst(said: Floats, came: Bools) -> str:
    """Return the tenth of the rows, by probability, in which said and true lie farthest apart, in words."""
    tenths = np.array_split(np.argsort(said), 10)
    rows = max(tenths, key=lambda part: abs(said[part].mean() - came[part].mean()))
    return f"of the {len(rows)} held-out rows around {said[rows].mean():.0%}, {came[rows].mean():.0%} are of it"


def _pick(positive: Floats, came: Bools) -> Floats:
    return np.clip(np.where(came, positive, 1 - positive), SMALLEST, None)


def _find_weak_parts(scored: Scored, features: pd.DataFrame, contract: Contract) -> Iterator[Finding]:
    """Look for values and ranges of a column of whose rows the model knows too little."""
    parts = [part for name in contract.names for part in cut(features[name], name) if _is_mixed(scored, part.rows)]
    losses = _find_losses(scored)
    worse = {place: item for place, part in enumerate(parts) if (item := _judge_part(scored, losses, part, len(parts)))}
    for _, finding in sorted(worse.values(), key=lambda item: -item[0]):
        yield finding
    for place, part in enumerate(parts):
        is_ordered = features[part.column].dtype.kind in "iuf"  # within a range of a strong number little is left to explain
        weak = None if place in worse or is_ordered else _judge_difference(scored, part, len(parts))
        if weak is not None:
            yield weak


def _judge_part(scored: Scored, losses: Floats, part: Part, n_parts: int) -> tuple[float, Finding] | None:
    """Return how sure it is that in a part the model is worse than the answer that suits all of its rows, and the finding."""
    base, others = (_find_base_losses(scored, rows) for rows in (part.rows, ~part.rows))
    lost = losses[part.rows] - base
    if losses[~part.rows].mean() > others.mean():  # the model is bad everywhere, which is another finding
        return None
    sureness = float(lost.mean() / max(lost.std(ddof=1) / np.sqrt(len(lost)), SMALLEST))
    if lost.mean() < WORSE * base.mean() or sureness < stats.norm.isf(ALPHA / n_parts):
        return None
    by = "log loss" if scored.n_classes else "squared error"
    return sureness, Finding(
        code="worse-in-part",
        columns=(part.column,),
        seen=f"where {part.column!r} is {part.value} ({len(lost)} held-out rows), the model is {lost.mean() / base.mean():.0%} "
        f"worse by {by} than one answer for all of these rows",
        why="the model knows nothing of these rows and is sure of it: the mean over all rows hides that",
        cure="look at these rows: other columns may say what is different there; more of them, or a model of their own",
    )


def _judge_difference(scored: Scored, part: Part, n_parts: int) -> Finding | None:
    """Return the finding about a part of which the model explains hardly anything, while it explains much of the others."""
    if min(part.size, len(part.rows) - part.size) < PART_ROWS or not _is_mixed(scored, ~part.rows):
        return None
    sides = [scored.take(np.flatnonzero(rows)) for rows in (part.rows, ~part.rows)]
    here, there = map(_explain_part, sides)
    lost, usual = (float(((list_targets(side) - list_answers(side)) ** 2).sum(axis=1).mean()) for side in sides)
    gap, error = there.value - here.value, float(np.hypot(here.error, there.error))
    if there.value < KNOWN or here.value > MUCH_LESS * there.value or lost < TIMES * usual:
        return None
    if gap < stats.norm.isf(ALPHA / n_parts) * error:
        return None
    return Finding(
        code="weak-in-part",
        columns=(part.column,),
        seen=f"where {part.column!r} is {part.value} ({part.size} held-out rows), the model explains {max(here.value, 0):.0%}, "
        f"and {there.value:.0%} of the other rows",
        why="its metrics are those of the other rows: in this part it is hardly better than one answer for all",
        cure="look at these rows and their labels: a fault, or a difference that no column says; or leave them to people",
    )


def _explain_part(part: Scored) -> Share:
    """Return which share of its rows' target a model explains, beside the answer that the others of them give to each."""
    truth, n_rows = list_targets(part), len(part.truth)
    return explain(part, (truth.sum(axis=0) - truth) / (n_rows - 1))


def _is_mixed(scored: Scored, rows: Bools) -> bool:
    """Whether a part has enough rows of more than one class: of one class alone, chance cannot be told from the rule."""
    if not scored.n_classes:
        return True
    counts = np.bincount(np.asarray(scored.truth, np.int64)[rows])
    return bool(counts.sum() - counts.max() >= FEW_ROWS)


def _find_losses(scored: Scored) -> Floats:
    if scored.n_classes:
        return np.asarray(-np.log(np.clip(scored.chosen, SMALLEST, None)))
    return scored.error**2


def _find_base_losses(scored: Scored, rows: Bools) -> Floats:
    """Return the loss of each row by the answer that the others of its part give: their class shares, or their mean."""
    truth = np.asarray(scored.truth)[rows]
    n_rows = len(truth)
    if not scored.n_classes:
        return np.asarray(((truth.sum() - truth) / (n_rows - 1) - truth) ** 2)
    counts = np.bincount(truth.astype(np.int64), minlength=scored.n_classes)
    own = (counts[truth.astype(np.int64)] - 1 + 1 / scored.n_classes) / n_rows
    return np.asarray(-np.log(own))
