"""Shapley values: exact ones beside SHAP's `TreeExplainer`, sampled ones beside the definition. ``--stages explanations``.

The default model (200 trees, breast cancer) and forests on further tables are explained by both beside the same 100 rows.
Models whose answers are no sum of trees are sampled; on tables of few columns the definition can be computed, over all sets.
"""

import itertools
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from benchmarks.decisions.fitted import Fitted, fit_table
from benchmarks.environments import install
from mlops_project.explanation import Explainer, Explanation, take_output
from mlops_project.runtime import Runtime, encode
from mlops_project.tree_reasons import Inputs, find_owners

PLACE = Path("build/benchmarks")
SHAP = ("shap==0.51.0", "scikit-learn==1.9.1", "joblib")
FOREST, FOREST_NAME = {"n_estimators": 200}, "forest of 200"
MOST_COLUMNS = 13  # of which all sets are tried
TREES = ("breast_cancer", "wine", "diabetes", "Default", "Auto")  # SHAP explains one-hot columns one by one, another game
FEW_COLUMNS = ("Default", "turnout", "titanic", "penguins", "SLID", "apartments")
SAMPLED = {"logistic_regression": "ridge", "hist_gradient_boosting": "svr"}  # for classes, and for numbers
BUDGET_SECONDS = 0.05  # as `POST /explain` has
ROWS, BACKGROUND_ROWS = 20, 100
Floats = npt.NDArray[np.float64]


class Compared(NamedTuple):
    """One model's explanations beside others: largest differences, and milliseconds of each row (the middle one)."""

    table: str
    estimator: str
    rows: int
    largest: float
    difference: float
    defined: float
    additivity: float
    prepared_ms: float
    ms: float
    their_ms: float
    sampled: float


def compare_explanations(folder: Path, only: tuple[str, ...] = ()) -> str:
    """Explain rows of each table in both ways; return two tables in Markdown."""
    failure = install(PLACE / "shap", SHAP)
    if failure:
        raise SystemExit(f"SHAP {failure}")
    trees = [name for name in TREES if name in (only or TREES)]
    exact = [_beside_shap(fit_table(name, folder, "random_forest", FOREST), folder) for name in trees]
    sampled = [
        _beside_definition(fit_table(name, folder, estimator), estimator)
        for name in FEW_COLUMNS
        if name in (only or FEW_COLUMNS)
        for estimator in _choose(name)
    ]
    return "\n\n".join((_format(exact, "`shap.TreeExplainer`"), _format(sampled, "the definition")))


def _choose(name: str) -> tuple[str, ...]:
    return tuple(SAMPLED.values()) if name in ("SLID", "apartments") else tuple(SAMPLED)


def _encode(fitted: Fitted) -> Inputs:
    rows = fitted.held_out.head(BACKGROUND_ROWS + ROWS)
    return encode({name: rows[name] for name in fitted.contract.names}, fitted.contract)


def _count_background(rows: Inputs) -> int:
    """Return how many rows the others are compared with; a small table has fewer."""
    return min(BACKGROUND_ROWS, len(rows[0]) - ROWS)


def _pick(rows: Inputs, start: int, end: int) -> Inputs:
    return rows[0][start:end], rows[1][start:end]


def _explain(runtime: Runtime, rows: Inputs) -> tuple[list[Explanation], float, float]:
    """Return explanations, seconds to prepare them and of each (the middle one)."""
    output = 1 if runtime.contract.is_classification else 0
    started = time.perf_counter()
    first = _count_background(rows)
    explainer = Explainer(runtime, _pick(rows, 0, first))
    explainer.explain(_pick(rows, first, first + 1), output, BUDGET_SECONDS)
    prepared, found, seconds = time.perf_counter() - started, [], []
    for place in range(first, first + ROWS):
        started = time.perf_counter()
        found.append(explainer.explain(_pick(rows, place, place + 1), output, BUDGET_SECONDS))
        seconds.append(time.perf_counter() - started)
    return found, prepared, float(np.median(seconds))


def _compare(fitted: Fitted, estimator: str, theirs: Floats, their_seconds: float) -> Compared:
    rows = _encode(fitted)
    found, prepared, seconds = _explain(fitted.runtime, rows)
    differences = np.abs(np.array([item.contributions for item in found]) - theirs).max(axis=1)
    worst, defined = int(differences.argmax()), np.nan
    if estimator == FOREST_NAME and len(fitted.contract.names) <= MOST_COLUMNS:  # who is right, where both differ most?
        first = _count_background(rows)
        exact = _enumerate(fitted.runtime, _pick(rows, first + worst, first + worst + 1), _pick(rows, 0, found[worst].rows))
        defined = float(np.abs(found[worst].contributions - exact).max())
    return Compared(
        fitted.name,
        estimator,
        found[0].rows,
        float(np.abs(theirs).max()),
        float(differences.max()),
        defined,
        float(max(abs(item.base + item.contributions.sum() - item.answer) for item in found)),
        1e3 * prepared,
        1e3 * seconds,
        1e3 * their_seconds,
        float(np.mean([item.walks > 0 for item in found])),
    )


def _beside_shap(fitted: Fitted, folder: Path) -> Compared:
    steps: Pipeline = fitted.pipeline
    place, rows = folder / f"{fitted.name}-shap", _encode(fitted)
    place.mkdir()
    first = _count_background(rows)
    one = Explainer(fitted.runtime, _pick(rows, 0, first)).explain(
        _pick(rows, first, first + 1), int(fitted.contract.is_classification)
    )
    read = np.asarray(steps[:-1].transform(fitted.held_out.head(len(rows[0]))), np.float64)
    joblib.dump(steps[-1], place / "estimator.joblib")
    np.save(place / "rows.npy", read[first : first + ROWS])
    np.save(place / "background.npy", read[: one.rows])  # of a large forest fewer than there are
    python = PLACE / "shap" / "bin" / "python"
    subprocess.run([str(python), "benchmarks/decisions/shap_peer.py", str(place)], check=True, stdout=sys.stderr)
    values = np.load(place / "values.npy")
    return _compare(fitted, FOREST_NAME, _gather(fitted, values), json.loads((place / "seconds.json").read_text()))


def _gather(fitted: Fitted, values: Floats) -> Floats:
    """Add up what SHAP gives to the columns that one feature was encoded into."""
    names = fitted.contract.names
    columns = [str(name) for name in fitted.pipeline[:-1].get_feature_names_out()]
    found = np.zeros((len(values), len(names)))
    for place, column in enumerate(columns):
        plain = column.partition("__")[2] or column
        owners = [name for name in names if plain == name or plain.startswith(f"{name}_")]
        found[:, names.index(max(owners, key=len))] += values[:, place]
    return found


def _beside_definition(fitted: Fitted, estimator: str) -> Compared:
    rows, started = _encode(fitted), time.perf_counter()
    first = _count_background(rows)
    theirs = [
        _enumerate(fitted.runtime, _pick(rows, place, place + 1), _pick(rows, 0, first)) for place in range(first, first + ROWS)
    ]
    return _compare(fitted, estimator.replace("_", " "), np.array(theirs), (time.perf_counter() - started) / ROWS)


def _enumerate(runtime: Runtime, row: Inputs, background: Inputs) -> Floats:
    """Return Shapley values by the definition (Shapley 1953), over all sets of columns."""
    owners, n = find_owners(runtime.contract), len(runtime.contract.names)
    sets = [frozenset(one) for size in range(n + 1) for one in itertools.combinations(range(n), size)]
    output = 1 if runtime.contract.is_classification else 0
    values: dict[frozenset[int], float] = {}
    for chosen in sets:
        mixed: Any = [
            np.where(np.isin(own, list(chosen)), one, rest) for own, one, rest in zip(owners, row, background, strict=True)
        ]
        values[chosen] = float(take_output(runtime.run(*mixed), output).mean())
    found = np.zeros(n)
    for chosen in sets:
        share = math.factorial(len(chosen)) * math.factorial(max(n - len(chosen) - 1, 0)) / math.factorial(n)
        for player in set(range(n)) - chosen:
            found[player] += share * (values[chosen | {player}] - values[chosen])
    return found


def _format(compared: list[Compared], rival: str) -> str:
    head = (
        f"| table | model | reference rows | largest contribution | difference to {rival} | to the definition there "
        f"| additivity error | to prepare, ms | ms a row | {rival}, ms a row |\n| --- | --- |" + " ---: |" * 8
    )
    lines = [
        f"| {one.table} | {one.estimator}{', sampled' if one.sampled else ''} | {one.rows} | {one.largest:.3g} "
        f"| {one.difference:.1e} | {'–' if np.isnan(one.defined) else f'{one.defined:.0e}'} | {one.additivity:.0e} "
        f"| {one.prepared_ms:.0f} | {one.ms:.1f} | {one.their_ms:.1f} |"
        for one in compared
    ]
    return "\n".join([head, *lines])
