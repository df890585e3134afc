"""Coverage and size of sets and intervals on real tables, beside MAPIE's and quantile boosting's. ``--stages coverage``.

Each split has three parts: to learn from (60 %), held out, and fresh rows (20 % each). Under ``shift`` the fresh rows are drawn
again with odds that grow with the first principal component, and the quantiles are weighted by those odds (Tibshirani et al.
2019) for the column beside it.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from mapie.classification import SplitConformalClassifier
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.defaults.tables import SOURCES, Source, write_table
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.conformal import calibrate
from mlops_project.modeling.held_out import HeldOut
from mlops_project.runtime import Predictions
from mlops_project.uncertainty import Uncertainty

NAMES = ("breast_cancer", "OJ", "Default", "germancredit", "Chile", "Bikeshare", "Wage", "Computers", "SLID", "apartments")
PROMISED = 0.9
MAX_ROWS = 3000
TILT = 1.0  # log odds per standard deviation of the first component
Floats = npt.NDArray[np.float64]


class Split(NamedTuple):
    """Three parts of a table as the model reads them: features and truth to learn from, held out, and fresh."""

    learned: tuple[Floats, Any]
    held_out: tuple[Floats, Any]
    fresh: tuple[Floats, Any]


class Figures(NamedTuple):
    """One table's means over all splits: coverage and size of ours and theirs, the worst class or range, and under shift."""

    table: str
    coverage: float
    lowest: float
    worst: float
    size: float
    mapie: float
    mapie_size: float
    quantiles: float
    quantile_size: float
    shifted: float
    weighted: float


def measure_coverage(folder: Path, splits: int, only: tuple[str, ...] = ()) -> Iterator[Figures]:
    """Yield the figures of each table, or of those of some names."""
    for name in only or NAMES:
        source = next(one for one in SOURCES if one.name == name)
        features, truth = read_table(source, folder)
        found = np.array([_measure(features, truth, seed) for seed in range(splits)])
        means = dict(zip(Figures._fields[1:], found.mean(axis=0).tolist(), strict=True))
        yield Figures(name, **means | {"lowest": float(found[:, 0].min())})


def read_table(source: Source, folder: Path) -> tuple[pd.DataFrame, Any]:
    """Return a table's features and its target: class indices, or numbers."""
    place = write_table(source, folder, MAX_ROWS)
    if place.startswith("sklearn:"):
        return load_breast_cancer(return_X_y=True, as_frame=True)  # type: ignore[no-any-return]
    frame = pd.read_csv(place).dropna(subset=[source.target])
    truth, features = frame[source.target], frame.drop(columns=source.target)
    is_number = source.name in NAMES[5:]
    return features, truth.to_numpy(np.float64) if is_number else pd.factorize(truth, sort=True)[0]


def split_rows(features: pd.DataFrame, truth: Any, seed: int) -> Split:
    """Return three parts of a table, encoded."""
    encoder = make_column_transformer(
        (SimpleImputer(), make_column_selector(dtype_include="number")),
        (
            OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    stratify = truth if np.issubdtype(np.asarray(truth).dtype, np.integer) else None
    learned, others, learned_truth, other_truth = train_test_split(
        features, np.asarray(truth), test_size=0.4, random_state=seed, stratify=stratify
    )
    held_out, fresh, held_truth, fresh_truth = train_test_split(others, other_truth, test_size=0.5, random_state=seed)
    encoder.fit(learned)
    return Split(
        (encoder.transform(learned), learned_truth),
        (encoder.transform(held_out), held_truth),
        (encoder.transform(fresh), fresh_truth),
    )


def _measure(features: pd.DataFrame, truth: Any, seed: int) -> list[float]:
    split = split_rows(features, truth, seed)
    is_number = split.learned[1].dtype.kind == "f"
    kind = RandomForestRegressor if is_number else RandomForestClassifier
    model: Any = kind(60, min_samples_leaf=3, random_state=seed).fit(*split.learned)
    ours, answers = calibrate_answers(model, *split.held_out, seed), answer_rows(model, split.fresh[0])
    covered = ours.is_covered(answers.probabilities, answers.values, split.fresh[1])
    cells = ours.find_cells(answers.values, split.fresh[1])
    worst = min(covered[cells == cell].mean() for cell in np.unique(cells))
    theirs = ask_mapie(model, split, is_number)
    quantiles = _ask_quantiles(split, seed) if is_number else (np.nan, np.nan)
    shifted = _shift(model, ours, split, seed)
    return [covered.mean(), 0.0, worst, measure_size(ours, answers), *theirs, *quantiles, *shifted]


def answer_rows(model: Any, rows: Floats) -> Predictions:
    """Return a scikit-learn model's answers as the runtime gives them."""
    if hasattr(model, "predict_proba"):
        probabilities = model.predict_proba(rows)
        return Predictions(probabilities.argmax(axis=1), probabilities)
    return Predictions(values=model.predict(rows))


def calibrate_answers(model: Any, rows: Floats, truth: Any, seed: int) -> Uncertainty:
    """Say how sure a model is by rows that it has not learned from."""
    answers = answer_rows(model, rows)
    classes = tuple(range(answers.probabilities.shape[1])) if answers.probabilities is not None else ()
    task: Any = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
    contract = Contract((Feature("x", "float"),), "y", task, classes, tuple(map(str, classes)))
    encoded = np.zeros((len(rows), 1)), np.empty((len(rows), 0), object)
    return calibrate(HeldOut(pd.DataFrame(index=range(len(rows))), encoded, truth, answers), contract, PROMISED, seed)


def measure_size(ours: Uncertainty, answers: Predictions) -> float:
    """Return the mean number of classes in a set, or the mean width of an interval."""
    if answers.probabilities is not None and answers.indices is not None:
        return float(ours.find_sets(answers.probabilities, answers.indices).sum(axis=1).mean())
    lower, upper = ours.find_intervals(np.asarray(answers.values))
    return float((upper - lower).mean())


def ask_mapie(model: Any, split: Split, is_number: bool) -> tuple[float, float]:
    """MAPIE's default: one threshold for all classes, one width for all answers."""
    (rows, truth), (fresh, real) = split.held_out, split.fresh
    theirs: Any = (SplitConformalRegressor if is_number else SplitConformalClassifier)(
        model, confidence_level=PROMISED, prefit=True
    )
    theirs.conformalize(rows, truth)
    if is_number:
        return judge_ends(theirs.predict_interval(fresh)[1], real)
    members = theirs.predict_set(fresh)[1][:, :, 0]
    return float(members[np.arange(len(real)), real].mean()), float(members.sum(axis=1).mean())


def judge_ends(ends: Any, real: Floats) -> tuple[float, float]:
    """Return how often intervals hold what is true, and their mean width."""
    lower, upper = ends[:, 0, 0], ends[:, 1, 0]
    return float(((real >= lower) & (real <= upper)).mean()), float((upper - lower).mean())


def _ask_quantiles(split: Split, seed: int) -> tuple[float, float]:
    """Quantile boosting that MAPIE conformalises: three models more, where ours needs none."""
    levels = ((1 - PROMISED) / 2, (1 + PROMISED) / 2, 0.5)
    fitted = [
        HistGradientBoostingRegressor(loss="quantile", quantile=level, max_iter=60, random_state=seed).fit(*split.learned)
        for level in levels
    ]
    theirs = ConformalizedQuantileRegressor(fitted, confidence_level=PROMISED, prefit=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.conformalize(*split.held_out)
        return judge_ends(theirs.predict_interval(split.fresh[0])[1], split.fresh[1])


def _shift(model: Any, ours: Uncertainty, split: Split, seed: int) -> tuple[float, float]:
    """Draw fresh rows anew by odds; return what our sets or intervals cover, and those of weighted quantiles."""
    (rows, truth), (fresh, real) = split.held_out, split.fresh
    component = make_pipeline(StandardScaler(), PCA(1)).fit(split.learned[0])
    spread = component.transform(split.learned[0]).std()
    odds = [np.exp(np.clip(TILT * component.transform(part)[:, 0] / spread, -3, 3)) for part in (rows, fresh)]
    drawn = np.random.default_rng(seed).choice(len(fresh), len(fresh), p=odds[1] / odds[1].sum())
    answers, known = answer_rows(model, fresh[drawn]), answer_rows(model, rows)
    plain = ours.is_covered(answers.probabilities, answers.values, real[drawn]).mean()
    if answers.probabilities is None:
        scores, asked = np.abs(truth - known.values), np.abs(real[drawn] - answers.values)
    else:
        scores = 1 - np.asarray(known.probabilities)[np.arange(len(truth)), truth]
        asked = 1 - answers.probabilities[np.arange(len(drawn)), real[drawn]]
    order = np.argsort(scores)
    total = odds[0].sum() + odds[1][drawn]
    places = np.searchsorted(np.cumsum(odds[0][order]), PROMISED * total)
    limits = np.append(scores[order], np.inf)[places]
    return float(plain), float((asked <= limits).mean())


def format_coverage(figures: list[Figures]) -> str:
    """Return the figures as a table in Markdown."""
    head = (
        "| table | coverage | lowest split | worst class or range | size | MAPIE, one for all: coverage | size "
        "| MAPIE on quantile boosting: coverage | size | shifted: coverage | weighted |\n| --- |" + " ---: |" * 10
    )
    lines = [
        f"| {one.table} | "
        + " | ".join("–" if np.isnan(value) else f"{value:.3f}" if value < 10 else f"{value:,.0f}" for value in one[1:])
        + " |"
        for one in figures
    ]
    return "\n".join([head, *lines])
