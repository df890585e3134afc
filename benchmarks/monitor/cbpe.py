"""Performance without labels, beside NannyML on the same windows: ``python -m benchmarks.monitor.cbpe``.

Five tables with classes, two with values; several splits, models and strengths of covariate shift. Windows are drawn from rows
that neither model nor calibration has seen, with odds that grow along a random direction through the features: what leads from
features to target stays. Prints per table and metric the mean absolute error of the estimate against what the window's own
labels say, ours, NannyML's and that of saying "as on the held-out rows", and how often each interval holds the realised value.
Options: ``--splits 8``, ``--windows 9``, ``--tables affairs digits``.
"""

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

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

from benchmarks.monitor.contestants import CONTESTANTS, SILENT
from benchmarks.monitor.places import BUILD, HERE
from benchmarks.monitor.tables import TARGET, load_affairs, load_cancer, load_visits
from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.metrics import Scored, compute_metrics
from mlops_project.monitoring.performance import Estimator, build_reference_performance
from mlops_project.runtime import Predictions

STRENGTHS = (0.0, 0.5, 1.0)  # log-odds of being drawn, per standard deviation along the direction


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


SUBJECTS = {
    "cancer": Subject(load_cancer, 228, 114, 100),
    "affairs": Subject(load_affairs, 2_500, 1_300, 500),
    "known": Subject(make_known, 3_000, 2_000, 1_000),
    "digits": Subject(load_pixels, 600, 360, 300),
    "visits": Subject(load_visits, 6_000, 2_000, 1_000),
    "noisy": Subject(make_noisy, 4_000, 2_000, 1_000, regression=True),
    "counts": Subject(load_counts, 6_000, 2_000, 1_000, regression=True),
}
MODELS = {
    "forest": (RandomForestClassifier, RandomForestRegressor, {"n_estimators": 100}),
    "boosting": (HistGradientBoostingClassifier, HistGradientBoostingRegressor, {}),
    "linear": (LogisticRegression, Ridge, {}),
}


@dataclass
class Case:
    """A model, its held-out rows, and windows; row numbers into ``features``."""

    subject: Subject
    features: pd.DataFrame
    truth: np.ndarray
    predictions: Predictions
    contract: Contract
    held_out: np.ndarray
    windows: list[np.ndarray]
    strengths: list[float]

    def take(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], Scored]:
        """Return columns and scored rows."""
        whole = Scored(self.predictions, self.truth, len(self.contract.classes))
        return {name: self.features[name].to_numpy()[rows] for name in self.features}, whole.take(rows)

    def estimate(self, seed: int) -> tuple[dict[str, float], list[dict[str, tuple[float, float, float]]]]:
        """Return our reference's metrics, and per window each metric's estimate with its interval."""
        columns, scored = self.take(self.held_out)
        reference = build_reference_performance(columns, scored.predictions, scored.truth, self.contract, Config(), seed=seed)
        answers = []
        for rows in self.windows:
            estimator = Estimator(reference, self.contract, seed=seed)
            columns, scored = self.take(rows)
            estimator.add(columns, scored.predictions)
            answers.append({item.name: (item.value, item.low, item.high) for item in estimator.estimate()})
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
        frame.iloc[np.concatenate(self.windows)].to_parquet(folder / "windows.parquet", index=False)
        facts = {"classes": len(self.contract.classes), "window": self.subject.window}
        (folder / "facts.json").write_text(json.dumps(facts))


def make_case(subject: Subject, frame: pd.DataFrame, model: str, split: int, windows: int) -> Case:
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
    strengths = [STRENGTHS[number % len(STRENGTHS)] for number in range(windows)]
    drawn = [draw_window(features.to_numpy(), rest, subject.window, strength, rng) for strength in strengths]
    return Case(subject, features, truth, predictions, contract, held_out, drawn, strengths)


def draw_window(values: np.ndarray, rest: np.ndarray, size: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Draw rows without replacement, the likelier the further along a random direction (Gumbel's trick)."""
    spread = values[rest].std(axis=0)
    direction = rng.normal(size=values.shape[1]) * (rng.random(values.shape[1]) < 3 / values.shape[1])
    along = (values[rest] / np.where(spread > 0, spread, 1)) @ direction
    along = (along - along.mean()) / (along.std() or 1)
    return rest[np.argsort(-(strength * np.clip(along, -3, 3) + rng.gumbel(size=len(rest))))[:size]]


def compare(name: str, splits: int, windows: int) -> Iterator[dict[str, Any]]:
    """Yield one row per window and metric."""
    subject = SUBJECTS[name]
    frame = subject.load()
    root = BUILD / "cbpe" / name
    shutil.rmtree(root, ignore_errors=True)
    cases = {}
    for model, split in product(MODELS, range(splits)):
        cases[f"{model}-{split}"] = case = make_case(subject, frame, model, split, windows)
        case.write(root / f"{model}-{split}")
    nannyml = next(contestant for contestant in CONTESTANTS if contestant.name == "nannyml")
    command = [str(nannyml.python), str(HERE / "cbpe_nannyml.py"), *(str(root / key) for key in cases)]
    subprocess.run(command, check=True, env=os.environ | SILENT, stdout=subprocess.DEVNULL)
    for key, case in cases.items():
        reference, ours = case.estimate(seed=1)
        theirs = json.loads((root / key / "estimates.json").read_text())
        for number, rows in enumerate(case.windows):
            realised = compute_metrics(case.take(rows)[1], case.contract.task)
            for metric, estimate in ours[number].items():
                if metric in realised and metric in reference:
                    row = {"table": name, "metric": metric, "strength": case.strengths[number], "model": key.split("-")[0]}
                    row |= judge("ours", estimate, realised[metric])
                    row |= judge("NannyML", theirs[metric][number], realised[metric]) if metric in theirs else {}
                    yield row | {"as held-out": abs(reference[metric] - realised[metric])}


def judge(who: str, estimate: tuple[float, float, float], realised: float) -> dict[str, float]:
    """Return the error of a value and whether its interval holds what was realised."""
    value, low, high = estimate
    return {who: abs(value - realised), f"{who} covers": float(low <= realised <= high)}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--windows", type=int, default=9)
    parser.add_argument("--tables", nargs="+", default=list(SUBJECTS), choices=list(SUBJECTS))
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    next(contestant for contestant in CONTESTANTS if contestant.name == "nannyml").install()
    rows = pd.DataFrame([row for name in options.tables for row in compare(name, options.splits, options.windows)])
    rows.to_csv(BUILD / "cbpe.csv", index=False)
    covers = ["ours covers", "NannyML covers"]
    groups = rows.groupby(["table", "metric"], sort=False)
    print(groups[["ours", "NannyML", "as held-out", *covers]].mean().assign(windows=groups.size()).round(4).to_string())
    print("\nby strength of the shift, all tables")
    print(rows.groupby("strength")[covers].mean().round(3).to_string())
    both = rows[rows["NannyML"].notna()]
    print(f"\nall: covered {rows['ours covers'].mean():.3f}", end="; ")
    print(f"where NannyML estimates: {both[covers].mean().round(3).to_dict()}")


if __name__ == "__main__":
    main()
