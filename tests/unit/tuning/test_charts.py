"""Charts of a search: of any kinds of parameters, of few trials, of trials that failed."""

from pathlib import Path

import numpy as np
import pytest

from mlops_project.modeling.report import CAPTIONS
from mlops_project.modeling.side_work import SideWork
from mlops_project.tables.first_models import FirstModel
from mlops_project.tuning.charts import draw_charts
from mlops_project.tuning.searched import Searched
from mlops_project.tuning.spaces import Range
from mlops_project.tuning.trials import Found, Trial, find_best

SPACES = {
    "mlp": {"alpha": Range(1e-6, 1.0, log=True), "hidden_layer_sizes": ([16], [64, 32]), "max_iter": Range(10, 90)},
    "knn": {"n_neighbors": Range(1, 30, log=True), "weights": ("uniform", "distance", None)},
    "ridge": {"alpha": Range(0.0, 1.0)},
}


def find(estimators, n_trials, *, failed=()):
    rng, trials = np.random.default_rng(0), []
    for number in range(n_trials):
        name = estimators[number % len(estimators)]
        params = {
            key: part[number % len(part)] if not isinstance(part, Range) else draw(part, rng)
            for key, part in SPACES[name].items()
        }
        loss = None if number in failed else float(rng.gamma(2.0))
        trials.append(
            Trial(number=number, estimator=name, params=params, state="fail" if loss is None else "complete", loss=loss)
        )
    searched = tuple(Searched(name, {}, SPACES[name], ()) for name in estimators)
    best = find_best(trials)
    rest = {"edges": {}, "rows": 100, "folds": 3, "resumed": 0, "ended": "trials", "folder": Path()}
    return Found("key", "rmse", searched, None, tuple(trials), best, FirstModel("mlp"), **rest)


def draw(part, rng):
    if not isinstance(part, Range):
        return part[rng.integers(len(part))]
    value = part.low * (part.high / part.low) ** rng.random() if part.log else rng.uniform(part.low, part.high)
    return round(value) if part.is_whole else float(value)


@pytest.mark.parametrize(
    ("estimators", "n_trials", "missing"),
    [
        (("mlp",), 20, set()),
        (("knn", "ridge"), 30, set()),
        (("ridge",), 20, {"search_importance", "search_parallel"}),  # of one parameter
        (("mlp",), 7, {"search_importance", "search_parallel", "search_slices"}),
        (("mlp",), 1, {"search_importance", "search_parallel", "search_slices"}),
    ],
)
def test_charts_are_drawn_of_what_there_is(estimators, n_trials, missing, tmp_path):
    found, side = find(estimators, n_trials, failed=(3, 4)), SideWork()
    if len(estimators) > 1 and found.best.estimator == "ridge":
        missing = {"search_importance", "search_parallel"}
    files = draw_charts(found, tmp_path, side)
    assert side.notes == []
    assert {file.stem for file in files} == {name for name in CAPTIONS if name.startswith("search_")} - missing
    assert all(file.stat().st_size > 3000 for file in files)
