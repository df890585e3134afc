"""Small awkward tables, fitted pipelines of them, and rows where an inexact export would show."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from mlops_project.config import Config, ModelConfig
from mlops_project.contract import DATETIME_PARTS, Contract, Feature
from mlops_project.modeling.encoders import OriginalLabels
from mlops_project.modeling.export import export_onnx, jumps
from mlops_project.modeling.export import parity as parity_module
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline, predict_frame, prepare_for_serving
from mlops_project.runtime import Runtime

LABELS: dict[str, tuple[Any, ...]] = {"binary": ("no", "yes"), "multiclass": (-3, 0, 7), "regression": ()}


@dataclass(frozen=True)
class Case:
    """A fitted pipeline, its table and its export."""

    pipeline: Pipeline
    contract: Contract
    features: pd.DataFrame
    model: bytes

    @property
    def runtime(self) -> Runtime:
        return Runtime(self.model, self.contract)

    def assert_exact(self, frame: pd.DataFrame) -> None:
        """Labels identical; probabilities, and values relative to their size, within 1e-6."""
        expected = predict_frame(self.pipeline, frame, self.contract)
        actual = self.runtime.predict({name: frame[name].to_numpy() for name in self.contract.names})
        if expected.values is not None:
            np.testing.assert_allclose(actual.values, expected.values, rtol=1e-6, atol=1e-6)
            return
        np.testing.assert_array_equal(actual.indices, expected.indices)
        np.testing.assert_allclose(actual.probabilities, expected.probabilities, rtol=0, atol=1e-6)


def build_numbers(rng: np.random.Generator, n_rows: int, *, missing: float) -> dict[str, Any]:
    columns = {
        "wide": rng.normal(50, 2000, n_rows),
        "tiny": rng.normal(0, 1e-4, n_rows),
        "rounded": rng.normal(0, 1, n_rows).round(1),
        "whole": rng.integers(-5, 6, n_rows).astype("float64" if missing else "int64"),
        "large": rng.lognormal(10, 3, n_rows),
    }
    if missing:
        columns = {name: np.where(rng.random(n_rows) < missing, np.nan, values) for name, values in columns.items()}
    return columns


def build_others(rng: np.random.Generator, n_rows: int, *, missing: float = 0.1) -> dict[str, Any]:
    gaps = rng.random(n_rows) < missing
    days = np.datetime64("2024-01-01", "us") + rng.integers(0, 5 * 10**13, n_rows).astype("timedelta64[us]")
    return {
        "flag": rng.random(n_rows) < 0.5,
        "colour": pd.Series(rng.choice(["red", "grün", "blue", "a b"], n_rows)).astype("str").mask(gaps),
        "place": pd.Series(rng.choice(["x", "y"], n_rows)).astype("str"),
        "day": pd.Series(days.astype("datetime64[us]")).mask(gaps),
    }


def describe(name: str, column: "pd.Series[Any]") -> Feature:
    nullable, kind = bool(column.isna().any()), column.dtype.kind
    if kind == "M":
        return Feature(name, "datetime", nullable=nullable)
    if kind not in "fib":
        return Feature(name, "category", nullable=nullable, categories=tuple(sorted(column.dropna().unique())))
    numbers = column.dropna().astype("float64")
    types = {"f": "float", "i": "integer", "b": "boolean"}
    return Feature(name, types[kind], nullable=nullable, minimum=numbers.min(), maximum=numbers.max())  # type: ignore[arg-type]


def build_table(kind: str, task: str, n_rows: int, labels: tuple[Any, ...] | None = None) -> tuple[pd.DataFrame, Any, Contract]:
    """Return features, target and contract; the target depends on the features, with noise, so that leaves are impure."""
    rng = np.random.default_rng(7)
    whole, mixed = kind in ("numeric", "mixed without gaps"), kind.startswith("mixed")
    columns = build_numbers(rng, n_rows, missing=0.0 if whole else 0.15)
    frame = pd.DataFrame(columns | (build_others(rng, n_rows, missing=0.0 if whole else 0.1) if mixed else {}))
    score = (
        frame["rounded"].fillna(0.7)
        + np.sign(frame["wide"].fillna(1))
        + frame["whole"].fillna(9) / 5
        + rng.normal(0, 1, n_rows)
    )
    if mixed:
        score += 2 * frame["flag"] + (frame["colour"] == "red") + frame["day"].isna() + (frame["day"].dt.month > 6)
    if task == "regression":
        return frame, np.exp(score / 3), Contract(tuple(describe(n, frame[n]) for n in frame), "y", "regression")
    classes = labels or LABELS[task]
    bins = np.quantile(score, np.linspace(0, 1, len(classes) + 1)[1:-1])
    target = pd.Series(np.array(classes)[np.digitize(score, bins)], dtype=object).infer_objects()
    features = tuple(describe(name, frame[name]) for name in frame)
    return frame, target, Contract(features, "y", task, classes, tuple(map(str, classes)))  # type: ignore[arg-type]


def fit_case(
    estimator: str,
    kind: str = "mixed",
    task: str = "binary",
    *,
    n_rows: int = 200,
    labels: tuple[Any, ...] | None = None,
    calibration: str = "none",
    encoding: str = "onehot",
    **params: Any,
) -> Case:
    features, target, contract = build_table(kind, task, n_rows, labels)
    if estimator in ("xgboost", "lightgbm"):
        params = {"n_jobs": 1} | params
    model = ModelConfig(estimator=estimator, params=params, calibration=calibration, encoding=encoding)  # type: ignore[arg-type]
    pipeline = fit_pipeline(build_pipeline(contract, Config(random_state=3, model=model)), features, target)
    prepare_for_serving(pipeline)
    return Case(pipeline, contract, features, export_onnx(pipeline, contract))


def split_points(estimator: Any) -> Iterator[tuple[int, float]]:
    """Yield feature and threshold of every split, read from the libraries' own trees."""
    if isinstance(estimator, CalibratedClassifierCV):
        for fold in estimator.calibrated_classifiers_:
            yield from split_points(fold.estimator)
    elif isinstance(estimator, OriginalLabels):
        yield from split_points(estimator.estimator_)
    elif hasattr(estimator, "get_booster"):
        table = estimator.get_booster().trees_to_dataframe()
        table = table[table.Feature != "Leaf"]
        yield from zip(table.Feature.str[1:].astype(int), table.Split.astype(float), strict=True)
    elif hasattr(estimator, "booster_"):
        table = estimator.booster_.trees_to_dataframe().dropna(subset=["split_feature"])
        yield from zip(table.split_feature.str.replace("Column_", "").astype(int), table.threshold.astype(float), strict=True)
    elif hasattr(estimator, "_predictors"):
        for node in (node for stage in estimator._predictors for member in stage for node in member.nodes):
            if not node["is_leaf"]:
                yield int(node["feature_idx"]), float(node["num_threshold"])
    elif hasattr(estimator, "tree_") or hasattr(estimator, "estimators_"):
        for member in np.ravel(getattr(estimator, "estimators_", [estimator])):
            inner = member.tree_.children_left >= 0
            yield from zip(member.tree_.feature[inner], member.tree_.threshold[inner], strict=True)


def input_columns(case: Case) -> list[tuple[str | None, float, float]]:
    """Return name, mean and scale behind each of the estimator's columns; no name where it is not one number."""
    name, step = case.pipeline.steps[0]
    blocks = [("numbers", [step], list(case.contract.names))] if name == "scaler" else step.transformers_
    columns: list[tuple[str | None, float, float]] = []
    for block, transformer, names in blocks:
        if block != "texts":
            scaler = list(transformer)[-1]
            single = names if block == "numbers" else [None] * (len(names) * len(DATETIME_PARTS))
            means = scaler.mean_ if scaler.with_mean else np.zeros(len(single))
            columns += zip(single, means, scaler.scale_, strict=True)
    return columns


def rows_at_splits(case: Case, limit: int = 40) -> pd.DataFrame:
    """Put numbers on both sides of where the trees compare: at float64 thresholds, float32 ones and between float32 numbers."""
    rng = np.random.default_rng(1)
    columns = input_columns(case)
    points = [p for p in split_points(case.pipeline.steps[-1][1]) if abs(p[1]) < 1e300 and p[0] < len(columns)]
    points = [points[i] for i in rng.permutation(len(points)) if columns[points[i][0]][0]][:limit]
    if not points:
        return case.features
    names, means, scales = zip(*(columns[column] for column, _ in points), strict=True)
    threshold = np.array([threshold for _, threshold in points])
    single = threshold.astype(np.float32)
    beside = [np.nextafter(single, np.float32(side)).astype(np.float64) for side in (-np.inf, np.inf)]
    targets = np.stack([threshold, single.astype(np.float64), *beside, *((single + value) / 2 for value in beside)])
    values = targets * np.array(scales) + np.array(means)
    values = np.concatenate([values, np.nextafter(values, -np.inf), np.nextafter(values, np.inf)])
    frame = case.features.iloc[rng.integers(0, len(case.features), values.size)].reset_index(drop=True)
    owner = np.broadcast_to(np.array(names, dtype=object), values.shape).ravel()
    return frame.assign(**{name: frame[name].astype("float64").mask(owner == name, values.ravel()) for name in set(names)})


def random_rows(case: Case, n_rows: int = 200) -> pd.DataFrame:
    """Shuffle every column by itself; add unknown categories, numbers far outside and, where training had them, gaps."""
    rng = np.random.default_rng(2)
    columns = {}
    for feature in case.contract.features:
        column = (
            case.features[feature.name].sample(n_rows, replace=True, random_state=rng.integers(2**31)).reset_index(drop=True)
        )
        odd = rng.random(n_rows) < 0.15
        if feature.type in ("float", "integer"):
            column = column.astype("float64").mask(odd, rng.normal(0, 1e6, n_rows))
        elif feature.is_text:
            column = column.mask(odd, "unseen")
        columns[feature.name] = column.mask(rng.random(n_rows) < 0.1) if feature.nullable else column
    return pd.DataFrame(columns)


def assert_exact_everywhere(case: Case) -> None:
    case.assert_exact(pd.concat([case.features, random_rows(case), rows_at_splits(case)], ignore_index=True))


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tables are slower with more, and other tests run beside."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def fit() -> Callable[..., Case]:
    return fit_case


@pytest.fixture
def table() -> Callable[..., tuple[pd.DataFrame, Any, Contract]]:
    return build_table


@pytest.fixture
def exact() -> Callable[[Case], None]:
    return assert_exact_everywhere


@pytest.fixture
def fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare an export with its pipeline on fewer drawn rows than training does."""
    monkeypatch.setattr(parity_module, "RANDOM_ROWS", 300)
    monkeypatch.setattr(parity_module, "SPLIT_ROWS", 1_500)
    monkeypatch.setattr(jumps, "JUMP_ROWS", 100)
