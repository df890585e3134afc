"""What the held-out rows show of a model that its metrics hide: groups that it fails, probabilities that mislead, too few rows.

Each check asks for an effect that matters and for evidence beyond chance, corrected for how many parts were looked at
(Bonferroni): a healthy model is to be left in peace.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.linear_model import LogisticRegression

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError, suggest
from mlops_project.findings import Finding
from mlops_project.modeling.evaluation import format_value
from mlops_project.modeling.metrics import Scored
from mlops_project.runtime import Floats

Bools = npt.NDArray[np.bool_]

ALPHA = 0.001  # chance of a finding about a healthy model, for each check
FEW_ROWS = 10  # of a class, or 30 of a number: metrics on so few say little
PART_ROWS = 50  # of a part of the rows, to be judged at all
MAX_VALUES = 30  # of a column; the rarer ones are no parts
WORSE = 0.05  # share of the base rate's loss by which a part must be worse
OFF = 0.05  # mean distance of probabilities from what comes true
GROUP_GAP = 0.1  # between shares of errors that matters
SMALLEST = 1e-6  # probability that a loss counts with


def check_model(scored: Scored, features: pd.DataFrame, contract: Contract, config: Config) -> list[Finding]:
    """Return what people must know of a model, by its held-out rows.

    Parameters
    ----------
    scored
        Of the held-out rows.
    features
        The same rows as the table has them.
    config
        For ``checks.groups``.

    Raises
    ------
    ConfigError
        If ``checks.groups`` names a column that the model does not have.
    """
    check_groups(config, contract)
    found = [*_find_few_rows(scored, contract)]
    if contract.is_classification:
        found += _find_miscalibration(scored, contract)
    found += _find_weak_parts(scored, features, contract)
    if contract.is_classification:
        for name in config.checks.groups:
            found += _compare_groups(scored, features[name], name, contract)
    return found


def check_groups(config: Config, contract: Contract) -> None:
    """Check that the groups that are to be compared can be.

    Raises
    ------
    ConfigError
        If ``checks.groups`` names a column that the model does not have.
    """
    for name in config.checks.groups:
        if name not in contract.names:
            raise ConfigError(f"checks.groups: the model has no column {name!r}{suggest(name, contract.names)}")


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
        if min(came.sum(), (~came).sum()) < PART_ROWS:
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
    """Look for values and ranges of a column in whose rows the model is worse than the answer that suits them all."""
    parts = [part for name in contract.names for part in _cut(features[name], name) if _is_mixed(scored, part[2])]
    losses = _find_losses(scored)
    found = []
    for name, value, rows in parts:
        base = _find_base_losses(scored, rows)
        lost = losses[rows] - base
        sureness = lost.mean() / max(lost.std(ddof=1) / np.sqrt(len(lost)), SMALLEST)
        if lost.mean() < WORSE * base.mean() or sureness < stats.norm.isf(ALPHA / len(parts)):
            continue
        found.append((sureness, name, f"where {name!r} is {value} ({len(lost)} held-out rows)", lost.mean() / base.mean()))
    by = "log loss" if contract.is_classification else "squared error"
    for _, name, where, worse in sorted(found, reverse=True):
        yield Finding(
            code="worse-in-part",
            columns=(name,),
            seen=f"{where}, the model is {worse:.0%} worse by {by} than one answer for all of these rows",
            why="the model knows nothing of these rows and is sure of it: the mean over all rows hides that",
            cure="look at these rows: other columns may say what is different there; more of them, or a model of their own",
        )


def _cut(column: "pd.Series[Any]", name: str) -> Iterator[tuple[str, str, Bools]]:
    """Yield the parts that a column cuts the rows into: its values, or quarters of its numbers."""
    if column.dtype.kind == "M":
        return
    if column.dtype.kind in "iuf" and column.nunique() > MAX_VALUES:
        edges = np.unique(column.quantile([0.25, 0.5, 0.75]))
        values = column.to_numpy(np.float64)
        ranges = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
        bounds = ["", *map(format_value, edges.tolist()), ""]
        for place in range(len(edges) + 1):
            low, high = bounds[place], bounds[place + 1]
            shown = f"{low} or more" if not high else f"less than {high}" if not low else f"from {low} to {high}"
            yield from _keep_large(name, shown, ranges == place)
        return
    for value in column.value_counts().index[:MAX_VALUES]:
        yield from _keep_large(name, repr(value) if isinstance(value, str) else f"{value}", (column == value).to_numpy(bool))


def _keep_large(name: str, shown: str, rows: Bools) -> Iterator[tuple[str, str, Bools]]:
    if PART_ROWS <= rows.sum() < len(rows):
        yield name, shown, rows


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


def _compare_groups(scored: Scored, column: "pd.Series[Any]", name: str, contract: Contract) -> Iterator[Finding]:
    """Compare the shares of rows that are found, and wrongly found, between the values or ranges of a column."""
    parts = list(_cut(column, name))
    pairs = list(combinations(parts, 2))
    for place in [1] if contract.task == "binary" else range(len(contract.classes)):
        answered, is_class = scored.indices == place, np.asarray(scored.truth) == place
        for kind, asked in (("found", is_class), ("taken for it wrongly", ~is_class)):
            gaps = [
                (_compare(answered, asked & one, asked & other), one_value, other_value)
                for (_, one_value, one), (_, other_value, other) in pairs
            ]
            known = [(gap, one, other) for gap, one, other in gaps if gap is not None]
            if not known:
                continue
            (first, second, p_value), one_value, other_value = max(known, key=lambda item: abs(item[0][0] - item[0][1]))
            if abs(first - second) < GROUP_GAP or p_value * len(pairs) * 2 > ALPHA:
                continue
            rows = "rows of" if kind == "found" else "other rows than"
            yield Finding(
                code="unequal-errors",
                columns=(name,),
                seen=f"of {rows} {contract.class_names[place]!r}, {first:.0%} are {kind} where {name!r} is {one_value}, and "
                f"{second:.0%} where it is {other_value}",
                why="people of one group bear more of the errors than others, beyond chance",
                cure="look for what the model lacks about one of them; a threshold of its own for each group is a decision for "
                "people; accept it with a reason if it is right as it stands",
            )


def _compare(answered: Bools, one: Bools, other: Bools) -> tuple[float, float, float] | None:
    """Return both groups' shares of rows that are answered with the class, and the p-value that they are one; None if few."""
    if min(one.sum(), other.sum()) < PART_ROWS // 2:
        return None
    table = [[int((answered & rows).sum()), int((~answered & rows).sum())] for rows in (one, other)]
    return table[0][0] / sum(table[0]), table[1][0] / sum(table[1]), float(stats.fisher_exact(table)[1])
