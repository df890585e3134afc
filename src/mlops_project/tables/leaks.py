"""Leaks: columns that tell the target without a single exception, or far better than all others together."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mlops_project.findings import Finding, Severity
from mlops_project.tables.checks import TIME_NAME
from mlops_project.tables.sample import Floats, Sample, explain_alone, numeric_matrix

MIN_ROWS = 50
MIN_PRESENT = 0.5
MIN_VALUES = 5  # a function of fewer values may be one by chance
ROWS_PER_VALUE = 5  # so many rows with one value and one answer are no chance
MAX_CODES = 200
SURE_CODES = 20  # more values may be names of things whose answer does not change
LOCAL_VALUES = 10  # on each side of a border between classes
GAP_FACTOR = 5.0  # a border that nature made lies in a gap
MAX_SUMMED = 100  # columns among which a sum is looked for
SURE_SUMMED = 3  # a sum of more columns is a warning
MAX_TERMS = 8
FIT_ROWS = 3_000
NOISE_FREE = 1e-6  # share of the target's variance that rounding may leave
ROUNDED_FREE = 1e-3  # the same where the target itself is rounded to steps, at most
SUSPICIOUS = {"regression": 0.999, "binary": 0.97, "multiclass": 0.97}  # explained by one column
LIKELY = {"regression": 0.99, "binary": 0.7, "multiclass": 0.7}  # explained by the best column: a leak with some wrong values
MAX_SUSPECTS = 2  # more such columns are a table that is easy
HARMLESS = 0.9  # explained by the others: then the table is easy, and the column is no exception
LEAD, LIKELY_LEAD = (
    10.0,
    {"regression": 50.0, "binary": 3.0, "multiclass": 3.0},
)  # times as much is left unexplained by the others
WHY = "such a column is mostly made from the answer, and is not known yet when a prediction is needed"
REST_ROWS = 4_000


def find_functions(sample: Sample, skipped: frozenset[str]) -> Iterator[Finding]:
    """Yield the columns that the target is a function of: by rank, by ranges, by codes, by sums and by products.

    Parameters
    ----------
    skipped
        Columns that were named already.
    """
    if len(sample) < MIN_ROWS:
        return
    found = set(skipped)
    for name in sample.values:
        finding = None if name in skipped else _judge_column(sample, name)
        if finding is not None:
            found.add(name)
            yield finding
    if sample.task == "regression":
        yield from _find_sums(sample, [name for name in sample.values if name not in found])


def _judge_column(sample: Sample, name: str) -> Finding | None:
    values = sample.values[name]
    present = ~np.isnan(values)
    if present.sum() < max(MIN_ROWS, MIN_PRESENT * len(values)):
        return None
    x, y = values[present], sample.target[present]
    n_values, n_answers = len(np.unique(x)), len(np.unique(y))
    if sample.types[name] == "datetime" or n_values < 2 or n_answers < 2:
        return None
    if not sample.is_text(name):
        if sample.task == "regression" and _is_monotone(x, y):
            return _judge_monotone(sample, name, x, y)
        if sample.task != "regression" and _is_cut(x, y):
            return _judge_cut(sample, name, x, y)
    least = MIN_VALUES if sample.task == "regression" else 2
    if n_answers >= least and n_answers <= n_values <= min(len(x) / ROWS_PER_VALUE, MAX_CODES) and _is_function(x, y):
        seen = f"each of the {n_values} values of column {name!r} has one {sample.name!r} ({len(x):,} rows)"
        return _describe((name,), seen, "error" if n_values <= SURE_CODES else "warning", code="leak-code")
    return None


def _describe(columns: tuple[str, ...], seen: str, severity: Severity = "error", *, code: str) -> Finding:
    named = ", ".join(map(repr, columns))
    cure = (
        f"add {named} to data.drop, or accept it if {'they are' if len(columns) > 1 else 'it is'} known in time: checks.accept"
    )
    return Finding(code=code, columns=columns, seen=seen, why=WHY, cure=cure, severity=severity)


def _is_monotone(x: Floats, y: Floats) -> bool:
    return any(bool((np.diff(side[np.lexsort((side, x))]) >= 0).all()) for side in (y, -y))


def counts_rows(x: Floats) -> bool:
    """Return whether a column numbers the rows, as a clock does: the target then grows with time."""
    steps = np.diff(x)
    return bool((steps > 0).all() or (steps < 0).all())


def _is_cut(x: Floats, y: Floats) -> bool:
    """Whether each class has a range of its own."""
    order = np.lexsort((y, x))
    changes = np.diff(y[order]) != 0
    return int(changes.sum()) == len(np.unique(y)) - 1 and bool((np.diff(x[order])[changes] > 0).all())


def _judge_cut(sample: Sample, name: str, x: Floats, y: Floats) -> Finding | None:
    """Name a column that the classes were cut from."""
    if counts_rows(x):
        return None  # the table was sorted by its classes: leak-row-order
    if np.unique(y, return_counts=True)[1].min() < MIN_VALUES or not _is_cut_without_gaps(x, y):
        return None
    seen = (
        f"each class of {sample.name!r} has a range of column {name!r} of its own ({len(x):,} rows), without a gap between them"
    )
    return _describe((name,), seen, "warning", code="leak-threshold")  # a rule that people made may well be known in time


def _judge_monotone(sample: Sample, name: str, x: Floats, y: Floats) -> Finding | None:
    """Name a column that is the target on another scale, or in ranges; not the few settings of an experiment, far apart."""
    n_values, n_answers = len(np.unique(x)), len(np.unique(y))
    if min(n_values, n_answers) < MIN_VALUES or counts_rows(x):
        return None
    if n_values < n_answers / 2 and not _is_cut_without_gaps(y, x):
        return None
    if n_answers < n_values / 2 and not _is_cut_without_gaps(x, y):
        return None
    seen = f"the target {sample.name!r} rises or falls with column {name!r} without exception ({len(x):,} rows)"
    return _describe((name,), seen, code="leak-monotone")


def _is_cut_without_gaps(fine: Floats, parts: Floats) -> bool:
    """Whether the values lie as close together at the borders between the parts as elsewhere."""
    order = np.argsort(fine)
    levels, first = np.unique(fine[order], return_index=True)
    steps = np.diff(levels)
    if len(levels) < 2 * MIN_VALUES:
        return False
    usual = np.median(steps)
    borders = np.flatnonzero(np.diff(parts[order][first]) != 0)
    close = 0
    for border in borders:
        near = np.concatenate([steps[max(0, border - LOCAL_VALUES) : border], steps[border + 1 : border + LOCAL_VALUES + 1]])
        close += steps[border] <= GAP_FACTOR * np.median(near) and np.median(near) <= GAP_FACTOR * usual
    return bool(close > len(borders) / 2)  # the outer values of most columns lie far apart


def _is_function(x: Floats, y: Floats) -> bool:
    order = np.lexsort((y, x))
    same = np.diff(x[order]) == 0
    return not (np.diff(y[order])[same] != 0).any()


def _find_sums(sample: Sample, names: list[str]) -> Iterator[Finding]:
    """Yield the few columns that add up to the target, or that it is a product or a ratio of."""
    numeric = [name for name in names if sample.types[name] in ("float", "integer", "datetime")]  # dates: how long it took
    matrix = numeric_matrix(sample, numeric) if numeric else np.empty((len(sample), 0))
    positive = (matrix > 0).all(axis=0) if numeric else np.zeros(0, bool)
    levels = np.unique(sample.target)
    rounding = float(np.diff(levels).min()) ** 2 / 12 if len(levels) > 1 else 0.0  # of a target that is a whole number of days
    sums = _find_terms(matrix, sample.target, rounding)
    if sums is not None:
        yield _describe_terms(sample, [numeric[place] for place in sums], "add up to", "a sum or a difference")
    elif positive.sum() >= 2 and (sample.target > 0).all():
        places = np.flatnonzero(positive)
        factors = _find_terms(np.log(matrix[:, places]), np.log(sample.target))
        if factors is not None:
            yield _describe_terms(sample, [numeric[places[place]] for place in factors], "multiply to", "a product or a ratio")


def _describe_terms(sample: Sample, names: list[str], verb: str, noun: str) -> Finding:
    shown = ", ".join(map(repr, names))
    seen = f"columns {shown} {verb} the target {sample.name!r}: {noun} of them, with weights, gives it up to rounding"
    return _describe(tuple(names), seen, "error" if len(names) <= SURE_SUMMED else "warning", code="leak-parts")


def _find_terms(matrix: Floats, target: Floats, rounding: float = 0.0) -> list[int] | None:
    """Return the fewest columns, two or more, whose weighted sum is the target up to rounding; None if there are none.

    Parameters
    ----------
    rounding
        The target's variance that its own rounding makes.
    """
    rows = np.flatnonzero(np.isfinite(target))[:FIT_ROWS]
    y = target[rows] - target[rows].mean()
    x, usable = _standardise(matrix[rows])
    if len(usable) < 2 or not y.any():
        return None
    variance = float((y**2).mean())
    y, noise = y / np.sqrt(variance), max(NOISE_FREE, min(ROUNDED_FREE, 1.5 * rounding / variance))
    if len(usable) > MAX_SUMMED:
        best = np.argsort(-np.abs(x.T @ y))[:MAX_SUMMED]
        x, usable = x[:, best], usable[best]
    if len(y) < 5 * x.shape[1] + 20:
        return None
    kept = list(range(x.shape[1]))
    if not _fits(x, y, kept, noise):
        return None
    for _ in range(len(kept)):
        weights = np.abs(np.linalg.lstsq(x[:, kept], y, rcond=None)[0])
        order = [kept[place] for place in np.argsort(weights)]
        dropped = next((place for place in order[:3] if _fits(x, y, [other for other in kept if other != place], noise)), None)
        if dropped is None:
            break
        kept.remove(dropped)
    return [int(usable[place]) for place in kept] if 2 <= len(kept) <= MAX_TERMS else None


def _standardise(matrix: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the columns without gaps, each with mean 0 and variance 1, and their places."""
    with np.errstate(all="ignore"):
        scaled = matrix / np.abs(matrix).max(axis=0)
        scaled = scaled - scaled.mean(axis=0)
        scaled = scaled / np.sqrt((scaled**2).mean(axis=0))
    usable = np.flatnonzero(np.isfinite(scaled).all(axis=0))
    return scaled[:, usable], usable


def _fits(x: Floats, y: Floats, kept: list[int], noise: float) -> bool:
    rest = y - x[:, kept] @ np.linalg.lstsq(x[:, kept], y, rcond=None)[0]
    return bool((rest**2).mean() < noise)


def find_too_good(sample: Sample, skipped: frozenset[str], *, is_repeated: bool = False) -> Finding | None:
    """Return the column, or the two, that tell the target almost without exception while the others together do not.

    A single column is suspected on less: of forty-seven real tables none leaves a third as much unexplained as all others do.

    Parameters
    ----------
    is_repeated
        Whether persons or things have several rows each: a column may tell who it is then, and with that the answer.
    """
    names = [name for name in sample.values if name not in skipped and not _numbers_rows(sample, name)]
    if len(sample) < MIN_ROWS or len(names) < 2:
        return None
    explained = {name: explain_alone(sample, name) for name in names}
    best = [name for name in names if explained[name] >= SUSPICIOUS[sample.task]]
    lead = LEAD
    if not best and not is_repeated:
        likely, lead = max(names, key=explained.__getitem__), LIKELY_LEAD[sample.task]
        is_setting = sample.task == "regression" and len(np.unique(sample.values[likely])) < SURE_CODES  # of an experiment
        best = [likely] if explained[likely] >= LIKELY[sample.task] and not is_setting else []
    others = [name for name in names if name not in best]
    if not others or not 1 <= len(best) <= MAX_SUSPECTS:
        return None
    told, rest = min(explained[name] for name in best), explain_together(sample, others)
    if rest >= HARMLESS or 1 - rest < lead * (1 - told):
        return None
    shown = " and ".join(map(repr, best))
    seen = f"column {shown} alone explains {told:.1%} of {sample.name!r}"
    return Finding(
        code="too-good",
        columns=tuple(best),
        seen=f"{seen}, all others together {max(rest, 0):.0%}",
        why="a column that knows the answer almost without exception is mostly written down after it",
        cure=f"find out when {shown} is known; if it is after the answer, add it to data.drop",
    )


def _numbers_rows(sample: Sample, name: str) -> bool:
    values = sample.values[name]
    is_time = TIME_NAME.search(name) is not None and len(np.unique(values)) >= SURE_CODES
    return sample.types[name] == "datetime" or is_time or counts_rows(values)


def explain_together(sample: Sample, names: list[str]) -> float:
    """Return how much of the target a small forest explains out of bag."""
    from sklearn.ensemble import ExtraTreesRegressor

    matrix = np.nan_to_num(numeric_matrix(sample, names).astype(np.float32), nan=-1e9, posinf=3e38, neginf=-3e38)
    rows = np.random.default_rng(0).permutation(len(sample))[:REST_ROWS]
    shares = sample.shares[rows]
    forest = ExtraTreesRegressor(30, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=0, max_features=0.5)
    return float(forest.fit(matrix[rows], shares[:, 0] if shares.shape[1] == 1 else shares).oob_score_)
