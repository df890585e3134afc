"""Thresholds by cost: ours beside scikit-learn's ``TunedThresholdClassifierCV``, on ten real tables of packages.

``--stages thresholds``. Both see the same training rows, folds of the same number and the same
estimator; both are judged by the mean cost of an answer on the same held-out rows, which neither looks at. A wrong no costs
eight times a wrong yes in even splits, a wrong yes four times a wrong no in odd ones.
"""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.metrics import make_scorer
from sklearn.model_selection import StratifiedKFold, TunedThresholdClassifierCV

from benchmarks.defaults.tables import CLASSES, write_table
from mlops_project.config import Config, build_config
from mlops_project.data_prep import build_contract, judge_table, load_table, split_table
from mlops_project.modeling import threshold as module
from mlops_project.modeling.choice import CrossValidation
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline, predict_frame
from mlops_project.modeling.threshold import find_threshold, predict_out_of_fold, sweep_thresholds
from mlops_project.sections import ThresholdRule
from mlops_project.sections.decision import Costs

TABLES = ("Default", "Caravan", "OJ", "rossi", "titanic", "germancredit", "Hdma", "turnout", "Mroz", "Pima")
ESTIMATORS: dict[str, dict[str, Any]] = {"logistic_regression": {}, "random_forest": {"n_estimators": 50}}
COSTS = (Costs(1, 8), Costs(4, 1))
WAYS = ("ours", "scikit-learn", "cheapest", "calibrated", "0.5")
MAX_ROWS = 2000


class Split(NamedTuple):
    """Of one table: what each way of choosing costs on the held-out rows, per row."""

    table: str
    estimator: str
    seed: int
    costs: dict[str, float]


def compare_thresholds(splits: int, only: tuple[str, ...] = (), file: str = "") -> None:
    """Try every table, or those of some names, and print what came of it; keep every split in a JSON file."""
    warnings.simplefilter("ignore")
    found = []
    for source in (item for item in CLASSES if item.name in (only or TABLES)):
        with tempfile.TemporaryDirectory() as folder:
            place = write_table(source, Path(folder), MAX_ROWS)
            for estimator in ESTIMATORS:
                found += [try_split(place, source.target, source.name, estimator, seed) for seed in range(splits)]
                print(
                    describe([item for item in found if (item.table, item.estimator) == (source.name, estimator)]), flush=True
                )
    for estimator in (*ESTIMATORS, ""):
        print(f"all, {estimator or 'both'}: {sum_up([item for item in found if estimator in ('', item.estimator)])}")
    if file:
        Path(file).write_text(json.dumps([item._asdict() for item in found], indent=1))


def configure(place: str, target: str, estimator: str, seed: int) -> Config:
    """Return the configuration of one training."""
    values = {
        "random_state": seed,
        "test_size": 0.3,
        "data": {"source": place, "target": target},
        "model": {"estimator": estimator, "params": ESTIMATORS[estimator]},
    }
    return build_config(values, Path(place).with_suffix(".yaml"), root=Path(place).parent, env={})


def try_split(place: str, target: str, name: str, estimator: str, seed: int) -> Split:
    """Choose a threshold in each way, and count what it costs on the held-out rows."""
    config = configure(place, target, estimator, seed)
    table = judge_table(load_table(config), config, refuse=False)
    split = split_table(table, config)
    contract = build_contract(table, split)
    pipeline = build_pipeline(contract, config)
    costs = COSTS[seed % 2]
    rule = ThresholdRule(cost=costs)
    folds = CrossValidation(table, split, contract, config, rows=len(split.train_target), wanted_folds=5)
    rows = predict_out_of_fold(pipeline, folds)
    sweep = sweep_thresholds(rows.scores, rows.truth)
    ours, _ = find_threshold(sweep, rule)
    kept, module.STANDARD_ERRORS = module.STANDARD_ERRORS, 0.0
    cheapest, _ = find_threshold(sweep, rule)
    module.STANDARD_ERRORS = kept
    positive = contract.classes[1]

    def lose(truth: npt.NDArray[Any], said: npt.NDArray[Any]) -> float:
        wrong_yes, wrong_no = ((truth != positive) & (said == positive)).sum(), ((truth == positive) & (said != positive)).sum()
        return float(costs.false_positive * wrong_yes + costs.false_negative * wrong_no) / len(truth)

    tuned = TunedThresholdClassifierCV(
        clone(pipeline),
        scoring=make_scorer(lose, greater_is_better=False),
        cv=StratifiedKFold(5, shuffle=True, random_state=seed),
        random_state=seed,
    )
    tuned.fit(split.train_features, np.where(split.train_target == positive, positive, contract.classes[0]))
    fitted = fit_pipeline(pipeline, split.train_features, split.train_target)
    order = [*tuned.classes_].index(positive)
    theirs = tuned.best_threshold_ if order == 1 else 1 - tuned.best_threshold_
    scores = np.asarray(predict_frame(fitted, split.test_features, contract).probabilities)[:, 1]
    truth = encode_target(split.test_target, contract)
    natural = costs.false_positive / (costs.false_positive + costs.false_negative)
    places = dict(zip(WAYS, (ours, theirs, cheapest, natural, 0.5), strict=True))
    labels = np.array(contract.classes, object)
    return Split(
        name, estimator, seed, {way: lose(labels[truth], labels[(scores >= at).astype(int)]) for way, at in places.items()}
    )


def describe(splits: list[Split]) -> str:
    """Return a table's line: mean costs, and the interval of the paired difference."""
    costs = {way: np.array([item.costs[way] for item in splits]) for way in WAYS}
    low, high = bound(costs["ours"] - costs["scikit-learn"])
    told = ", ".join(f"{way} {values.mean():.4f}" for way, values in costs.items())
    return f"| {splits[0].table} | {splits[0].estimator} | {told} | ours - scikit-learn [{low:+.4f}, {high:+.4f}]"


def sum_up(splits: list[Split]) -> str:
    """Return the mean difference as a share of scikit-learn's cost, with the interval over tables."""
    shares = []
    for rival in ("scikit-learn", "cheapest", "calibrated", "0.5"):
        by_table = []
        for name in dict.fromkeys((item.table, item.estimator) for item in splits):
            own = [item for item in splits if (item.table, item.estimator) == name]
            theirs = float(np.mean([item.costs[rival] for item in own]))
            by_table.append((float(np.mean([item.costs["ours"] for item in own])) - theirs) / theirs)
        low, high = bound(np.array(by_table))
        shares.append(f"{np.mean(by_table):+.1%} [{low:+.1%}, {high:+.1%}] against {rival}")
    return "; ".join(shares)


def bound(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean's 95 % interval."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half
