"""Performance without labels, beside NannyML on the same windows: ``python -m benchmarks.monitor --stages estimate``.

Eight tables with classes, four with values; several splits and models, each with five windows of rows that neither model nor
calibration has seen. One is like the held-out rows; two are drawn with odds that grow along a random direction through the
features (covariate shift: what leads from features to target stays); one holds only the rows of the upper or lower third of a
column (another part of the real world); the last is a window without shift in which some rows got each other's labels (concept
drift: no estimate without labels can see it). Measured per table and metric: the mean absolute
error of the estimate against what the window's own labels say, ours, NannyML's and that of saying "as on the held-out rows",
and how often each interval holds what the labels say.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.special import expit
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.defaults.tables import FOLDER, SOURCES, install
from benchmarks.monitor.contestants import CONTESTANTS, ONE_THREAD, SILENT
from benchmarks.monitor.places import BUILD, HERE
from benchmarks.monitor.report import Rows, draw, percent
from benchmarks.monitor.tables import TARGET, load_affairs, load_cancer, load_visits
from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.metrics import Scored, compute_metrics
from mlops_project.monitoring.estimate import Estimator
from mlops_project.reference.performance import build_reference_performance
from mlops_project.reference.profile import Profiler, build_reference
from mlops_project.reference.sensitivity import Shift
from mlops_project.runtime import Predictions

# log-odds per deviation along the direction
CHANGES = {"none": 0.0, "shift": 0.5, "strong shift": 1.0, "another part": 0.0, "concept drift": 0.0}
MOVED_LABELS = 0.3  # share of the rows in a window with concept drift
SPLITS = 4
SHOWN = ("accuracy", "roc_auc", "f1", "mae", "rmse")
WHO = ("ours", "NannyML", "NannyML at 95 %")


@dataclass(frozen=True)
class Subject:
    """A table, and how many rows train, are held out and make a window."""

    load: Any
    train: int
    held_out: int
    window: int
    regression: bool = False


def load_pixels() -> pd.DataFrame:
    """Return 1,797 handwritten digits: 64 numbers, ten classes."""
    loaded = load_digits(as_frame=True)
    return loaded.data.assign(**{TARGET: loaded.target})


def make_known(n_rows: int = 40_000) -> pd.DataFrame:
    """Return rows whose probability is known: a made-up law with an interaction and a wave."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(n_rows, 8))
    chance = expit(1.5 * x[:, 0] + np.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3] - 0.7)
    return pd.DataFrame(x).add_prefix("x").assign(**{TARGET: (rng.random(n_rows) < chance).astype(int)})


def make_noisy(n_rows: int = 30_000) -> pd.DataFrame:
    """Return rows whose noise depends on a feature, as demand does on the season."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(n_rows, 6))
    level = 10 + 3 * x[:, 0] + np.sin(2 * x[:, 1]) * 2
    return pd.DataFrame(x).add_prefix("x").assign(**{TARGET: level + rng.normal(size=n_rows) * np.exp(0.6 * x[:, 2])})


def load_counts() -> pd.DataFrame:
    """Return the insured's visits to a doctor per year as a number: skewed, most of it chance."""
    frame = sm.datasets.randhie.load_pandas().data
    return frame.assign(**{TARGET: np.log1p(frame.pop("mdvis"))})


def read_source(name: str) -> pd.DataFrame:
    """Return a table of a package, rows without gaps, at most 20 values of a text."""
    install()
    source = next(one for one in SOURCES if one.name == name)
    frame = pd.read_csv(FOLDER / source.place, low_memory=False).dropna()
    frame = frame.drop(columns=[*source.drop, *(column for column in frame if str(column).startswith("Unnamed"))])
    many = [column for column in frame.select_dtypes(object) if frame[column].nunique() > 20]
    return frame.drop(columns=many).assign(**{TARGET: frame[source.target]}).drop(columns=source.target)


SUBJECTS = {
    "cancer": Subject(load_cancer, 228, 114, 100),
    "affairs": Subject(load_affairs, 2_500, 1_300, 500),
    "known": Subject(make_known, 3_000, 2_000, 1_000),
    "digits": Subject(load_pixels, 600, 360, 300),
    "visits": Subject(load_visits, 6_000, 2_000, 1_000),
    "noisy": Subject(make_noisy, 4_000, 2_000, 1_000, regression=True),
    "counts": Subject(load_counts, 6_000, 2_000, 1_000, regression=True),
    "Default": Subject(partial(read_source, "Default"), 3_000, 2_000, 1_000),
    "OJ": Subject(partial(read_source, "OJ"), 450, 250, 100),
    "Chile": Subject(partial(read_source, "Chile"), 1_200, 600, 200),
    "Bikeshare": Subject(partial(read_source, "Bikeshare"), 3_000, 2_000, 700, regression=True),
    "Computers": Subject(partial(read_source, "Computers"), 2_500, 1_500, 500, regression=True),
}
MODELS = {
    "shallow": (RandomForestClassifier, RandomForestRegressor, {"n_estimators": 100, "max_depth": 3}),
    "forest": (RandomForestClassifier, RandomForestRegressor, {"n_estimators": 100}),
    "boosting": (HistGradientBoostingClassifier, HistGradientBoostingRegressor, {}),
    "linear": (LogisticRegression, Ridge, {}),
}


class Answer(NamedTuple):
    """What we say of a window.

    Attributes
    ----------
    estimates
        Metric → value and its interval; empty if we refuse.
    alone
        Metric → the interval that it would have without a look at the mix of rows.
    divergence
        Of the mix of rows.
    """

    estimates: dict[str, tuple[float, float, float]]
    alone: dict[str, tuple[float, float]]
    divergence: float


@dataclass
class Case:
    """A model, its held-out rows, and windows; row numbers into ``features``."""

    subject: Subject
    features: pd.DataFrame
    truth: np.ndarray
    predictions: Predictions
    contract: Contract
    held_out: np.ndarray
    windows: dict[str, np.ndarray]

    def take(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], Scored]:
        """Return columns and scored rows."""
        whole = Scored(self.predictions, self.truth, len(self.contract.classes))
        return {name: self.features[name].to_numpy()[rows] for name in self.features}, whole.take(rows)

    def realise(self, change: str) -> dict[str, float]:
        """Return the metrics that a window's own labels show."""
        scored = self.take(self.windows[change])[1]
        if change == "concept drift":
            rng = np.random.default_rng(0)
            moved = rng.choice(len(scored.truth), int(MOVED_LABELS * len(scored.truth)), replace=False)
            scored.truth[moved] = scored.truth[rng.permutation(moved)]
        return compute_metrics(scored, self.contract.task)

    def estimate(self, seed: int) -> tuple[dict[str, float], dict[str, Answer]]:
        """Return our reference's metrics, and what we say of each window."""
        columns, scored = self.take(self.held_out)
        reference = build_reference_performance(columns, scored.predictions, scored.truth, self.contract, Config(), seed=seed)
        answers, profile = {}, build_reference(columns, None, self.contract, seed=seed)
        for change, rows in self.windows.items():
            estimator, counted = Estimator(reference, self.contract, seed=seed), Profiler(profile)
            columns, scored = self.take(rows)
            estimator.add(columns, scored.predictions)
            counted.add(columns)
            estimator.shift = Shift(counted.features)
            estimates = {item.name: (item.value, item.low, item.high) for item in estimator.estimate()}
            estimator.shift = Shift([])
            alone = {item.name: (item.low, item.high) for item in estimator.estimate()}
            answers[change] = Answer(estimates, alone, Shift(counted.features).divergence)
        return {name: metric.value for name, metric in reference.metrics.items()}, answers

    def write(self, folder: Path) -> None:
        """Write what NannyML needs."""
        folder.mkdir(parents=True)
        frame = self.features.add_prefix("f_")
        if self.subject.regression:
            frame = frame.assign(prediction=self.predictions.values)
        else:
            frame = frame.assign(prediction=self.predictions.indices)
            for index in range(len(self.contract.classes)):
                frame[f"p{index}"] = self.predictions.probabilities[:, index]
        frame["truth"] = self.truth
        frame.iloc[self.held_out].to_parquet(folder / "reference.parquet", index=False)
        frame.iloc[np.concatenate(list(self.windows.values()))].to_parquet(folder / "windows.parquet", index=False)
        facts = {"classes": len(self.contract.classes), "window": self.subject.window}
        (folder / "facts.json").write_text(json.dumps(facts))


def make_case(subject: Subject, frame: pd.DataFrame, model: str, split: int) -> Case:
    """Train on some rows, hold some out, and draw windows from the rest."""
    rng = np.random.default_rng(split)
    order = rng.permutation(len(frame))
    train, held_out, rest = np.split(order, [subject.train, subject.train + subject.held_out])
    target = frame[TARGET]
    features = pd.get_dummies(frame.drop(columns=TARGET), dtype=float).astype(float)
    classes = () if subject.regression else tuple(str(label) for label in np.unique(target.astype(str)))
    truth = target.to_numpy(float) if subject.regression else np.searchsorted(classes, target.astype(str))
    classifier, regressor, params = MODELS[model]
    if model != "linear":
        params = params | {"random_state": split}
    fitted = make_pipeline(StandardScaler(), (regressor if subject.regression else classifier)(**params))
    fitted.fit(features.iloc[train], truth[train])
    if subject.regression:
        predictions = Predictions(values=fitted.predict(features))
    else:
        scores = fitted.predict_proba(features)
        predictions = Predictions(scores.argmax(axis=1), scores)
    task = "regression" if subject.regression else "binary" if len(classes) == 2 else "multiclass"
    contract = Contract(
        tuple(Feature(name, "float", default=0.0) for name in features), TARGET, task, classes=classes, class_names=classes
    )
    values = features.to_numpy()
    drawn = {change: draw_window(values, rest, subject.window, strength, rng) for change, strength in CHANGES.items()}
    drawn["another part"] = cut_part(values, rest, subject.window, rng)
    return Case(subject, features, truth, predictions, contract, held_out, drawn)


def draw_window(values: np.ndarray, rest: np.ndarray, size: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Draw rows without replacement, the likelier the further along a random direction (Gumbel's trick)."""
    spread = values[rest].std(axis=0)
    direction = rng.normal(size=values.shape[1]) * (rng.random(values.shape[1]) < 3 / values.shape[1])
    along = (values[rest] / np.where(spread > 0, spread, 1)) @ direction
    along = (along - along.mean()) / (along.std() or 1)
    return rest[np.argsort(-(strength * np.clip(along, -3, 3) + rng.gumbel(size=len(rest))))[:size]]


def cut_part(values: np.ndarray, rest: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Take rows of the upper or lower third of a column that has three values or more; equal ones by lot."""
    able = [place for place in range(values.shape[1]) if len(np.unique(values[rest, place])) > 2]
    column = values[rest, rng.choice(able)]
    order = np.lexsort((rng.random(len(rest)), column))
    third = order[: len(rest) // 3] if rng.random() < 0.5 else order[-(len(rest) // 3) :]
    return rest[rng.permutation(third)[:size]]


def compare(name: str, splits: int, *, alone: bool = False) -> Iterator[dict[str, Any]]:
    """Yield one row per window and metric; alone: without NannyML."""
    subject = SUBJECTS[name]
    frame = subject.load()
    root = BUILD / "cbpe" / name
    shutil.rmtree(root, ignore_errors=True)
    cases = {f"{model}-{split}": make_case(subject, frame, model, split) for model, split in product(MODELS, range(splits))}
    if not alone:
        ask_nannyml(root, cases)
    for key, case in cases.items():
        reference, ours = case.estimate(seed=1)
        theirs = {} if alone else json.loads((root / key / "estimates.json").read_text())
        for number, (change, answer) in enumerate(ours.items()):
            realised = case.realise(change)
            for metric in sorted(answer.alone.keys() & realised.keys() & reference.keys()):
                truth, (low, high) = realised[metric], answer.alone[metric]
                row = {"table": name, "model": key, "change": change, "metric": metric, "divergence": answer.divergence}
                row |= {"refused": not answer.estimates, "alone covers": float(low <= truth <= high)}
                row |= {"as held-out": abs(reference[metric] - truth), "alone width": high - low}
                if answer.estimates:
                    value, low, high = answer.estimates[metric]
                    row |= judge("ours", value, low, high, truth) | {"width": high - low, "signed": value - truth}
                if metric in theirs:
                    value, low, high, error = theirs[metric][number]
                    row |= judge("NannyML", value, low, high, truth)
                    row |= judge("NannyML at 95 %", value, value - 1.96 * error, value + 1.96 * error, truth)
                yield row


def ask_nannyml(root: Path, cases: dict[str, Case]) -> None:
    """Let NannyML estimate every case."""
    for key, case in cases.items():
        case.write(root / key)
    nannyml = next(contestant for contestant in CONTESTANTS if contestant.name == "nannyml")
    command = [str(nannyml.python), str(HERE / "cbpe_nannyml.py"), *(str(root / key) for key in cases)]
    subprocess.run(command, check=True, env=os.environ | SILENT | ONE_THREAD, stdout=subprocess.DEVNULL)


def judge(who: str, value: float, low: float, high: float, truth: float) -> dict[str, float]:
    """Return the error of a value and whether its interval holds what was realised."""
    return {who: abs(value - truth), f"{who} covers": float(low <= truth <= high)}


def measure(splits: int, *, alone: bool = False, subjects: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return one row per table, model, split, window and metric; of all tables, or of some."""
    return pd.DataFrame([row for name in subjects or SUBJECTS for row in compare(name, splits, alone=alone)])


def render(rows: pd.DataFrame) -> str:
    """Return the tables: errors where nothing broke the assumption, and coverage by what changed."""
    kept = rows[rows["change"] != "concept drift"]
    if "NannyML" not in rows:
        return render_coverage(rows)
    covers = [f"{who} covers" for who in WHO]
    errors: Rows = [("table", "metric", "ours", "NannyML", "as held-out", *(f"covered, {who}" for who in WHO[:2]))]
    for (table, metric), group in kept[kept["metric"].isin(SHOWN)].groupby(["table", "metric"]):
        means = group[["ours", "NannyML", "as held-out"]].mean()
        errors.append((table, metric, *(f"{value:.4f}" for value in means), *map(percent, group[covers[:2]].mean())))
    held: Rows = [("change", "estimates", *(f"covered, {who}" for who in WHO), "ours, metrics NannyML lacks")]
    common = rows["NannyML"].notna()
    for change in CHANGES:
        group, rest = (rows[(rows["change"] == change) & part] for part in (common, ~common))
        held.append((change, str(len(group)), *map(percent, group[covers].mean()), percent(rest["ours covers"].mean())))
    both = kept[kept["NannyML"].notna()]
    better = both.groupby(["table", "metric"])[["ours", "NannyML"]].mean()
    ratio = float(np.exp(np.log(better["ours"] / better["NannyML"]).mean()))
    wins = int((better["ours"] <= better["NannyML"]).sum())
    said = (
        f"Our mean absolute error is the smaller one in {wins} of {len(better)} pairs of table and metric; "
        f"geometric mean of ours / NannyML's {ratio:.2f}. "
        f"Without concept drift and over all metrics our interval covers {kept[covers[0]].mean():.1%}."
    )
    return f"{draw(errors)}\n\n{said}\n\n{draw(held)}"


def render_coverage(rows: pd.DataFrame) -> str:
    """Return how often our intervals hold what the labels say: by kind of model and by table, and what is refused."""
    kinds = rows["model"].str.partition("-")[0]
    groups = {kind: rows[kinds == kind] for kind in MODELS} | dict(iter(rows.groupby("table")))
    table: Rows = [("", *CHANGES)]
    for name, group in {**groups, "all": rows}.items():
        cells = [_describe_coverage(group[group["change"] == change]) for change in CHANGES]
        table.append((name, *cells))
    wider = (rows["width"] / rows["alone width"]).groupby(rows["change"]).median()
    said = ", ".join(f"{change} {100 * (wider[change] - 1):.0f} %" for change in CHANGES)
    return (
        f"{len(rows)} estimates; share of the intervals that hold what the labels say (without a look at the mix of rows; "
        f"share refused):\n\n{draw(table)}\n\nIntervals are wider by the mix of rows, median: {said}."
    )


def _describe_coverage(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    made = rows[~rows["refused"].astype(bool)]
    held = percent(made["ours covers"].mean()) if len(made) else "–"
    return f"{held} ({percent(rows['alone covers'].mean())}; {percent(rows['refused'].astype(bool).mean())})"
