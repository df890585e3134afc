"""``make bench-tune``: the best score that a search finds in a given time, against searches by hand over the same spaces.

Every contestant gets the same rows, folds, pipeline, space and seconds, one thread, and five seeds. What counts is the mean
over the folds of log loss or RMSE, of the best trial. ``BENCH='--seconds 30 --seeds 5'``. On a busy machine ``--clock cpu``
counts the process's own seconds.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import statsmodels.api as sm
import vega_datasets
from scipy.stats import loguniform, randint, uniform
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import RandomizedSearchCV, cross_val_score

from mlops_project.config import Config, read_config
from mlops_project.modeling.choice import CrossValidation, with_model
from mlops_project.modeling.pipeline import build_pipeline
from mlops_project.tables.first_models import FirstModel
from mlops_project.train import read_rows
from mlops_project.tuning.search import Observer, search
from mlops_project.tuning.searched import Searched, list_searched
from mlops_project.tuning.spaces import Range

ESTIMATOR = "hist_gradient_boosting"
MANY = 100_000  # trials: time is the only budget
CLOCKS = {"wall": time.monotonic, "cpu": time.process_time}

Result = tuple[float, int]  # the best score, and how many trials there were


def tumours() -> pd.DataFrame:
    """569 rows, 30 numbers, two classes (scikit-learn)."""
    return load_breast_cancer(as_frame=True).frame


def weather() -> pd.DataFrame:
    """1,461 days, four numbers and a date, five classes (vega_datasets)."""
    return pd.read_csv(vega_datasets.local_data.seattle_weather.filepath).rename(columns={"weather": "target"})


def visits() -> pd.DataFrame:
    """3,000 people, nine numbers, how often they saw a doctor (statsmodels)."""
    return sm.datasets.randhie.load_pandas().data.head(3000).rename(columns={"mdvis": "target"})


TABLES = {"breast cancer": tumours, "weather": weather, "doctor visits": visits}


class Problem:
    """What every contestant is given."""

    def __init__(self, frame: pd.DataFrame, folder: Path, seconds: float, seed: int, clock: Callable[[], float]) -> None:
        frame.to_csv(folder / "table.csv", index=False)
        (folder / "pyproject.toml").touch()
        (folder / "model.yaml").write_text(
            f"data: {{source: table.csv, target: target}}\nmodel: {{name: bench, estimator: {ESTIMATOR}}}\n"
            f"tracking: {{enabled: false}}\nsearch: {{trials: {MANY}, patience: 0, minutes: {seconds / 60}}}\n"
        )
        self.seconds, self.seed, self.folder, self.clock = seconds, seed, folder, clock
        self.config = self._read()
        self.rows = read_rows(self.config)
        table, split, contract = self.rows
        self.folds = CrossValidation(table, split, contract, self.config)
        (self.searched,) = list_searched(self.config, contract, self.folds, len(split.train_target))
        self.scoring = "neg_log_loss" if contract.is_classification else "neg_root_mean_squared_error"

    def _read(self) -> Config:
        return read_config(self.folder / "model.yaml", root=self.folder, overrides=[f"random_state={self.seed}"], env={})

    def build(self, searched: Searched) -> Any:
        """Return the unfitted pipeline."""
        model = FirstModel(ESTIMATOR, dict(searched.params))  # type: ignore[arg-type]
        return build_pipeline(self.rows[2], with_model(self.config, model))


def search_randomly(problem: Problem) -> Result:
    """Draw with ``RandomizedSearchCV``, one setting after the other, until the time is over."""
    pipeline, step = problem.build(problem.searched), "clf" if problem.rows[2].is_classification else "reg"
    spaces = {f"{step}__{name}": _distribute(part) for name, part in problem.searched.space.items()}
    best, trials, end = np.inf, 0, problem.clock() + problem.seconds
    while problem.clock() < end:
        draw = RandomizedSearchCV(
            pipeline,
            spaces,
            n_iter=1,
            cv=problem.folds.folds,
            scoring=problem.scoring,
            refit=False,
            random_state=problem.seed * MANY + trials,
        )
        draw.fit(problem.folds.features, problem.folds.target)
        best, trials = min(best, -draw.best_score_), trials + 1
    return best, trials


def _distribute(part: Any) -> Any:
    if not isinstance(part, Range):
        return list(part)
    if part.is_whole and not part.log:
        return randint(part.low, part.high + 1)
    if part.is_whole:
        return _WholeLog(part.low, part.high)
    return loguniform(part.low, part.high) if part.log else uniform(part.low, part.high - part.low)


class _WholeLog:
    """Whole numbers, as many between 1 and 10 as between 10 and 100."""

    def __init__(self, low: float, high: float) -> None:
        self._inner = loguniform(low - 0.5, high + 0.5)

    def rvs(self, random_state: Any = None) -> int:
        return round(float(self._inner.rvs(random_state=random_state)))


def search_by_hand(problem: Problem) -> Result:
    """Use Optuna as its tutorial does: an objective with ``cross_val_score``, until the time is over."""
    pipeline, step = problem.build(problem.searched), "clf" if problem.rows[2].is_classification else "reg"

    def objective(trial: optuna.Trial) -> float:
        chosen = {}
        for name, part in problem.searched.space.items():
            if not isinstance(part, Range):
                chosen[f"{step}__{name}"] = trial.suggest_categorical(name, part)
            elif part.is_whole:
                chosen[f"{step}__{name}"] = trial.suggest_int(name, int(part.low), int(part.high), log=part.log)
            else:
                chosen[f"{step}__{name}"] = trial.suggest_float(name, part.low, part.high, log=part.log)
        pipeline.set_params(**chosen)
        features, target = problem.folds.features, problem.folds.target
        return -float(cross_val_score(pipeline, features, target, cv=problem.folds.folds, scoring=problem.scoring).mean())

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=problem.seed))
    end = problem.clock() + problem.seconds
    study.optimize(objective, callbacks=[lambda study, _: study.stop() if problem.clock() >= end else None])
    return study.best_value, len(study.trials)


def search_here(problem: Problem) -> Result:
    """Use ``mlops tune``'s search, with its journal."""
    found = search(*problem.rows, problem.config, Observer(), clock=problem.clock)
    return found.best.loss or 0.0, sum(trial.counts for trial in found.trials)


CONTESTANTS: dict[str, Callable[[Problem], Result]] = {
    "mlops tune": search_here,
    "Optuna by hand": search_by_hand,
    "RandomizedSearchCV": search_randomly,
}


def main() -> None:
    """Compare, and print one table of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each search")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--only", choices=TABLES, action="append", help="a table; may be repeated")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"| table | seconds ({options.clock}) | seed | {' | '.join(CONTESTANTS)} |\n|{' --- |' * 6}")
    scores: dict[str, list[list[float]]] = {}
    for name in options.only or TABLES:
        for seed in range(options.seeds):
            names = list(CONTESTANTS)
            results: dict[str, Result] = {}
            for contestant in names[seed % 3 :] + names[: seed % 3]:  # none is always the first
                with tempfile.TemporaryDirectory() as folder:
                    problem = Problem(TABLES[name](), Path(folder), options.seconds, seed, CLOCKS[options.clock])
                    results[contestant] = CONTESTANTS[contestant](problem)
            cells = [f"{results[one][0]:.5f} ({results[one][1]} trials)" for one in names]
            print(f"| {name} | {options.seconds:g} | {seed} | {' | '.join(cells)} |", flush=True)
            scores.setdefault(name, []).append([results[one][0] for one in names])
    rivals = list(CONTESTANTS)[1:]
    print(
        f"\n| table | {' | '.join(f'{one}: mean' for one in CONTESTANTS)} | {' | '.join(f'against {one}' for one in rivals)} |"
    )
    print(f"|{' --- |' * (2 + 2 * len(rivals))}")
    for name, found in scores.items():
        values = np.array(found)
        cells = [f"{mean:.5f}" for mean in values.mean(axis=0)]
        cells += [_compare(values[:, 0] - values[:, place]) for place in range(1, len(CONTESTANTS))]
        print(f"| {name} | {' | '.join(cells)} |")


def _compare(differences: Any) -> str:
    """Return the mean of paired differences with its standard error, and for how many seeds ours was not worse."""
    error = f" ± {np.std(differences, ddof=1) / len(differences) ** 0.5:.5f}" if len(differences) > 1 else ""
    return f"{differences.mean():+.5f}{error}, not worse in {int((differences <= 0).sum())} of {len(differences)}"


if __name__ == "__main__":
    main()
