"""What a model goes by, over all: Shapley values of held-out rows, and how its answers follow the most important columns.

The summary is that of Lundberg et al. (2020): every row's contribution of every column. The curves are partial dependence
(Friedman 2001) with the spread of the single rows' curves (Goldstein et al. 2015). Work is bounded by the number of answers,
not by time, so that the same table gives the same charts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_project.contract import Contract, Feature
from mlops_project.errors import MLOpsError
from mlops_project.explanation import MAX_BACKGROUND, Explainer, list_values, take_output
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.side_work import SideWork
from mlops_project.runtime import Floats, Runtime, encode
from mlops_project.tree_reasons import Inputs, find_owners

MAX_ROWS = 200  # that are explained
MAX_ANSWERS = 60_000  # of models that are sampled: a fifth of what permutation importance asks
SAMPLED_BACKGROUND = 25
PLACES = 60  # along an axis, in which points that are near each other are set apart
CURVES, POINTS, CURVE_ROWS = 6, 20, 100
SPREAD = (0.1, 0.9)  # quantiles of the single rows' curves


@dataclass(frozen=True)
class Curve:
    """How answers follow one column, everything else as it is.

    Attributes
    ----------
    feature
        The column.
    values
        What it is set to: numbers in order, or texts.
    means, low, high
        Per value: the mean answer, and between what most rows' answers lie.
    """

    feature: Feature
    values: tuple[object, ...]
    means: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Reasons:
    """What a model goes by.

    Attributes
    ----------
    output
        Index of the class whose probability is explained; 0 for numbers.
    contributions
        float64 ``(n_rows, n_features)``, in contract order.
    rows
        Which of the held-out rows they are, int64 ``(n_rows,)``.
    heights
        float64 ``(n_rows, n_features)``: where each value stands among the rows', in [0, 1]; NaN for texts and gaps.
    exact
        Whether nothing was sampled.
    curves
        Of the columns that move answers most, these first.
    """

    output: int
    contributions: Floats
    rows: npt.NDArray[np.int64]
    heights: Floats
    exact: bool
    curves: tuple[Curve, ...]


def try_reasons(runtime: Runtime, held_out: HeldOut, contract: Contract, seed: int, side: SideWork) -> Reasons | None:
    """Return what ``find_reasons`` does; None, and a note, if it fails."""
    return side.attempt(
        "the summary of what the model goes by was",
        lambda: find_reasons(runtime, held_out, contract, seed),
        without="so the report lacks it",
    )


def find_reasons(runtime: Runtime, held_out: HeldOut, contract: Contract, seed: int) -> Reasons:
    """Explain held-out rows.

    Of several classes the most frequent one's probability is explained, of two the positive one's.

    Raises
    ------
    MLOpsError
        If there is no row, or the model has no answer for a mixture of two.
    """
    n_rows, width = len(held_out.truth), len(contract.names)
    if not n_rows or not width:
        raise MLOpsError("there is nothing to explain")
    order = np.random.default_rng(seed).permutation(n_rows)
    background = _pick(held_out.encoded, order[:MAX_BACKGROUND])
    output = 1 if contract.task == "binary" else 0
    if contract.task == "multiclass":
        output = int(np.bincount(np.asarray(held_out.truth, np.int64)).argmax())
    explainer = Explainer(runtime, background)
    chosen = order[-MAX_ROWS:]
    exact = explainer.is_exact(output)
    if not exact:
        explainer = Explainer(runtime, _pick(background, np.arange(SAMPLED_BACKGROUND)))
        each = 2 * (width + 1) * min(SAMPLED_BACKGROUND, n_rows)
        chosen = chosen[: max(1, MAX_ANSWERS // each)]
    rows = _pick(held_out.encoded, chosen)
    found = [explainer.explain(_pick(rows, np.array([place])), output, rounds=1).contributions for place in range(len(chosen))]
    contributions = np.array(found)
    first = np.argsort(-np.abs(contributions).mean(axis=0), kind="stable")[:CURVES]
    asked = _pick(held_out.encoded, order[:CURVE_ROWS])
    curves = (_follow(runtime, asked, contract, int(place), output) for place in first)
    drawn = tuple(curve for curve in curves if curve is not None)
    return Reasons(output, contributions, chosen, _rank(rows, contract), exact, drawn)


def _pick(rows: Inputs, places: npt.NDArray[np.int64]) -> Inputs:
    places = places[places < len(rows[0])]
    return rows[0][places], rows[1][places]


def _rank(rows: Inputs, contract: Contract) -> Floats:
    owners = find_owners(contract)[0]
    found = np.full((len(rows[0]), len(contract.names)), np.nan)
    for place, feature in enumerate(contract.features):
        if not feature.is_text:
            values = rows[0][:, int(np.flatnonzero(owners == place)[0])]
            known = np.sort(values[~np.isnan(values)])
            if len(known) > 1:
                middle = (np.searchsorted(known, values) + np.searchsorted(known, values, side="right")) / 2
                found[:, place] = np.where(np.isnan(values), np.nan, middle / len(known))
    return found


def _follow(runtime: Runtime, rows: Inputs, contract: Contract, place: int, output: int) -> Curve | None:
    """Return a column's curve; None if there is but one value to set it to."""
    feature = contract.features[place]
    values = [value for value in list_values(feature, None) if value is not None]
    values = [values[index] for index in np.unique(np.linspace(0, len(values) - 1, POINTS).astype(int))] if values else []
    if len(values) < 2:
        return None
    columns = encode({feature.name: values}, Contract((feature,), "", "regression"))
    size = len(rows[0])
    mixed = np.repeat(rows[0][None], len(values), axis=0), np.repeat(rows[1][None], len(values), axis=0)
    for part, owners, own in zip(mixed, find_owners(contract), columns, strict=True):
        part[:, :, owners == place] = own[:, None, :]
    numbers, texts = mixed[0].reshape(len(values) * size, -1), mixed[1].reshape(len(values) * size, -1)
    answers = take_output(runtime.run(numbers, texts), output).reshape(len(values), size)
    low, high = np.quantile(answers, SPREAD, axis=1)
    return Curve(feature, tuple(values), answers.mean(axis=1), low, high)


def set_apart(values: Floats, all_values: Floats) -> Floats:
    """Return how far above or below its line each point is drawn, so that those at one place are seen side by side."""
    span = float(np.ptp(all_values)) or 1.0
    places = np.floor((values - all_values.min()) / span * PLACES).astype(np.int64)
    found = np.zeros(len(values))
    for place in np.unique(places):
        here = np.flatnonzero(places == place)
        steps = (np.arange(len(here)) + 1) // 2 * np.where(np.arange(len(here)) % 2, 1, -1)
        found[here] = steps * min(0.06, 0.38 / max(1, len(here) / 2))
    return found
